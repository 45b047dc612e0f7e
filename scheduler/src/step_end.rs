//! The end of a step: tokens advance, turns end, blocks are kept or released, sessions enter.

use units::{Time, Tokens};

use crate::config::Planning;
use crate::error::SchedulerError;
use crate::event::Then;
use crate::info::Info;
use crate::plan::{Phase, StepOutcome};
use crate::policy::Trigger;
use crate::scheduler::Scheduler;
use crate::session::State;

/// Running turns that have their last token and end with the next plan ([`Planning::Ahead`]).
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    turns: Vec<u32>,
    /// One of them ended while the plan was made.
    in_plan: bool,
}

impl Scheduler {
    /// Takes in that the planned step is executed. Turns that end in one step end in the order in
    /// which they were scheduled; one admission call follows. With [`Planning::Ahead`] both happen at the
    /// same instant, but only when the next plan is made.
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
            if done && self.config.planning == Planning::Ahead {
                self.sessions[chunk.slot].ending = true;
                self.ending.turns.push(chunk.slot);
            } else if done {
                ended += 1;
                self.end_turn(now, chunk.slot);
            }
        }
        if ended > 0 {
            self.turns_ended(now)?;
        }
        self.plan.chunks = chunks;
        self.plan.chunks.clear();
        self.arm_tick(now);
        Ok(())
    }

    /// Ends the turns that had their last token in the step before this plan: it was made without knowing.
    /// True if there were any.
    pub(crate) fn end_late(&mut self, now: Time) -> Result<bool, SchedulerError> {
        if self.ending.turns.is_empty() && !self.ending.in_plan {
            return Ok(false);
        }
        for slot in std::mem::take(&mut self.ending).turns {
            self.end_turn(now, slot);
        }
        self.turns_ended(now)?;
        // The next plan knows what this one did not.
        self.changed = true;
        Ok(true)
    }

    /// Ends such a turn before the plan is made, because it is to give way: all it has to give are its blocks.
    pub(crate) fn end_as_victim(&mut self, now: Time, slot: u32) {
        self.ending.turns.retain(|&other| other != slot);
        self.running.retain(|&other| other != slot);
        self.ending.in_plan = true;
        self.end_turn(now, slot);
    }

    fn turns_ended(&mut self, now: Time) -> Result<(), SchedulerError> {
        let sessions = &self.sessions;
        // Slots of completed sessions are gone; the others say themselves that they stopped.
        self.running.retain(|&slot| sessions.is_running(slot));
        self.fill_window(now);
        self.run_admission(now, Trigger::TurnEnd)
    }

    fn end_turn(&mut self, now: Time, slot: u32) {
        let s = &mut self.sessions[slot];
        s.state = State::Yielded;
        s.ending = false;
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
