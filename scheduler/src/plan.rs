//! What the scheduler asks the world to execute: one step.

use units::{SessionId, Tokens};

/// What a chunk computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Prompt tokens, or tokens that a preemption made the engine forget.
    Prefill,
    /// The one token sampled last; all of the prompt is computed.
    Decode,
}

/// One turn's share of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whose turn.
    pub session: SessionId,
    /// Where the session lives in the scheduler's tables; valid until the session ends.
    pub(crate) slot: u32,
    /// Tokens already in KV before this chunk.
    pub context: Tokens,
    /// Tokens to compute.
    pub tokens: Tokens,
    /// Prefill or decode.
    pub phase: Phase,
    /// Whether the step ends with sampling a token for this turn.
    pub samples: bool,
}

/// One step: chunks in the order in which they were scheduled. Block tables are read from
/// [`crate::Scheduler::block_table`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepPlan {
    /// Never empty when handed out; each session at most once.
    pub chunks: Vec<Chunk>,
}

/// What the world reports after a step, beyond that it took place.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepOutcome<'a> {
    /// Sessions whose turn the model ended here although its output limit is not reached. Empty in
    /// replay, where recorded lengths are forced.
    pub stopped: &'a [SessionId],
}
