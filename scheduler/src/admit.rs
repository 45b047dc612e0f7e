//! Carrying out what the admission policy decides.

use units::{SessionId, Time};

use crate::decision::{DecisionKind, Detail, Entry};
use crate::error::SchedulerError;
use crate::info::Info;
use crate::policy::{Choice, Program, Regulation, Trigger};
use crate::scheduler::Scheduler;
use crate::session::{Session, State};

impl Scheduler {
    /// Asks the policy who enters now, checks the answer and lets them in, in its order.
    pub(crate) fn run_admission(&mut self, now: Time, why: Trigger) -> Result<(), SchedulerError> {
        let telemetry = self.telemetry(now);
        let mut admit = Vec::new();
        let window = self.policy.admission.admit(
            now,
            why,
            &telemetry,
            &self.backlog,
            &self.sessions,
            &mut admit,
        );
        if let Some(window) = window {
            let entry = Entry {
                session: None,
                kind: DecisionKind::Window,
                reason: window.reason,
                detail: Detail {
                    trigger: Some(why),
                    window: Some(window),
                    ..Detail::default()
                },
            };
            self.log_seen(now, telemetry, entry);
            self.emit(now, Info::Window(window));
        }
        for Choice { session, reason } in admit {
            let Some(candidate) = self.backlog.remove(session) else {
                return Err(SchedulerError::BadDecision {
                    at: now,
                    policy: self.policy.name.clone(),
                    decision: "admit",
                    session,
                    why: "it is not in the backlog",
                });
            };
            let slot = self
                .sessions
                .find(session)
                .expect("the backlog holds sessions that are here");
            let entry = Entry {
                session: Some(session),
                kind: DecisionKind::Admit,
                reason,
                detail: Detail {
                    trigger: Some(why),
                    demand: Some(candidate.demand),
                    tokens: Some(candidate.prompt),
                    ..Detail::default()
                },
            };
            self.log_seen(now, telemetry, entry);
            self.in_flight += 1;
            self.emit(now, Info::Admitted { session });
            self.enqueue(now, slot);
        }
        Ok(())
    }

    /// Lets a policy that regulates pause and resume sessions.
    pub(crate) fn regulate(&mut self, now: Time) -> Result<(), SchedulerError> {
        if !self.policy.admission.regulates() {
            return Ok(());
        }
        let telemetry = self.telemetry(now);
        let mut programs: Vec<Program> = self.sessions.iter().filter_map(program).collect();
        programs.sort_by_key(|p| p.session);
        let mut out = Regulation::default();
        self.policy
            .admission
            .regulate(now, &telemetry, &programs, &mut out);
        for choice in out.pause {
            let slot = self.regulated(now, choice.session, "pause")?;
            self.log_seen(now, telemetry, regulation(DecisionKind::Pause, choice));
            let session = choice.session;
            self.sessions[slot].paused = true;
            self.emit(now, Info::Paused { session });
        }
        for choice in out.resume {
            let slot = self.regulated(now, choice.session, "resume")?;
            self.log_seen(now, telemetry, regulation(DecisionKind::Resume, choice));
            let session = choice.session;
            self.sessions[slot].paused = false;
            self.emit(now, Info::Unpaused { session });
            if self.sessions[slot].state == State::Held {
                self.enqueue(now, slot);
            }
        }
        Ok(())
    }

    fn regulated(
        &self,
        at: Time,
        session: SessionId,
        decision: &'static str,
    ) -> Result<u32, SchedulerError> {
        let slot = self.sessions.find(session);
        slot.filter(|&slot| self.sessions[slot].state != State::Queued)
            .ok_or_else(|| SchedulerError::BadDecision {
                at,
                policy: self.policy.name.clone(),
                decision,
                session,
                why: "it is not in flight",
            })
    }
}

fn regulation(kind: DecisionKind, choice: Choice) -> Entry {
    Entry {
        session: Some(choice.session),
        kind,
        reason: choice.reason,
        detail: Detail::default(),
    }
}

/// A session in flight as a regulating policy sees it.
fn program(s: &Session) -> Option<Program> {
    let acting = s.state == State::Yielded;
    (s.state != State::Queued).then_some(Program {
        session: s.id,
        context: if acting { s.computed } else { s.total() },
        acting_since: acting.then_some(s.yielded_at),
    })
}
