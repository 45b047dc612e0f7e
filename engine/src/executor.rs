//! The contract of an executor: run one step on real tensors.

use units::{Bytes, SessionId};

use crate::batch::Batch;

/// What a step produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// `(whose turn, token id)` for each sampling row, in the batch's order.
    pub tokens: Vec<(SessionId, u32)>,
}

/// Runs steps on one device. It owns the model and the KV tensors behind the block ids; every
/// decision (which blocks, which chunks, what stays) is the scheduler's.
pub trait Executor {
    /// What can go wrong on the device.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Computes the batch: `tokens[i]` is the id of the token at `batch.positions[i]`. Writes its KV
    /// to `batch.slots` and samples the rows that ask for it. Blocking.
    ///
    /// # Errors
    /// The device's own; nothing of the step counts then.
    fn step(&mut self, batch: &Batch, tokens: &[u32]) -> Result<Sampled, Self::Error>;

    /// Size of one KV block over all layers.
    fn block_bytes(&self) -> Bytes;
}
