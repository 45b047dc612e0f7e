//! The real engine: an executor with its model and KV, on its cores.

use anyhow::anyhow;
use engine::Executor as _;
use engine::drive::pin_to;
use engine::model::ModelConfig;
use scheduler::Config;
use units::{Blocks, Tokens};

use super::args::Engine;
use super::watch::Watched;
use crate::engine::model::{Model, Place};
use crate::failure::Failure;

/// An engine that is ready.
pub struct Bench {
    /// What it is.
    pub engine: Engine,
    /// It at work.
    pub executor: Watched,
    /// Share of a mixture's experts that a token goes through; 1 for a dense model.
    pub active_share: f64,
    /// The model in words.
    pub model: String,
    /// The model in numbers.
    pub shape: ModelConfig,
    /// Size of its weights as they are computed with, GiB.
    pub weights_gib: f64,
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

impl Bench {
    /// Moves this thread to the engine's cores, loads the model and reserves its KV.
    ///
    /// # Errors
    /// Bad input: cores that are not there, a model that cannot be loaded or does not fit.
    pub fn open(engine: Engine) -> Result<Self, Failure> {
        pin_to(&engine.cores.engine).map_err(Failure::bad_input)?;
        let weights = Model::open(&engine.weights)?;
        let most = weights.config().context_length as u64;
        if engine.context.get() > most {
            return Err(Failure::bad_input(anyhow!(
                "`--context` is {} (wanted: at most {most}, which is what `{}` takes)",
                engine.context.get(),
                engine.weights
            )));
        }
        // The null block besides.
        let blocks = Blocks(engine.blocks + 1);
        let place = Place {
            prefill: engine.prefill,
            ..Place::new(engine.executor, engine.threads, engine.block_size)
        };
        let executor = weights.executor(place, &|_| Ok(blocks))?;
        let c = weights.config();
        #[expect(clippy::cast_precision_loss, reason = "counts of experts")]
        let active_share = c
            .moe
            .as_ref()
            .map_or(1.0, |moe| moe.active as f64 / moe.experts as f64);
        let model = format!(
            "{}: {}, {} layers, width {}, {} heads on {} of KV, vocabulary {}",
            engine.weights, c.architecture, c.layers, c.hidden, c.heads, c.kv_heads, c.vocabulary
        );
        // The fast executor packs weights into bytes, a GPU has them as brain floats, the reference as
        // 32-bit floats.
        let bytes = match executor.name() {
            "cpu" => 1.0,
            "cuda" => 2.0,
            _ => 4.0,
        };
        #[expect(clippy::cast_precision_loss, reason = "a size that is reported")]
        let weights_gib = weights.parameters() as f64 * bytes / f64::from(1 << 30);
        Ok(Self {
            engine,
            executor: Watched::new(executor),
            active_share,
            model,
            shape: c.clone(),
            weights_gib,
        })
    }

    /// Bytes of one KV value.
    pub fn kv_bytes(&self) -> u64 {
        let values =
            self.shape.kv_values_per_token() as u64 * self.engine.block_size.tokens().get();
        self.executor.block_bytes().get() / values.max(1)
    }

    /// The scheduler's limits for it.
    pub fn config(&self) -> Config {
        let e = &self.engine;
        Config {
            block_size: e.block_size,
            usable_blocks: Blocks(e.blocks),
            token_budget: Tokens(e.token_budget),
            max_running: usize::try_from(e.max_running).unwrap_or(usize::MAX),
            tool_cores: u32::try_from(e.cores.tools.len()).unwrap_or(u32::MAX),
            offload: None,
            ..Config::default()
        }
    }
}
