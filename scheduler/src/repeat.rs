//! Fast-forward: a step that only decodes, planned again as it is.
//!
//! What: between two events the same turns decode in the same sequence, step after step. A world that
//! knows when the next event comes asks how long that can go on ([`Scheduler::repeatable`]) and then
//! takes each further step with [`Scheduler::repeat`], which costs the blocks that the step takes instead
//! of a look at every turn.
//! Why: most steps of a load are such steps, and the sums that time them need no turn at all.
//! Exact: every further step is what [`Scheduler::step_done`] and [`Scheduler::plan`] would have made of
//! it: the same blocks in the same sequence at the same time, the same ranks asked at the same time, the
//! same counters. Whatever could differ ends it *before* the step, and the ordinary path takes over.
//! Limits: an order that does not say for how long its batch repeats ([`Repeat`]) is planned step by
//! step. Only tokens that turns count are brought up to date at the end, so nothing may look at turns
//! in between; the world ends it before it hands over an event.
//!
//! What ends it, all known beforehand: a turn's last token; the instant at which a rank, a pin or a
//! stale sum runs out; too few free blocks; an allocation that would take content which a waiting turn
//! would have hit, where that moves the head of the waiting order or what the head needs.

use units::{Blocks, Time, Tokens};

use crate::config::HeadOfLine;
use crate::lineage::{Ident, Owner};
use crate::plan::{Chunk, Phase, StepPlan};
use crate::policy::Repeat;
use crate::scheduler::Scheduler;
use crate::session::State;

/// How far the step that executes can be planned again as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// Further steps at most; more than none.
    pub steps: u64,
    /// Each starts before this instant.
    pub until: Time,
}

/// What a chunk does to blocks in a step to come. Sorted as the steps and their chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BlockEvent {
    /// Further steps from the one that was planned, the first time; then every block size again.
    step: u64,
    /// Index in the plan.
    chunk: u32,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The token needs a new block.
    Allocate,
    /// The token fills its block, which becomes hittable.
    Fill,
}

/// The repetitions under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeats {
    /// One round of as many steps as a block has tokens.
    round: Vec<BlockEvent>,
    /// The next event of the round, and the steps of the rounds before.
    next: usize,
    before: u64,
    /// The events are those of the plan that executes.
    prepared: bool,
    /// Further steps so far, those not yet in the turns' counts, and when the last began.
    done: u64,
    uncounted: u64,
    last: Time,
}

impl Scheduler {
    /// Whether the step that was just planned can be planned again as it is, and how far; for a world
    /// that sees to it that no event falls into the repetition. `None` when the next plan must be asked
    /// for.
    ///
    /// # Panics
    /// If no step was planned: a bug of the world.
    pub fn repeatable(&mut self) -> Option<Repeatable> {
        self.assert_in_step();
        self.repeats.prepared = false;
        self.repeats.done = 0;
        // A round that changed something, or left somebody out, is followed by another one.
        let calm = self.config.fast_forward
            && !self.changed
            && !self.ranks_stale
            && self.plan.chunks.len() == self.running.len();
        if !calm || self.ticks_to_arm() {
            return None;
        }
        let steps = self.steps_to_the_first_end()?;
        let size = self.config.block_size;
        let (sessions, doors) = (&self.sessions, self.doors);
        let chunks = &self.plan.chunks;
        let mut batch = chunks.iter().map(|c| sessions[c.slot].view(size, doors));
        let (order, ranks) = match self.policy.order.repeat(&mut batch) {
            Repeat::Never => (0, Time::ZERO),
            Repeat::WhileRanksHold(steps) => (steps, self.ranks_until),
            Repeat::InThisOrder(steps) => (steps, Time::NEVER),
        };
        let steps = steps.min(order);
        let mut until = ranks.min(self.stale.next_expiry.unwrap_or(Time::NEVER));
        if !self.waiting.is_empty() {
            until = until.min(self.waiting.first_expiry());
            if !self.pinned.is_empty() {
                // The head may be short of blocks only until a pin goes stale.
                until = until.min(self.stale.known_until()?);
            }
        }
        (steps > 0).then_some(Repeatable { steps, until })
    }

    /// Further steps until one in which a turn ends, that one included. `None` if this step does more
    /// than decode, samples a first token, or ends a turn itself.
    fn steps_to_the_first_end(&self) -> Option<u64> {
        let mut steps = u64::MAX;
        for chunk in &self.plan.chunks {
            let s = &self.sessions[chunk.slot];
            let plain = chunk.phase == Phase::Decode
                && s.generated > Tokens::ZERO
                && s.seen <= chunk.context
                && s.blocks.len() as u64
                    == self
                        .config
                        .block_size
                        .to_hold(chunk.context + Tokens(1))
                        .get();
            if !plain {
                return None;
            }
            // This step gives one token more, each further one another.
            steps = steps.min(s.output.get().saturating_sub(s.generated.get() + 1));
        }
        (steps > 0).then_some(steps)
    }

    /// The step in execution ends at `now` and the same turns decode again: what
    /// [`Scheduler::step_done`] and [`Scheduler::plan`] would make of it. False, and nothing is done,
    /// when the ordinary path must take over. To be called within what [`Scheduler::repeatable`] said,
    /// at rising instants.
    pub fn repeat(&mut self, now: Time) -> bool {
        if !self.repeats.prepared {
            self.prepare();
        }
        let (from, mut to) = (self.repeats.next, self.repeats.next);
        let step = self.repeats.done + 1 - self.repeats.before;
        let mut allocations = 0;
        while let Some(event) = self.repeats.round.get(to).filter(|e| e.step == step) {
            allocations += usize::from(event.what == What::Allocate);
            to += 1;
        }
        if Blocks(allocations as u64) > self.pool.free()
            || self.disturbs(now, from..to, allocations)
        {
            return false;
        }
        for i in from..to {
            let BlockEvent { chunk, what, .. } = self.repeats.round[i];
            let slot = self.plan.chunks[chunk as usize].slot;
            match what {
                What::Allocate => self.take_blocks(now, slot, Blocks(1)),
                What::Fill => {
                    let held = Blocks(self.sessions[slot].blocks.len() as u64);
                    self.register_full(now, slot, self.config.block_size.capacity(held));
                }
            }
        }
        let turns = self.plan.chunks.len() as u64;
        let repeats = &mut self.repeats;
        repeats.next = to;
        if step == self.config.block_size.tokens().get() {
            repeats.next = 0;
            repeats.before += step;
        }
        repeats.done += 1;
        repeats.uncounted += 1;
        repeats.last = now;
        self.running_context += Tokens(turns);
        self.counters.steps += 1;
        self.counters.generated += turns;
        self.counters.scheduled += turns;
        true
    }

    /// Brings the turns' counts and the plan up to date and hands over the plan of the last step. To be
    /// called before anything else than [`Scheduler::repeat`] and [`Scheduler::telemetry`].
    pub fn end_repeats(&mut self) -> &StepPlan {
        let times = std::mem::take(&mut self.repeats.uncounted);
        if times == 0 {
            return &self.plan;
        }
        let tokens = Tokens(times);
        for chunk in &mut self.plan.chunks {
            chunk.context += tokens;
            let s = &mut self.sessions[chunk.slot];
            s.computed += tokens;
            s.generated += tokens;
            s.service += tokens;
            s.usage.scheduled += tokens;
            s.last_scheduled = Some(self.repeats.last);
        }
        self.tell_planned_again(times);
        &self.plan
    }

    pub(crate) fn no_repeats_open(&self) -> bool {
        self.repeats.uncounted == 0
    }

    /// Lays out what the chunks will do to blocks in one round of steps.
    fn prepare(&mut self) {
        let block = self.config.block_size.tokens().get();
        let repeats = &mut self.repeats;
        repeats.prepared = true;
        repeats.next = 0;
        repeats.before = 0;
        repeats.round.clear();
        for (index, Chunk { context, .. }) in self.plan.chunks.iter().enumerate() {
            let chunk =
                u32::try_from(index).expect("fewer turns than sessions, whose ids are 32 bits");
            // The k-th further step puts a token at place `context + k`, counted from 0.
            let event = |place: u64, what| BlockEvent {
                step: (place + 2 * block - 1 - context.get() % block) % block + 1,
                chunk,
                what,
            };
            repeats.round.push(event(0, What::Allocate));
            repeats.round.push(event(block - 1, What::Fill));
        }
        repeats.round.sort_unstable();
    }

    /// Whether what the events do to blocks could be seen by the waiting pass of the same step.
    fn disturbs(&mut self, now: Time, events: std::ops::Range<usize>, allocations: usize) -> bool {
        let Some((key, session, head)) = self.waiting.after(None) else {
            return false;
        };
        let fills_shared = self.repeats.round[events].iter().any(|event| {
            let s = &self.sessions[self.plan.chunks[event.chunk as usize].slot];
            let last = s.blocks.len() as u64;
            // The block that fills is the last one held, or the one that this very step allocates.
            event.what == What::Fill
                && (last.saturating_sub(1)..=last)
                    .any(|k| !matches!(s.lineage.at(k, s.id).1, Owner::Session(_)))
        });
        if fills_shared {
            return true;
        }
        let taken: Vec<(Ident, Owner)> = self.pool.next_taken(allocations).collect();
        taken.into_iter().any(|(ident, owner)| {
            let Owner::Session(id) = owner else {
                return true;
            };
            let Some(slot) = self.sessions.find(id) else {
                return false;
            };
            let s = &self.sessions[slot];
            if s.state != State::Waiting || s.pin.is_some() || ident.depth() >= s.hit {
                return false;
            }
            if slot == head || self.config.head_of_line == HeadOfLine::Skip {
                return true;
            }
            // Losing it, would the turn pass the head?
            let hit = std::mem::replace(&mut self.sessions[slot].hit, ident.depth());
            let view = self.sessions[slot].view(self.config.block_size, self.doors);
            self.sessions[slot].hit = hit;
            (self.policy.order.waiting(now, &view).key, id) < (key, session)
        })
    }
}
