//! Arguments of `orrery claims`.

use clap::{Args, ValueEnum};

use crate::figure::args::RunsArgs;

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
    /// The runs.
    #[command(flatten)]
    pub runs: RunsArgs,

    /// How to print the claims on stdout.
    #[arg(long, default_value = "table")]
    pub format: ClaimsFormat,
}
