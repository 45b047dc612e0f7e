//! Arguments of `orrery report`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
The page holds the axes, a table of means over seeds with 95 % intervals, a figure per machine and
workload, where the numbers come from, what is not modelled, the runs that failed, and the digest of
every run's manifest. It is one file without scripts, and asks the network for nothing.

Examples:
  orrery report runs/knee                          writes runs/knee/report.html
  orrery report runs/knee -o knee.html

Exit codes: 0 done, 1 done but planned runs are missing or failed, 2 bad input.";

/// Flags of `orrery report`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// The folder of a sweep, or of merged shards.
    #[arg(value_name = "SWEEP")]
    pub folder: PathBuf,

    /// Where to write the page. [default: SWEEP/report.html]
    #[arg(short, long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,

    /// No notes on stderr; errors still show.
    #[arg(long)]
    pub quiet: bool,
}
