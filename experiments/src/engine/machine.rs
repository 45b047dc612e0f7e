//! The real machine of a plan: model, executor, cores, pool, and what was measured of them.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use engine::Executor;
use engine::drive::{Commands, MeasuredLink, MeasuredPrefill, pin_to};
use engine::tools;
use scheduler::Offload;
use serde_json::{Value, json};
use sim::tool_cpu::Hold;
use sim::world::ToolMode;
use units::{Blocks, Bytes, Nanos, Tokens};

use super::args::{CommandsKind, EngineRunArgs, ExecutorKind};
use super::cores::Cores;
use super::load::Divisors;
use super::model::{Model, Place, Placed};
use super::prefill::PrefillChoice;
use crate::failure::Failure;
use crate::run::plan::{Plan, number, one, optional};
use crate::run::settings::Settings;

/// The least blocks that a pool has.
const LEAST_BLOCKS: u64 = 8;

/// A machine that is ready to run.
pub struct Real {
    /// What computes.
    pub executor: Box<dyn Executor>,
    /// Its kernel of prefill attention, where there is a choice.
    pub prefill_attention: Option<PrefillChoice>,
    /// What policies are told a prefill costs.
    pub prefill: MeasuredPrefill,
    /// Longest context of the model.
    pub context_length: Tokens,
    /// How tools run.
    pub tools: tools::Settings,
    /// What becomes of commands.
    pub commands: Commands,
    /// Whether reads of KV that was not written are looked for.
    pub poison: bool,
    /// Everything about it, for the manifest.
    pub config: Value,
}

impl std::fmt::Debug for Real {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Real")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What the flags say of the machine, checked, before anything large is made.
#[derive(Clone, Debug)]
pub struct Wanted {
    cores: Cores,
    threads: NonZeroUsize,
    kv_bytes: u64,
    limits: tools::Limits,
    sandboxes: Option<PathBuf>,
    commands: Option<Commands>,
}

/// What one tool call may use.
fn limits(args: &EngineRunArgs) -> Result<tools::Limits, Failure> {
    let timeout = args.tool_timeout.as_deref();
    let timeout = optional("--tool-timeout", timeout, "seconds above 0", |t| {
        let span = number(t).and_then(|s| Nanos::from_secs(s).ok())?;
        (span > Nanos::ZERO).then_some(span)
    })?;
    let tools = &args.tools;
    let cap = &tools.tool_output_cap;
    let output_bytes = one("--tool-output-cap", cap, "bytes, 0 to 1073741824", |t| {
        t.parse::<usize>().ok().filter(|n| *n <= 1 << 30)
    })?;
    let mib = |least: u64| {
        move |t: &str| {
            let mib = t.parse::<u64>().ok();
            mib.filter(|n| (least..=1 << 24).contains(n))
                .map(|mib| mib << 20)
        }
    };
    let file = tools.tool_file_mib.as_deref();
    let memory = tools.tool_memory_mib.as_deref();
    Ok(tools::Limits {
        timeout,
        output_bytes,
        file_bytes: optional("--tool-file-mib", file, "MiB, 1 to 16777216", mib(1))?,
        // Less than the starting program itself maps.
        memory_bytes: optional("--tool-memory-mib", memory, "MiB, 64 to 16777216", mib(64))?,
    })
}

impl Wanted {
    /// From the flags.
    ///
    /// # Errors
    /// Bad input, with the flag, its value and what it may be.
    pub fn new(args: &EngineRunArgs) -> Result<Self, Failure> {
        let cores = Cores::share(args.engine_cores.as_deref(), &args.tool_cores)?;
        let threads = optional("--threads", args.threads.as_deref(), "1 to 1024", |t| {
            t.parse::<NonZeroUsize>().ok().filter(|n| n.get() <= 1024)
        })?;
        let mib = one("--kv-mib", &args.kv_mib, "MiB, 1 to 16777216", |t| {
            t.parse::<u64>().ok().filter(|n| (1..=1 << 24).contains(n))
        })?;
        if let Some(folder) = &args.tools.sandboxes {
            std::fs::create_dir_all(folder)
                .with_context(|| {
                    format!(
                        "cannot make the folder of `--sandboxes {}`",
                        folder.display()
                    )
                })
                .map_err(Failure::bad_input)?;
        }
        let own = NonZeroUsize::new(cores.engine.len()).unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            cores,
            threads: threads.unwrap_or(own),
            kv_bytes: mib << 20,
            limits: limits(args)?,
            sandboxes: args.tools.sandboxes.clone(),
            commands: args.tools.commands.map(|kind| match kind {
                CommandsKind::Run => Commands::Run,
                CommandsKind::Burn => Commands::Burn,
            }),
        })
    }

    /// What becomes of the plan's commands; `None` if it has none.
    ///
    /// # Errors
    /// Bad input: it has some, and nobody said.
    pub fn commands(&self, plan: &Plan) -> Result<Option<Commands>, Failure> {
        let count: u64 = plan.workload.sessions.iter().map(|s| s.commands()).sum();
        match self.commands {
            _ if count == 0 => Ok(None),
            Some(commands) => Ok(Some(commands)),
            None => Err(Failure::bad_input(anyhow!(
                "tool calls of `{}` that carry a command: {count}; `--commands` does not say what to do with \
                 them\n\
                 hint: `--commands run` runs them as you, each in its session's folder, which is no jail: read \
                 them first\n\
                 hint: `--commands burn` takes their recorded times and runs none",
                plan.workload.name
            ))),
        }
    }

    /// How many cores the tools have.
    pub fn tool_cores(&self) -> usize {
        self.cores.tools.len()
    }

    /// Puts the model on an executor, sets the pool's limits in the plan, and measures what policies ask
    /// for. From here on the calling thread runs on the engine's cores.
    ///
    /// # Errors
    /// Bad input: cores, a model or a pool that cannot be.
    pub fn make(
        &self,
        args: &EngineRunArgs,
        model: &Model,
        settings: &Settings,
        divisors: Divisors,
        plan: &mut Plan,
    ) -> Result<Real, Failure> {
        let longest = plan.workload.sessions.iter().map(|s| s.peak_tokens()).max();
        let mode = plan.machine.setup.tools;
        let tools = self.tools(mode)?;
        let commands = self.commands(plan)?;
        let engine = &mut plan.machine.setup.engine;
        pin_to(&self.cores.engine).map_err(Failure::bad_input)?;
        let shape = model.config();
        let size = engine.block_size;
        let pool = |per_block: Bytes| {
            let usable = match settings.kv_blocks {
                // The null block is counted in, as in `orrery run`.
                Some(blocks) => Blocks(blocks.saturating_sub(1)),
                None => Blocks(self.kv_bytes / per_block.get().max(1)),
            };
            if settings.kv_blocks.is_none() && usable.get() < LEAST_BLOCKS {
                return Err(Failure::bad_input(anyhow!(
                    "`--kv-mib` {} holds {} blocks of {} bytes (wanted: at least {LEAST_BLOCKS})",
                    args.kv_mib,
                    usable.get(),
                    per_block.get()
                )));
            }
            Ok(usable)
        };
        let gpu = args.executor == ExecutorKind::Cuda;
        let place = Place {
            prefill: args.prefill_attention.asked(gpu, "--executor")?,
            ..Place::new(args.executor, self.threads, size)
        };
        let Placed {
            mut executor,
            prefill: prefill_attention,
        } = model.placed(place, &pool)?;
        let block_bytes = executor.block_bytes();
        let usable = pool(block_bytes)?;
        engine.usable_blocks = usable;
        let context_length = Tokens(shape.context_length as u64);
        let prefill =
            MeasuredPrefill::measure(&mut *executor, engine, longest.unwrap_or(Tokens(1)));
        let prefill = prefill.map_err(Failure::bad_input)?;
        let host = host_blocks(settings.host_gib, block_bytes.get());
        engine.offload = None;
        let mut link = None;
        if host > Blocks::ZERO {
            let measured =
                MeasuredLink::measure(&mut *executor, usable).map_err(Failure::bad_input)?;
            let said = args
                .set
                .iter()
                .any(|pair| pair.trim().starts_with("engine.link_gb_per_s"));
            let set = said.then(|| rate(settings.link_gb_per_s * 1e9));
            engine.offload = Some(Offload {
                host_blocks: host,
                block_bytes,
                to_host_per_s: set.unwrap_or(measured.to_host_per_s),
                to_gpu_per_s: set.unwrap_or(measured.to_device_per_s),
            });
            link = engine.offload;
        }
        engine.validate().map_err(Failure::bad_input)?;
        let mut config = json!({
            "kind": "real",
            "processor": processor(),
            "executor": executor.name(),
            "threads": self.threads,
            "poison": args.besides.poison,
            "engine_cores": self.cores.engine,
            "model": {
                "name": model.name,
                "sha256": model.sha256,
                "architecture": shape.architecture,
                "layers": shape.layers,
                "hidden": shape.hidden,
                "vocabulary": shape.vocabulary,
                "context_length": shape.context_length,
            },
            "engine": {
                "block_size_tokens": size.tokens().get(),
                "block_bytes": block_bytes.get(),
                "usable_blocks": usable.get(),
                "token_budget": engine.token_budget.get(),
                "max_running": engine.max_running,
                "prefix_caching": engine.prefix_caching,
                "host_blocks": link.map(|tier| tier.host_blocks.get()),
            },
            "tools": self.tools_config(mode, commands),
            "recording_divided_by": divisors,
        });
        // Only where there is a choice: other runs keep their names.
        if let Some(choice) = &prefill_attention {
            config["prefill_attention"] = json!(choice.kernel);
        }
        Ok(Real {
            executor,
            prefill_attention,
            prefill,
            context_length,
            tools,
            commands: commands.unwrap_or_default(),
            poison: args.besides.poison,
            config,
        })
    }

    /// What the manifest says of tools. Of commands only where there are some: other runs keep their names.
    fn tools_config(&self, mode: ToolMode, commands: Option<Commands>) -> Value {
        let mut config = json!({
            "mode": mode_name(mode),
            "cores": self.cores.tools,
            "timeout_s": self.limits.timeout.map(Nanos::as_secs),
        });
        if let Some(commands) = commands {
            config["commands"] = json!(match commands {
                Commands::Run => "run",
                Commands::Burn => "burn",
            });
            config["output_cap_bytes"] = json!(self.limits.output_bytes);
            config["file_limit_bytes"] = json!(self.limits.file_bytes);
            config["memory_limit_bytes"] = json!(self.limits.memory_bytes);
        }
        config
    }

    fn tools(&self, mode: ToolMode) -> Result<tools::Settings, Failure> {
        Ok(tools::Settings {
            mode: pool_mode(mode)?,
            cores: self.cores.tools.clone(),
            limits: self.limits,
            runner: std::env::current_exe().map_err(Failure::bad_input)?,
            sandboxes: self.sandboxes.clone(),
        })
    }

    /// What a user should know before a run.
    pub fn warning(&self) -> Option<String> {
        self.cores.overlap().then(|| {
            format!(
                "warning: the engine (cores {:?}) and the tools (cores {:?}) share cores, so steps and tools \
                 slow each other down",
                self.cores.engine, self.cores.tools
            )
        })
    }
}

/// How real tools share their cores as the simulator's do.
///
/// # Errors
/// Bad input: what only a simulation can be.
pub fn pool_mode(mode: ToolMode) -> Result<tools::Mode, Failure> {
    match mode {
        ToolMode::Shared(_) => Ok(tools::Mode::FreeForAll),
        ToolMode::Fifo(workers, Hold::Cpu) => Ok(tools::Mode::Fifo(workers, tools::Hold::Cpu)),
        ToolMode::Fifo(workers, Hold::Call) => Ok(tools::Mode::Fifo(workers, tools::Hold::Call)),
        ToolMode::Unlimited => Err(no_mode("tools.mode", "unlimited")),
        // Which cores the engine has is said by flags, and what it takes of them happens.
        ToolMode::WithEngine { .. } => Err(no_mode("tools.host_cores", "shared")),
    }
}

/// What a manifest calls it.
pub const fn mode_name(mode: ToolMode) -> &'static str {
    match mode {
        ToolMode::Fifo(_, Hold::Cpu) => "fifo",
        ToolMode::Fifo(_, Hold::Call) => "fifo-calls",
        ToolMode::Shared(_) | ToolMode::Unlimited | ToolMode::WithEngine { .. } => "shared",
    }
}

fn no_mode(key: &str, value: &str) -> Failure {
    Failure::bad_input(anyhow!(
        "setting `{key}` is `{value}`, which only a simulation can be (wanted: tools.mode=shared or fifo; \
         `--tool-cores` and `--engine-cores` say who runs where)"
    ))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "settings are validated: positive, far below 2^63 bytes"
)]
fn host_blocks(gib: f64, block_bytes: u64) -> Blocks {
    Blocks((gib * f64::from(1 << 30)) as u64 / block_bytes.max(1))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "settings are validated: positive, far below 2^63 bytes"
)]
fn rate(bytes_per_s: f64) -> NonZeroU64 {
    NonZeroU64::new(bytes_per_s as u64).unwrap_or(NonZeroU64::MIN)
}

/// The processor's name, as the kernel has it.
pub fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
