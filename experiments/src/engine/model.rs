//! `--model` and `--executor`: what computes.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
#[cfg(not(feature = "cuda"))]
use anyhow::anyhow;
use engine::Executor;
use engine::cpu::{CpuExecutor, CpuOptions};
use engine::model::{ModelConfig, Weights};
use engine::reference::Candle;
use units::{BlockSize, Blocks};

use super::args::ExecutorKind;
use crate::failure::Failure;
use crate::output::note;

/// A model that is read and not yet on an executor.
#[derive(Debug)]
pub struct Model {
    /// As the user named it.
    pub name: String,
    /// SHA-256 of its file; `None` for random weights and for a folder.
    pub sha256: Option<String>,
    weights: Weights,
}

impl Model {
    /// Reads the model called `name`.
    ///
    /// # Errors
    /// Bad input: no such file, or one that is no model, with what is wrong in it.
    pub fn open(name: &str) -> Result<Self, Failure> {
        let path = if name.starts_with("random:") {
            PathBuf::from(name)
        } else {
            engine::fetch::find(name).map_err(Failure::bad_input)?
        };
        let weights = Weights::open(&path.to_string_lossy()).map_err(Failure::bad_input)?;
        let digest = path.is_file().then(|| engine::fetch::digest(&path));
        let digest = digest.transpose().map_err(Failure::bad_input)?;
        Ok(Self {
            name: name.to_owned(),
            sha256: digest.map(|(sha256, _)| sha256),
            weights,
        })
    }

    /// Its shape.
    pub fn config(&self) -> &ModelConfig {
        &self.weights.config
    }

    /// Its weights, counted.
    pub fn parameters(&self) -> u64 {
        self.weights.parameters()
    }

    /// An executor of it with KV for so many blocks.
    ///
    /// # Errors
    /// Bad input: a shape that the executor does not know, or more threads than can be had.
    pub fn executor(
        &self,
        kind: ExecutorKind,
        threads: NonZeroUsize,
        size: BlockSize,
        blocks: Blocks,
    ) -> Result<Box<dyn Executor>, Failure> {
        self.executor_in(kind, CpuOptions::fast(), threads, size, blocks)
    }

    /// The same, and how exactly `cpu` computes.
    ///
    /// # Errors
    /// As [`Model::executor`].
    pub fn executor_in(
        &self,
        kind: ExecutorKind,
        cpu: CpuOptions,
        threads: NonZeroUsize,
        size: BlockSize,
        blocks: Blocks,
    ) -> Result<Box<dyn Executor>, Failure> {
        let cannot = || format!("model `{}` cannot run on this executor", self.name);
        Ok(match kind {
            ExecutorKind::Cuda => match self.on_gpu(size, blocks) {
                Ok(executor) => executor,
                Err(why) => {
                    // The manifest names the executor that ran, so no result looks like a GPU's.
                    let line = format!("warning: no GPU ({why:#}); `cpu` computes instead");
                    note(false, &line);
                    return self.executor_in(ExecutorKind::Cpu, cpu, threads, size, blocks);
                }
            },
            ExecutorKind::Cpu => {
                let options = CpuOptions {
                    threads: Some(threads.get()),
                    ..cpu
                };
                let made = CpuExecutor::new(&self.weights, options, blocks, size);
                Box::new(made.with_context(cannot).map_err(Failure::bad_input)?)
            }
            // Candle has threads of its own.
            ExecutorKind::Candle => {
                let made = Candle::new(&self.weights, blocks, size);
                Box::new(made.with_context(cannot).map_err(Failure::bad_input)?)
            }
        })
    }
    #[cfg(not(feature = "cuda"))]
    #[expect(clippy::unused_self, reason = "it is used where there is a GPU")]
    fn on_gpu(&self, _: BlockSize, _: Blocks) -> anyhow::Result<Box<dyn Executor>> {
        Err(anyhow!(
            "this program is built without it: cargo build --release --features cuda"
        ))
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, size: BlockSize, blocks: Blocks) -> anyhow::Result<Box<dyn Executor>> {
        use engine::cuda::{CudaExecutor, Options, gpu::Gpu, nvrtc};

        let gpu = Gpu::open(0, &nvrtc::folder())?;
        let options = Options {
            blocks: blocks.get(),
            block_size: u32::try_from(size.tokens().get())?,
            invariant: false,
            graphs: true,
        };
        Ok(Box::new(CudaExecutor::new(gpu, &self.weights, options)?))
    }
}
