//! How far a cost model can be asked.

/// The largest batch and context that a model answers for. Whoever drives it checks its limits
/// against these before the first step, so that no step is outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Turns in a step.
    pub turns: u64,
    /// Tokens in a step.
    pub tokens: u64,
    /// Context of a turn.
    pub context: u64,
}

impl Reach {
    /// A formula: it answers for everything, well or badly.
    pub const ANY: Self = Self {
        turns: u64::MAX,
        tokens: u64::MAX,
        context: u64::MAX,
    };
}

/// A batch that a model has no answer for, and the range that it has.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{what}: {value} is outside the measured range {least} to {most}")]
pub struct Outside {
    /// Which figure of the batch.
    pub what: &'static str,
    /// Its value.
    pub value: f64,
    /// The smallest that was measured.
    pub least: f64,
    /// The largest that was measured.
    pub most: f64,
}
