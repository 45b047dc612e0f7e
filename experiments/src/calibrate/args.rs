//! Flags of `orrery calibrate`.

use std::path::PathBuf;

use clap::Args;

use crate::run::cost::CostArgs;
use crate::validate::real::args::BenchArgs;

const EXAMPLES: &str = "\
A step log is CSV with a header and a step a line: decodes, decode_context (sum over the decoding turns
of their context, the new token included), prefill_tokens (new tokens of all chunks), prefill_work (sum
over chunks of new * (2 * prefix + new)), ms (the step's time as measured).

A request log is JSON lines as for `orrery validate`. It shows no steps, so only two numbers are found:
what prefill and what decode cost, as factors on the closed form (or the roofline) of --gpu and --model,
by replaying the requests until TPOT and latency of each are as close as they get.

With --engine a grid of batches is timed on the engine in this program, and the closed forms are fitted to
that. The result then describes machine and model too, unless --gpu or --model name known ones.

The result is a TOML table for `--cost FILE.toml`; its errors go to stderr and into its `evidence`.

Examples:
  orrery calibrate steps.csv --gpu h100-sxm --model llama-3.1-8b > mine.toml
  orrery calibrate requests.jsonl --config meta.json > mine.toml
  orrery run --gpu h100-sxm --model llama-3.1-8b --cost mine.toml
  orrery calibrate --engine --weights random:28m --steps-out steps.csv > mine.toml
  orrery run --hardware-file mine.toml --cost mine.toml --gpu this-machine --model random-28m";

/// Flags of `orrery calibrate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CalibrateArgs {
    /// Step log (.csv) or request log (JSON lines).
    #[arg(value_name = "LOG", required_unless_present = "engine")]
    pub log: Option<PathBuf>,

    /// Time the engine of this program instead of reading a log.
    #[arg(long, conflicts_with_all = ["log", "config", "cost", "set"])]
    pub engine: bool,

    /// The engine's configuration, JSON; for a request log.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The GPU that was measured.
    #[arg(long, value_name = "NAME")]
    pub gpu: Option<String>,

    /// The model that it served.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,

    /// Folds of the cross-validation, 2 to 100.
    #[arg(long, value_name = "K", default_value = "5")]
    pub folds: String,

    /// Cost model to start from (request log) and further specs.
    #[command(flatten)]
    pub costs: CostArgs,

    /// Override a setting of `orrery run --help`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// With --engine: where the timed steps go, as a step log.
    #[arg(long, value_name = "FILE", requires = "engine")]
    pub steps_out: Option<PathBuf>,

    /// The engine of --engine.
    #[command(flatten, next_help_heading = "With --engine")]
    pub engine_args: BenchArgs,
}
