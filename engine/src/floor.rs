//! How fast a step could be: the limits of a machine, and what a step has to read and to multiply.
//!
//! What: [`Work`] counts a step's work and gives its floor on a [`Machine`]; [`host`] measures the machine
//! that this runs on, [`offload`] the copies of KV blocks.
//! Why: a time says little without the time that the hardware's limits allow.
//! Limits: a floor counts weights and KV once, and no activations.

use std::hint::black_box;
use std::time::Instant;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use units::SessionId;

use crate::executor::{Copy, Executor, ExecutorError, Way};
use crate::model::ModelConfig;

/// What limits the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Bytes per second that can be read from memory.
    pub bytes_per_s: f64,
    /// Additions and multiplications per second.
    pub flops: f64,
    /// Bytes of one weight as the executor holds it.
    pub weight_bytes: f64,
    /// Bytes of one value of KV.
    pub kv_bytes: f64,
}

/// What a step has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Weights that are read.
    pub weights: f64,
    /// Values of KV that are read or written.
    pub kv: f64,
    /// Additions and multiplications.
    pub flops: f64,
}

#[expect(clippy::cast_precision_loss, reason = "counts, for a floor")]
fn real(n: usize) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts, for a floor")]
fn count(n: u64) -> f64 {
    n as f64
}

impl Work {
    /// Work of a step of `tokens` tokens, of which `samples` are sampled, that look at `pairs` tokens and
    /// whose rows have `context` tokens in KV.
    ///
    /// Of a layer with experts those are read that somebody is sent to; tokens are taken to choose evenly and
    /// independently, so `experts * (1 - (1 - active / experts) ^ tokens)` of them.
    pub fn of(config: &ModelConfig, tokens: u64, samples: u64, pairs: f64, context: u64) -> Self {
        let hidden = real(config.hidden);
        let query = real(config.heads * config.head_dim);
        let kv = real(config.kv_heads * config.head_dim);
        let attention = hidden * (2.0 * query + 2.0 * kv);
        let (read, used) = match &config.moe {
            None => {
                let dense = 3.0 * hidden * real(config.ff);
                (dense, dense)
            }
            Some(moe) => {
                let (all, active) = (real(moe.experts), real(moe.active));
                let one = 3.0 * hidden * real(moe.ff);
                let reached = all * (1.0 - (1.0 - active / all).powf(count(tokens)));
                let router = all * hidden;
                (reached * one + router, active * one + router)
            }
        };
        let layers = real(config.layers);
        let head = real(config.vocabulary) * hidden;
        Self {
            weights: layers * (attention + read) + if samples > 0 { head } else { 0.0 },
            kv: real(config.kv_values_per_token()) * count(context),
            flops: 2.0 * (count(tokens) * layers * (attention + used) + count(samples) * head)
                + 4.0 * layers * query * pairs,
        }
    }

    /// Milliseconds below which the machine cannot be: memory and arithmetic at the same time.
    pub fn floor_ms(&self, machine: &Machine) -> f64 {
        let bytes = self.weights * machine.weight_bytes + self.kv * machine.kv_bytes;
        1e3 * (bytes / machine.bytes_per_s).max(self.flops / machine.flops)
    }
}

/// The machine that this runs on: reading memory and multiplying 32-bit floats with all threads, the best
/// of a few tries each. Weights and values of KV are said to have four bytes; set what the executor has.
///
/// # Errors
/// What the tensor library says.
pub fn host() -> Result<Machine, ExecutorError> {
    // Far larger than caches.
    let memory = vec![1_u64; 32 << 20];
    let read = best(3, || {
        black_box(
            memory
                .par_chunks(1 << 16)
                .map(|c| c.iter().sum::<u64>())
                .sum::<u64>(),
        );
        Ok(())
    })?;
    let side = 1024_u32;
    let matrix = Tensor::ones((1024, 1024), candle_core::DType::F32, &Device::Cpu)?;
    let multiply = best(4, || {
        black_box(matrix.matmul(&matrix)?);
        Ok(())
    })?;
    Ok(Machine {
        bytes_per_s: f64::from(256 << 20) / read,
        flops: 2.0 * f64::from(side).powi(3) / multiply,
        weight_bytes: 4.0,
        kv_bytes: 4.0,
    })
}

/// Seconds of the quickest try, after one that is not counted.
fn best(
    tries: u32,
    mut work: impl FnMut() -> Result<(), ExecutorError>,
) -> Result<f64, ExecutorError> {
    work()?;
    let mut best = f64::INFINITY;
    for _ in 0..tries {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Milliseconds of a copy of blocks 1 to `blocks` to host memory and of one back. One to the host is
/// done before and not counted: memory is made then.
///
/// # Errors
/// The executor's own.
pub fn offload(executor: &mut dyn Executor, blocks: u32) -> Result<[f64; 2], ExecutorError> {
    let session = SessionId(0);
    let mut run = |id, way| -> Result<f64, ExecutorError> {
        let start = Instant::now();
        executor.begin_copy(&Copy {
            id,
            session,
            way,
            blocks: (1..=blocks).collect(),
            first: 0,
        })?;
        while executor.ended_copies()?.is_empty() {
            std::thread::yield_now();
        }
        Ok(1e3 * start.elapsed().as_secs_f64())
    };
    run(u64::MAX, Way::ToHost)?;
    let times = [
        run(u64::MAX - 1, Way::ToHost)?,
        run(u64::MAX - 2, Way::ToDevice)?,
    ];
    executor.forget(session);
    Ok(times)
}

#[cfg(test)]
mod tests {
    use units::{BlockSize, Blocks};

    use super::*;
    use crate::model::{Moe, Storage, preset, random};
    use crate::reference::Candle;

    #[test]
    fn copies_of_a_real_executor_take_time() {
        let weights = random(&preset("tiny").expect("a preset"), 1, Storage::F32);
        let size = BlockSize::new(16).expect("not zero");
        let mut executor = Candle::new(&weights, Blocks(9), size).expect("an executor");
        let [out, back] = offload(&mut executor, 8).expect("copies");
        assert!(out > 0.0 && back > 0.0);
        assert!(
            offload(&mut executor, 9).is_err(),
            "the pool ends at block 8"
        );
    }

    #[test]
    fn work_is_what_the_formulas_say() {
        // By hand: layers of 64 x (64 + 2 * 32 + 64) for attention and 3 x 64 x 128 behind it.
        let tiny = preset("tiny").expect("a preset");
        let work = Work::of(&tiny, 1, 1, 10.0, 10);
        let layer = 64.0 * 192.0 + 3.0 * 64.0 * 128.0;
        assert!((work.weights - (2.0 * layer + 256.0 * 64.0)).abs() < 1e-6);
        assert!((work.kv - 2.0 * 2.0 * 32.0 * 10.0).abs() < 1e-6);
        let multiplied = 2.0 * work.weights + 4.0 * 2.0 * 64.0 * 10.0;
        assert!((work.flops - multiplied).abs() < 1e-6);
        let machine = Machine {
            bytes_per_s: 1e9,
            flops: 1e12,
            weight_bytes: 2.0,
            kv_bytes: 2.0,
        };
        let bytes = 2.0 * (work.weights + work.kv);
        assert!((work.floor_ms(&machine) - bytes / 1e6).abs() < 1e-9);
        let slow = Machine {
            flops: 1e6,
            ..machine
        };
        assert!((work.floor_ms(&slow) - work.flops / 1e3).abs() < 1e-6);
    }

    #[test]
    fn one_token_reads_its_own_experts_and_many_read_all() {
        let config = ModelConfig {
            moe: Some(Moe {
                experts: 8,
                active: 2,
                ff: 64,
                normalise: true,
            }),
            ..preset("tiny").expect("a preset")
        };
        let weights = |tokens| Work::of(&config, tokens, 0, 0.0, 0).weights;
        let expert = 2.0 * 3.0 * 64.0 * 64.0;
        let apart = weights(1) - 2.0 * expert;
        assert!((weights(1000) - apart - 8.0 * expert).abs() < 1.0);
        // Two tokens: 8 (1 - (3/4)^2) = 3.5.
        assert!((weights(2) - apart - 3.5 * expert).abs() < 1e-6);
    }
}
