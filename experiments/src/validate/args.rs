//! Flags of `orrery validate`.

use std::path::PathBuf;

use clap::Args;

use super::real::args::{BenchArgs, LoadArgs};
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

With --engine nothing is read: the engine in this program runs sessions with tools as processes, the
simulator runs the same, and both are compared. Batches made for it and a tool's process are timed before
and between the runs, which is all that the simulator is told. Commands that a trace's tool calls carry are
not run: both worlds take the recorded times. Bar: mean latency within 5 %, its 95th percentile within
10 %, and policies in the same order wherever they really differ by more than a repeat does from the next.
Everything is kept in --out: the same command goes on where it was stopped. Stopped by Ctrl-C or SIGTERM it
compares the runs that are complete (exit 130). Exit 1: the bar is not met. Further workloads on the same
engine take the calibration of the first by --calibration.

Examples:
  orrery validate --real requests.jsonl --config meta.json --profile perf/RTX4090/Llama-3.1-8B/bf16
  orrery validate --real requests.jsonl --gpu h100-sxm --model llama-3.1-8b --svg scatter.svg
  orrery validate --real requests.jsonl --config meta.json --set engine.kv_blocks=5176 --format json
  orrery validate --engine                        some 10 minutes on two quiet cores
  orrery validate --engine --policy fcfs,mars --loads 2 --repeats 5 --out mine
  orrery validate --engine --set tools.mode=fifo --out fifo   tools queue for the cores, in both worlds
  orrery validate --engine --workload mine.jsonl --calibration mine --out another";

/// Flags of `orrery validate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ValidateArgs {
    /// The recorded requests, JSON lines.
    #[arg(long, value_name = "FILE", required_unless_present = "engine")]
    pub real: Option<PathBuf>,

    /// Compare with the engine of this program instead of a recording.
    #[arg(
        long,
        conflicts_with_all = [
            "real", "prompts", "config", "profile", "cost", "hardware_file", "gpu", "model", "svg", "series",
        ]
    )]
    pub engine: bool,

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

    /// The policy of the recorded engine, by default fcfs, which is vLLM's; with --engine several, separated
    /// by commas, by default fcfs,continuum,mars,autellix.
    #[arg(long, value_name = "NAME|FILE")]
    pub policy: Option<String>,

    /// Override a setting of `orrery run --help`; may be given several times. With --engine: how tools share
    /// their cores in both worlds, `tools.mode` (shared or fifo) and `tools.worker_holds`.
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

    /// The engine of --engine.
    #[command(flatten, next_help_heading = "With --engine")]
    pub engine_args: BenchArgs,

    /// What it is offered.
    #[command(flatten, next_help_heading = "With --engine")]
    pub load: LoadArgs,
}
