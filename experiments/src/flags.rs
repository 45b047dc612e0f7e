//! Flags that many commands share, so that they are called, explained and read alike.

use clap::Args;

use crate::cli::Format;
use crate::failure::Failure;
use crate::run::plan;

/// How work is done: none of it changes a result.
#[derive(Clone, Debug, Default, Args)]
pub struct WorkArgs {
    /// Threads to use; the results do not depend on it. [default: all cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub threads: Option<String>,

    /// No progress and no notes on stderr; errors still show.
    #[arg(long)]
    pub quiet: bool,
}

impl WorkArgs {
    /// Threads to use; `None`: all cores.
    ///
    /// # Errors
    /// Bad input: a number of threads that cannot be.
    pub fn threads(&self) -> Result<Option<usize>, Failure> {
        plan::threads(self.threads.as_deref())
    }

    /// As many threads.
    ///
    /// # Errors
    /// As [`WorkArgs::threads`].
    pub fn pool(&self) -> Result<rayon::ThreadPool, Failure> {
        pool(self.threads()?)
    }
}

/// So many threads; `None`: one per core.
///
/// # Errors
/// If the system has no more.
pub fn pool(threads: Option<usize>) -> Result<rayon::ThreadPool, Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build()
        .map_err(Failure::bad_input)
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct FormatArgs {
    /// How to print the results on stdout.
    #[arg(long, default_value = "table")]
    pub format: Format,
}
