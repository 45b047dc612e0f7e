//! Autellix's PLAS: programs by least attained service, in levels with cumulative quanta.
//!
//! Rule: a new turn enters the level of the service its program (session) has had; using up a
//! level's quantum (prefill and decode together) with work left costs a level; at the lowest the
//! quantum is reloaded. Every step, a turn below level 0 whose wait is at least `beta` times its
//! service (program's and turn's together) goes to level 0 with its counters zeroed. Wait counts in
//! tokens scheduled in the steps that it sat out.
//! Source: Autellix, arXiv 2502.13965 (PLAS). Limits: single-threaded programs; the DAG form is not
//! here.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use scheduler::policy::{Order, Quantum, Rank, Repeat, TurnView};
use serde::{Deserialize, Serialize};
use units::{SessionId, Time, Tokens};

use super::signed;

/// Settings of [`Plas`]; defaults are in `presets/autellix.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlasSettings {
    /// Program service below which a new turn enters level 0, 1, 2; from the last on, level 3.
    pub service: [u64; 3],
    /// Tokens per visit of a level.
    pub quanta: [u64; 4],
    /// Wait over service from which a turn is promoted.
    pub beta: f64,
}

/// What PLAS keeps of one program.
#[derive(Clone, Copy, Debug, Default)]
struct Program {
    level: usize,
    /// Tokens used of the level's quantum.
    used: u64,
    /// The turn's service since its counters were last zeroed.
    turn_service: u64,
    /// Tokens of all steps when the turn's wait began to count.
    since: u64,
    /// Tokens of the steps in which the turn took part since then.
    took_part: u64,
    /// Wait of the program's earlier turns.
    waited_before: u64,
    /// Tokens of all steps at which the turn must be promoted; `None` at level 0.
    due: Option<u64>,
    /// The count under which it stands among the promotions: at or before `due`.
    noted: Option<u64>,
}

impl Program {
    fn turn_wait(&self, all: u64) -> u64 {
        all - self.since - self.took_part
    }
}

/// PLAS.
#[derive(Clone, Debug)]
pub struct Plas {
    service: [Tokens; 3],
    quanta: [u64; 4],
    beta: f64,
    /// Tokens scheduled in all steps so far.
    all: u64,
    programs: FxHashMap<SessionId, Program>,
    /// Turns below level 0 by a token count before which they are not promoted. Being served puts a
    /// promotion off, in every step of a batch, so an entry is moved only when its count is reached.
    promotions: BTreeSet<(u64, SessionId)>,
    /// Turns that used up a quantum in the last step. A decode moves no rank by itself.
    demoted: Vec<SessionId>,
}

impl Plas {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &PlasSettings) -> Result<Self, String> {
        super::check_levels("service", &set.service)?;
        super::check_quanta(&set.quanta)?;
        if !(set.beta.is_finite() && set.beta > 0.0) {
            return Err(format!("beta is {}, wanted more than 0", set.beta));
        }
        Ok(Self {
            service: set.service.map(Tokens),
            quanta: set.quanta,
            beta: set.beta,
            all: 0,
            programs: FxHashMap::default(),
            promotions: BTreeSet::new(),
            demoted: Vec::new(),
        })
    }

    fn level(&self, session: SessionId) -> usize {
        self.programs.get(&session).map_or(0, |p| p.level)
    }

    /// Takes the program out of the promotions.
    fn unwatch(
        promotions: &mut BTreeSet<(u64, SessionId)>,
        session: SessionId,
        program: &mut Program,
    ) {
        program.due = None;
        if let Some(at) = program.noted.take() {
            promotions.remove(&(at, session));
        }
    }

    /// Notes when the turn will have waited long enough, if it sits out every step from now on.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "token sums are far below 2^53 and never negative"
    )]
    fn watch(&mut self, session: SessionId, program_service: Tokens) {
        let Some(program) = self.programs.get_mut(&session) else {
            return;
        };
        if program.level == 0 {
            Self::unwatch(&mut self.promotions, session, program);
            return;
        }
        let service = program_service.get() + program.turn_service;
        let needed = (self.beta * service as f64).ceil() as u64;
        let waited = program.waited_before + program.turn_wait(self.all);
        let due = self.all + needed.saturating_sub(waited);
        program.due = Some(due);
        if program.noted.is_some_and(|at| at <= due) {
            return;
        }
        if let Some(at) = program.noted.replace(due) {
            self.promotions.remove(&(at, session));
        }
        self.promotions.insert((due, session));
    }

    /// The first count at which somebody is promoted.
    fn first_due(&self) -> Option<u64> {
        let mut first = None;
        for (at, session) in &self.promotions {
            if first.is_some_and(|due| due <= *at) {
                break;
            }
            let due = self.programs.get(session).and_then(|program| program.due);
            first = first.into_iter().chain(due).min();
        }
        first
    }
}

impl Order for Plas {
    fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
        let level = signed(self.level(turn.session) as u64);
        let key = match turn.preempted_seq {
            Some(sequence) => [level, 0, -signed(sequence)],
            None => [level, 1, signed(turn.ready_seq)],
        };
        Rank {
            key,
            until: Time::NEVER,
        }
    }

    fn running(&self, _now: Time, turn: &TurnView) -> Rank {
        Rank {
            key: [
                signed(self.level(turn.session) as u64),
                signed(turn.ready_seq),
                0,
            ],
            until: Time::NEVER,
        }
    }

    fn quantum(&self, _now: Time, turn: &TurnView) -> Quantum {
        let program = self
            .programs
            .get(&turn.session)
            .copied()
            .unwrap_or_default();
        let left = self.quanta[program.level.min(3)].saturating_sub(program.used);
        Quantum::Fixed(Tokens(left))
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        [
            signed(self.level(turn.session) as u64),
            signed(turn.held.get()),
            signed(turn.ready_seq),
        ]
    }

    fn wants_feedback(&self) -> bool {
        true
    }

    fn turn_ready(&mut self, turn: &TurnView) {
        let level = self
            .service
            .iter()
            .filter(|&&below| turn.session_service >= below)
            .count();
        let all = self.all;
        let program = self.programs.entry(turn.session).or_default();
        Self::unwatch(&mut self.promotions, turn.session, program);
        *program = Program {
            level,
            since: all,
            waited_before: program.waited_before,
            ..Program::default()
        };
        self.watch(turn.session, turn.session_service);
    }

    fn before_step(&mut self, moved: &mut Vec<SessionId>) {
        moved.append(&mut self.demoted);
        while let Some(&(at, session)) = self.promotions.first()
            && at <= self.all
        {
            self.promotions.remove(&(at, session));
            let Some(program) = self.programs.get_mut(&session) else {
                continue;
            };
            program.noted = program.due.filter(|&due| due > at);
            if let Some(due) = program.noted {
                self.promotions.insert((due, session));
                continue;
            }
            *program = Program {
                since: self.all,
                waited_before: program.waited_before,
                ..Program::default()
            };
            moved.push(session);
        }
    }

    fn planned(&mut self, step: &[(TurnView, Tokens)]) {
        let total: u64 = step.iter().map(|(_, tokens)| tokens.get()).sum();
        self.all += total;
        for (turn, tokens) in step {
            let Some(program) = self.programs.get_mut(&turn.session) else {
                continue;
            };
            program.took_part += total;
            program.turn_service += tokens.get();
            program.used += tokens.get();
            if program.used >= self.quanta[program.level.min(3)] {
                program.used = 0;
                program.level = (program.level + 1).min(3);
                self.demoted.push(turn.session);
            }
            self.watch(turn.session, turn.session_service);
        }
    }

    /// Until a turn of the batch has used up its quantum, or somebody has waited long enough. Turns of
    /// the batch wait no longer while their service grows, so their own instants only move away.
    fn repeat(&self, batch: &mut dyn Iterator<Item = TurnView>) -> Repeat {
        if !self.demoted.is_empty() {
            return Repeat::Never;
        }
        let (mut turns, mut steps) = (0_u64, u64::MAX);
        for turn in batch {
            let Some(program) = self.programs.get(&turn.session) else {
                return Repeat::Never;
            };
            turns += 1;
            let left = self.quanta[program.level.min(3)].saturating_sub(program.used);
            // The step that uses up the last of it is planned for itself.
            steps = steps.min(left.saturating_sub(1));
        }
        if let Some(at) = self.first_due() {
            steps = steps.min(at.saturating_sub(self.all).div_ceil(turns.max(1)));
        }
        Repeat::WhileRanksHold(steps)
    }

    fn planned_again(&mut self, step: &[(TurnView, Tokens)], times: u64) {
        let total: u64 = step.iter().map(|(_, tokens)| tokens.get()).sum();
        self.all += total * times;
        for (turn, tokens) in step {
            let Some(program) = self.programs.get_mut(&turn.session) else {
                continue;
            };
            program.took_part += total * times;
            program.turn_service += tokens.get() * times;
            program.used += tokens.get() * times;
            self.watch(turn.session, turn.session_service);
        }
    }

    fn turn_ended(&mut self, turn: &TurnView) {
        let all = self.all;
        if let Some(program) = self.programs.get_mut(&turn.session) {
            program.waited_before += program.turn_wait(all);
            // The tools' time is no wait for the engine.
            program.since = all;
            program.took_part = 0;
            Self::unwatch(&mut self.promotions, turn.session, program);
        }
    }

    fn session_ended(&mut self, session: SessionId) {
        if let Some(mut program) = self.programs.remove(&session) {
            Self::unwatch(&mut self.promotions, session, &mut program);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn turn(session: u32, service: u64) -> TurnView {
        TurnView {
            session: SessionId(session),
            arrival: Time::ZERO,
            ready: Time::ZERO,
            last_scheduled: None,
            ready_seq: u64::from(session),
            start_seq: 0,
            preempted_seq: None,
            prompt: Tokens(16),
            generated: Tokens(1),
            missing: Tokens(1),
            decoding: true,
            started: true,
            held: units::Blocks(2),
            pinned: false,
            swapped: false,
            flagged_last: false,
            session_service: Tokens(service),
            turn_service: Tokens(service),
            foresight: None,
        }
    }

    fn plas(quantum: u64) -> Plas {
        Plas::new(&PlasSettings {
            service: [24, 60, 100],
            quanta: [quantum, 16, 8, 4],
            beta: 2.0,
        })
        .unwrap()
    }

    /// Turn 0 decodes. Turn 1, whose program has had 30 tokens, waits at level 1: it is promoted when it
    /// has sat out 2 * 30 = 60 tokens. After the first step 1 token is scheduled, so 59 further steps see
    /// fewer than 60 before them, and the 60th sees 60.
    #[test]
    fn a_batch_repeats_until_somebody_is_promoted() {
        let mut slow = plas(1000);
        slow.turn_ready(&turn(0, 0));
        slow.turn_ready(&turn(1, 30));
        slow.planned(&[(turn(0, 1), Tokens(1))]);
        let steps = slow.repeat(&mut std::iter::once(turn(0, 1)));
        assert_eq!(steps, Repeat::WhileRanksHold(59));

        let mut fast = slow.clone();
        let mut moved = Vec::new();
        for k in 1..=59 {
            slow.before_step(&mut moved);
            assert!(moved.is_empty(), "further step {k}");
            slow.planned(&[(turn(0, 1 + k), Tokens(1))]);
        }
        fast.planned_again(&[(turn(0, 60), Tokens(1))], 59);
        assert_eq!(format!("{slow:?}"), format!("{fast:?}"));
        fast.before_step(&mut moved);
        assert_eq!(moved, [SessionId(1)]);
    }

    /// A quantum of 32 with 1 token used: 30 further steps leave one, and the one after is planned for
    /// itself because it uses that up.
    #[test]
    fn a_batch_repeats_until_a_quantum_is_used_up() {
        let mut order = plas(32);
        order.turn_ready(&turn(0, 0));
        order.planned(&[(turn(0, 1), Tokens(1))]);
        let steps = order.repeat(&mut std::iter::once(turn(0, 1)));
        assert_eq!(steps, Repeat::WhileRanksHold(30));
        order.planned_again(&[(turn(0, 31), Tokens(1))], 30);
        let steps = order.repeat(&mut std::iter::once(turn(0, 31)));
        assert_eq!(steps, Repeat::WhileRanksHold(0));
        order.planned(&[(turn(0, 32), Tokens(1))]);
        let steps = order.repeat(&mut std::iter::once(turn(0, 32)));
        assert_eq!(steps, Repeat::Never, "it was demoted");
    }

    proptest! {
        /// Whatever is served and left out, those are promoted whose instant has come, by that instant, and
        /// the first instant is what a batch may repeat up to. The instants are compared one by one.
        #[test]
        fn whoever_is_due_is_promoted_and_nobody_else(
            steps in prop::collection::vec((0_u32..64, 1_u64..20, 0_u32..8), 1..120),
        ) {
            let mut plas = plas(20);
            let mut service = [0_u64; 6];
            for (served, tokens, ready) in steps {
                let ended = SessionId(ready / 2);
                if ready < 6 {
                    let id = usize::try_from(ready).unwrap();
                    plas.turn_ready(&turn(ready, service[id]));
                } else if plas.programs.contains_key(&ended) {
                    plas.turn_ended(&turn(ended.0, 0));
                }

                let dues = |plas: &Plas| {
                    let all = plas.programs.iter();
                    let dues = all.filter_map(|(&id, p)| Some((p.due?, id)));
                    dues.collect::<BTreeSet<_>>()
                };
                let before = dues(&plas);
                prop_assert_eq!(plas.first_due(), before.first().map(|&(due, _)| due));
                let due = before.iter().filter(|&&(at, _)| at <= plas.all);
                let wanted: Vec<SessionId> = due.map(|&(_, id)| id).collect();
                plas.demoted.clear();
                let mut moved = Vec::new();
                plas.before_step(&mut moved);
                prop_assert_eq!(moved, wanted);
                let later = before.into_iter().filter(|&(at, _)| at > plas.all);
                prop_assert_eq!(dues(&plas), later.collect::<BTreeSet<_>>());

                let mut step = Vec::new();
                for id in 0..6 {
                    if served >> id & 1 == 1 && plas.programs.contains_key(&SessionId(id)) {
                        let had = &mut service[usize::try_from(id).unwrap()];
                        *had += tokens;
                        step.push((turn(id, *had), Tokens(tokens)));
                    }
                }
                plas.planned(&step);
            }
        }
    }
}
