//! `--model` and `--executor`: what computes.
//!
//! Why lazily: random weights of a large shape take tens of gigabytes and minutes on the host, and a GPU
//! makes its own.
//! Limits: the same seed gives other weights on a GPU than on the host; no time depends on them.

use std::cell::OnceCell;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
#[cfg(not(feature = "cuda"))]
use anyhow::anyhow;
use engine::Executor;
use engine::cpu::{CpuExecutor, CpuOptions, Mode};
use engine::cuda::PrefillAttention;
#[cfg(feature = "cuda")]
use engine::cuda::{CudaExecutor, gpu::Gpu};
use engine::model::{ModelConfig, RandomModel, Weights};
use engine::reference::Candle;
use units::{BlockSize, Blocks, Bytes};

use super::args::ExecutorKind;
use super::prefill::PrefillChoice;
#[cfg(feature = "cuda")]
use super::trial::{self, Settled};
use crate::failure::Failure;
use crate::memory;
use crate::output::note;

/// A model that is not yet on an executor.
#[derive(Debug)]
pub struct Model {
    /// As the user named it.
    pub name: String,
    /// SHA-256 of its file; `None` for random weights and for a folder.
    pub sha256: Option<String>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// From a file.
    Read(Weights),
    /// Random, in host memory once somebody needs them there.
    Random(RandomModel, OnceCell<Weights>),
}

/// On what a model is to run.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What computes.
    pub kind: ExecutorKind,
    /// How `cpu` computes, if that is it or what stands in for it.
    pub cpu: CpuOptions,
    /// Tokens of a KV block.
    pub size: BlockSize,
    /// What computes prefill attention on a GPU.
    pub prefill: PrefillAttention,
}

impl Place {
    /// On so many threads, if threads are what computes, as fast as can be.
    pub fn new(kind: ExecutorKind, threads: NonZeroUsize, size: BlockSize) -> Self {
        let cpu = CpuOptions {
            threads: Some(threads.get()),
            ..CpuOptions::fast()
        };
        Self {
            kind,
            cpu,
            size,
            prefill: PrefillAttention::Auto,
        }
    }
}

/// A model on an executor.
pub struct Placed {
    /// What computes.
    pub executor: Box<dyn Executor>,
    /// Its kernel of prefill attention; only where there is a choice, which is on a GPU.
    pub prefill: Option<PrefillChoice>,
}

impl std::fmt::Debug for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Placed")
            .field("executor", &self.executor.name())
            .field("prefill", &self.prefill)
            .finish()
    }
}

impl Placed {
    fn host(executor: Box<dyn Executor>) -> Self {
        Self {
            executor,
            prefill: None,
        }
    }
}

/// How many blocks the KV pool gets, once the bytes of a block are known.
pub type Pool<'a> = &'a dyn Fn(Bytes) -> Result<Blocks, Failure>;

impl Model {
    /// Reads the model called `name`; random weights are not made yet.
    ///
    /// # Errors
    /// Bad input: no such file, or one that is no model, with what is wrong in it.
    pub fn open(name: &str) -> Result<Self, Failure> {
        let random = RandomModel::named(name).map_err(Failure::bad_input)?;
        if let Some(random) = random {
            return Ok(Self {
                name: name.to_owned(),
                sha256: None,
                source: Source::Random(random, OnceCell::new()),
            });
        }
        let path: PathBuf = engine::fetch::find(name).map_err(Failure::bad_input)?;
        let weights = Weights::open(&path.to_string_lossy()).map_err(Failure::bad_input)?;
        let digest = path.is_file().then(|| engine::fetch::digest(&path));
        let digest = digest.transpose().map_err(Failure::bad_input)?;
        Ok(Self {
            name: name.to_owned(),
            sha256: digest.map(|(sha256, _)| sha256),
            source: Source::Read(weights),
        })
    }

    /// Its shape.
    pub fn config(&self) -> &ModelConfig {
        match &self.source {
            Source::Read(weights) => &weights.config,
            Source::Random(random, _) => &random.config,
        }
    }

    /// Its weights, counted.
    pub fn parameters(&self) -> u64 {
        match &self.source {
            Source::Read(weights) => weights.parameters(),
            Source::Random(random, _) => random.config.parameters(),
        }
    }

    /// Its weights in host memory, made if they are not.
    fn weights(&self) -> &Weights {
        match &self.source {
            Source::Read(weights) => weights,
            Source::Random(random, made) => made.get_or_init(|| random.weights()),
        }
    }

    /// Bytes of host memory that its weights still have to take.
    fn unmade(&self) -> u64 {
        match &self.source {
            Source::Random(random, made) if made.get().is_none() => random.bytes(),
            _ => 0,
        }
    }

    /// An executor of it with KV for as many blocks as `pool` says. Without a GPU `cpu` stands in for
    /// `cuda`, with a warning; [`Executor::name`] says what it is.
    ///
    /// # Errors
    /// Bad input: a model or a pool beyond the machine's memory, before any of it is made; a shape that
    /// the executor does not know; more threads than can be had; what `pool` says.
    pub fn executor(&self, place: Place, pool: Pool<'_>) -> Result<Box<dyn Executor>, Failure> {
        Ok(self.placed(place, pool)?.executor)
    }

    /// As [`Model::executor`], with what was chosen on the way.
    ///
    /// # Errors
    /// As there.
    pub fn placed(&self, place: Place, pool: Pool<'_>) -> Result<Placed, Failure> {
        let on_host = |place| {
            self.on_host(place, pool, memory::available())
                .map(Placed::host)
        };
        if place.kind != ExecutorKind::Cuda {
            return on_host(place);
        }
        // Before this process has a context: a GPU may take one process at a time.
        #[cfg(feature = "cuda")]
        let settled = trial::of_model(place.prefill, self.config(), block_tokens(place.size)?);
        match open_gpu() {
            #[cfg(feature = "cuda")]
            Ok(gpu) => {
                let per_block = engine::cuda::block_bytes(self.config(), block_tokens(place.size)?);
                let blocks = pool(Bytes(per_block))?;
                let (executor, prefill) = self.on_gpu(gpu, place.size, blocks, &settled)?;
                Ok(Placed {
                    executor: Box::new(executor),
                    prefill: Some(prefill),
                })
            }
            #[cfg(not(feature = "cuda"))]
            Ok(never) => match never {},
            Err(why) => {
                // The manifest names the executor that ran, so no result looks like a GPU's.
                let line = format!("warning: no GPU ({why:#}); `cpu` computes instead");
                note(false, &line);
                let place = Place {
                    kind: ExecutorKind::Cpu,
                    ..place
                };
                on_host(place)
            }
        }
    }

    /// On the processor, in `have` bytes of memory.
    fn on_host(
        &self,
        place: Place,
        pool: Pool<'_>,
        have: Option<u64>,
    ) -> Result<Box<dyn Executor>, Failure> {
        let Place {
            kind, cpu, size, ..
        } = place;
        let candle = kind == ExecutorKind::Candle;
        let per_block = if candle {
            Candle::kv_block_bytes(self.config(), size)
        } else {
            CpuExecutor::kv_block_bytes(self.config(), cpu.kv, size)
        };
        let blocks = pool(per_block)?;
        let copy = if candle { Mode::F32 } else { cpu.mode };
        let parts = [
            ("weights", self.unmade()),
            (
                "the executor's copy of them",
                packed(copy, self.parameters()),
            ),
            ("KV", per_block.get().saturating_mul(blocks.get())),
        ];
        let what = format!("model `{}` on the processor", self.name);
        let hint = "a smaller shape or a smaller KV pool; a GPU makes random weights in its own memory \
                    (`cuda`)";
        memory::fits(&what, &parts, have, hint)?;
        let cannot = || self.cannot();
        Ok(if candle {
            // Candle has threads of its own.
            let made = Candle::new(self.weights(), blocks, size);
            Box::new(made.with_context(cannot).map_err(Failure::bad_input)?)
        } else {
            let made = CpuExecutor::new(self.weights(), cpu, blocks, size);
            Box::new(made.with_context(cannot).map_err(Failure::bad_input)?)
        })
    }

    fn cannot(&self) -> String {
        format!("model `{}` cannot run on this executor", self.name)
    }

    /// On this GPU, which makes random weights itself; and what computes prefill attention.
    ///
    /// # Errors
    /// Bad input: a model and a pool beyond the GPU's memory, a shape that the kernels do not know. What
    /// the device says.
    #[cfg(feature = "cuda")]
    pub fn on_gpu(
        &self,
        gpu: Gpu,
        size: BlockSize,
        blocks: Blocks,
        prefill: &Settled,
    ) -> Result<(CudaExecutor<Gpu>, PrefillChoice), Failure> {
        use engine::cuda::{Options, block_bytes};

        let block_size = block_tokens(size)?;
        let options = Options {
            blocks: blocks.get(),
            block_size,
            invariant: false,
            graphs: true,
            prefill: prefill.asked,
        };
        let (free, _) = gpu.memory().map_err(Failure::bad_input)?;
        let kv = block_bytes(self.config(), block_size).saturating_mul(blocks.get());
        let parts = [("weights", 2 * self.parameters()), ("KV", kv)];
        let what = format!("model `{}` on the GPU", self.name);
        memory::fits(&what, &parts, Some(free), "a smaller KV pool")?;
        let made = match &self.source {
            Source::Read(weights) => CudaExecutor::new(gpu, weights, options),
            Source::Random(random, _) => {
                CudaExecutor::random(gpu, random.config.clone(), random.seed, options)
            }
        };
        let executor = made
            .with_context(|| self.cannot())
            .map_err(Failure::bad_input)?;
        // Of a kernel asked for by name an executor knows no more than that.
        let decision = prefill.tried.as_ref().unwrap_or(executor.prefill());
        super::prefill::warn_of(decision);
        let choice = decision.into();
        Ok((executor, choice))
    }
}

/// Bytes of so many weights as the processor's executors hold them.
fn packed(mode: Mode, parameters: u64) -> u64 {
    match mode {
        Mode::F32 => 4 * parameters,
        Mode::Bf16 => 2 * parameters,
        // A byte, and a scale and a least of two each for every 32.
        Mode::Int8 => parameters + parameters / 8,
    }
}

#[cfg(not(feature = "cuda"))]
fn open_gpu() -> anyhow::Result<std::convert::Infallible> {
    Err(anyhow!(
        "this program is built without it: cargo build --release --features cuda"
    ))
}

#[cfg(feature = "cuda")]
fn open_gpu() -> anyhow::Result<Gpu> {
    Ok(Gpu::open(0, &engine::cuda::nvrtc::folder())?)
}

#[cfg(feature = "cuda")]
fn block_tokens(size: BlockSize) -> Result<u32, Failure> {
    u32::try_from(size.tokens().get()).map_err(Failure::bad_input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: ExecutorKind) -> Place {
        Place::new(kind, NonZeroUsize::MIN, BlockSize::default())
    }

    fn made(model: &Model) -> bool {
        model.unmade() == 0
    }

    #[test]
    fn random_weights_are_made_when_a_processor_needs_them_and_are_those_of_the_name() {
        let model = Model::open("random:tiny:3").expect("a shape");
        let weights = Weights::open("random:tiny:3").expect("a shape");
        assert_eq!(model.parameters(), weights.parameters());
        assert!(!made(&model));
        for kind in [ExecutorKind::Cpu, ExecutorKind::Candle] {
            let executor = model
                .executor(place(kind), &|_| Ok(Blocks(4)))
                .expect("fits");
            assert_eq!(executor.vocabulary(), 256);
            assert!(made(&model));
        }
        let values = |w: &Weights| w.layers[1].o.to_f32().expect("floats");
        assert_eq!(values(model.weights()), values(&weights));
    }

    #[test]
    fn a_pool_is_told_what_a_block_of_its_executor_takes() {
        let model = Model::open("random:tiny").expect("a shape");
        // 2 layers, keys and values, 2 KV heads of 16, 16 tokens: brain floats on `cpu`, floats on `candle`.
        for (kind, bytes) in [(ExecutorKind::Cpu, 4096), (ExecutorKind::Candle, 8192)] {
            let executor = model.executor(place(kind), &|per_block| {
                assert_eq!(per_block, Bytes(bytes));
                Ok(Blocks(2))
            });
            assert_eq!(executor.expect("fits").block_bytes(), Bytes(bytes));
        }
    }

    #[test]
    fn a_shape_beyond_memory_is_refused_before_anything_is_made() {
        let model = Model::open("random:llama-3.1-8b").expect("a shape");
        let on = |kind, have| model.on_host(place(kind), &|_| Ok(Blocks(8192)), Some(have));
        // 8,030,261,248 parameters: 2 bytes each, 1.125 packed. A token's KV is 65,536 values of 2 bytes, and
        // 8192 blocks of 16 tokens are 16 GiB.
        let need = 16_060_522_496 + 9_034_043_904 + (16 << 30);
        let refused = on(ExecutorKind::Cpu, need - 1)
            .err()
            .expect("a byte too little");
        let text = refused.error.to_string();
        assert!(
            text.starts_with(
                "model `random:llama-3.1-8b` on the processor needs 39.3 GiB (weights 14.9 GiB, the \
                 executor's copy of them 8.4 GiB, KV 16.0 GiB), and 39.3 GiB can be had\nhint: "
            ),
            "{text}"
        );
        assert_eq!(refused.exit, crate::failure::Exit::BadInput);
        // Floats of four bytes, the copy and KV alike: more than what `cpu` needs.
        assert!(on(ExecutorKind::Candle, need).is_err());
        assert!(!made(&model));
    }
}
