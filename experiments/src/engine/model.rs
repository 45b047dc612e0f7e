//! `--model` and `--executor`: what computes.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use engine::Executor;
use engine::cpu::{CpuExecutor, CpuOptions};
use engine::model::{ModelConfig, Weights};
use engine::reference::Candle;
use units::{BlockSize, Blocks};

use super::args::ExecutorKind;
use crate::failure::Failure;

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
        let cannot = || format!("model `{}` cannot run on this executor", self.name);
        Ok(match kind {
            ExecutorKind::Cpu => {
                let options = CpuOptions {
                    threads: Some(threads.get()),
                    ..CpuOptions::fast()
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
}
