//! Replays that cannot go on in any world.

use scheduler::{Scheduler, SchedulerError};
use units::Time;

/// A replay that cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// The scheduler or the policy broke a contract.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// A tool call whose time nobody knows cannot be replayed.
    #[error(
        "session `{session}` turn {turn}: tool `{tool}` has no {what}\nhint: `orrery trace fill` draws what the recording does not say, and marks it"
    )]
    UnknownTool {
        /// The recorded session.
        session: String,
        /// The turn, from 0.
        turn: usize,
        /// The tool.
        tool: String,
        /// What is missing.
        what: &'static str,
    },
    /// Steps go by and no token comes: turns take each other's blocks for ever.
    #[error(
        "at {at} no token was sampled for {steps} steps while {open} sessions are open\n\
         hint: the policy lets turns start that then preempt one another; \
         `order.start = \"whole-prompt-and-mean-output\"` forbids it"
    )]
    Livelock {
        /// When.
        at: Time,
        /// Steps without a token.
        steps: u64,
        /// Sessions that are open.
        open: usize,
    },
    /// Sessions must be offered in order of arrival.
    #[error("session {index} arrives at {at}, before the one offered before it ({before})")]
    ArrivalsOutOfOrder {
        /// Which, from 0.
        index: u64,
        /// Its arrival.
        at: Time,
        /// The arrival before.
        before: Time,
    },
}

/// Steps without a sampled token after which a run is given up. The longest honest stretch is one
/// prompt in one-block chunks: below 2^20 steps for 16M tokens.
const STEPS_WITHOUT_A_TOKEN: u64 = 1 << 21;

/// Watches that tokens keep coming.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    generated: u64,
    at_step: u64,
}

impl Progress {
    pub(crate) fn check(&mut self, at: Time, scheduler: &Scheduler) -> Result<(), ReplayError> {
        let counters = scheduler.counters();
        if counters.generated != self.generated {
            (self.generated, self.at_step) = (counters.generated, counters.steps);
        }
        let steps = counters.steps - self.at_step;
        if steps < STEPS_WITHOUT_A_TOKEN {
            return Ok(());
        }
        Err(ReplayError::Livelock {
            at,
            steps,
            open: scheduler.open_sessions(),
        })
    }
}
