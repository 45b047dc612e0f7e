//! Runs that cannot go on: bad input, broken contracts, and policies that get nowhere.

use scheduler::{Config, ConfigError, Scheduler, SchedulerError};
use units::Time;

use crate::cost::{Outside, Reach};
use crate::tool_cpu::DemandError;

/// A run that cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimError {
    /// An engine limit that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    /// A tool call that no machine could show.
    #[error("session `{session}` turn {turn}: tool `{tool}`: {source}")]
    BadTool {
        /// The recorded session.
        session: String,
        /// The turn, from 0.
        turn: usize,
        /// The tool.
        tool: String,
        /// Why.
        source: DemandError,
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
    /// A limit of the engine beyond what the cost model was measured for.
    #[error(
        "`{field}` is {value}, and the cost model knows steps of up to {most}\n\
         hint: lower it, or choose another cost model"
    )]
    LimitBeyondCost {
        /// The engine's field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The largest that was measured.
        most: u64,
    },
    /// A session whose context outgrows what the cost model was measured for.
    #[error(
        "session `{session}` grows to {tokens} tokens, and the cost model knows contexts of up to {most}\n\
         hint: drop such sessions, or choose another cost model"
    )]
    ContextBeyondCost {
        /// The recorded session.
        session: String,
        /// Its largest context.
        tokens: u64,
        /// The largest that was measured.
        most: u64,
    },
    /// A batch that the cost model has no answer for.
    #[error("at {at} the cost model has no answer for a step\nhint: choose another cost model")]
    OutsideCost {
        /// When the step would have begun.
        at: Time,
        /// Which figure, and its range.
        source: Outside,
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

/// Refuses an engine that could plan steps that the cost model does not know.
pub(super) fn check_reach(engine: &Config, reach: Reach) -> Result<(), SimError> {
    let limits = [
        ("max_running", engine.max_running as u64, reach.turns),
        ("token_budget", engine.token_budget.get(), reach.tokens),
    ];
    for (field, value, most) in limits {
        if value > most {
            return Err(SimError::LimitBeyondCost { field, value, most });
        }
    }
    Ok(())
}

/// Steps without a sampled token after which a run is given up. The longest honest stretch is one
/// prompt in one-block chunks: below 2^20 steps for 16M tokens.
const STEPS_WITHOUT_A_TOKEN: u64 = 1 << 21;

/// Watches that tokens keep coming.
#[derive(Debug, Default)]
pub(super) struct Progress {
    generated: u64,
    at_step: u64,
}

impl Progress {
    pub(super) fn check(&mut self, at: Time, scheduler: &Scheduler) -> Result<(), SimError> {
        let counters = scheduler.counters();
        if counters.generated != self.generated {
            (self.generated, self.at_step) = (counters.generated, counters.steps);
        }
        let steps = counters.steps - self.at_step;
        if steps < STEPS_WITHOUT_A_TOKEN {
            return Ok(());
        }
        Err(SimError::Livelock {
            at,
            steps,
            open: scheduler.open_sessions(),
        })
    }
}
