//! Totals of a run: what reports divide by.

/// Totals over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Steps planned.
    pub steps: u64,
    /// Tokens computed at positions whose content had been computed before.
    pub recomputed: u64,
    /// Turns preempted.
    pub preemptions: u64,
    /// Cached blocks dropped by an allocation.
    pub evicted: u64,
    /// Prompt tokens of all turns that started, counted once each.
    pub prompt: u64,
    /// Of these, tokens found in KV at the turn's first start.
    pub hit: u64,
    /// Tokens generated.
    pub generated: u64,
    /// Tokens computed.
    pub scheduled: u64,
    /// Blocks copied to host memory.
    pub copied_out: u64,
    /// Blocks copied back.
    pub copied_in: u64,
}
