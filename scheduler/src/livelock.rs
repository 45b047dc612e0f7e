//! Turns that take each other's blocks for ever: noticed, and ended.
//!
//! What: when so many preemptions have passed without a turn that ended that no load can need them, the
//! turn that is short of blocks then is protected: until a turn ends it is nobody's victim but its
//! own. It holds what it has and the others give way, so it ends.
//! Why: where the largest KV is preempted first, a turn starts as soon as its first chunk fits and what
//! is preempted is recomputed, the turn nearest to its end always gives way to those that have just
//! begun, and no turn ever ends (PLAS, and MARS's queue with the first chunk's start rule).
//! Limits: nothing else changes. On the bundled workload far beyond saturation at most 34 preemptions
//! lie between two ends of turns (PLAS), so a policy that gets anywhere never comes here.

use units::SessionId;

use crate::scheduler::Scheduler;
use crate::session::State;

/// Preemptions between two ends of turns that are taken for a livelock, at least.
const LEAST: usize = 256;

/// The same per running place: many small turns may have to give way to a large one.
const PER_PLACE: usize = 4;

/// Preemptions since a turn ended, and who is protected because of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circling {
    preemptions: usize,
    protected: Option<SessionId>,
}

impl Circling {
    pub(crate) fn preempted(&mut self) {
        self.preemptions += 1;
    }

    /// Whether somebody is protected.
    pub(crate) fn is_ending(&self) -> bool {
        self.protected.is_some()
    }

    pub(crate) fn turn_ended(&mut self) {
        *self = Self::default();
    }
}

impl Scheduler {
    /// Who may not be chosen as a victim, if turns go in a circle. `short` is the turn that needs one.
    pub(crate) fn protected(&mut self, short: u32) -> Option<SessionId> {
        if self.circling.preemptions < LEAST.max(PER_PLACE * self.config.max_running) {
            return None;
        }
        let runs = |id: SessionId| {
            let slot = self.sessions.find(id);
            slot.is_some_and(|slot| self.sessions[slot].state == State::Running)
        };
        if !self.circling.protected.is_some_and(runs) {
            self.circling.protected = Some(self.sessions[short].id);
        }
        self.circling.protected
    }
}
