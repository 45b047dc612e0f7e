//! Arguments of `orrery claims`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::figure::args::FigureArgs;

const EXAMPLES: &str = "\
Runs the sweeps of the paper's figures (as `orrery figure paper`, in the same folder, so what is done
is not done again) and says of every number that the paper prints whether it holds here.

Verdicts, by fixed rules that each row names: holds (direction and size), weaker (the direction, not
the size), differs, not tested here. Ratios are paired by seed; the best baseline of a point is chosen
after the fact, which flatters it.

Examples:
  orrery claims                                  minutes
  orrery claims --quick                          the shape, with few sessions and seeds
  orrery claims --format markdown > claims.md
  orrery claims --format json | jq '.claims[] | select(.verdict == \"differs\")'

Exit codes: 0 done (whatever the verdicts), 1 some runs failed, 2 bad input, 130 interrupted.";

/// How claims are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClaimsFormat {
    /// For people.
    Table,
    /// For a page.
    Markdown,
    /// For programs.
    Json,
    /// A row per claim.
    Csv,
}

/// Flags of `orrery claims`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ClaimsArgs {
    /// Folder of the figures' runs.
    #[arg(long, default_value = "figures", value_name = "DIR")]
    pub out: PathBuf,

    /// Sessions per run, instead of the paper's 400.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub sessions: Option<String>,

    /// Seeds per point, 1 to N, instead of 5.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub seeds: Option<String>,

    /// Short for --sessions 60 --seeds 2: the shape, not the numbers.
    #[arg(long, conflicts_with_all = ["sessions", "seeds"])]
    pub quick: bool,

    /// How to print the claims on stdout.
    #[arg(long, default_value = "table")]
    pub format: ClaimsFormat,

    /// Threads to use; the results do not depend on it. [default: all cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub threads: Option<String>,

    /// No progress and no notes on stderr; errors still show.
    #[arg(long)]
    pub quiet: bool,
}

impl ClaimsArgs {
    /// The same, for the figures' runs.
    pub(super) fn as_figure(&self) -> FigureArgs {
        FigureArgs {
            names: vec!["paper".to_owned()],
            out: self.out.clone(),
            sessions: self.sessions.clone(),
            seeds: self.seeds.clone(),
            quick: self.quick,
            threads: self.threads.clone(),
            quiet: self.quiet,
        }
    }
}
