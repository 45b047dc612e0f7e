//! The command line of `orrery engine`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::prefill::PrefillKind;
use crate::cli::Format;
use crate::run::arrivals::ArrivalKind;
use crate::trace::args::OnBad;

/// Flags of `orrery engine`.
#[derive(Clone, Debug, Args)]
pub struct EngineArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: EngineCommand,
}

/// What the engine is to do.
#[derive(Clone, Debug, Subcommand)]
pub enum EngineCommand {
    /// Replay a workload under policies on a real model, in real time.
    Run(Box<EngineRunArgs>),
    /// Time steps and copies of a device, and hold them against what the hardware allows.
    Bench(Box<crate::bench::args::EngineBenchArgs>),
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExecutorKind {
    /// The fast one, on vector instructions.
    Cpu,
    /// The reference: slow and simple, 32-bit floats.
    Candle,
    /// A GPU, where the program is built with the feature `cuda`; without one, `cpu` with a warning. Not
    /// yet run on a GPU.
    Cuda,
}

/// What becomes of the commands that a trace's tool calls carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CommandsKind {
    /// Run them, each in its session's own folder. This executes what the trace says.
    Run,
    /// Do not: compute and wait for the recorded times.
    Burn,
}

const RUN_EXAMPLES: &str = "\
Time: every recorded time (tools' time and CPU time, pauses) is divided by --time-scale, every token
count by --shrink (at least 1 is left). The model is as fast as it is. --rate, --horizon and everything
that is printed or written are in seconds of the real clock. A run lasts as long as its load.

Tools are processes on the tool cores: each computes for its recorded CPU time and waits for the rest of
its recorded time. One that fails, or takes longer than --tool-timeout, ends its session: the session
counts as failed, the run goes on, and the program ends with 1.

A tool call of the trace may carry a command. Such a trace is refused without --commands: `run` executes
them, `burn` takes their recorded times. Read them before you run them: a session's folder is no jail. A
command starts in its session's folder (new and empty, gone after the session) with PATH, HOME, TMPDIR and
LANG and nothing to read, takes as long as it takes (--time-scale does not matter to it), and may end with any
status: agents see commands fail and go on. One that is not there, is killed by a signal or runs past
--tool-timeout fails its session. A session's commands run again in each of its runs, T_ideal's too. What
came of each is in commands.parquet, totals are in the manifest.

T_ideal (for goodput) is measured: each distinct session runs alone first, under fcfs. --no-ideals leaves
that out; goodput is then not known.

Cores: `2` is that many, `cores:0,2-3` are these. Tools get the last ones, the engine all others.

Settings of --set: those of `orrery run` for policies, engine, metrics and run (tools.mode=shared or
fifo), with these defaults: engine.token_budget=512, engine.host_gib=1. The bandwidth of host copies is
measured; a setting takes its place.

Examples:
  orrery engine run --model random:tiny --sessions 4 --shrink 200 --time-scale 20 --rate 1
  orrery engine run --model smollm2 --workload ilr-2 --shrink 40 --time-scale 10 --rate 0.2 --sessions 20
  orrery engine run --model my.gguf --executor candle --policy fcfs,mars --out runs/real --no-ideals

Exit codes: 0 done, 1 a run failed or a session did, 2 bad input, 3 a bug, 130 interrupted by Ctrl-C or
SIGTERM (runs that are complete stay, the others leave nothing).";

/// Flags of `orrery engine run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RUN_EXAMPLES, args_override_self = true)]
pub struct EngineRunArgs {
    /// Presets or paths of TOML files, separated by commas; all meet the same draws, one after the other.
    #[arg(long, default_value = "fcfs,mars", value_name = "NAME|FILE,...")]
    pub policy: String,

    /// A bundled workload, a generator's preset or .toml description, a trace file, or `-` for stdin.
    #[arg(
        long,
        visible_alias = "trace",
        default_value = "bundled",
        value_name = "NAME|FILE"
    )]
    pub workload: String,

    /// What to do about a session of a trace file that cannot be read.
    #[arg(long, default_value = "fail")]
    pub on_bad_session: OnBad,

    /// Arrival rates in sessions per second of the clock, separated by commas.
    #[arg(
        long,
        default_value = "0.2",
        value_name = "RATE,...",
        allow_hyphen_values = true
    )]
    pub rate: String,

    /// How sessions arrive at that rate, as in `orrery run`.
    #[arg(long, default_value = "fixed", value_name = "KIND")]
    pub arrivals: ArrivalKind,

    /// Sessions to offer.
    #[arg(
        long,
        default_value = "20",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub sessions: String,

    /// Seeds of the order of sessions, of arrivals and of the tokens, separated by commas.
    #[arg(
        long,
        default_value = "1",
        value_name = "SEED,...",
        allow_hyphen_values = true
    )]
    pub seed: String,

    /// What computes.
    #[arg(long, visible_alias = "device", default_value = "cpu")]
    pub executor: ExecutorKind,

    /// Kernel of prefill attention, where a GPU computes.
    #[arg(long, default_value = "auto", value_name = "KERNEL")]
    pub prefill_attention: PrefillKind,

    /// A GGUF file, a folder or file of safetensors, `smollm2` once `orrery model fetch smollm2` has
    /// brought it, or random weights: `random:tiny`, `random:8m`, `random:28m`, `random:llama-3.1-8b`,
    /// `random:qwen3-30b-a3b`. A GPU makes random weights itself, the other executors in host memory.
    #[arg(long, default_value = "random:28m", value_name = "PATH|NAME")]
    pub model: String,

    /// Threads of the executor. [default: as many as it has cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub threads: Option<String>,

    /// Cores of the engine: a number, or `cores:LIST`. [default: what the tools leave]
    #[arg(long, value_name = "N|cores:LIST")]
    pub engine_cores: Option<String>,

    /// Cores of the tools: a number, or `cores:LIST`.
    #[arg(long, default_value = "1", value_name = "N|cores:LIST")]
    pub tool_cores: String,

    /// Seconds after which a tool is killed and its session given up. [default: no limit]
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub tool_timeout: Option<String>,

    /// What a tool does on the machine.
    #[command(flatten)]
    pub tools: ToolArgs,

    /// Recorded times are divided by this.
    #[arg(
        long,
        default_value = "1",
        value_name = "FACTOR",
        allow_hyphen_values = true
    )]
    pub time_scale: String,

    /// Token counts are divided by this; recordings are far longer than what a small model takes.
    #[arg(
        long,
        default_value = "1",
        value_name = "FACTOR",
        allow_hyphen_values = true
    )]
    pub shrink: String,

    /// Memory of the KV pool, MiB. `--set engine.kv_blocks=N` says it in blocks.
    #[arg(
        long,
        default_value = "256",
        value_name = "MIB",
        allow_hyphen_values = true
    )]
    pub kv_mib: String,

    /// What is measured and looked for besides.
    #[command(flatten)]
    pub besides: BesidesArgs,

    /// Goodput factors, separated by commas.
    #[arg(
        long,
        default_value = "1,2,3",
        value_name = "ALPHA,...",
        allow_hyphen_values = true
    )]
    pub alpha: String,

    /// Seconds after which to stop; sessions then open count as offered and missed.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub horizon: Option<String>,

    /// Override a setting; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Write every decision of the policy to decisions.parquet.
    #[arg(long)]
    pub decisions: bool,

    /// The timeline.
    #[command(flatten)]
    pub perfetto: crate::perfetto::args::PerfettoArgs,

    /// Folder for the run directories, one per policy, rate and seed.
    #[arg(long, default_value = "runs/engine", value_name = "DIR")]
    pub out: PathBuf,

    /// How to print the results on stdout.
    #[arg(long, default_value = "table")]
    pub format: Format,

    /// No progress and no notes on stderr; errors still show.
    #[arg(long)]
    pub quiet: bool,
}

/// What becomes of commands, and what they may use.
#[derive(Clone, Debug, Args)]
pub struct ToolArgs {
    /// What becomes of commands that tool calls carry. Needed for a trace that has some.
    #[arg(long)]
    pub commands: Option<CommandsKind>,

    /// Bytes of a command's output that are kept; what comes after is counted and thrown away.
    #[arg(
        long,
        default_value = "65536",
        value_name = "BYTES",
        allow_hyphen_values = true
    )]
    pub tool_output_cap: String,

    /// Largest file that a command may write, MiB; writing beyond it kills the command. [default: no limit]
    #[arg(long, value_name = "MIB", allow_hyphen_values = true)]
    pub tool_file_mib: Option<String>,

    /// Address space of each process of a command, MiB, at least 64. [default: no limit]
    #[arg(long, value_name = "MIB", allow_hyphen_values = true)]
    pub tool_memory_mib: Option<String>,

    /// Folder in which sessions get their folders. [default: the system's temporary one]
    #[arg(long, value_name = "DIR")]
    pub sandboxes: Option<PathBuf>,
}

/// What a real run measures and looks for besides.
#[derive(Clone, Copy, Debug, Args)]
pub struct BesidesArgs {
    /// Do not measure `T_ideal`.
    #[arg(long)]
    pub no_ideals: bool,

    /// Look for reads of KV that was not written: blocks are filled with not-a-number first. Slower.
    #[arg(long)]
    pub poison: bool,
}
