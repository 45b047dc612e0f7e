//! Control ticks: the instants at which policies look again although nothing happened.

use units::{Nanos, Time};

use crate::error::SchedulerError;
use crate::policy::Trigger;
use crate::scheduler::Scheduler;

impl Scheduler {
    pub(crate) fn timer(&mut self, now: Time) -> Result<(), SchedulerError> {
        if self.running.is_empty() {
            // No step will come by itself to expire them, and turns may wait for their blocks.
            self.expire_pins(now);
        }
        if self.tick.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.tick = None;
        if !self.needs_ticks() {
            return Ok(());
        }
        self.reconsider_pins(now);
        self.regulate(now)?;
        self.run_admission(now, Trigger::Tick)
    }

    fn needs_ticks(&self) -> bool {
        let regulated = self.in_flight > 0 && self.policy.admission.regulates();
        regulated || !self.backlog.is_empty() || !self.pinned.is_empty()
    }

    /// While sessions queue or pins exist, a tick follows one interval after the last one.
    pub(crate) fn arm_tick(&mut self, now: Time) {
        if self.tick.is_none() && self.needs_ticks() {
            self.tick = self.tick_interval().map(|interval| now + interval);
        }
    }

    /// Whether the end of the step that executes will arm a tick.
    pub(crate) fn ticks_to_arm(&self) -> bool {
        self.tick.is_none() && self.needs_ticks() && self.tick_interval().is_some()
    }

    fn tick_interval(&self) -> Option<Nanos> {
        let intervals = [self.policy.admission.tick(), self.policy.retention.tick()];
        intervals.into_iter().flatten().min()
    }
}
