//! Flags of `orrery trace`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::flags::FormatArgs;

const EXAMPLES: &str = "\
A TRACE is a bundled workload (`orrery workloads list`), a trace file (plain or zstd, traces/FORMAT.md)
or `-` for stdin. Verbs that make a trace write it to stdout, or with -o to a file; one whose name ends
in .zst is compressed. A file appears complete or not at all.

Examples:
  orrery trace import ~/.claude/projects -o mine.jsonl.zst
  orrery trace stats mine.jsonl.zst
  orrery trace generate ilr-2 --sessions 400 --seed 1 -o ilr-2.jsonl.zst
  orrery trace export mine.jsonl.zst --to mooncake -o mine-mooncake.jsonl
  orrery trace stats mine.jsonl.zst --svg mine.svg
  orrery trace check mine.jsonl.zst --gpu h200-nvl --model llama-3.1-8b
  orrery trace fill mine.jsonl.zst --seed 1 -o filled.jsonl.zst
  orrery trace sample filled.jsonl.zst --sessions 100 --seed 7 -o hundred.jsonl
  orrery trace scale hundred.jsonl --time 2 | orrery run --workload -

Exit codes: 0 done, 1 finished but something is wrong with the data, 2 bad input, 130 interrupted.";

/// `orrery trace ...`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TraceArgs {
    /// What to do with traces.
    #[command(subcommand)]
    pub what: TraceWhat,
}

/// What to do with traces.
#[derive(Debug, Subcommand)]
pub enum TraceWhat {
    /// Make a trace of agents' own recordings (Claude Code, SWE-agent, Codex and others).
    Import(Box<ImportArgs>),
    /// Draw a synthetic workload from a description, and hold it against its targets.
    Generate(GenerateArgs),
    /// Write a trace in another simulator's format.
    Export(ExportArgs),
    /// Describe traces: sessions, tokens, reuse, tool times, and where the numbers come from.
    Stats(StatsArgs),
    /// Check a trace line by line, and say what would keep or trouble a run.
    Check(CheckArgs),
    /// Draw sessions at random, of all or of those that pass a filter.
    Sample(SampleArgs),
    /// Make one trace of several.
    Merge(MergeArgs),
    /// Make sessions slower, longer or of more turns.
    Scale(ScaleArgs),
    /// Draw the tool times and CPU times that a recording does not tell.
    Fill(FillArgs),
}

/// What to do about a line of a trace that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum OnBad {
    /// Stop with the line and field.
    #[default]
    Fail,
    /// Leave the session out and count it.
    Skip,
}

const IMPORT_EXAMPLES: &str = "\
A PATH is a file, a folder that is searched through, a quoted pattern, or `-` for stdin. Files may be
packed with gzip or zstd, and tar archives (plain or packed) are unpacked into a temporary folder. What a
file is, its content says; --from overrules that. Files in folders that are no recordings are counted; a
file that is named and is none is an error.

Formats: agentic-mooncake, azure-llm, claude-code, codex, inference-lab, mini-swe-agent, mooncake,
mooncake-exact, openhands, pi, swe-agent, weka.

No text of prompts or tools is kept: a trace holds token counts and times. Sessions are ordered by when
they began, and arrivals count from the first. A session whose id is taken gets `~2`, `~3`, ...

Examples:
  orrery trace import ~/.claude/projects -o mine.jsonl.zst
  orrery trace import ~/.claude/projects --fill 1 --on-bad-session skip -o mine.jsonl.zst
  orrery trace import 'runs/**/*.traj' --from swe-agent -o swe.jsonl.zst
  orrery trace import recordings.tar.zst --dedup -o all.jsonl.zst --format json
  zcat output.jsonl.gz | orrery trace import - | orrery trace stats -

Exit codes: 0 done, 1 some files could not be read, 2 bad input or no session, 130 interrupted.";

/// Flags of `orrery trace import`.
#[derive(Clone, Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// Files, folders, patterns, or `-`.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,

    /// The format of every file. [default: guessed for each]
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<String>,

    /// What to do about a session that cannot be read.
    #[arg(long, default_value = "fail")]
    pub on_bad_session: OnBad,

    /// Draw unknown tool times and CPU times with this seed, as `orrery trace fill` does.
    #[arg(long, value_name = "SEED", allow_hyphen_values = true)]
    pub fill: Option<String>,

    /// Leave out sessions that begin with the same three calls as an earlier one: forked, resumed or
    /// copied recordings, which would double the load.
    #[arg(long)]
    pub dedup: bool,

    /// Where the sessions come from, for the trace's header. [default: formats and counts]
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,

    /// Licence of the data, an SPDX name, for the trace's header.
    #[arg(long, value_name = "NAME")]
    pub license: Option<String>,

    /// Where the trace goes.
    #[command(flatten)]
    pub out: OutArgs,

    /// What to print on stdout when the trace goes to a file.
    #[arg(long, default_value = "none")]
    pub format: ImportFormat,

    /// Threads to use; the results do not depend on it. [default: all cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub threads: Option<String>,
}

/// What an import prints on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// Nothing: the summary for people is on stderr.
    None,
    /// The report for programs.
    Json,
}

const STATS_EXAMPLES: &str = "\
Definitions:
  prompt volume  prompt tokens of all calls of a session, each counted as often as sent
  new            prompt of a turn less what it reuses of the turn before
  observation    prompt less the previous prompt and output, where that is above 0: what tools and
                 people added to the context
  prefix reuse   reused over all prompt tokens
  tool time      of each call, alone on an idle machine
  cores          CPU time over tool time, calls that know both
  idle share     tool time over tool plus model time of a session, tools side by side; only sessions
                 with every one of these times; human pauses left out
Quantiles are exact, linear between order statistics. What is not known is n/a and in no statistic.

Examples:
  orrery trace stats mine.jsonl.zst
  orrery trace stats bundled mine.jsonl.zst --svg both.svg
  orrery trace stats ilr-1 ilr-2 ilr-3 ilr-4 --sessions 1000 --svg regimes.svg
  orrery trace stats mine.jsonl.zst --format json | jq '.traces[0].tools[] | [.name, .wall_s.p50]'
  orrery trace stats *.jsonl.zst --format csv > stats.csv";

/// Flags of `orrery trace stats`.
#[derive(Clone, Debug, Args)]
#[command(after_help = STATS_EXAMPLES)]
pub struct StatsArgs {
    /// Traces to describe; generator presets and .toml descriptions too.
    #[arg(required = true, value_name = "TRACE")]
    pub traces: Vec<String>,

    /// How results are printed.
    #[command(flatten)]
    pub shown: FormatArgs,

    /// Draw the distributions, one line per trace, into this SVG file; as PNG beside it if it ends in .svg.
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,

    /// What to do about a line that cannot be read.
    #[arg(long, default_value = "fail")]
    pub on_bad_session: OnBad,

    /// How many sessions to draw of a description.
    #[arg(
        long,
        default_value = "400",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub sessions: String,

    /// Seed of a description's draws.
    #[arg(
        long,
        default_value = "1",
        value_name = "SEED",
        allow_hyphen_values = true
    )]
    pub seed: String,
}

const CHECK_EXAMPLES: &str = "\
An error is a line that cannot be read. A warning is a session that a run would refuse or distort. A
note is lawful and odd.

Examples:
  orrery trace check mine.jsonl.zst
  orrery trace check mine.jsonl.zst --gpu h200-nvl --model llama-3.1-8b
  orrery trace check mine.jsonl.zst --format json | jq .warnings

Exit codes: 0 no error and no warning, 1 warnings, 2 errors, or no trace at all.";

/// Flags of `orrery trace check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// The trace.
    #[arg(value_name = "TRACE")]
    pub trace: String,

    /// The GPU that its sessions should fit (`orrery hardware list`).
    #[arg(long, default_value = "h100-nvl", value_name = "NAME")]
    pub gpu: String,

    /// The model that should take them.
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

    /// How to print the findings on stdout.
    #[arg(long, default_value = "table")]
    pub format: CheckFormat,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Where a trace goes.
#[derive(Clone, Debug, Args)]
pub struct OutArgs {
    /// The file to write, compressed if its name ends in .zst. [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// No notes on stderr; errors still show.
    #[arg(long)]
    pub quiet: bool,
}

const SAMPLE_EXAMPLES: &str = "\
The same seed draws the same sessions, in the file's order. A smaller sample of a seed is part of a
larger one. Without --sessions all that pass the filter are kept.

Examples:
  orrery trace sample mine.jsonl.zst --sessions 100 --seed 7 -o hundred.jsonl
  orrery trace sample mine.jsonl.zst --min-turns 10 --max-turns 50 --max-peak 131072 -o fits.jsonl.zst
  orrery trace sample mine.jsonl.zst --model claude-haiku-4-5 | orrery trace stats -";

/// Flags of `orrery trace sample`.
#[derive(Clone, Debug, Args)]
#[command(after_help = SAMPLE_EXAMPLES)]
pub struct SampleArgs {
    /// The trace.
    #[arg(value_name = "TRACE")]
    pub trace: String,

    /// How many sessions to draw; all that pass if there are fewer. [default: all that pass]
    #[arg(short = 'n', long, value_name = "N", allow_hyphen_values = true)]
    pub sessions: Option<String>,

    /// Seed of the draw.
    #[arg(
        long,
        default_value = "1",
        value_name = "SEED",
        allow_hyphen_values = true
    )]
    pub seed: String,

    /// The fewest turns a session may have.
    #[arg(long, value_name = "TURNS", allow_hyphen_values = true)]
    pub min_turns: Option<String>,

    /// The most turns a session may have.
    #[arg(long, value_name = "TURNS", allow_hyphen_values = true)]
    pub max_turns: Option<String>,

    /// The most tokens of KV that a session may hold at its largest.
    #[arg(long, value_name = "TOKENS", allow_hyphen_values = true)]
    pub max_peak: Option<String>,

    /// The recorded model, in full.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,

    /// Where the trace goes.
    #[command(flatten)]
    pub out: OutArgs,
}

const MERGE_EXAMPLES: &str = "\
An id that several traces have becomes LABEL/id in each of them; the label is the file's name without
folder and endings. Groups of shared openings keep their names, which mean the same tokens everywhere;
--own-groups gives each trace its own.

Examples:
  orrery trace merge monday.jsonl tuesday.jsonl -o both.jsonl.zst
  orrery trace merge monday.jsonl tuesday.jsonl --arrivals one-after-another -o week.jsonl.zst";

/// Flags of `orrery trace merge`.
#[derive(Clone, Debug, Args)]
#[command(after_help = MERGE_EXAMPLES)]
pub struct MergeArgs {
    /// The traces, at least two.
    #[arg(required = true, num_args = 2.., value_name = "TRACE")]
    pub traces: Vec<String>,

    /// What becomes of arrivals.
    #[arg(long, default_value = "kept")]
    pub arrivals: MergeArrivals,

    /// Let no trace share openings with another.
    #[arg(long)]
    pub own_groups: bool,

    /// Where the trace goes.
    #[command(flatten)]
    pub out: OutArgs,
}

/// What becomes of arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MergeArrivals {
    /// All traces begin together, their sessions interleaved by arrival.
    Kept,
    /// Each trace begins with the last arrival of the one before it.
    OneAfterAnother,
}

const SCALE_EXAMPLES: &str = "\
What each factor does, in this order:
  --turns   a session of n turns gets round(n * factor), at least 1. Fewer: its first ones. More: its
            steps come again from the first; a step is the tools, pause, tokens added and dropped
            between two turns, and the output that follows. A session of one turn stays.
  --length  prompts, outputs and shared openings; what was reused in full still is
  --time    tool times, CPU times and pauses; not arrivals, and not recorded model times
Scaled numbers are marked estimated, unless they were drawn.

Examples:
  orrery trace scale bundled --time 2 -o slow-tools.jsonl
  orrery trace scale mine.jsonl.zst --length 1.5 --turns 2 -o longer.jsonl.zst
  orrery trace scale bundled --turns 0.25 | orrery run --workload -";

/// Flags of `orrery trace scale`.
#[derive(Clone, Debug, Args)]
#[command(after_help = SCALE_EXAMPLES)]
pub struct ScaleArgs {
    /// The trace.
    #[arg(value_name = "TRACE")]
    pub trace: String,

    /// Factor of tool times and pauses.
    #[arg(
        long,
        default_value = "1",
        value_name = "FACTOR",
        allow_hyphen_values = true
    )]
    pub time: String,

    /// Factor of token counts.
    #[arg(
        long,
        default_value = "1",
        value_name = "FACTOR",
        allow_hyphen_values = true
    )]
    pub length: String,

    /// Factor of the number of turns.
    #[arg(
        long,
        default_value = "1",
        value_name = "FACTOR",
        allow_hyphen_values = true
    )]
    pub turns: String,

    /// Where the trace goes.
    #[command(flatten)]
    pub out: OutArgs,
}

const GENERATE_EXAMPLES: &str = "\
A description is a preset (`orrery workloads list`) or a TOML file (traces/GENERATE.md). Session i depends
on the description, the seed and i alone. Every number is marked drawn. On stderr: each statistic that the
description wants against what was made, and T_ideal, the latency of a session alone on the machine.

Examples:
  orrery trace generate ilr-2 --sessions 400 --seed 1 -o ilr-2.jsonl.zst
  orrery trace generate mine.toml -o mine.jsonl --report mine-report.json
  orrery trace generate swebench --sessions 1000 --seed 7 | orrery trace stats -
  orrery run --workload ilr-2 --sessions 400        the same sessions, without a file";

/// Flags of `orrery trace generate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = GENERATE_EXAMPLES)]
pub struct GenerateArgs {
    /// A preset or a .toml file.
    #[arg(value_name = "PRESET|FILE.toml")]
    pub description: String,

    /// How many sessions.
    #[arg(
        short = 'n',
        long,
        default_value = "400",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub sessions: String,

    /// Seed of all draws.
    #[arg(
        long,
        default_value = "1",
        value_name = "SEED",
        allow_hyphen_values = true
    )]
    pub seed: String,

    /// The GPU of `T_ideal` (`orrery hardware list`).
    #[arg(long, default_value = "h100-nvl", value_name = "NAME")]
    pub gpu: String,

    /// The model of `T_ideal`.
    #[arg(long, default_value = "qwen3-coder-30b-a3b", value_name = "NAME")]
    pub model: String,

    /// CPU cores of the tools for `T_ideal`.
    #[arg(
        long,
        default_value = "8",
        value_name = "N",
        allow_hyphen_values = true
    )]
    pub tool_cores: String,

    /// Write targets and what was achieved into this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Where the trace goes.
    #[command(flatten)]
    pub out: OutArgs,
}

const EXPORT_EXAMPLES: &str = "\
Formats: agentic-mooncake, azure-llm, inference-lab, mooncake. `orrery trace import` reads them back. What a
format cannot hold is counted on stderr; a number that it needs and the trace does not have is an error.

Examples:
  orrery trace export mine.jsonl.zst --to mooncake -o mine-mooncake.jsonl
  orrery trace export bundled --to inference-lab > sessions.jsonl";

/// Flags of `orrery trace export`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// The trace.
    #[arg(value_name = "TRACE")]
    pub trace: String,

    /// The format.
    #[arg(long, value_name = "FORMAT")]
    pub to: String,

    /// Where the file goes; it is not compressed.
    #[command(flatten)]
    pub out: OutArgs,
}

const FILL_EXAMPLES: &str = "\
Only what is unknown is drawn, from distributions fitted to recordings with tool times (traces::fill
says which), and marked drawn. A session's draws belong to the seed and its place in the trace.

Examples:
  orrery trace fill mine.jsonl.zst --seed 1 -o filled.jsonl.zst
  orrery trace fill mine.jsonl.zst --tool-limit 60 -o filled.jsonl.zst";

/// Flags of `orrery trace fill`.
#[derive(Clone, Debug, Args)]
#[command(after_help = FILL_EXAMPLES)]
pub struct FillArgs {
    /// The trace.
    #[arg(value_name = "TRACE")]
    pub trace: String,

    /// Seed of all draws.
    #[arg(
        long,
        default_value = "1",
        value_name = "SEED",
        allow_hyphen_values = true
    )]
    pub seed: String,

    /// The agent's time limit for a command, in seconds: no drawn time is longer, but a sub-agent's.
    #[arg(
        long,
        default_value = "120",
        value_name = "SECONDS",
        allow_hyphen_values = true
    )]
    pub tool_limit: String,

    /// Where the trace goes.
    #[command(flatten)]
    pub out: OutArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_format() {
        for importer in traces::import::IMPORTERS {
            assert!(IMPORT_EXAMPLES.contains(importer.name), "{}", importer.name);
        }
        for exporter in traces::export::EXPORTERS {
            assert!(EXPORT_EXAMPLES.contains(exporter.name), "{}", exporter.name);
        }
    }
}
