//! Arguments of `orrery figure`.

use std::path::PathBuf;

use clap::Args;

use crate::flags::WorkArgs;

const EXAMPLES: &str = "\
A figure is a sweep and a drawing of it. NAME.svg and NAME.png are the drawing, NAME.csv the numbers in
it with seeds and 95 % intervals. The runs are kept in DIR (as `orrery sweep` keeps them: stop at any time,
start again), so figures share runs and a second call draws at once. The sweep of each figure is in
DIR/sweeps/NAME.toml: change it and give it to `orrery sweep`.

Examples:
  orrery figure list                    names, and what each shows
  orrery figure 7                       mean, P90 and P95 over rates and regimes
  orrery figure all --quick             everything with few sessions and seeds, to see the shape
  orrery figure paper                   all figures of the paper: minutes
  orrery figure mine --quick --out /tmp/f && open /tmp/f/7.svg

Exit codes: 0 done, 1 drawn but some runs failed, 2 bad input, 130 interrupted.";

/// Flags of `orrery figure`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct FigureArgs {
    /// Names of figures; `paper`, `ours` or `all` for many, `list` to list them.
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,

    /// The runs.
    #[command(flatten)]
    pub runs: RunsArgs,
}

/// Flags of the runs that `orrery figure` and `orrery claims` share.
#[derive(Clone, Debug, Args)]
pub struct RunsArgs {
    /// Folder for drawings, numbers, sweeps and runs.
    #[arg(long, default_value = "figures", value_name = "DIR")]
    pub out: PathBuf,

    /// Sessions per run, instead of the figure's own number; said in the caption.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub sessions: Option<String>,

    /// Seeds per point, 1 to N, instead of the figure's own number; said in the caption.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub seeds: Option<String>,

    /// Short for --sessions 60 --seeds 2: the shape, not the numbers.
    #[arg(long, conflicts_with_all = ["sessions", "seeds"])]
    pub quick: bool,

    /// Threads and notes.
    #[command(flatten)]
    pub work: WorkArgs,
}
