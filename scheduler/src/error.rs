//! What can go wrong: a bad configuration, a world that breaks its contract, a policy that does.

use units::{SessionId, Time};

/// A limit of [`crate::Config`] that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("engine setting `{field}` is {value}, wanted {wanted}")]
pub struct ConfigError {
    /// The field of [`crate::Config`].
    pub field: &'static str,
    /// Its value.
    pub value: u64,
    /// What it may be.
    pub wanted: &'static str,
}

/// A contract that was broken while running. All of these are bugs, never bad user input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchedulerError {
    /// The world reported something that cannot have happened.
    #[error("at {at} the world reported `{event}` for {session}, which is {state}")]
    ImpossibleEvent {
        /// When.
        at: Time,
        /// What was reported.
        event: &'static str,
        /// For whom.
        session: SessionId,
        /// What the session is doing instead.
        state: &'static str,
    },
    /// A policy decided what it may not.
    #[error("at {at} policy `{policy}` decided `{decision}` for {session}: {why}")]
    BadDecision {
        /// When.
        at: Time,
        /// The policy's name.
        policy: String,
        /// The decision.
        decision: &'static str,
        /// About whom.
        session: SessionId,
        /// Why it is refused.
        why: &'static str,
    },
    /// Turns wait, nothing runs, no pin is left, and still none can start.
    #[error("at {at} {waiting} turns wait, nothing runs and none can start (first: {first})")]
    Stuck {
        /// When.
        at: Time,
        /// How many wait.
        waiting: usize,
        /// The first in order.
        first: SessionId,
    },
    /// Blocks were lost or held twice.
    #[error("at {at} the block pool lost its balance: {what}")]
    Blocks {
        /// When.
        at: Time,
        /// What does not add up.
        what: String,
    },
}
