//! How a pool runs its calls.

use std::num::NonZeroU32;
use std::path::PathBuf;

use units::Nanos;

/// For how long a worker is taken by one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// While it computes: a worker is a core. A command never says when it stops computing, so it
    /// holds its worker to its end.
    Cpu,
    /// To its end: a worker is a sandbox.
    Call,
}

/// How calls share the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All start at once and the kernel shares the cores among them.
    FreeForAll,
    /// This many workers, first come, first served.
    Fifo(NonZeroU32, Hold),
}

impl Mode {
    /// Whether a worker is free again once its call has computed.
    pub(super) const fn frees_after_cpu(self) -> bool {
        matches!(self, Self::Fifo(_, Hold::Cpu))
    }
}

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time from the process's start until it is killed; `None`: no limit. Waiting for a worker does not
    /// count.
    pub timeout: Option<Nanos>,
    /// Bytes of output that are kept; what comes after is counted and thrown away.
    pub output_bytes: usize,
    /// Largest file that a command may write, bytes; `None`: no limit.
    pub file_bytes: Option<u64>,
    /// Address space of each process of a command, bytes; `None`: no limit.
    pub memory_bytes: Option<u64>,
}

impl Default for Limits {
    /// No time limit, 64 KiB of output, no limit on files and memory.
    fn default() -> Self {
        Self {
            timeout: None,
            output_bytes: 64 << 10,
            file_bytes: None,
            memory_bytes: None,
        }
    }
}

/// How a pool runs its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How calls share the cores.
    pub mode: Mode,
    /// The cores that tools run on, as the kernel numbers them; empty: where the caller may run.
    pub cores: Vec<usize>,
    /// What one call may use.
    pub limits: Limits,
    /// The program that calls [`super::child::main`] with its arguments: the running binary itself.
    pub runner: PathBuf,
    /// Where sessions' folders are made; `None`: the system's temporary folder.
    pub sandboxes: Option<PathBuf>,
}

/// Why a pool cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ToolPoolError {
    /// A core that is not there, or that this process may not use.
    #[error("tools cannot run on cores {cores:?}: {source}")]
    Cores {
        /// The cores asked for.
        cores: Vec<usize>,
        /// What the kernel says.
        source: nix::Error,
    },
    /// The thread, pipe or folder that a pool needs.
    #[error("the tool pool cannot start: {what}: {source}")]
    Start {
        /// What could not be made.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}
