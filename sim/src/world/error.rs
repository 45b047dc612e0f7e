//! Runs that cannot go on: what no world can replay, and what the cost model does not know.

use replay::ReplayError;
use scheduler::{Config, ConfigError};
use units::Time;

use crate::cost::{Outside, Reach};
use crate::tool_cpu::DemandError;

/// A run that cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimError {
    /// An engine limit that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What no world can go on with: a broken contract, a tool without times, a livelock.
    #[error(transparent)]
    Replay(#[from] ReplayError),
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
