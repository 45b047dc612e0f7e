//! ThunderAgent's program pausing: keep the contexts in play within what the pool holds.
//!
//! Rule, every `interval_s`: a reasoning program (its turn waits or runs) counts with its context, an
//! acting one (its tools run) with its context times `2^-t`, t seconds after it yielded. Above the
//! pool's capacity programs are paused by falling `1/context + [acting]`: acting ones first, the
//! shortest first. A paused program's next turn is held; one that reasons is paused when it yields.
//! With room, those that are paused come back by falling `1/context + [reasoning]`, then new ones in
//! order of arrival. Whoever is held for `force_resume_s` comes back at once.
//! Source: ThunderAgent, arXiv 2602.13692, one backend; interval and time-out as in its public code.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use scheduler::policy::{Admission, Backlog, Choice, InFlight, Program, Regulation, Trigger};
use scheduler::{Reason, Telemetry, Window};
use serde::{Deserialize, Serialize};
use units::{Nanos, SessionId, Time, Tokens};

/// Settings of [`ThunderAgent`]; defaults are in `presets/thunderagent.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThunderAgentSettings {
    /// Time between looks.
    pub interval_s: f64,
    /// Tokens set aside per program in play, for decoding.
    pub buffer_tokens: u64,
    /// Longest time that a program stays paused.
    pub force_resume_s: f64,
}

/// ThunderAgent.
#[derive(Clone, Debug)]
pub struct ThunderAgent {
    interval: Nanos,
    buffer: u64,
    force_resume: Nanos,
    /// Who is paused, and since when.
    paused: BTreeMap<SessionId, Time>,
    looked: Option<Time>,
    /// Tokens in play at the last look, and those promised since.
    in_play: f64,
}

impl ThunderAgent {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &ThunderAgentSettings) -> Result<Self, String> {
        Ok(Self {
            interval: crate::positive_span("interval_s", set.interval_s)?,
            buffer: set.buffer_tokens,
            force_resume: crate::positive_span("force_resume_s", set.force_resume_s)?,
            paused: BTreeMap::new(),
            looked: None,
            in_play: 0.0,
        })
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "token counts are far below 2^53"
    )]
    fn full_weight(&self, context: Tokens) -> f64 {
        (context.get() + self.buffer) as f64
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "token counts are far below 2^53"
    )]
    fn weight(&self, now: Time, program: &Program) -> f64 {
        let decay = match program.acting_since {
            Some(since) => (-now.since(since).as_secs()).exp2(),
            None => 1.0,
        };
        program.context.get() as f64 * decay + self.buffer as f64
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "token counts are far below 2^53"
)]
fn capacity(t: &Telemetry) -> f64 {
    t.capacity.get() as f64
}

impl Admission for ThunderAgent {
    fn admit(
        &mut self,
        _now: Time,
        _why: Trigger,
        telemetry: &Telemetry,
        backlog: &Backlog,
        _in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window> {
        // New programs go behind those that are paused.
        let alone = telemetry.in_flight == 0;
        let mut room = if self.paused.is_empty() {
            capacity(telemetry) - self.in_play
        } else {
            0.0
        };
        for (i, candidate) in backlog.by_arrival().enumerate() {
            let weight = self.full_weight(candidate.prompt);
            let fits = weight <= room;
            let first_inside = alone && i == 0;
            if !(fits || first_inside) {
                break;
            }
            room -= weight;
            self.in_play += weight;
            let reason = if fits {
                Reason::ContextFits
            } else {
                Reason::MachineEmpty
            };
            admit.push(Choice::new(candidate.session, reason));
        }
        None
    }

    fn ended(&mut self, session: SessionId) {
        self.paused.remove(&session);
    }

    fn tick(&self) -> Option<Nanos> {
        Some(self.interval)
    }

    fn regulates(&self) -> bool {
        true
    }

    fn regulate(
        &mut self,
        now: Time,
        telemetry: &Telemetry,
        programs: &[Program],
        out: &mut Regulation,
    ) {
        if self.looked.is_some_and(|at| now.since(at) < self.interval) {
            return;
        }
        self.looked = Some(now);
        let room = capacity(telemetry);
        let mut playing: Vec<&Program> = programs
            .iter()
            .filter(|p| !self.paused.contains_key(&p.session))
            .collect();
        let mut in_play: f64 = playing.iter().map(|p| self.weight(now, p)).sum();

        // Acting ones first, then the shortest.
        playing.sort_by_key(|p| (Reverse(p.acting_since.is_some()), p.context, p.session));
        for program in &playing {
            if in_play <= room || playing.len() == out.pause.len() + 1 {
                break;
            }
            in_play -= self.weight(now, program);
            self.paused.insert(program.session, now);
            let choice = Choice::new(program.session, Reason::OverCapacity);
            out.pause.push(choice);
        }

        // Those whose turn is held reason; they come back first, the shortest before the longest.
        let mut waiting: Vec<&Program> = programs
            .iter()
            .filter(|p| self.paused.contains_key(&p.session))
            .filter(|p| out.pause.iter().all(|c| c.session != p.session))
            .collect();
        waiting.sort_by_key(|p| (p.acting_since.is_some(), p.context, p.session));
        let mut nobody_plays = playing.len() == out.pause.len();
        for program in waiting {
            let weight = self.full_weight(program.context);
            let since = self.paused.get(&program.session).copied().unwrap_or(now);
            let overdue = now.since(since) >= self.force_resume;
            let reason = if in_play + weight <= room {
                Some(Reason::ContextFits)
            } else if overdue {
                Some(Reason::HeldTooLong)
            } else {
                nobody_plays.then_some(Reason::NobodyPlays)
            };
            if let Some(reason) = reason {
                in_play += weight;
                nobody_plays = false;
                self.paused.remove(&program.session);
                out.resume.push(Choice::new(program.session, reason));
            }
        }
        self.in_play = in_play;
    }
}
