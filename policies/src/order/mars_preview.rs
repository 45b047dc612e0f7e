//! The released MARS code's queue: per-turn state, fixed quanta, FIFO among those that wait.
//!
//! Rule: a waiting turn's level is that of its whole prompt; a running one's the worse of what it
//! still has to compute and its feedback, which rises by one whenever a full quantum was used and
//! work remains, and is reset by a decode, a preemption and a new turn. A turn that never got tokens
//! is served at level 0. Within a level the least recently served goes first. Preempted turns stand
//! before everything. Aging lifts running turns only.
//! Source: `MARS_preview` (June 2026). Limits: the fixed quanta make a lone 100,000-token prefill
//! take 384 steps where first come, first served takes 49. That is what the code does.

use std::collections::BTreeMap;

use scheduler::policy::{Order, Quantum, Rank, Repeat, Shrink, StartRule, TurnView};
use serde::{Deserialize, Serialize};
use units::{Nanos, SessionId, Time, Tokens};

use super::{ShrinkSetting, StartSetting, signed};

/// Settings of [`MarsPreview`]; defaults are in `presets/mars-preview.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarsPreviewSettings {
    /// Tokens up to which a turn is of level 0, 1, 2.
    pub footprint: [u64; 3],
    /// Prefill tokens per step, by level.
    pub quanta: [u64; 4],
    /// Time without service that lifts a running turn by one level.
    pub aging_s: f64,
    /// Turns inside the engine, running and waiting; the rest queues outside.
    pub turn_window: usize,
    /// What a chunk that does not fit tries before anything is evicted.
    pub shrink: ShrinkSetting,
    /// What must fit before a waiting turn starts.
    pub start: StartSetting,
}

/// The released code's queue and its feedback per turn.
#[derive(Clone, Debug)]
pub struct MarsPreview {
    footprint: [Tokens; 3],
    quanta: [Tokens; 4],
    aging: Nanos,
    turn_window: usize,
    shrink: Shrink,
    start: StartRule,
    /// Levels that full quanta have cost the session's current turn.
    feedback: BTreeMap<SessionId, usize>,
}

impl MarsPreview {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &MarsPreviewSettings) -> Result<Self, String> {
        super::check_levels("footprint", &set.footprint)?;
        super::check_quanta(&set.quanta)?;
        if set.turn_window == 0 {
            return Err("turn_window is 0, wanted at least 1 turn".to_owned());
        }
        Ok(Self {
            footprint: set.footprint.map(Tokens),
            quanta: set.quanta.map(Tokens),
            aging: crate::positive_span("aging_s", set.aging_s)?,
            turn_window: set.turn_window,
            shrink: set.shrink.into(),
            start: set.start.into(),
            feedback: BTreeMap::new(),
        })
    }

    fn footprint_level(&self, tokens: Tokens) -> usize {
        self.footprint.iter().filter(|&&most| tokens > most).count()
    }

    /// Level of a running turn that was given `served` tokens before.
    fn level(&self, turn: &TurnView, served: Tokens) -> usize {
        if turn.decoding || served == Tokens::ZERO {
            return 0;
        }
        let feedback = self.feedback.get(&turn.session).copied().unwrap_or(0);
        self.footprint_level(turn.missing).max(feedback)
    }
}

impl Order for MarsPreview {
    fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
        let key = if let Some(sequence) = turn.preempted_seq {
            [-1, -signed(sequence), 0]
        } else {
            let level = self.footprint_level(turn.prompt);
            [signed(level as u64), signed(turn.ready_seq), 0]
        };
        Rank {
            key,
            until: Time::NEVER,
        }
    }

    fn running(&self, now: Time, turn: &TurnView) -> Rank {
        let level = self.level(turn, turn.turn_service) as u64;
        let served = turn.last_scheduled.unwrap_or(turn.ready).max(turn.ready);
        let lifts = now.since(served).as_nanos() / self.aging.as_nanos();
        let aged = level.saturating_sub(lifts);
        Rank {
            key: [
                signed(aged),
                signed(served.as_nanos()),
                signed(turn.start_seq),
            ],
            // Who was served last changes with every step.
            until: now + Nanos::new(1),
        }
    }

    fn quantum(&self, _now: Time, turn: &TurnView) -> Quantum {
        Quantum::Fixed(self.quanta[self.level(turn, turn.turn_service).min(3)])
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        let level = if turn.decoding {
            -1
        } else {
            signed(self.level(turn, turn.turn_service) as u64)
        };
        [level, signed(turn.held.get()), signed(turn.ready_seq)]
    }

    fn shrink(&self) -> Shrink {
        self.shrink
    }

    fn start_rule(&self) -> StartRule {
        self.start
    }

    fn turn_window(&self) -> Option<usize> {
        Some(self.turn_window)
    }

    fn wants_feedback(&self) -> bool {
        true
    }

    fn turn_ready(&mut self, turn: &TurnView) {
        self.feedback.remove(&turn.session);
    }

    fn planned(&mut self, step: &[(TurnView, Tokens)]) {
        for (turn, tokens) in step {
            if turn.decoding {
                self.feedback.remove(&turn.session);
                continue;
            }
            // The view already counts this step's tokens as service.
            let served = turn.turn_service.saturating_sub(*tokens);
            let quantum = self.quanta[self.level(turn, served).min(3)];
            if *tokens == quantum && turn.missing > *tokens {
                let feedback = self.feedback.entry(turn.session).or_insert(0);
                *feedback = (*feedback + 1).min(3);
            }
        }
    }

    /// Turns that were all served in this step differ in nothing but their start.
    fn repeat(&self, batch: &mut dyn Iterator<Item = TurnView>) -> Repeat {
        if batch.is_sorted_by_key(|turn| turn.start_seq) {
            Repeat::InThisOrder(u64::MAX)
        } else {
            Repeat::Never
        }
    }

    /// A decode resets the feedback, once or more often.
    fn planned_again(&mut self, step: &[(TurnView, Tokens)], _times: u64) {
        self.planned(step);
    }

    fn preempted(&mut self, turn: &TurnView) {
        self.feedback.remove(&turn.session);
    }

    fn turn_ended(&mut self, turn: &TurnView) {
        self.feedback.remove(&turn.session);
    }
}
