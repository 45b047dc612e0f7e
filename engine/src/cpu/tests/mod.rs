//! The whole executor, on tiny random models: against an oracle, and its laws.

mod laws;
mod oracle;

use units::{BlockSize, Blocks, SessionId, Tokens};

use super::*;
use crate::batch::Row;
use crate::model::{Storage, preset, random};

/// The shapes of one family, one a test.
const SHAPES: [&str; 4] = ["tiny", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3moe"];

fn weights(shape: &str) -> Weights {
    random(&preset(shape).expect("a preset"), 7, Storage::F32)
}

fn executor(weights: &Weights, options: CpuOptions, block_size: u64) -> CpuExecutor {
    let size = BlockSize::new(block_size).expect("not zero");
    CpuExecutor::new(weights, options, Blocks(64), size).expect("a model that packs")
}

fn exact() -> CpuOptions {
    CpuOptions {
        threads: Some(1),
        ..CpuOptions::exact()
    }
}

/// A batch made by hand.
struct Steps {
    size: u64,
    batch: Batch,
    tokens: Vec<u32>,
}

impl Steps {
    fn new(size: u64) -> Self {
        Self {
            size,
            batch: Batch {
                starts: vec![0],
                ..Batch::default()
            },
            tokens: Vec::new(),
        }
    }

    /// Tokens of a session from position `from` on; the last is sampled.
    fn row(mut self, session: u32, table: &[u32], from: usize, tokens: &[u32]) -> Self {
        let end = (from + tokens.len()) as u64;
        for position in from as u64..end {
            let block = table[usize::try_from(position / self.size).expect("small")];
            self.batch.positions.push(position);
            self.batch
                .slots
                .push(u64::from(block) * self.size + position % self.size);
        }
        self.tokens.extend(tokens);
        let n = self.tokens.len() as u64;
        self.batch.starts.push(n);
        self.batch.sample_at.push(n - 1);
        self.batch.block_tables.push(table.to_vec());
        self.batch.rows.push(Row {
            session: SessionId(session),
            query: Tokens(tokens.len() as u64),
            context: Tokens(end),
            samples: true,
        });
        self
    }

    /// Logits of all rows.
    fn run(&self, on: &mut CpuExecutor) -> Vec<f32> {
        on.step(&self.batch, &self.tokens).expect("a step");
        on.logits().expect("logits")
    }
}

/// Token ids from a seed.
fn text(n: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % 256
    };
    (0..n).map(|_| next()).collect()
}

/// Blocks of the pool in an order that is not theirs.
fn blocks(n: u32, from: u32) -> Vec<u32> {
    (0..n).map(|i| (from + i * 37) % 64).collect()
}
