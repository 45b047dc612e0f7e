//! Flags of `orrery validate`.

use std::path::PathBuf;

use clap::Args;

use crate::flags::FormatArgs;
use crate::run::cost::CostArgs;

const EXAMPLES: &str = "\
The log has a request a line, as JSON: `request_id`, `input_toks`, `output_toks`, and the instants
`queued_ts`, `first_token_ts`, `last_token_ts` in seconds of one clock.

The configuration is that of casys-kaist/LLMServingSim's `bench run` on vLLM: model, device, limits, KV
blocks, captured graphs and scheduler options are taken from it. What it does not say is vLLM's default
of that version. Without it, give --gpu, --model and what differs by --set.

TTFT = first token - queued, latency = last token - queued, TPOT = (last - first) / (output - 1).

Grade A: means of all three within 1 %, mean absolute error per request within 5 %. B: 3 % and 10 %.
C: 10 % and 25 %. D: beyond.

Lengths do not say which prompts share openings: without --prompts, an engine with prefix caching may
have computed less than the replay.

Examples:
  orrery validate --real requests.jsonl --config meta.json --profile perf/RTX4090/Llama-3.1-8B/bf16
  orrery validate --real requests.jsonl --gpu h100-sxm --model llama-3.1-8b --svg scatter.svg
  orrery validate --real requests.jsonl --config meta.json --set engine.kv_blocks=5176 --format json";

/// Flags of `orrery validate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ValidateArgs {
    /// The recorded requests, JSON lines.
    #[arg(long, value_name = "FILE")]
    pub real: PathBuf,

    /// The prompts' tokens, JSON lines in the order of the log with `input_tok_ids`: openings that prompts
    /// share are then found in the cache, as the engine found them.
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,

    /// The engine's configuration, JSON.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Folder of measured kernel tables; the same as `--cost profile:DIR`.
    #[arg(long, value_name = "DIR", conflicts_with = "cost")]
    pub profile: Option<PathBuf>,

    /// Cost model and further specs.
    #[command(flatten)]
    pub costs: CostArgs,

    /// The GPU, if the configuration does not say.
    #[arg(long, value_name = "NAME")]
    pub gpu: Option<String>,

    /// The model, if the configuration does not say.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,

    /// The policy; vLLM's is fcfs.
    #[arg(long, value_name = "NAME|FILE", default_value = "fcfs")]
    pub policy: String,

    /// Override a setting of `orrery run --help`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Draw recorded against simulated times here; as PNG beside it if it ends in .svg.
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,

    /// Write the machine over time here, once a second: time, running, waiting and
    /// the share of KV in use.
    #[arg(long, value_name = "FILE")]
    pub series: Option<PathBuf>,

    /// How results are printed.
    #[command(flatten)]
    pub shown: FormatArgs,
}
