//! Steps that are the same but for one token more per turn, taken without planning them.
//!
//! What: between two events a batch often only decodes. The scheduler says for how many steps it would
//! plan the same again; the loop takes them while nothing else happens, timed by the machine.
//! Why: most steps are such steps, and planning is what they cost in a simulation.
//! Exact: step times are rounded one by one as ever, so the sum is that of step-by-step to the bit, and
//! samples between two steps see the pool as it is then.
//! Limits: only for a machine that can tell a step's time without taking it.

use units::Time;

use crate::drive::{Offered, World};
use crate::machine::Machine;
use crate::record::Observer;

impl<M: Machine, I: Iterator<Item = Offered>, O: Observer> World<'_, M, I, O> {
    /// Repeats the step that began at `began` and ends at `end` for as long as it would be planned
    /// again as it is. Returns when the last one began and when it ends.
    pub(crate) fn repeat_step(&mut self, began: Time, end: Time) -> (Time, Time) {
        let (mut began, mut end) = (began, end);
        if !M::FORETELLS_STEPS {
            return (began, end);
        }
        let Some(repeatable) = self.scheduler.repeatable() else {
            return (began, end);
        };
        // No step is noted as under way yet, so this is what else comes next. At the same instant the
        // end of a step comes first, and the next plan last: that step is not the same.
        let event = self.next_wake(began).map_or(Time::NEVER, |(at, _)| at);
        let horizon = self.limits.horizon.unwrap_or(Time::NEVER);
        let before = event.min(repeatable.until);
        let wants_steps = self.observer.wants_steps();
        for _ in 0..repeatable.steps {
            if end >= before || end > horizon {
                break;
            }
            self.take_samples(end);
            let Some(time) = self
                .machine
                .step_again()
                .filter(|_| self.scheduler.repeat(end))
            else {
                break;
            };
            self.summary.repeated_steps += 1;
            began = end;
            end = began + time;
            if wants_steps {
                let plan = self.scheduler.end_repeats();
                self.observer.step(began, plan, time);
            }
        }
        self.scheduler.end_repeats();
        (began, end)
    }
}
