//! Runs on a real machine that cannot go on.

use replay::ReplayError;

use crate::batch::BatchError;
use crate::executor::ExecutorError;

/// Why a run on an executor cannot go on. `E` is what its surroundings say.
#[derive(Debug, thiserror::Error)]
pub enum DriveError<E> {
    /// The clock or the tools, or what no world can replay.
    #[error(transparent)]
    Surroundings(E),
    /// A plan that its blocks do not hold: a bug.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The device failed.
    #[error("the executor failed: {0}")]
    Executor(#[from] ExecutorError),
    /// The executor sampled for other turns than the step asked it to: a bug of the executor.
    #[error("the step samples {wanted} turns, the executor answered for {got}")]
    Sampled {
        /// Rows that sample.
        wanted: usize,
        /// Tokens that came.
        got: usize,
    },
    /// A step read KV that nobody had written: a bug. Found only with poison.
    #[error("step {step} read KV that was not written: its logits are not finite")]
    StaleRead {
        /// Which step, from 0.
        step: u64,
    },
    /// A session that the model was not made for.
    #[error(
        "session `{session}` grows to {tokens} tokens, and the model takes contexts of up to {most}\n\
         hint: divide the token counts with `--shrink`, or drop such sessions"
    )]
    ContextBeyondModel {
        /// The recorded session.
        session: String,
        /// Its largest context.
        tokens: u64,
        /// The model's longest.
        most: u64,
    },
}

impl<E: From<ReplayError>> From<ReplayError> for DriveError<E> {
    fn from(error: ReplayError) -> Self {
        Self::Surroundings(E::from(error))
    }
}

/// Why a wall clock and its tools cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WallError {
    /// What no world can go on with.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The thread that runs the tools is gone: a bug.
    #[error("the thread that runs the tools ended while {calls} calls were in flight")]
    ToolsGone {
        /// Calls that nobody will report.
        calls: usize,
    },
    /// A call in flight has ended twice, or was never started: a bug of the pool.
    #[error("a tool call ended that is not in flight")]
    StrayCall,
}
