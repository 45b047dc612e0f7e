//! Prices that no step can go below: what the lower bounds are made of.
//!
//! What: two kinds of price list for the chunks of a step. Under [`Floors::step`] the price of any one
//! chunk is at most the time of the step it is in. Under each list of [`Floors::shares`] the prices of
//! all chunks of a step together are at most its time.
//! Why: a session's chunks come in steps that do not overlap, so their `step` prices add up to a time
//! it cannot beat; and a GPU runs one step at a time, so `share` prices are work that a single server
//! has to do.
//! Limits: bounds, not estimates. The best batch is the fullest, which few batches are.

/// A price list. All prices in half picoseconds, so that they stay integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Per step that has a prefill chunk of the session.
    pub per_prefill: u128,
    /// Per token of such a chunk.
    pub per_token: u128,
    /// Per half pair of such a chunk, as [`super::BatchShape::prefill_work`] counts them.
    pub per_half_pair: u128,
    /// Per decoded token.
    pub per_decode: u128,
    /// Per token of context that a decode reads, the new one included.
    pub per_context: u128,
}

/// The price lists of one cost model under one engine's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floors {
    /// Any one chunk of a step costs at most the step.
    pub step: Floor,
    /// All chunks of a step together cost at most the step. Every list is valid; which of them says
    /// most depends on the load.
    pub shares: Vec<Floor>,
}

/// The most that one step may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLimits {
    /// Turns; at least 1.
    pub turns: u64,
    /// Tokens; at least 1.
    pub tokens: u64,
}
