//! Preempted turns that go to host memory instead of being recomputed.
//!
//! What: a retention part may ask that a victim's full blocks are copied out. They stay held until the
//! copy is done, so the turn that was short of blocks waits for them, and nobody else is preempted or
//! started for as long as those on their way are enough. Then the victim waits like any preempted turn,
//! with its context in host memory.
//! Why: the copy costs bytes / link bandwidth, recomputing a prefill that holds up everybody's steps.
//! Limits: whole turns only. Without a host tier, without room in it or without a full block a victim is
//! recomputed.
//! Source: `InferCept`, arXiv 2402.01869 (swapping); reference section 4.1.

use units::{Blocks, Time, Tokens};

use crate::decision::{DecisionKind, Detail, Entry};
use crate::offload::Direction;
use crate::policy::{Fate, Keep, Preempted};
use crate::scheduler::Scheduler;
use crate::session::State;

impl Scheduler {
    /// The full blocks to copy out if this victim is to be swapped; `None` if it is to be recomputed.
    pub(crate) fn wants_swap(&mut self, now: Time, slot: u32) -> Option<Blocks> {
        let tier = self.config.offload?;
        let s = &self.sessions[slot];
        let (session, context) = (s.id, s.computed);
        let blocks = self.config.block_size.filled_by(context);
        if blocks == Blocks::ZERO || self.host_used + blocks > tier.host_blocks {
            return None;
        }
        let preempted = Preempted {
            session,
            context,
            blocks,
            reload: self.cost.reload(context),
        };
        let telemetry = self.telemetry(now);
        let fate = self
            .policy
            .retention
            .on_preempt(now, &preempted, &telemetry);
        (fate == Fate::Swap).then_some(blocks)
    }

    /// Copies a victim's first `full` blocks out and frees the others. It runs no more and does not wait
    /// yet.
    pub(crate) fn swap_out(&mut self, now: Time, slot: u32, full: Blocks) {
        self.log(now, |this| Entry {
            session: Some(this.sessions[slot].id),
            kind: DecisionKind::Offload,
            reason: this.policy.retention.reason(Keep::Offload),
            detail: Detail {
                blocks: Some(full),
                tokens: Some(this.config.block_size.capacity(full)),
                ..Detail::default()
            },
        });
        let kept = usize::try_from(full.get()).expect("fewer blocks than memory");
        let s = &mut self.sessions[slot];
        s.state = State::SwappingOut;
        s.registered = kept;
        self.pool.release(&s.blocks[kept..]);
        s.blocks.truncate(kept);
        self.pin_for_copy(now, slot, Keep::Offload);
        self.host_used += full;
        self.swapping += full;
        self.start_copy(now, slot, Direction::ToHost, full);
    }

    /// Whether the blocks of victims on their way to host memory will be enough for this chunk.
    pub(crate) fn enough_on_its_way(&self, slot: u32, tokens: Tokens) -> bool {
        self.swapping > Blocks::ZERO
            && self.shortfall(slot, tokens) <= self.pool.free() + self.swapping
    }
}
