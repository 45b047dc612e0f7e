//! Flags of `orrery validate --engine` and `orrery calibrate --engine`.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

use anyhow::anyhow;
use clap::Args;
use engine::cuda::PrefillAttention;
use sim::world::ToolMode;
use units::{BlockSize, Tokens};

use crate::engine::args::ExecutorKind;
use crate::engine::cores::Cores;
use crate::engine::machine::pool_mode;
use crate::engine::prefill::PrefillKind;
use crate::failure::Failure;
use crate::run::plan;
use crate::run::settings::Settings;

/// The engine: what computes, on which cores, within which limits.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// What computes steps.
    #[arg(
        long,
        visible_alias = "device",
        default_value = "cpu",
        requires = "engine"
    )]
    pub executor: ExecutorKind,

    /// Kernel of prefill attention, where a GPU computes.
    #[arg(
        long,
        default_value = "auto",
        value_name = "KERNEL",
        requires = "engine"
    )]
    pub prefill_attention: PrefillKind,

    /// The model it computes, as `--model` of `orrery engine run`: a GGUF file, safetensors, the name of a
    /// fetched model, or random weights of a shape such as `random:8m`.
    #[arg(
        long,
        value_name = "PATH|NAME",
        default_value = "random:28m",
        requires = "engine"
    )]
    pub weights: String,

    /// Threads that compute.
    #[arg(long, value_name = "N", default_value = "1", requires = "engine")]
    pub engine_threads: String,

    /// Cores of the engine: a number, or `cores:LIST`. [default: what the tools leave]
    #[arg(long, value_name = "N|cores:LIST", requires = "engine")]
    pub engine_cores: Option<String>,

    /// Cores of the tools: a number, or `cores:LIST`.
    #[arg(
        long,
        value_name = "N|cores:LIST",
        default_value = "1",
        requires = "engine"
    )]
    pub tool_cores: String,

    /// KV pool, tokens.
    #[arg(
        long,
        value_name = "TOKENS",
        default_value = "3200",
        requires = "engine"
    )]
    pub kv_tokens: String,

    /// Tokens of one step.
    #[arg(
        long,
        value_name = "TOKENS",
        default_value = "256",
        requires = "engine"
    )]
    pub token_budget: String,

    /// Turns at once.
    #[arg(long, value_name = "N", default_value = "16", requires = "engine")]
    pub max_running: String,

    /// Longest context that the cost model is fitted for, tokens.
    #[arg(
        long,
        value_name = "TOKENS",
        default_value = "1024",
        requires = "engine"
    )]
    pub context: String,

    /// Rounds in which every batch of the grid is timed.
    #[arg(long, value_name = "N", default_value = "5", requires = "engine")]
    pub rounds: String,
}

/// What those flags say, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// What computes.
    pub executor: ExecutorKind,
    /// What computes prefill attention on a GPU.
    pub prefill: PrefillAttention,
    /// Where the model is.
    pub weights: String,
    /// Threads that compute.
    pub threads: NonZeroUsize,
    /// Cores of the engine and of the tools.
    pub cores: Cores,
    /// Tokens per KV block.
    pub block_size: BlockSize,
    /// KV blocks for sessions.
    pub blocks: u64,
    /// Tokens of one step.
    pub token_budget: u64,
    /// Turns at once.
    pub max_running: u64,
    /// Longest context of the grid.
    pub context: Tokens,
    /// Rounds of the grid.
    pub rounds: NonZeroU32,
}

impl BenchArgs {
    /// The engine of these flags.
    ///
    /// # Errors
    /// Bad input, with the flag, its value and what it may be.
    pub fn checked(&self) -> Result<Engine, Failure> {
        let count = |flag, text: &str, most: u64| {
            plan::one(flag, text, &format!("1 to {most}"), |t| {
                let n = t.parse::<NonZeroU64>().ok()?.get();
                (n <= most).then_some(n)
            })
        };
        let block_size = BlockSize::default();
        let per_block = block_size.tokens().get();
        let kv_tokens = count("--kv-tokens", &self.kv_tokens, 1 << 24)?;
        let engine = Engine {
            executor: self.executor,
            prefill: self
                .prefill_attention
                .asked(self.executor == ExecutorKind::Cuda, "--executor")?,
            weights: self.weights.trim().to_owned(),
            threads: plan::one("--engine-threads", &self.engine_threads, "1 to 1024", |t| {
                t.parse::<NonZeroUsize>().ok().filter(|n| n.get() <= 1024)
            })?,
            cores: Cores::share(self.engine_cores.as_deref(), &self.tool_cores)?,
            block_size,
            blocks: kv_tokens / per_block,
            token_budget: count("--token-budget", &self.token_budget, 1 << 16)?,
            max_running: count("--max-running", &self.max_running, 1 << 12)?,
            context: Tokens(count("--context", &self.context, 1 << 20)?),
            rounds: plan::one("--rounds", &self.rounds, "1 to 1000", |t| {
                t.parse::<NonZeroU32>().ok().filter(|n| n.get() <= 1000)
            })?,
        };
        if engine.blocks < engine.block_size.to_hold(engine.context).get() {
            return Err(Failure::bad_input(anyhow!(
                "`--kv-tokens` is {kv_tokens} (wanted: at least `--context`, {})",
                engine.context.get()
            )));
        }
        Ok(engine)
    }
}

/// The settings that both worlds of a study know.
const SETTINGS: [&str; 2] = ["tools.mode", "tools.worker_holds"];

/// How tools share so many cores in both worlds, by `--set`.
///
/// # Errors
/// Bad input: another setting, or a mode that real tools cannot be in.
pub fn tool_mode(set: &[String], cores: usize) -> Result<ToolMode, Failure> {
    let mut settings = Settings::default();
    for pair in set {
        let known = pair
            .split_once('=')
            .map(|(key, value)| (key.trim(), value.trim()));
        let Some((key, value)) = known.filter(|(key, _)| SETTINGS.contains(key)) else {
            return Err(Failure::bad_input(anyhow!(
                "`--set` is `{pair}` (wanted with --engine: {} or {})",
                SETTINGS[0],
                SETTINGS[1]
            )));
        };
        settings.set(key, value).map_err(Failure::bad_input)?;
    }
    let cores = u32::try_from(cores).ok().and_then(NonZeroU32::new);
    let mode = settings.tool_mode(cores.unwrap_or(NonZeroU32::MIN));
    let mode = mode.map_err(Failure::bad_input)?;
    pool_mode(mode)?;
    Ok(mode)
}

/// What is replayed in both worlds.
#[derive(Clone, Debug, Default, Args)]
pub struct LoadArgs {
    /// Loads, separated by commas: 1 offers sessions as fast as the engine could serve them one at a time, or
    /// as the tool cores could run their tools, whichever is slower.
    #[arg(
        long,
        value_name = "X,...",
        default_value = "0.5,1.5,3",
        requires = "engine"
    )]
    pub loads: String,

    /// Sessions of each run.
    #[arg(long, value_name = "N", default_value = "30", requires = "engine")]
    pub sessions: String,

    /// Trace, preset or description to take sessions from; nothing: short sessions made for this.
    #[arg(long, value_name = "NAME|FILE", requires = "engine")]
    pub workload: Option<String>,

    /// Real runs of each policy and load: what differs between them is the machine's own spread.
    #[arg(long, value_name = "N", default_value = "5", requires = "engine")]
    pub repeats: String,

    /// Seed of arrivals and of made sessions.
    #[arg(long, value_name = "N", default_value = "1", requires = "engine")]
    pub seed: String,

    /// Folder of another study of the same engine whose calibration is taken: several workloads need one
    /// calibration.
    #[arg(long, value_name = "DIR", requires = "engine")]
    pub calibration: Option<std::path::PathBuf>,

    /// Where runs and results go. Runs that are there already are not repeated.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "validate-engine",
        requires = "engine"
    )]
    pub out: std::path::PathBuf,
}

/// What those flags say, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Loads in the order given.
    pub loads: Vec<f64>,
    /// Sessions of each run.
    pub sessions: u32,
    /// Real runs of each.
    pub repeats: u32,
    /// Of arrivals and of made sessions.
    pub seed: u64,
}

impl LoadArgs {
    /// The numbers of these flags.
    ///
    /// # Errors
    /// Bad input, with the flag, its value and what it may be.
    pub fn checked(&self) -> Result<Load, Failure> {
        let mut loads = Vec::new();
        for part in self.loads.split(',').map(str::trim) {
            let load = plan::one("--loads", part, "numbers from 0.01 to 100", |t| {
                plan::number(t).filter(|x| (0.01..=100.0).contains(x))
            })?;
            if loads.contains(&load) {
                return Err(Failure::bad_input(anyhow!("`--loads` has `{part}` twice")));
            }
            loads.push(load);
        }
        let small = |flag, text: &str, most: u32| {
            plan::one(flag, text, &format!("1 to {most}"), |t| {
                t.parse::<NonZeroU32>()
                    .ok()
                    .map(NonZeroU32::get)
                    .filter(|n| *n <= most)
            })
        };
        Ok(Load {
            loads,
            sessions: small("--sessions", &self.sessions, 100_000)?,
            repeats: small("--repeats", &self.repeats, 100)?,
            seed: plan::one("--seed", &self.seed, "a whole number", |t| t.parse().ok())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use sim::tool_cpu::Hold;

    use super::*;

    #[test]
    fn both_worlds_take_the_same_mode_and_no_other_setting() {
        let two = NonZeroU32::new(2).expect("not zero");
        let of = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(|&pair| pair.to_owned()).collect();
            tool_mode(&set, 2).map_err(|failure| failure.error.to_string())
        };
        let fifo = "tools.mode=fifo";
        assert_eq!(of(&[]), Ok(ToolMode::Shared(two)));
        assert_eq!(of(&["tools.mode = shared"]), Ok(ToolMode::Shared(two)));
        assert_eq!(of(&[fifo]), Ok(ToolMode::Fifo(two, Hold::Cpu)));
        let call = of(&["tools.worker_holds=call", fifo]);
        assert_eq!(call, Ok(ToolMode::Fifo(two, Hold::Call)));
        for (set, told) in [
            ("tools.mode=unlimited", "which only a simulation can be"),
            ("tools.mode=fifos", "(wanted: shared, fifo or unlimited)"),
            (
                "tools.worker_holds=call",
                "(wanted: nothing, but with tools.mode=fifo)",
            ),
            (
                "engine.kv_blocks=9",
                "`--set` is `engine.kv_blocks=9` (wanted with --engine: tools.mode or",
            ),
            (
                "tools.mode",
                "`--set` is `tools.mode` (wanted with --engine",
            ),
        ] {
            let refused = of(&[set]).expect_err("is refused");
            assert!(refused.contains(told), "{set}: {refused}");
        }
    }
}
