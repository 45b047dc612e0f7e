//! Carrying out what the admission policy decides.

use units::{SessionId, Time};

use crate::error::SchedulerError;
use crate::info::Info;
use crate::policy::{Program, Regulation, Trigger};
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
            self.emit(now, Info::Window(window));
        }
        for session in admit {
            if self.backlog.remove(session).is_none() {
                return Err(SchedulerError::BadDecision {
                    at: now,
                    policy: self.policy.name.clone(),
                    decision: "admit",
                    session,
                    why: "it is not in the backlog",
                });
            }
            let slot = self
                .sessions
                .find(session)
                .expect("the backlog holds sessions that are here");
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
        for session in out.pause {
            let slot = self.regulated(now, session, "pause")?;
            self.sessions[slot].paused = true;
            self.emit(now, Info::Paused { session });
        }
        for session in out.resume {
            let slot = self.regulated(now, session, "resume")?;
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

/// A session in flight as a regulating policy sees it.
fn program(s: &Session) -> Option<Program> {
    let acting = s.state == State::Yielded;
    (s.state != State::Queued).then_some(Program {
        session: s.id,
        context: if acting { s.computed } else { s.total() },
        acting_since: acting.then_some(s.yielded_at),
    })
}
