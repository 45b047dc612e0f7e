//! What policies are told of the machine, measured on the executor before a run.
//!
//! What: the time to compute a context again, and the bandwidth of host copies. The executor prefills contexts of doubling length alone, in chunks of the token budget; between
//! the lengths the time is a straight line, beyond the last it goes on as between the last two.
//! Why: retention policies weigh a context's blocks against the time to compute it again or to copy it.
//! Limits: alone and in one go; the first prefill warms caches and is not counted.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use scheduler::{Config, PrefillCost};
use units::{Blocks, Nanos, SessionId, Tokens};

use crate::batch::{Batch, BatchError};
use crate::executor::{Copy, Executor, ExecutorError, Way};

/// The shortest context that is measured, tokens.
const SHORTEST: u64 = 32;
/// The longest: a run should not wait minutes for a number that policies only compare.
const LONGEST: u64 = 4096;

/// Prefill times by length of the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredPrefill {
    /// `(context, time)`, by rising context; the first is `(0, 0)`.
    points: Vec<(u64, u64)>,
}

/// A measurement that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The executor failed.
    #[error("the executor failed: {0}")]
    Executor(#[from] ExecutorError),
    /// A copy that did not end in ten seconds.
    #[error("the executor did not end a copy of {blocks} KV blocks within ten seconds")]
    Copy {
        /// How many blocks.
        blocks: u64,
    },
    /// A batch that cannot be: a bug.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl MeasuredPrefill {
    /// Measures contexts of up to `longest` tokens, as far as the pool has room and up to 4096. Writes over the
    /// executor's blocks, so before a run only.
    ///
    /// # Errors
    /// What the executor says.
    pub fn measure(
        executor: &mut dyn Executor,
        config: &Config,
        longest: Tokens,
    ) -> Result<Self, MeasureError> {
        let room = config.block_size.capacity(config.usable_blocks);
        let most = longest.min(room).get().clamp(1, LONGEST);
        prefill(executor, config, SHORTEST.min(most))?;
        let mut points = vec![(0, 0)];
        let mut length = SHORTEST.min(most);
        loop {
            points.push((length, prefill(executor, config, length)?));
            if length == most {
                return Ok(Self { points });
            }
            length = (length * 2).min(most);
        }
    }
}

/// Bandwidth of host copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasuredLink {
    /// Bytes per second from the device to host memory.
    pub to_host_per_s: NonZeroU64,
    /// Bytes per second back.
    pub to_device_per_s: NonZeroU64,
}

/// Blocks of the copy that is timed, if the pool has as many.
const COPIED: u64 = 64;

impl MeasuredLink {
    /// Copies some blocks out and back, twice; the second time counts. Before a run only.
    ///
    /// # Errors
    /// What the executor says.
    pub fn measure(executor: &mut dyn Executor, usable: Blocks) -> Result<Self, MeasureError> {
        let blocks = COPIED.min(usable.get());
        let mut per_s = [NonZeroU64::MIN; 2];
        for round in 0..2 {
            for (at, way) in [Way::ToHost, Way::ToDevice].into_iter().enumerate() {
                let began = Instant::now();
                copy(executor, 2 * round + at as u64, way, blocks)?;
                let bytes = u128::from(executor.block_bytes().get() * blocks);
                let rate = bytes * 1_000_000_000 / began.elapsed().as_nanos().max(1);
                let rate = u64::try_from(rate).ok().and_then(NonZeroU64::new);
                per_s[at] = rate.unwrap_or(NonZeroU64::MIN);
            }
        }
        executor.forget(SessionId(0));
        let [to_host_per_s, to_device_per_s] = per_s;
        Ok(Self {
            to_host_per_s,
            to_device_per_s,
        })
    }
}

/// Copies the pool's first blocks and waits until that is done.
fn copy(executor: &mut dyn Executor, id: u64, way: Way, blocks: u64) -> Result<(), MeasureError> {
    let last = u32::try_from(blocks).expect("a few blocks");
    executor.begin_copy(&Copy {
        id,
        session: SessionId(0),
        way,
        first: 0,
        blocks: (0..last).collect(),
    })?;
    let began = Instant::now();
    while !executor.ended_copies()?.contains(&id) {
        if began.elapsed() > Duration::from_secs(10) {
            return Err(MeasureError::Copy { blocks });
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Nanoseconds to prefill so many tokens alone.
fn prefill(executor: &mut dyn Executor, config: &Config, length: u64) -> Result<u64, MeasureError> {
    let blocks = config.block_size.to_hold(Tokens(length)).get();
    let last = u32::try_from(blocks).expect("fewer blocks than ids");
    let table: Vec<u32> = (0..last).collect();
    let began = Instant::now();
    let mut done = 0;
    while done < length {
        let chunk = (length - done).min(config.token_budget.get());
        let ends = done + chunk == length;
        let batch = Batch::one(
            SessionId(0),
            Tokens(done),
            Tokens(chunk),
            ends,
            config.block_size,
            table.clone(),
        )?;
        let ids = vec![0; batch.positions.len()];
        executor.step(&batch, &ids)?;
        done += chunk;
    }
    Ok(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

impl PrefillCost for MeasuredPrefill {
    fn reload(&self, context: Tokens) -> Nanos {
        let x = context.get();
        let after = self.points.partition_point(|&(length, _)| length < x);
        let after = after.clamp(1, self.points.len() - 1);
        let ((x0, y0), (x1, y1)) = (self.points[after - 1], self.points[after]);
        // A longer prefill that was measured shorter is noise: nothing gets cheaper with length.
        let rise = u128::from(y1.saturating_sub(y0));
        let more = rise * u128::from(x - x0) / u128::from((x1 - x0).max(1));
        Nanos::new(y0.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_between_and_beyond_the_lengths_lie_on_straight_lines() {
        let cost = MeasuredPrefill {
            points: vec![(0, 0), (32, 320), (64, 960), (128, 900)],
        };
        let ns = |tokens| cost.reload(Tokens(tokens)).as_nanos();
        assert_eq!(ns(0), 0);
        assert_eq!(ns(8), 80);
        assert_eq!(ns(32), 320);
        assert_eq!(ns(48), 640);
        // Measured shorter than at 64: held there, not lowered.
        assert_eq!(ns(100), 960);
        let steep = MeasuredPrefill {
            points: vec![(0, 0), (10, 100), (20, 300)],
        };
        assert_eq!(steep.reload(Tokens(30)), Nanos::new(500));
    }
}
