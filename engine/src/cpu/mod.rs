//! Executor `cpu`: the fast one, on vector instructions and paged KV.
//!
//! What: [`CpuExecutor`] runs mixed steps of decodes and prefill chunks. `linear` multiplies by packed
//! weights ([`Mode`]: `f32`, `bf16`, `int8`), `attention` reads KV through block tables ([`KvFormat`]),
//! `norm` and `moe` do what stands between, `simd` holds the instructions ([`Isa`]), `threads` the
//! executor's own pool.
//! Why: every kernel fixes the order in which one token's numbers are added up. So logits are the same
//! bits however a prompt was cut into chunks, whatever else was in the batch, on any number of threads
//! and with any of the instruction sets: in each mode, not only in the exact one.
//! Limits: heads up to 256 wide; copies to host memory are done when `begin_copy` returns, since here
//! both memories are the same.

#![allow(
    clippy::inline_always,
    clippy::wildcard_imports,
    reason = "a kernel is compiled for its instructions only where it is inlined; intrinsics are many"
)]
#![allow(
    clippy::many_single_char_names,
    clippy::similar_names,
    clippy::needless_range_loop,
    reason = "the notation of linear algebra, and register tiles that are indexed together"
)]

mod attention;
mod check;
mod forward;
mod host;
mod kv;
mod linear;
mod moe;
mod norm;
mod packed;
mod sample;
mod simd;
mod threads;

pub use kv::KvFormat;
pub use linear::Mode;
pub use simd::Isa;

use units::{BlockSize, Blocks, Bytes, SessionId};

use crate::batch::Batch;
use crate::executor::{Copy, Executor, ExecutorError, Sampled};
use crate::model::{ModelConfig, Weights};
use check::Limits;
use forward::{Buffers, forward};
use host::Host;
use kv::{Cache, Shape};
use linear::On;
use packed::Packed;
use threads::Threads;

/// How a [`CpuExecutor`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuOptions {
    /// How weights are held.
    pub mode: Mode,
    /// How keys and values are held.
    pub kv: KvFormat,
    /// Threads, at least 1; `None`: one less than the processor has cores.
    pub threads: Option<usize>,
    /// Instructions; where the processor does not have them, the portable way is taken.
    pub isa: Isa,
}

impl CpuOptions {
    /// As near to the reference as single precision is.
    pub fn exact() -> Self {
        Self {
            mode: Mode::F32,
            kv: KvFormat::F32,
            threads: None,
            isa: Isa::best(),
        }
    }

    /// Bytes for weights, brain floats for KV.
    pub fn fast() -> Self {
        Self {
            mode: Mode::Int8,
            kv: KvFormat::Bf16,
            ..Self::exact()
        }
    }
}

/// KV of either format.
#[derive(Debug)]
enum Kv {
    F32(Cache<f32>, Host<f32>),
    Bf16(Cache<u16>, Host<u16>),
}

/// The same call on either format.
macro_rules! either {
    ($kv:expr, ($cache:ident, $host:ident) => $call:expr) => {
        match $kv {
            Kv::F32($cache, $host) => $call,
            Kv::Bf16($cache, $host) => $call,
        }
    };
}

/// A model and its paged KV on this machine's processor.
#[derive(Debug)]
pub struct CpuExecutor {
    options: CpuOptions,
    threads: Threads,
    model: Packed,
    limits: Limits,
    shape: Shape,
    kv: Kv,
    buffers: Buffers,
    ended: Vec<u64>,
}

impl CpuExecutor {
    /// Packs a model and reserves `blocks` blocks of `block_size` tokens.
    ///
    /// # Errors
    /// [`ExecutorError::Device`] if the model has a shape that the kernels do not know, or threads
    /// cannot be had; [`ExecutorError::Tensor`] if a quantised tensor cannot be unpacked.
    pub fn new(
        weights: &Weights,
        options: CpuOptions,
        blocks: Blocks,
        block_size: BlockSize,
    ) -> Result<Self, ExecutorError> {
        let threads = Threads::new(options.threads.unwrap_or_else(Threads::default_count))?;
        let model = Packed::new(weights, options.mode, &threads)?;
        let too_many = |what: &str| ExecutorError::Device {
            device: "cpu".to_owned(),
            doing: "reserving KV blocks".to_owned(),
            what: format!("{what} do not fit this processor's indices"),
        };
        let shape = shape(&model.config, blocks, block_size).map_err(too_many)?;
        let limits = Limits {
            vocabulary: u32::try_from(model.config.vocabulary)
                .map_err(|_| too_many("tokens of the vocabulary"))?,
            blocks: u32::try_from(shape.blocks).map_err(|_| too_many("blocks"))?,
            block_size: block_size.tokens().get(),
        };
        let kv = match options.kv {
            KvFormat::F32 => Kv::F32(Cache::new(shape), Host::default()),
            KvFormat::Bf16 => Kv::Bf16(Cache::new(shape), Host::default()),
        };
        Ok(Self {
            options,
            buffers: Buffers::new(&model),
            threads,
            model,
            limits,
            shape,
            kv,
            ended: Vec::new(),
        })
    }

    /// Size of one KV block of such a model over all layers: what [`Executor::block_bytes`] says of an
    /// executor, without one.
    ///
    /// # Panics
    /// If a block has more tokens than this processor's indices.
    pub fn kv_block_bytes(config: &ModelConfig, kv: KvFormat, size: BlockSize) -> Bytes {
        let one = shape(config, Blocks(1), size).expect("a block is in memory");
        block_bytes(&one, kv)
    }

    /// How it computes, threads and instructions as they really are.
    pub fn options(&self) -> CpuOptions {
        CpuOptions {
            threads: Some(self.threads.count()),
            isa: if self.options.isa.is_here() {
                self.options.isa
            } else {
                Isa::Portable
            },
            ..self.options
        }
    }

    /// Bytes of weights that a step at batch 1 reads: divided by its time, the memory's speed.
    pub fn weight_bytes_per_step(&self) -> Bytes {
        Bytes(self.model.bytes_per_step() as u64)
    }
}

impl Executor for CpuExecutor {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn step(&mut self, batch: &Batch, tokens: &[u32]) -> Result<Sampled, ExecutorError> {
        check::check(batch, tokens, self.limits)?;
        let Self {
            options,
            threads,
            model,
            kv,
            buffers,
            ..
        } = self;
        let on = On {
            isa: options.isa,
            threads,
        };
        let mode = options.mode;
        threads.enter(|| {
            either!(kv, (cache, _host) => forward(&on, mode, model, cache, (batch, tokens), buffers));
        });
        sample::greedy(batch, &buffers.logits, model.config.vocabulary)
    }

    fn logits(&mut self) -> Result<Vec<f32>, ExecutorError> {
        Ok(self.buffers.logits.clone())
    }

    fn begin_copy(&mut self, copy: &Copy) -> Result<(), ExecutorError> {
        if let Some(block) = copy.blocks.iter().find(|b| **b >= self.limits.blocks) {
            return Err(ExecutorError::Copy {
                id: copy.id,
                session: copy.session,
                what: format!("block {block} of {}", self.limits.blocks),
            });
        }
        either!(&mut self.kv, (cache, host) => host.copy(cache, copy))?;
        self.ended.push(copy.id);
        Ok(())
    }

    fn ended_copies(&mut self) -> Result<Vec<u64>, ExecutorError> {
        Ok(std::mem::take(&mut self.ended))
    }

    fn forget(&mut self, session: SessionId) {
        either!(&mut self.kv, (_cache, host) => host.forget(session));
    }

    fn poison(&mut self, blocks: &[u32]) -> Result<(), ExecutorError> {
        if let Some(block) = blocks.iter().find(|b| **b >= self.limits.blocks) {
            let what = format!("block {block} of {} cannot be poisoned", self.limits.blocks);
            return Err(ExecutorError::Batch(what));
        }
        either!(&mut self.kv, (cache, _host) => cache.poison(blocks));
        Ok(())
    }

    fn block_bytes(&self) -> Bytes {
        block_bytes(&self.shape, self.options.kv)
    }

    fn vocabulary(&self) -> u32 {
        self.limits.vocabulary
    }
}

/// Where KV lies; what does not fit this processor's indices otherwise.
fn shape(config: &ModelConfig, blocks: Blocks, size: BlockSize) -> Result<Shape, &'static str> {
    Ok(Shape {
        layers: config.layers,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim,
        blocks: usize::try_from(blocks.get()).map_err(|_| "blocks")?,
        block_size: usize::try_from(size.tokens().get()).map_err(|_| "tokens of a block")?,
    })
}

fn block_bytes(shape: &Shape, kv: KvFormat) -> Bytes {
    let vector = match kv {
        KvFormat::F32 => size_of::<[f32; simd::LANES]>(),
        KvFormat::Bf16 => size_of::<[u16; simd::LANES]>(),
    };
    Bytes((shape.block_vectors() * vector) as u64)
}

#[cfg(test)]
mod tests;
