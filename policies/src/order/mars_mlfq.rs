//! MARS's windowed multi-level feedback queue: one order for service and eviction (paper §4.3).
//!
//! Rule: a turn's level is the worse of two: how much it still has to compute (small footprints
//! start high) and how much service its session has had (sessions that come back often do not
//! dominate). Every `aging_s` without service lifts a turn by one level. Decodes stand above all.
//! Quanta limit prefill chunks by level but are lifted when nobody else wants the step, because a
//! lone 100,000-token prefill would otherwise take 384 steps instead of 49.
//! Source: arXiv 2604.26963 §4.3; levels and quanta from the preview code; the service thresholds
//! and the lifting are ours, where both are silent.

use scheduler::policy::{Order, Quantum, Rank, Repeat, Shrink, StartRule, TurnView};
use serde::{Deserialize, Serialize};
use units::{Nanos, Time, Tokens};

use super::{ShrinkSetting, StartSetting, signed};

/// Settings of [`MarsMlfq`]; defaults are in `presets/mars.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarsMlfqSettings {
    /// Uncached tokens to compute, up to which a turn is of level 0, 1, 2.
    pub footprint: [u64; 3],
    /// Tokens computed for the session, from which it is of level 1, 2, 3.
    pub service: [u64; 3],
    /// Prefill tokens per step, by level.
    pub quanta: [u64; 4],
    /// Whether budget nobody else wants goes beyond the quantum.
    pub lift: bool,
    /// Time without service that lifts a turn by one level.
    pub aging_s: f64,
    /// What a chunk that does not fit tries before anything is evicted.
    pub shrink: ShrinkSetting,
    /// What must fit before a waiting turn starts.
    pub start: StartSetting,
}

/// The queue's rule. No state: what it needs of a session's past is in the view.
#[derive(Clone, Debug)]
pub struct MarsMlfq {
    footprint: [Tokens; 3],
    service: [Tokens; 3],
    quanta: [Tokens; 4],
    lift: bool,
    aging: Nanos,
    shrink: Shrink,
    start: StartRule,
}

impl MarsMlfq {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &MarsMlfqSettings) -> Result<Self, String> {
        super::check_levels("footprint", &set.footprint)?;
        super::check_levels("service", &set.service)?;
        super::check_quanta(&set.quanta)?;
        let aging = crate::positive_span("aging_s", set.aging_s)?;
        Ok(Self {
            footprint: set.footprint.map(Tokens),
            service: set.service.map(Tokens),
            quanta: set.quanta.map(Tokens),
            lift: set.lift,
            aging,
            shrink: set.shrink.into(),
            start: set.start.into(),
        })
    }

    /// Level without aging; decodes are level 0.
    fn level(&self, turn: &TurnView) -> u64 {
        if turn.decoding {
            return 0;
        }
        let footprint = self
            .footprint
            .iter()
            .filter(|&&most| turn.missing > most)
            .count();
        let service = self
            .service
            .iter()
            .filter(|&&from| turn.session_service >= from)
            .count();
        footprint.max(service) as u64
    }

    /// Level with aging, and when it changes by itself.
    fn aged(&self, now: Time, turn: &TurnView) -> (u64, Time) {
        let level = self.level(turn);
        let since = turn
            .last_scheduled
            .map_or(turn.ready, |at| at.max(turn.ready));
        let lifts = now.since(since).as_nanos() / self.aging.as_nanos();
        if lifts >= level {
            return (0, Time::NEVER);
        }
        (level - lifts, since + self.aging * (lifts + 1))
    }

    fn rank(&self, now: Time, turn: &TurnView) -> Rank {
        let (level, until) = self.aged(now, turn);
        let arrival = signed(turn.arrival.as_nanos());
        Rank {
            key: [signed(level), i64::from(!turn.started), arrival],
            until,
        }
    }
}

impl Order for MarsMlfq {
    fn waiting(&self, now: Time, turn: &TurnView) -> Rank {
        self.rank(now, turn)
    }

    fn running(&self, now: Time, turn: &TurnView) -> Rank {
        self.rank(now, turn)
    }

    fn quantum(&self, now: Time, turn: &TurnView) -> Quantum {
        let (level, _) = self.aged(now, turn);
        let quantum = self.quanta[usize::try_from(level).unwrap_or(3).min(3)];
        if self.lift {
            Quantum::Liftable(quantum)
        } else {
            Quantum::Fixed(quantum)
        }
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        let level = if turn.decoding {
            -1
        } else {
            signed(self.level(turn))
        };
        [level, signed(turn.held.get()), 0]
    }

    fn shrink(&self) -> Shrink {
        self.shrink
    }

    fn start_rule(&self) -> StartRule {
        self.start
    }

    /// A decode stays at level 0 whatever service it gets, and a waiting turn's level and quantum move
    /// together, with the rank.
    fn repeat(&self, _batch: &mut dyn Iterator<Item = TurnView>) -> Repeat {
        Repeat::WhileRanksHold(u64::MAX)
    }
}
