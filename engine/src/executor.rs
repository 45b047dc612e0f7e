//! The contract of an executor: run one step on real tensors, and move KV blocks as told.

use units::{Bytes, SessionId};

use crate::batch::Batch;

/// What a step produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// `(whose turn, id of the likeliest token)` for each sampling row, in the batch's order. The lowest
    /// id wins a tie, so that every executor answers alike.
    pub tokens: Vec<(SessionId, u32)>,
}

/// Which way KV moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the device to host memory.
    ToHost,
    /// From host memory to the device.
    ToDevice,
}

/// KV blocks to copy, as the scheduler told in [`scheduler::Info::CopyStarted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The scheduler's number of the copy.
    pub id: u64,
    /// Whose KV. Host memory holds at most one copy a session.
    pub session: SessionId,
    /// Which way.
    pub way: Way,
    /// Device blocks to read or to fill, shallow to deep: blocks `first`, `first + 1`, ... of the session's
    /// context.
    pub blocks: Vec<u32>,
    /// Which block of the context is the first: 0 on the way to the host, which gets a context from its
    /// start; on the way back the device may have its leading blocks still.
    pub first: u32,
}

/// What can go wrong on a device.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The batch does not fit the model or the pool: a broken invariant, never user input.
    #[error("the batch cannot be run: {0}")]
    Batch(String),
    /// A copy that cannot be: nothing of the session is in host memory, or not as many blocks.
    #[error("copy {id} of {session} cannot be done: {what}")]
    Copy {
        /// The copy's number.
        id: u64,
        /// Whose KV.
        session: SessionId,
        /// What is wrong.
        what: String,
    },
    /// The tensor library's own error.
    #[error("the tensor library failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The device or its driver failed.
    #[error("{device} failed in {doing}: {what}")]
    Device {
        /// Which device.
        device: String,
        /// What was being done.
        doing: String,
        /// What the driver says.
        what: String,
    },
}

/// Runs steps on one device. It owns the model and the KV tensors behind the block ids; every
/// decision (which blocks, which chunks, what stays) is the scheduler's.
pub trait Executor {
    /// Its name as it stands in results: `candle`, `cpu`, `cuda`.
    fn name(&self) -> &'static str;

    /// Computes the batch: `tokens[i]` is the id of the token at `batch.positions[i]`. Writes its KV
    /// to `batch.slots` and samples the rows that ask for it. Blocking.
    ///
    /// # Errors
    /// [`ExecutorError`]; nothing of the step counts then.
    fn step(&mut self, batch: &Batch, tokens: &[u32]) -> Result<Sampled, ExecutorError>;

    /// Logits of the last step's sampling rows, `[samples, vocabulary]`, row-major.
    ///
    /// # Errors
    /// [`ExecutorError`] if they cannot be read from the device.
    fn logits(&mut self) -> Result<Vec<f32>, ExecutorError>;

    /// Begins a copy; it may still run when this returns. Steps that follow see its blocks as they were
    /// before or after: the scheduler never plans a block that is being copied.
    ///
    /// # Errors
    /// [`ExecutorError::Copy`] if there is nothing to copy, else the device's own.
    fn begin_copy(&mut self, copy: &Copy) -> Result<(), ExecutorError>;

    /// Numbers of the copies that have ended since the last call, in the order in which they began.
    ///
    /// # Errors
    /// The device's own.
    fn ended_copies(&mut self) -> Result<Vec<u64>, ExecutorError>;

    /// What host memory holds of a session is not needed any more.
    fn forget(&mut self, session: SessionId);

    /// Fills blocks with values that no computation survives (not-a-number), so that a use after the
    /// release shows. For tests and `--poison`; a scheduler never needs it.
    ///
    /// # Errors
    /// The device's own.
    fn poison(&mut self, blocks: &[u32]) -> Result<(), ExecutorError>;

    /// Size of one KV block over all layers.
    fn block_bytes(&self) -> Bytes;

    /// Ids of tokens are below this.
    fn vocabulary(&self) -> u32;
}
