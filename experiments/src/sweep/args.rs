//! Arguments of `orrery sweep` and `orrery merge`.

use std::path::PathBuf;

use clap::Args;

use crate::flags::{FormatArgs, WorkArgs};

const SWEEP_EXAMPLES: &str = "\
The file: every flag of `orrery run` is a key (dashes become underscores), with one value or a list;
[set] takes the keys of --set. The sweep is every combination. A policy or workload that is a file is
looked for beside the sweep file; other paths are as for `orrery run`.

  policy   = [\"fcfs\", \"mars\", \"mine.toml\"]
  workload = \"bundled\"
  rate     = [0.04, 0.06, 0.08]
  arrivals = \"poisson\"
  sessions = 200
  seed     = \"1-5\"                      # or a list
  gpu      = [\"h100-nvl\", \"h200-nvl\"]
  alpha    = [1, 2, 3]                  # not an axis: every run is judged by all

  [set]
  engine.token_budget  = [2048, 8192]
  admission.window_max = [30, 60]       # fcfs has no window: it runs once, not twice

  [[skip]]                              # leave out combinations with all of these values
  gpu  = \"h200-nvl\"
  rate = 0.04

In the folder: runs/NAME/ (a run directory each, named by a hash of all that can change it), runs.csv
and runs.parquet (a row per run), failed/NAME.json (what went wrong), ideals/ (T_ideal, computed once
per machine and workload), log.jsonl (how long each run took), sweep.json. Stop it in any way, kill -9
included, and start the same command again: finished runs are skipped, the others are done.

Examples:
  orrery sweep knee.toml --dry-run              what would run, and about how long
  orrery sweep knee.toml                        into runs/knee
  orrery sweep knee.toml --shard 0/4            a quarter of the runs, into runs/knee.shard-0-of-4
  orrery merge runs/knee.shard-* -o runs/knee   join the quarters
  orrery sweep knee.toml --format csv | head    the rows of runs.csv

experiments/cluster/ has job files for Slurm, Kubernetes and Ray.

Exit codes: 0 done, 1 done but some runs failed (failed/*.json), 2 bad input, 3 an invariant broke,
130 interrupted.";

/// Flags of `orrery sweep`.
#[derive(Clone, Debug, Args)]
#[command(after_help = SWEEP_EXAMPLES)]
pub struct SweepArgs {
    /// The grid, as TOML (below).
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,

    /// Folder of the sweep. [default: runs/FILE, with a shard runs/FILE.shard-I-of-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Do only part I of N, counted from 0. Which run is in which part depends on its hash alone.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,

    /// Print the runs and an estimate of the time; run nothing but a short calibration.
    #[arg(long)]
    pub dry_run: bool,

    /// How results are printed.
    #[command(flatten)]
    pub shown: FormatArgs,

    /// Threads and notes.
    #[command(flatten)]
    pub work: WorkArgs,
}

const MERGE_EXAMPLES: &str = "\
Copies the run directories (as hard links where the file system has them), checks every file against
its manifest, and writes runs.csv and runs.parquet as one sweep over all would have written them, byte
for byte. Runs that a shard planned and none has are named, and the exit code is 1.

Examples:
  orrery merge runs/knee.shard-* -o runs/knee
  orrery merge runs/knee.shard-0-of-2 runs/knee.shard-1-of-2 -o runs/knee --format csv | head

Exit codes: 0 done, 1 runs are missing or broken, 2 bad input.";

/// Flags of `orrery merge`.
#[derive(Clone, Debug, Args)]
#[command(after_help = MERGE_EXAMPLES)]
pub struct MergeArgs {
    /// Folders of sweeps: usually the shards of one.
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,

    /// Folder for the whole. May be one of the folders.
    #[arg(short, long, value_name = "DIR")]
    pub out: PathBuf,

    /// How results are printed.
    #[command(flatten)]
    pub shown: FormatArgs,

    /// No notes on stderr; errors still show.
    #[arg(long)]
    pub quiet: bool,
}
