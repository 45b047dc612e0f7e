//! Hooks for orders that keep state: what was planned, and whose rank moved by it.

use units::{Time, Tokens};

use crate::plan::Chunk;
use crate::policy::TurnView;
use crate::scheduler::Scheduler;
use crate::session::State;

impl Scheduler {
    /// Tells an order that wants it what the step gives to whom.
    pub(crate) fn tell_planned(&mut self) {
        if self.policy.order.wants_feedback() {
            let step = self.planned_views();
            self.policy.order.planned(&step);
            self.seen = step;
        }
    }

    /// The same for a step that was planned `times` more times.
    pub(crate) fn tell_planned_again(&mut self, times: u64) {
        if self.policy.order.wants_feedback() {
            let step = self.planned_views();
            self.policy.order.planned_again(&step, times);
            self.seen = step;
        }
    }

    /// In memory that the caller gives back.
    fn planned_views(&mut self) -> Vec<(TurnView, Tokens)> {
        let size = self.config.block_size;
        let mut step = std::mem::take(&mut self.seen);
        step.clear();
        let seen = |chunk: &Chunk| {
            (
                self.sessions[chunk.slot].view(size, self.doors),
                chunk.tokens,
            )
        };
        step.extend(self.plan.chunks.iter().map(seen));
        step
    }

    /// Asks an order that wants it whose rank moved by what was planned before.
    pub(crate) fn move_ranks(&mut self, now: Time) {
        if !self.policy.order.wants_feedback() {
            return;
        }
        let mut moved = Vec::new();
        self.policy.order.before_step(&mut moved);
        for session in moved {
            match self.sessions.find(session) {
                Some(slot) if self.sessions[slot].state == State::Waiting => {
                    self.rerank_waiting(now, slot);
                }
                Some(slot) => {
                    self.sessions[slot].rank_stale = true;
                    self.ranks_stale = true;
                }
                None => {}
            }
        }
    }
}
