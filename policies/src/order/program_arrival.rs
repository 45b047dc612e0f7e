//! Sessions in order of arrival, those with pinned KV first: the order of Continuum.
//!
//! Rule: among waiting turns whose session holds a pin the earliest-arrived session, else the
//! earliest-arrived session of all; running turns in order of start. The latest-arrived session
//! gives way, unless its client flags the turn as its last.
//! Source: Continuum, arXiv 2511.02230. Settings let other mixes borrow it: without `pinned_first`
//! and with MARS's chunk rules it is MARS without its queue.

use scheduler::policy::{Order, Rank, Repeat, Shrink, StartRule, TurnView};
use serde::{Deserialize, Serialize};
use units::Time;

use super::{ShrinkSetting, StartSetting, signed};

/// Settings of [`ProgramArrival`]; defaults are in `presets/continuum.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramArrivalSettings {
    /// Whether sessions that hold a pin go first.
    pub pinned_first: bool,
    /// Whether a turn flagged as its session's last gives way only after all others.
    pub spare_last: bool,
    /// What a chunk that does not fit tries before anything is evicted.
    pub shrink: ShrinkSetting,
    /// What must fit before a waiting turn starts.
    pub start: StartSetting,
}

/// Sessions in order of arrival. No state.
#[derive(Clone, Debug)]
pub struct ProgramArrival {
    pinned_first: bool,
    spare_last: bool,
    shrink: Shrink,
    start: StartRule,
}

impl ProgramArrival {
    /// The order with these settings.
    pub fn new(set: &ProgramArrivalSettings) -> Self {
        Self {
            pinned_first: set.pinned_first,
            spare_last: set.spare_last,
            shrink: set.shrink.into(),
            start: set.start.into(),
        }
    }
}

impl Order for ProgramArrival {
    fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
        let behind = self.pinned_first && !turn.pinned;
        Rank {
            key: [i64::from(behind), signed(turn.arrival.as_nanos()), 0],
            until: Time::NEVER,
        }
    }

    fn running(&self, _now: Time, turn: &TurnView) -> Rank {
        Rank {
            key: [signed(turn.start_seq), 0, 0],
            until: Time::NEVER,
        }
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        let spared = self.spare_last && turn.flagged_last;
        [i64::from(!spared), signed(turn.arrival.as_nanos()), 0]
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
