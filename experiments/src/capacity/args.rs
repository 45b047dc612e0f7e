//! Arguments of `orrery capacity`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::CommonArgs;
use crate::run::arrivals::ArrivalKind;

const EXAMPLES: &str = "\
How it searches: the values from --from to --to in steps of --step are the candidates, from the
easiest on (low rate, many cores, many blocks). It gallops until one fails, bisects between the last
that meets the target and the first that fails, and then tries --check neighbours on both sides.
Every candidate meets the same draws (common random numbers). A candidate meets the target if the
mean attainment over the seeds does; with --sure, if the lower end of its 95 % interval does.

Attainment is not monotone near saturation. The answer is therefore a promise about what was tried:
it and every easier candidate that was tried meet the target, and the next one fails. Harder
candidates that meet it all the same are listed; --scan tries every candidate.

T_ideal is that of the easiest candidate, so that the target does not move with the machine.

Examples:
  orrery capacity                                    highest rate with attainment >= 0.9, fcfs and mars
  orrery capacity --policy mars --alpha 2 --target 0.95 --from 0.02 --step 0.002
  orrery capacity --for tool-cores --rate 0.07       fewest tool cores at that rate
  orrery capacity --for kv-blocks --rate 0.06 --svg kv.svg
  orrery capacity --format json | jq '.capacities[] | [.policy, .alpha, .capacity]'

Exit codes: 0 done (also when no candidate meets the target: n/a), 2 bad input, 3 an invariant broke,
130 interrupted.";

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Knob {
    /// The highest arrival rate, sessions per second.
    Rate,
    /// The fewest CPU cores for tools.
    ToolCores,
    /// The smallest KV pool, in blocks, null block included.
    KvBlocks,
}

/// Flags of `orrery capacity`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct CapacityArgs {
    /// What to search for.
    #[arg(long = "for", default_value = "rate", value_name = "KNOB")]
    pub knob: Knob,

    /// Attainment to keep, above 0 up to 1, for each alpha.
    #[arg(
        long,
        default_value = "0.9",
        value_name = "SHARE",
        allow_hyphen_values = true
    )]
    pub target: String,

    /// Smallest candidate. [default: 0.005 per s; 1 core; 1/64 of the pool]
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub from: Option<String>,

    /// Largest candidate. [default: 0.5 per s; 64 cores; what the GPU has room for]
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub to: Option<String>,

    /// Between two candidates. [default: 0.005 per s; 1 core; 1/64 of the pool]
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub step: Option<String>,

    /// Neighbours to try on each side of the answer.
    #[arg(
        long,
        default_value = "1",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub check: String,

    /// Try every candidate.
    #[arg(long)]
    pub scan: bool,

    /// Judge a candidate by the lower end of its 95 % interval over seeds instead of the mean.
    #[arg(long)]
    pub sure: bool,

    /// Presets or paths of TOML files, separated by commas.
    #[arg(long, default_value = "fcfs,mars", value_name = "NAME|FILE,...")]
    pub policy: String,

    /// Arrival rate in sessions per second, where it is not what is searched for. [default: 0.06]
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    pub rate: Option<String>,

    /// How sessions arrive.
    #[arg(long, default_value = "poisson")]
    pub arrivals: ArrivalKind,

    /// Sessions to offer per run.
    #[arg(
        long,
        default_value = "200",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub sessions: String,

    /// Seeds, separated by commas; every candidate meets the same draws of a seed.
    #[arg(
        long,
        default_value = "1,2,3,4,5",
        value_name = "SEED,...",
        allow_hyphen_values = true
    )]
    pub seed: String,

    /// Draw attainment over the candidates that were tried into this file; as PNG beside it if it ends
    /// in .svg.
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,

    /// Workload, machine, metrics and output.
    #[command(flatten)]
    pub common: CommonArgs,
}
