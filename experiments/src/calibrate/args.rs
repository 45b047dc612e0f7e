//! Flags of `orrery calibrate`.

use std::path::PathBuf;

use clap::Args;

use crate::run::cost::CostArgs;

const EXAMPLES: &str = "\
A step log is CSV with a header and a step a line: decodes, decode_context (sum over the decoding turns
of their context, the new token included), prefill_tokens (new tokens of all chunks), prefill_work (sum
over chunks of new * (2 * prefix + new)), ms (the step's time as measured).

A request log is JSON lines as for `orrery validate`. It shows no steps, so only two numbers are found:
what prefill and what decode cost, as factors on the closed form (or the roofline) of --gpu and --model,
by replaying the requests until TPOT and latency of each are as close as they get.

The result is a TOML table for `--cost FILE.toml`; its errors go to stderr and into its `evidence`.

Examples:
  orrery calibrate steps.csv --gpu h100-sxm --model llama-3.1-8b > mine.toml
  orrery calibrate requests.jsonl --config meta.json > mine.toml
  orrery run --gpu h100-sxm --model llama-3.1-8b --cost mine.toml";

/// Flags of `orrery calibrate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CalibrateArgs {
    /// Step log (.csv) or request log (JSON lines).
    #[arg(value_name = "LOG")]
    pub log: PathBuf,

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
}
