//! What steps cost on an executor: a grid of batches, each timed several times.
//!
//! What: [`grid`] lists batches of every kind within an engine's limits; [`measure`] times them on KV that
//! is there and says nothing, since no time depends on values.
//! Why: a simulator needs the price of a step as a function of its batch. A run of a policy shows only
//! the batches that this policy makes.
//! Limits: one chunk of prefill a step; decodes of a batch have equal contexts. The formulas that are
//! fitted to it look at sums alone.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use units::{BlockSize, Blocks, Nanos, SessionId, Tokens};

use crate::batch::Batch;
use crate::executor::{Executor, ExecutorError};

/// A batch: equal decodes and one chunk of prefill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Turns that decode.
    pub decodes: u64,
    /// Tokens in KV of each of them after the step.
    pub context: Tokens,
    /// Tokens in KV before the chunk.
    pub prefix: Tokens,
    /// Tokens of the chunk; none without a chunk.
    pub new: Tokens,
}

/// Within what the grid lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Tokens per KV block.
    pub block_size: BlockSize,
    /// Blocks that an executor has for sessions; their ids are 1 and up, as the scheduler's.
    pub usable_blocks: Blocks,
    /// Turns at once.
    pub max_running: u64,
    /// Tokens of one step.
    pub token_budget: u64,
    /// Tokens of the longest context.
    pub context: Tokens,
}

/// A measured batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// The batch.
    pub point: Point,
    /// Its times, shortest first; at least one.
    pub times: Vec<Nanos>,
    /// CPU time of this process over as many steps, shortest first. Far less than the time of a
    /// single-threaded executor: others took its core.
    pub cpu: Vec<Nanos>,
}

impl Timed {
    /// The middle time, which a few disturbed rounds do not move; the lower of two.
    pub fn median(&self) -> Nanos {
        self.times[(self.times.len() - 1) / 2]
    }

    /// The same of the CPU times.
    pub fn median_cpu(&self) -> Nanos {
        self.cpu[(self.cpu.len() - 1) / 2]
    }
}

/// CPU time that this process has used so far, all threads together.
///
/// # Panics
/// Never on Linux: the clock is always there.
pub fn cpu_time() -> Nanos {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock of every process");
    nanos(Duration::from(time))
}

fn nanos(span: Duration) -> Nanos {
    Nanos::new(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

impl Point {
    /// Blocks that its turns need.
    fn blocks(&self, size: BlockSize) -> u64 {
        let chunk = size.to_hold(self.prefix + self.new).get();
        let chunk = if self.new == Tokens::ZERO { 0 } else { chunk };
        self.decodes * size.to_hold(self.context).get() + chunk
    }

    fn fits(&self, reach: &Reach) -> bool {
        let turns = self.decodes + u64::from(self.new > Tokens::ZERO);
        let longest = self.context.max(self.prefix + self.new);
        turns > 0
            && turns <= reach.max_running
            && self.decodes + self.new.get() <= reach.token_budget
            && longest <= reach.context
            && self.blocks(reach.block_size) <= reach.usable_blocks.get()
    }

    /// Its blocks are those behind `cursor`, from the first again after the last; the cursor moves behind them.
    fn batch(&self, reach: &Reach, cursor: &mut u64) -> Result<Batch, ExecutorError> {
        let size = reach.block_size;
        let usable = reach.usable_blocks.get().max(1);
        let mut batch = Batch {
            starts: vec![0],
            ..Batch::default()
        };
        let mut table = |tokens: Tokens| -> Vec<u32> {
            let first = *cursor;
            *cursor = (first + size.to_hold(tokens).get()) % usable;
            let blocks = (0..size.to_hold(tokens).get()).map(|i| {
                // The null block is nobody's.
                u32::try_from(1 + (first + i) % usable).expect("within the pool")
            });
            blocks.collect()
        };
        let mut add = |session: u64, before: Tokens, query: Tokens| {
            let session = SessionId(u32::try_from(session).expect("few turns"));
            let blocks = table(before + query);
            batch
                .push(session, before, query, true, size, blocks)
                .map_err(|error| ExecutorError::Batch(error.to_string()))
        };
        for turn in 0..self.decodes {
            add(turn, self.context.saturating_sub(Tokens(1)), Tokens(1))?;
        }
        if self.new > Tokens::ZERO {
            add(self.decodes, self.prefix, self.new)?;
        }
        Ok(batch)
    }
}

/// Batches of every kind within these limits: decodes alone, chunks alone, both. Numbers of turns and
/// contexts are powers of two up to the limits, and the limits themselves.
///
/// So are chunks, but for a few tokens: kernels take rows in eights and fill up the last one, and a chunk
/// of a real load is hardly ever a multiple of that. So these leave half of one empty.
pub fn grid(reach: &Reach) -> Vec<Point> {
    let turns = doubling(1, reach.max_running.min(reach.token_budget));
    let contexts = doubling(64, reach.context.get());
    let chunks = doubling(8, reach.token_budget.min(reach.context.get()));
    let mut points = Vec::new();
    for &decodes in &turns {
        for &context in &contexts {
            points.push(Point {
                decodes,
                context: Tokens(context),
                ..Point::default()
            });
        }
    }
    for &new in &chunks {
        let new = off_tile(reach, new, 0);
        // As long as the context allows: what lies beyond would be extrapolated.
        let most = reach.context.get().saturating_sub(new);
        let prefixes = every_other(doubling(64, most.max(64)));
        for prefix in std::iter::once(0).chain(prefixes) {
            points.push(Point {
                prefix: Tokens(prefix),
                new: Tokens(new),
                ..Point::default()
            });
        }
    }
    // One turn is the chunk's.
    let beside = reach.max_running.min(reach.token_budget).saturating_sub(1);
    if beside > 0 {
        for &new in &chunks {
            for decodes in doubling(1, beside) {
                let point = mixed_point(reach, new, decodes, points.len());
                points.extend(point.filter(|point| !points.contains(point)));
            }
        }
    }
    points.retain(|point| point.fits(reach));
    points
}

/// A chunk of about `new` tokens, such that its rows and those of the decodes leave half a tile empty; one that
/// fills a step fills it.
fn off_tile(reach: &Reach, new: u64, decodes: u64) -> u64 {
    let most = reach.token_budget.saturating_sub(decodes);
    let tile = 8;
    if new.is_multiple_of(tile) && new < reach.token_budget {
        (new + tile / 2 - decodes % tile).min(most)
    } else {
        new.min(most)
    }
}

/// Turns beside a chunk, which is as much shorter as the budget wants. One context and one prefix a batch, by
/// turns: what they cost, the other batches tell. `None` if not even short ones fit.
fn mixed_point(reach: &Reach, new: u64, decodes: u64, at: usize) -> Option<Point> {
    let new = off_tile(reach, new, decodes);
    let lengths = doubling(64, reach.context.get());
    let fitting = |place: usize| {
        let point = Point {
            decodes,
            context: Tokens(lengths[(at + place) % lengths.len()]),
            prefix: Tokens([0, lengths[place / lengths.len()]][at % 2]),
            new: Tokens(new),
        };
        (new > 0 && point.fits(reach)).then_some(point)
    };
    (0..lengths.len() * lengths.len()).find_map(fitting)
}

/// `first`, twice that, and so on below `last`, then `last`.
fn doubling(first: u64, last: u64) -> Vec<u64> {
    let mut values: Vec<u64> = std::iter::successors(Some(first), |v| v.checked_mul(2))
        .take_while(|v| *v < last)
        .collect();
    values.push(last.max(1));
    values
}

/// The last, and every other before it.
fn every_other(values: Vec<u64>) -> Vec<u64> {
    let odd = values.len() % 2;
    let mut kept: Vec<u64> = (0..)
        .zip(values)
        .filter(|(at, _)| at % 2 != odd)
        .map(|(_, v)| v)
        .collect();
    kept.dedup();
    kept
}

/// Times every batch once a round. The order within a round is mixed, so that a disturbance of some
/// seconds does not hit neighbours alone; a first round that is not counted warms up. A batch that only
/// decodes comes several times and the last one counts: decodes follow decodes, and find their weights and
/// contexts in the caches. Right after a chunk they take a quarter longer. Each batch has the blocks that were
/// used longest ago: what a turn finds in KV after its tools is in no cache either.
///
/// `progress` is called before each batch, with how many rounds are done and how many batches of this one,
/// and says whether to go on. What was timed until then is kept, a batch with fewer times than others if
/// need be.
///
/// # Errors
/// What the executor says; nothing is kept then.
pub fn measure(
    executor: &mut dyn Executor,
    reach: &Reach,
    points: &[Point],
    rounds: NonZeroU32,
    mut progress: impl FnMut(u32, usize) -> bool,
) -> Result<Vec<Timed>, ExecutorError> {
    let mut timed: Vec<Timed> = points
        .iter()
        .map(|&point| Timed {
            point,
            times: Vec::new(),
            cpu: Vec::new(),
        })
        .collect();
    let order = mixed(points.len());
    let mut cursor = 0;
    'all: for round in 0..=rounds.get() {
        for (done, &at) in order.iter().enumerate() {
            if !progress(round, done) {
                break 'all;
            }
            let (time, cpu) = one(executor, reach, &points[at], &mut cursor)?;
            if round > 0 {
                timed[at].times.push(time);
                timed[at].cpu.push(cpu);
            }
        }
    }
    timed.retain(|t| !t.times.is_empty());
    for t in &mut timed {
        t.times.sort_unstable();
        t.cpu.sort_unstable();
    }
    Ok(timed)
}

/// Steps before a decode that counts. Fewer, and it takes what it takes after a chunk; many more, and it is faster
/// than where chunks come now and then.
const SETTLE: u32 = 2;

/// The time and the CPU time of one step.
fn one(
    executor: &mut dyn Executor,
    reach: &Reach,
    point: &Point,
    cursor: &mut u64,
) -> Result<(Nanos, Nanos), ExecutorError> {
    let vocabulary = u64::from(executor.vocabulary());
    let batch = point.batch(reach, cursor)?;
    let spread = |at: u64| u32::try_from(at.wrapping_mul(7_919) % vocabulary).unwrap_or(0);
    let tokens: Vec<u32> = (0..batch.positions.len() as u64).map(spread).collect();
    if point.new == Tokens::ZERO {
        for _ in 0..SETTLE {
            executor.step(&batch, &tokens)?;
        }
    }
    let (began, cpu) = (Instant::now(), cpu_time());
    executor.step(&batch, &tokens)?;
    Ok((nanos(began.elapsed()), cpu_time().saturating_sub(cpu)))
}

/// All places below `n`, each once, neighbours far apart.
fn mixed(n: usize) -> Vec<usize> {
    // The golden ratio's share of `n`, or the next number that has no divisor in common with it.
    let gcd = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let first = n * 618 / 1000;
    let step = (first..=first + n + 1).find(|&step| step > 0 && gcd(step, n) == 1);
    let step = step.unwrap_or(1);
    (0..n).map(|i| i * step % n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach() -> Reach {
        Reach {
            block_size: BlockSize::new(16).expect("not zero"),
            usable_blocks: Blocks(300),
            max_running: 16,
            token_budget: 256,
            context: Tokens(1024),
        }
    }

    #[test]
    fn the_grid_has_every_kind_and_stays_within_its_limits() {
        let reach = reach();
        let points = grid(&reach);
        let count = |holds: fn(&Point) -> bool| points.iter().filter(|p| holds(p)).count();
        let decodes = count(|p| p.new == Tokens::ZERO);
        let chunks = count(|p| p.decodes == 0);
        let both = count(|p| p.decodes > 0 && p.new > Tokens::ZERO);
        assert!(
            decodes >= 10 && chunks >= 10 && both >= 10,
            "{decodes} {chunks} {both}"
        );
        assert_eq!(decodes + chunks + both, points.len());
        for p in &points {
            assert!(p.decodes < 16 || p.new == Tokens::ZERO, "{p:?}");
            assert!(p.decodes + p.new.get() <= 256, "{p:?}");
            assert!(
                p.context <= Tokens(1024) && p.prefix + p.new <= Tokens(1024),
                "{p:?}"
            );
            assert!(p.blocks(reach.block_size) <= 300, "{p:?}");
        }
        // Beside every chunk that leaves room, every number of turns, and a full step beside the most.
        for decodes in [1, 2, 4, 8, 15] {
            let beside = points.iter().filter(|p| p.decodes == decodes);
            let chunks: Vec<u64> = beside.map(|p| p.new.get()).filter(|n| *n > 0).collect();
            let ladder = [8, 16, 32, 64, 128].map(|chunk| chunk + 4 - decodes % 8);
            assert_eq!(chunks[..5], ladder, "{decodes}");
            assert_eq!(chunks[5..], [256 - decodes], "{decodes}");
        }
        // The largest of each are in it: what is outside is extrapolated.
        assert!(points.iter().any(|p| p.decodes == 16));
        assert!(points.iter().any(|p| p.context == Tokens(1024)));
        assert!(points.iter().any(|p| p.new == Tokens(256)));
        let mut once = points.clone();
        once.sort_unstable_by_key(|p| (p.decodes, p.context, p.prefix, p.new));
        once.dedup();
        assert_eq!(once.len(), points.len(), "no batch twice");
    }

    #[test]
    fn turns_of_a_batch_have_blocks_of_their_own() {
        let point = Point {
            decodes: 2,
            context: Tokens(17),
            prefix: Tokens(16),
            new: Tokens(20),
        };
        let mut cursor = 0;
        let batch = point.batch(&reach(), &mut cursor).expect("fits");
        assert_eq!(batch.block_tables, [vec![1, 2], vec![3, 4], vec![5, 6, 7]]);
        // The next one has others, and after the last block comes the first.
        cursor = 297;
        let next = point.batch(&reach(), &mut cursor).expect("fits");
        let tables = [vec![298, 299], vec![300, 1], vec![2, 3, 4]];
        assert_eq!((next.block_tables, cursor), (tables.to_vec(), 4));
        assert_eq!(batch.starts, [0, 1, 2, 22]);
        // Position 16 of the first is the first place of its second block.
        assert_eq!((batch.positions[0], batch.slots[0]), (16, 2 * 16));
        assert_eq!(batch.sample_at, [0, 1, 21]);
    }

    #[test]
    fn a_grid_on_the_reference_is_timed_batch_by_batch() {
        let config = crate::model::preset("tiny").expect("a shape");
        let weights = crate::model::random(&config, 1, crate::model::Storage::F32);
        let reach = Reach {
            usable_blocks: Blocks(40),
            max_running: 2,
            token_budget: 16,
            context: Tokens(128),
            ..reach()
        };
        let mut executor =
            crate::reference::Candle::new(&weights, Blocks(41), reach.block_size).expect("fits");
        let points = grid(&reach);
        let rounds = NonZeroU32::new(2).expect("not zero");
        let timed = measure(&mut executor, &reach, &points, rounds, |_, _| true).expect("steps");
        assert!(timed.iter().map(|t| t.point).eq(points.iter().copied()));
        for t in &timed {
            assert_eq!((t.times.len(), t.cpu.len()), (2, 2), "{t:?}");
            assert!(t.median() > Nanos::ZERO && t.times.is_sorted());
        }
        // Stopped before the second round that counts: one time each.
        let mut until = |stop: (u32, usize)| {
            measure(&mut executor, &reach, &points, rounds, |round, done| {
                (round, done) < stop
            })
            .expect("steps")
        };
        let timed = until((2, 0));
        assert_eq!(timed.len(), points.len());
        assert!(timed.iter().all(|t| t.times.len() == 1));
        // Within the first that counts: the three batches that were timed, in the order of the points.
        let timed = until((1, 3));
        assert_eq!(timed.len(), 3);
        let places = timed
            .iter()
            .map(|t| points.iter().position(|p| *p == t.point));
        assert!(places.is_sorted());
        assert_eq!(until((1, 0)), []);
    }

    #[test]
    fn every_place_comes_once_and_neighbours_are_apart() {
        for n in [1_usize, 2, 3, 10, 97, 360] {
            let order = mixed(n);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..n), "{n}");
            let near = |pair: &[usize]| pair[0].abs_diff(pair[1]) <= 1;
            assert!(n < 10 || !order.windows(2).any(near), "{n}: {order:?}");
        }
    }
}
