//! The order of an oracle: the session with the least remaining work first, the one with most gives way.
//!
//! Rule: waiting and running turns by the remaining work of their session, counted when the turn became
//! ready (a turn keeps its place until it ends); the largest is preempted.
//! Source: shortest remaining processing time (reference section 2). An oracle, not a bound.

use scheduler::policy::{Order, Rank, Repeat, Shrink, StartRule, TurnView};
use serde::{Deserialize, Serialize};
use units::Time;

use super::{ShrinkSetting, StartSetting, signed};
use crate::oracle::Remaining;

/// Settings of [`SrptOrder`]; defaults are in `presets/srpt-oracle.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SrptOrderSettings {
    /// Which remaining work is short.
    pub by: Remaining,
    /// What a chunk that does not fit tries before anything is evicted.
    pub shrink: ShrinkSetting,
    /// What must fit before a waiting turn starts.
    pub start: StartSetting,
}

/// Shortest remaining work first. No state.
#[derive(Clone, Debug)]
pub struct SrptOrder {
    by: Remaining,
    shrink: Shrink,
    start: StartRule,
}

impl SrptOrder {
    /// The order with these settings.
    pub fn new(set: &SrptOrderSettings) -> Self {
        Self {
            by: set.by,
            shrink: set.shrink.into(),
            start: set.start.into(),
        }
    }

    fn remaining(&self, turn: &TurnView) -> [i64; 3] {
        [signed(self.by.of(turn.foresight).as_nanos()), 0, 0]
    }
}

impl Order for SrptOrder {
    fn needs_foresight(&self) -> bool {
        true
    }

    fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
        Rank {
            key: self.remaining(turn),
            until: Time::NEVER,
        }
    }

    fn running(&self, now: Time, turn: &TurnView) -> Rank {
        self.waiting(now, turn)
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        self.remaining(turn)
    }

    fn shrink(&self) -> Shrink {
        self.shrink
    }

    fn start_rule(&self) -> StartRule {
        self.start
    }

    fn repeat(&self, _batch: &mut dyn Iterator<Item = TurnView>) -> Repeat {
        Repeat::WhileRanksHold(u64::MAX)
    }
}
