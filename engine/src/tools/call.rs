//! What a tool call is, and how it ended.

use std::num::NonZeroU32;

use replay::CallId;
use units::{Nanos, SessionId};

/// A tool call to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name. No two that run at once may have the same.
    pub id: CallId,
    /// Whose call: commands of one session share a folder.
    pub session: SessionId,
    /// What it does.
    pub work: Work,
}

/// What a tool call does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Stands in for a recorded tool: computes, then waits. It is measured in CPU time, so other
    /// processes on the same cores make it last longer, as they would the tool.
    Burn {
        /// CPU time over all threads.
        cpu: Nanos,
        /// Threads that share it evenly.
        threads: NonZeroU32,
        /// Waits this long after it has computed (disk, network).
        io: Nanos,
    },
    /// Runs a command in the session's folder.
    Command(Command),
}

/// A command and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program (looked up in `PATH`) and arguments. Not empty.
    pub argv: Vec<String>,
    /// Added to the environment, which is otherwise `PATH`, `HOME`, `TMPDIR` and `LANG`.
    pub env: Vec<(String, String)>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The process ended with status 0.
    Ok,
    /// It ended with another status.
    Exit(i32),
    /// A signal ended it.
    Killed(i32),
    /// It ran past its time limit and was killed with everything it had started.
    TimedOut,
    /// What was to run never ran: the system refused a process, or there is no such program. The reason.
    SpawnFailed(String),
}

/// What a call wrote to its output and error streams, interleaved as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The first bytes, up to [`super::Limits::output_bytes`].
    pub kept: Vec<u8>,
    /// Bytes written in all.
    pub bytes: u64,
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: CallId,
    /// Whose.
    pub session: SessionId,
    /// Time it was ready and did not run: the wait for a worker; and for [`Work::Burn`] also what its
    /// computing took beyond its CPU time per thread. Starting a process is in it, about a millisecond.
    pub queue_delay: Nanos,
    /// From [`super::ToolPool::start`] to its end.
    pub elapsed: Nanos,
    /// CPU time that it and the children it waited for used, as the kernel counts it; `None` if there was
    /// no process.
    pub cpu: Option<Nanos>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it wrote.
    pub output: Output,
}
