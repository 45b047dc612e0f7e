//! The command line: every flag with its unit and default.
//!
//! Why strings: lists, rates and settings are read by [`crate::run::Plan`], so that a wrong one is
//! reported with its value and its limit like any other bad input.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::flags::{FormatArgs, WorkArgs};
use crate::run::arrivals::ArrivalKind;
use crate::trace::args::{OnBad, TraceArgs};

const EXAMPLES: &str = "\
Examples:
  orrery                                     demo on the bundled workload, with a figure
  orrery run                                 fcfs against mars, every default
  orrery run --rate 0.1,0.2,0.4 --seed 1,2   several rates and seeds, each policy on the same draws
  orrery run --policy mars,mine.toml         a preset against your own policy file
  orrery run --policy mars,isolated,bound    beside what no policy can beat: limits, not policies
  orrery race                                every preset over rates and seeds, with intervals
  orrery policies show mars > mine.toml      a policy file to start from
  orrery run --decisions --out runs/ab && orrery compare runs/ab
  orrery run --format json | jq '.runs[] | [.policy, .latency_s.p95]'

Exit codes: 0 done, 1 finished but something failed, 2 bad input, 3 an invariant broke (a bug),
130 interrupted.";

const RUN_EXAMPLES: &str = "\
Settings of --set:
  admission.KEY, order.KEY, retention.KEY  of every policy that has the key (`orrery policies show`)
  mars.order.aging_s=10                    of the policy called mars alone
  engine.token_budget=2048     tokens per step            engine.max_running=128     turns at once
  engine.block_size=16         tokens per KV block        engine.prefix_caching=true
  engine.kv_blocks=N           pool, null block included, instead of what the GPU has room for
  engine.host_gib=64           host memory for KV that policies may offload to; 0 for none
  engine.link_gb_per_s=32      bandwidth of the link to it, each way
  engine.whole_prompt=false    true: a turn starts only if its whole context fits (vLLM 0.19)
  engine.async_scheduling=false  true: a step is planned while the one before runs (vLLM 0.19)
  engine.tensor_parallel=1     GPUs that share each layer (roofline, profile)
  engine.head_of_line=stop     or skip: may a waiting turn that fits overtake one that does not
  host.per_step_ms=0.8         CPU time of the engine per step, and per running turn:
  host.per_running_us=4        host.overlapped=false  true: beside the GPU's work, as with
                                                      asynchronous scheduling, then the default
  tools.mode=shared            calls slow each other on the tool cores; fifo: they queue for as many
                               workers; unlimited: no tool waits for a core
  tools.worker_holds=cpu       of fifo: a worker has a call for its CPU time; call: to its end
  tools.host_cores=disjoint    shared: while a step runs, tools.host_threads=1 threads of the engine
                               share the tool cores, and host time stretches when they are short
  metrics.alpha1_tolerance=0.01  how far above T_ideal still meets alpha 1
  run.sample_every_s=1         simulated seconds between rows of samples.parquet
  workload.seed=1              of the sessions of a generated workload; runs of all seeds meet the same

Examples:
  orrery run --rate 0.1,0.2,0.4 --sessions 1000 --format csv > rates.csv
  orrery run --workload my-sessions.jsonl.zst --gpu h200-sxm --tool-cores 32
  orrery run --workload ilr-2 --rate 0.2 --arrivals gamma:1.2
  zstdcat big.jsonl.zst | head -100 | orrery run --workload -
  orrery run --policy mars --set admission.window_max=20 --set engine.kv_blocks=8000
  orrery run --gpu rtx-4090 --model llama-3.1-8b --cost profile:perf/RTX4090/Llama-3.1-8B/bf16

  orrery run --policy fcfs,mars --rate 0.08 --decisions --out runs/ab && orrery compare runs/ab

Goodput(alpha) counts sessions with latency <= alpha * T_ideal per second of makespan; T_ideal is
the session's latency alone on the same machine under fcfs. Alpha 1 is met within a tolerance.";

const RACE_EXAMPLES: &str = "\
Examples:
  orrery race                                      every preset, 5 rates, 5 seeds: some minutes
  orrery race --rate 0.07 --sessions 100           one rate, shorter runs
  orrery race --policy fcfs,mars,mine.toml         your own policy against two presets
  orrery race --seed 1,2,3,4,5,6,7,8,9,10          more seeds, narrower intervals
  orrery race --format csv > race.csv

How to read it: a number is the mean over seeds, +- is half the 95 % confidence interval of Student's
t for that many seeds. Near saturation one run can differ from the next by a third, so a difference
within the intervals says nothing. Differences between policies are best seen paired: `x mars` is the
policy's mean latency over mars' on the same draws, the geometric mean over seeds with its interval;
above 1 mars is faster. The best baseline of a rate is the preset outside the mars family with the
lowest mean; it is chosen after the fact, so its ratio flatters it. --set takes the settings of
`orrery run --help`.";

/// Simulates scheduling policies for LLM agents: sessions that alternate between GPU turns and CPU
/// tools, replayed on a model of the hardware.
#[derive(Debug, Parser)]
#[command(name = "orrery", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// What to do; nothing is the demo.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replay a workload under one or several policies and print how they did.
    Run(Box<RunArgs>),
    /// Show where two policies first decide differently on the same load, and what it cost.
    Compare(CompareArgs),
    /// Every policy over several rates and seeds: means with 95 % intervals, and ratios to mars.
    Race(Box<RaceArgs>),
    /// A grid of runs from one file, resumable and shardable, with a table of all of them.
    Sweep(crate::sweep::args::SweepArgs),
    /// How much load a machine takes within a target, or how few cores or KV blocks a load needs.
    Capacity(Box<crate::capacity::args::CapacityArgs>),
    /// A sweep as one HTML page: setup, tables, figures, limits.
    Report(crate::html::args::ReportArgs),
    /// Join the shards of a sweep.
    Merge(crate::sweep::args::MergeArgs),
    /// The same runs on a real model, with real tools and a real clock.
    Engine(crate::engine::args::EngineArgs),
    /// Replay a real engine's request log and say how far off the simulation is.
    Validate(Box<crate::validate::args::ValidateArgs>),
    /// Fit a cost model to a log of steps or requests.
    Calibrate(Box<crate::calibrate::args::CalibrateArgs>),
    /// The demo: fcfs and mars over a few rates, a table and a figure.
    Demo(DemoArgs),
    /// Make a figure of the paper, or one of ours: the runs, the drawing, the numbers in it.
    Figure(crate::figure::args::FigureArgs),
    /// Hold every number that the MARS paper prints against ours.
    Claims(crate::claims::args::ClaimsArgs),
    /// List, show or explain scheduling policies.
    Policies(PoliciesArgs),
    /// List GPUs and models, with the KV pool of each pair and what its costs rest on.
    Hardware(HardwareArgs),
    /// Text from a real model.
    Generate(crate::generate::args::GenerateArgs),
    /// Fetch real models by name, or list them.
    Model(crate::model::args::ModelArgs),
    /// List the workloads that come with the program.
    Workloads(WorkloadsArgs),
    /// What this machine has, and which executors can run on it.
    Doctor(crate::doctor::args::DoctorArgs),
    /// Make traces of recordings, and describe, check, sample, merge, scale or fill them.
    Trace(TraceArgs),
}

/// Flags of `orrery run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RUN_EXAMPLES, args_override_self = true)]
pub struct RunArgs {
    /// Presets or paths of TOML files, separated by commas; all meet the same draws.
    #[arg(long, default_value = "fcfs,mars", value_name = "NAME|FILE,...")]
    pub policy: String,

    /// Arrival rates in sessions per second, separated by commas.
    #[arg(
        long,
        default_value = "0.2",
        value_name = "RATE,...",
        allow_hyphen_values = true
    )]
    pub rate: String,

    /// How sessions arrive at that rate: fixed, poisson, gamma:CV (coefficient of variation of the
    /// gaps), burst:N (so many at once), recorded (stretched to the rate), clients:MIX.
    #[arg(long, default_value = "fixed", value_name = "KIND")]
    pub arrivals: ArrivalKind,

    /// Sessions to offer. More than the workload has: its sessions come again, in a new order.
    #[arg(
        long,
        default_value = "400",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub sessions: String,

    /// Seeds of the order of sessions and of Poisson arrivals, separated by commas.
    #[arg(
        long,
        default_value = "1",
        value_name = "SEED,...",
        allow_hyphen_values = true
    )]
    pub seed: String,

    /// Folder for the run directories, one per policy, rate and seed.
    #[arg(long, default_value = "runs/run", value_name = "DIR")]
    pub out: PathBuf,

    /// The timeline.
    #[command(flatten)]
    pub perfetto: crate::perfetto::args::PerfettoArgs,

    /// Workload, machine, metrics and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Flags that `orrery run` and `orrery race` share.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// A bundled workload (`bundled` is the default one), a generator's preset or .toml description
    /// (makes as many sessions as are offered), a trace file (plain or zstd), or `-` for stdin.
    #[arg(long, default_value = "bundled", value_name = "NAME|FILE")]
    pub workload: String,

    /// What to do about a session of a trace file that cannot be read; those skipped are counted in
    /// the manifest.
    #[arg(long, default_value = "fail")]
    pub on_bad_session: OnBad,

    /// The GPU (`orrery hardware list`).
    #[arg(long, default_value = "h100-nvl", value_name = "NAME")]
    pub gpu: String,

    /// The model it serves.
    #[arg(long, default_value = "qwen3-coder-30b-a3b", value_name = "NAME")]
    pub model: String,

    /// Share of the GPU's memory that weights, activations and KV may take, above 0 up to 1.
    #[arg(
        long,
        default_value = "0.9",
        value_name = "SHARE",
        allow_hyphen_values = true
    )]
    pub utilisation: String,

    /// Cost model and further specs.
    #[command(flatten)]
    pub costs: crate::run::cost::CostArgs,

    /// CPU cores that all tool calls share.
    #[arg(
        long,
        default_value = "8",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub tool_cores: String,

    /// Goodput factors, separated by commas: a session is in time up to alpha times what it takes alone.
    #[arg(
        long,
        default_value = "1,2,3",
        value_name = "ALPHA,...",
        allow_hyphen_values = true
    )]
    pub alpha: String,

    /// Simulated seconds after which to stop; sessions then open count as offered and missed.
    /// [default: run until all are complete]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub horizon: Option<String>,

    /// Override a setting (below); may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Write every decision of the policy with its reason and inputs to decisions.parquet, for
    /// `orrery compare`. Such a run has a directory of its own.
    #[arg(long)]
    pub decisions: bool,

    /// How results are printed.
    #[command(flatten)]
    pub shown: FormatArgs,

    /// Threads and notes.
    #[command(flatten)]
    pub work: WorkArgs,
}

const COMPARE_EXAMPLES: &str = "\
Differences are B less A, session by session: the n-th session of A with the n-th of B, which is the
same recorded session, arriving at the same instant.

The sessions of one run share a machine, so they are not independent, and one run has no confidence
interval. With runs of several seeds each seed is one observation, and the 95 % interval is
Student's t over seeds. `by_size.1` is the quarter of the sessions with the fewest prompt and output
tokens, `by_size.4` the one with the most, each seed by its own quarters; `below 0` counts the seeds
in which B was the smaller: for latencies, those that B wins.

Decisions are compared in order, by time, session and what was decided. Updates of an admission
window are left out: a policy without a window has none.

Examples:
  orrery run --policy fcfs,mars --rate 0.08 --sessions 100 --decisions --out runs/ab
  orrery compare runs/ab                          the two policies in one folder
  orrery compare runs/ab/fcfs-* runs/ab/mars-*    two run directories
  orrery run --policy fcfs,mars --rate 0.08 --seed 1,2,3,4,5 --out runs/seeds
  orrery compare runs/seeds --format json | jq .over_seeds

Exit codes: 0 done, 2 bad input or different loads.";

/// Flags of `orrery compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub struct CompareArgs {
    /// A run directory, or a folder with the runs of one policy (one per seed). Alone: a folder with
    /// two runs, or with two policies' runs, one per seed.
    #[arg(value_name = "RUN_A")]
    pub a: PathBuf,

    /// The run or folder to hold against it.
    #[arg(value_name = "RUN_B")]
    pub b: Option<PathBuf>,

    /// Compare runs of different loads or machines all the same.
    #[arg(long)]
    pub anyway: bool,

    /// How results are printed.
    #[command(flatten)]
    pub shown: FormatArgs,
}

/// Flags of `orrery race`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RACE_EXAMPLES, args_override_self = true)]
pub struct RaceArgs {
    /// Presets or paths of TOML files, separated by commas. [default: every preset]
    #[arg(long, value_name = "NAME|FILE,...")]
    pub policy: Option<String>,

    /// Arrival rates in sessions per second, separated by commas.
    #[arg(
        long,
        default_value = "0.04,0.06,0.07,0.08,0.1",
        value_name = "RATE,...",
        allow_hyphen_values = true
    )]
    pub rate: String,

    /// How sessions arrive at that rate: fixed, poisson, gamma:CV (coefficient of variation of the
    /// gaps), burst:N (so many at once), recorded (stretched to the rate), clients:MIX.
    #[arg(long, default_value = "poisson", value_name = "KIND")]
    pub arrivals: ArrivalKind,

    /// Sessions to offer per run.
    #[arg(
        long,
        default_value = "200",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub sessions: String,

    /// Seeds, separated by commas; every policy meets the same draws of a seed.
    #[arg(
        long,
        default_value = "1,2,3,4,5",
        value_name = "SEED,...",
        allow_hyphen_values = true
    )]
    pub seed: String,

    /// Folder to keep the run directories in, one per policy, rate and seed. [default: keep none]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Workload, machine, metrics and output.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs; the keys are a stable interface.
    Json,
    /// One row per run, the names of the JSON joined with dots.
    Csv,
}

/// Flags of `orrery demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Folder for the figure, its data and the run directories.
    #[arg(long, default_value = "runs/demo", value_name = "DIR")]
    pub out: PathBuf,

    /// Threads and notes.
    #[command(flatten)]
    pub work: WorkArgs,
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self {
            out: PathBuf::from("runs/demo"),
            work: WorkArgs::default(),
        }
    }
}

/// `orrery policies ...`
#[derive(Debug, Args)]
pub struct PoliciesArgs {
    /// What about them.
    #[command(subcommand)]
    pub what: PoliciesWhat,
}

/// What about policies.
#[derive(Debug, Subcommand)]
pub enum PoliciesWhat {
    /// Names and what they are for.
    List,
    /// The whole preset as TOML, every setting visible: copy it, change it, run it.
    Show {
        /// Name of a preset.
        name: String,
    },
    /// Its rules in words, part by part: formula, settings, source.
    Explain {
        /// Name of a preset.
        name: String,
    },
}

/// `orrery hardware ...`
#[derive(Debug, Args)]
pub struct HardwareArgs {
    /// What about it.
    #[command(subcommand)]
    pub what: ListWhat,

    /// TOML files or folders of them with further GPUs, models and fits, separated by commas.
    #[arg(long, value_name = "PATH,...", global = true)]
    pub hardware_file: Option<String>,
}

/// `orrery workloads ...`
#[derive(Debug, Args)]
pub struct WorkloadsArgs {
    /// What about them.
    #[command(subcommand)]
    pub what: ListWhat,
}

/// What there is.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ListWhat {
    /// List them.
    List,
}
