//! The end of a step: tokens advance, turns end, blocks are kept or released, sessions enter.

use units::{Time, Tokens};

use crate::error::SchedulerError;
use crate::event::Then;
use crate::info::Info;
use crate::plan::{Phase, StepOutcome};
use crate::policy::Trigger;
use crate::scheduler::Scheduler;
use crate::session::State;

impl Scheduler {
    /// Takes in that the planned step is executed. Turns that end in one step end in the order in
    /// which they were scheduled; one admission call follows.
    ///
    /// # Errors
    /// [`SchedulerError`] when a policy decides what it may not.
    ///
    /// # Panics
    /// If no step was planned: a bug of the world.
    pub fn step_done(&mut self, now: Time, outcome: StepOutcome<'_>) -> Result<(), SchedulerError> {
        self.leave_step();
        let chunks = std::mem::take(&mut self.plan.chunks);
        let mut ended = 0;
        for chunk in &chunks {
            let s = &mut self.sessions[chunk.slot];
            let recomputed = s
                .seen
                .min(chunk.context + chunk.tokens)
                .saturating_sub(chunk.context);
            s.computed += chunk.tokens;
            self.running_context += chunk.tokens;
            s.scheduled = Tokens::ZERO;
            s.usage.recomputed += recomputed;
            self.counters.recomputed += recomputed.get();
            self.counters.scheduled += chunk.tokens.get();
            if chunk.phase == Phase::Prefill {
                // It may have become a decode, or crossed a level.
                s.rank_stale = true;
                self.ranks_stale = true;
            }
        }
        // Only now, when all of the step counts: who yields is judged beside what the others hold.
        for chunk in chunks.iter().filter(|c| c.samples) {
            let s = &mut self.sessions[chunk.slot];
            s.generated += Tokens(1);
            self.counters.generated += 1;
            let done = s.generated >= s.output || outcome.stopped.contains(&chunk.session);
            let (session, turn) = (s.id, s.turn);
            if s.generated == Tokens(1) {
                self.emit(now, Info::FirstToken { session, turn });
            }
            if done {
                ended += 1;
                self.end_turn(now, chunk.slot);
            }
        }
        if ended > 0 {
            let sessions = &self.sessions;
            // Slots of completed sessions are gone; the others say themselves that they stopped.
            self.running.retain(|&slot| sessions.is_running(slot));
            self.fill_window(now);
            self.run_admission(now, Trigger::TurnEnd)?;
        }
        self.plan.chunks = chunks;
        self.plan.chunks.clear();
        self.arm_tick(now);
        Ok(())
    }

    fn end_turn(&mut self, now: Time, slot: u32) {
        let s = &mut self.sessions[slot];
        s.state = State::Yielded;
        s.usage.generated = s.generated;
        s.seen = s.seen.max(s.computed);
        s.preempted_seq = None;
        self.running_context -= s.computed;
        if self.policy.order.wants_feedback() {
            let view = s.view(self.config.block_size, self.doors);
            self.policy.order.turn_ended(&view);
        }
        let s = &mut self.sessions[slot];
        let (session, turn, then, usage) = (s.id, s.turn, s.then, s.usage);
        self.outputs_sum += s.generated.get();
        self.outputs_count += 1;
        self.circling.turn_ended();
        self.emit(
            now,
            Info::TurnEnded {
                session,
                turn,
                then,
                usage,
            },
        );
        match then {
            Then::Yield { .. } => {
                self.begin_yield(now, slot);
                self.retain_or_release(now, slot);
            }
            Then::End => {
                self.release_blocks(slot);
                self.finish_session(now, slot);
            }
        }
    }
}
