//! Carrying out what the admission policy decides.

use units::Time;

use crate::error::SchedulerError;
use crate::info::Info;
use crate::policy::Trigger;
use crate::scheduler::Scheduler;

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
}
