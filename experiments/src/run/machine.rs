//! The machine that is simulated: hardware from the catalog, limits from the settings.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use scheduler::{Config, HeadOfLine, Offload, Planning, StartRoom};
use serde_json::{Value, json};
use sim::cost::Host;
use sim::spec::{Choice, Hardware};
use sim::tool_cpu::Hold;
use sim::world::{Setup, ToolMode};
use units::{Blocks, Bytes, Time, Tokens};

use super::cost;
use super::settings::Settings;
use crate::failure::Failure;

/// The machine, and how it came about.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What the simulator is given.
    pub setup: Setup,
    /// The GPU and the model.
    pub hardware: Hardware,
    /// Share of the GPU's memory in use.
    pub utilisation: f64,
    /// Cores of the tools.
    pub tool_cores: NonZeroU32,
}

impl Machine {
    /// The named model on the named GPU, with these settings.
    ///
    /// # Errors
    /// Bad input: an unknown name (with the nearest), a model that does not fit, a limit that cannot
    /// be.
    pub fn new(
        gpu: &str,
        model: &str,
        utilisation: f64,
        tool_cores: NonZeroU32,
        horizon: Option<Time>,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let choice = Choice {
            gpu,
            model,
            utilisation,
            degree: settings.tensor_parallel,
            cost: cost::choice(settings)?,
        };
        let catalog = cost::catalog(&settings.specs)?;
        let hardware = Hardware::choose(&catalog, &choice).map_err(Failure::bad_input)?;
        let own = hardware.cost.host();
        let hardware = hardware.with_host(Host {
            per_step: settings.host_per_step.unwrap_or(own.per_step),
            per_running: settings.host_per_running.unwrap_or(own.per_running),
            overlapped: settings
                .host_overlapped
                .unwrap_or(settings.planning == Planning::Ahead),
        });
        let block_size = settings.block_size;
        let usable_blocks = match settings.kv_blocks {
            Some(blocks) => Blocks(blocks).saturating_sub(Blocks(1)),
            None => hardware.usable_blocks(block_size),
        };
        let engine = Config {
            block_size,
            usable_blocks,
            token_budget: Tokens(settings.token_budget),
            max_running: usize::try_from(settings.max_running).unwrap_or(usize::MAX),
            prefix_caching: settings.prefix_caching,
            head_of_line: settings.head_of_line,
            start_room: settings.start_room,
            planning: settings.planning,
            tool_cores: tool_cores.get(),
            offload: host_tier(settings, &hardware),
            log_decisions: false,
            fast_forward: true,
        };
        engine.validate().map_err(Failure::bad_input)?;
        let tools = settings.tool_mode(tool_cores).map_err(Failure::bad_input)?;
        Ok(Self {
            setup: Setup {
                engine,
                cost: Arc::new(hardware.cost.clone()),
                tools,
                horizon,
                sample_every: Some(settings.sample_every),
            },
            hardware,
            utilisation,
            tool_cores,
        })
    }

    /// Everything about it that can change a result.
    pub fn config(&self) -> Value {
        let engine = &self.setup.engine;
        let mut config = json!({
            "gpu": self.hardware.gpu.name,
            "model": self.hardware.model.name,
            "utilisation": self.utilisation,
            "cost": cost::config(&self.hardware),
            "engine": {
                "block_size_tokens": engine.block_size.tokens().get(),
                "usable_blocks": engine.usable_blocks.get(),
                "token_budget": engine.token_budget.get(),
                "max_running": engine.max_running,
                "prefix_caching": engine.prefix_caching,
                "whole_prompt": engine.start_room == StartRoom::WholeContext,
                "async_scheduling": engine.planning == Planning::Ahead,
                "host_blocks": engine.offload.map(|tier| tier.host_blocks.get()),
                "link_bytes_per_s": engine.offload.map(|tier| tier.to_host_per_s),
                "head_of_line": match engine.head_of_line {
                    HeadOfLine::Stop => "stop",
                    HeadOfLine::Skip => "skip",
                },
            },
            "tools": {
                "mode": match self.setup.tools {
                    ToolMode::Shared(_) => "shared",
                    ToolMode::WithEngine { .. } => "shared-with-engine",
                    ToolMode::Fifo(_, Hold::Cpu) => "fifo",
                    ToolMode::Fifo(_, Hold::Call) => "fifo-calls",
                    ToolMode::Unlimited => "unlimited",
                },
                "cores": self.tool_cores,
            },
            "horizon_s": self.setup.horizon.map(Time::as_secs),
            "sample_every_s": self.setup.sample_every.map(units::Nanos::as_secs),
        });
        if let ToolMode::WithEngine { threads, .. } = self.setup.tools {
            config["tools"]["host_threads"] = json!(threads);
        }
        config
    }

    /// What its figures rest on.
    pub fn evidence(&self) -> Value {
        json!({
            "step_cost": self.hardware.evidence,
            "step_cost_basis": self.hardware.basis.as_str(),
            "gpu": self.hardware.gpu.sources,
            "model": self.hardware.model.sources,
            "kv_pool_tokens_of_the_gpu": self.hardware.kv_tokens.get(),
        })
    }

    /// KV tokens that sessions can hold.
    pub fn usable_tokens(&self) -> Tokens {
        self.setup
            .engine
            .block_size
            .capacity(self.setup.engine.usable_blocks)
    }
}

/// Host memory for KV and the link to it, the same bandwidth each way.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "settings are validated: positive, far below 2^63 bytes"
)]
fn host_tier(settings: &Settings, hardware: &Hardware) -> Option<Offload> {
    let per_token = hardware.model.kv_per_token().get();
    let block = per_token * settings.block_size.tokens().get();
    let host_bytes = (settings.host_gib * f64::from(1 << 30)) as u64;
    let link = NonZeroU64::new((settings.link_gb_per_s * 1e9) as u64)?;
    let host_blocks = Blocks(host_bytes / block);
    (host_blocks > Blocks::ZERO).then_some(Offload {
        host_blocks,
        block_bytes: Bytes(block),
        to_host_per_s: link,
        to_gpu_per_s: link,
    })
}
