//! KV in host memory: copied out at a yield, copied back before the next turn starts.
//!
//! What: a yielding session's blocks may be copied to host memory and then released. When its next
//! turn is chosen to start, blocks for what the GPU lost are allocated and filled from the host; the
//! turn waits, its blocks pinned, until that copy is done, and then starts with them as hits.
//! Why: a copy over the host link costs bytes / bandwidth, often a tenth of a prefill.
//! Limits: the scheduler only says what to copy; the world says when it is done, so copies overlap
//! steps and share the link. A session that comes back while its copy out is under way keeps its
//! blocks, and the copy is dropped. Preempted turns may go the same way: `swap.rs`.

use units::{Blocks, SessionId, Time, Tokens};

use crate::error::SchedulerError;
use crate::info::{Info, Unpin};
use crate::policy::Keep;
use crate::scheduler::Scheduler;
use crate::session::{Pin, State};

/// Which way a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the GPU to host memory.
    ToHost,
    /// From host memory to the GPU.
    ToGpu,
}

/// A copy under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) id: u64,
    direction: Direction,
    blocks: Blocks,
}

/// A session's KV in host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostCopy {
    /// Full blocks of the context, shallow to deep; a partial block is not worth a copy.
    full: Blocks,
    /// The turn whose context it is.
    turn: u32,
}

impl Scheduler {
    /// Starts copying a yielded session's pinned blocks out. False when the host is full or there is
    /// no host tier: the caller decides what becomes of them.
    pub(crate) fn begin_copy_out(&mut self, now: Time, slot: u32) -> bool {
        let Some(tier) = self.config.offload else {
            return false;
        };
        let size = self.config.block_size;
        let s = &self.sessions[slot];
        let full = size.filled_by(s.computed);
        if s.copy.is_some() || full == Blocks::ZERO || self.host_used + full > tier.host_blocks {
            return false;
        }
        self.host_used += full;
        self.start_copy(now, slot, Direction::ToHost, full);
        true
    }

    pub(crate) fn start_copy(
        &mut self,
        now: Time,
        slot: u32,
        direction: Direction,
        blocks: Blocks,
    ) {
        let id = self.next_sequence();
        if direction == Direction::ToHost {
            self.copying_out += blocks;
        }
        let s = &mut self.sessions[slot];
        s.copy = Some(Copy {
            id,
            direction,
            blocks,
        });
        let session = s.id;
        self.emit(
            now,
            Info::CopyStarted {
                session,
                copy: id,
                direction,
                blocks,
            },
        );
    }

    /// The world finished a copy. One that was dropped meanwhile is ignored.
    pub(crate) fn copy_done(
        &mut self,
        now: Time,
        session: SessionId,
        id: u64,
    ) -> Result<(), SchedulerError> {
        let Some(slot) = self.sessions.find(session) else {
            return Ok(());
        };
        let Some(copy) = self.sessions[slot].copy.filter(|copy| copy.id == id) else {
            return Ok(());
        };
        let s = &mut self.sessions[slot];
        s.copy = None;
        match (copy.direction, s.state) {
            (Direction::ToHost, state @ (State::Yielded | State::SwappingOut)) => {
                let (full, turn) = (copy.blocks, s.turn);
                s.host = Some(HostCopy { full, turn });
                self.copying_out -= full;
                self.counters.copied_out += full.get();
                self.drop_pin(now, slot, Unpin::Offloaded);
                if state == State::SwappingOut {
                    self.swapping -= full;
                    self.enqueue(now, slot);
                }
            }
            (Direction::ToGpu, State::Restoring) => {
                self.counters.copied_in += copy.blocks.get();
                self.end_restore(now, slot);
            }
            (_, state) => {
                return Err(SchedulerError::ImpossibleEvent {
                    at: now,
                    event: "copy done",
                    session,
                    state: state.name(),
                });
            }
        }
        Ok(())
    }

    /// The session is back before its copy out was done: it keeps its blocks.
    pub(crate) fn drop_copy_out(&mut self, slot: u32) {
        if let Some(copy) = self.sessions[slot].copy.take() {
            self.host_used -= copy.blocks;
            self.copying_out -= copy.blocks;
        }
    }

    /// Forgets a session's KV in host memory.
    pub(crate) fn drop_host_copy(&mut self, slot: u32) {
        if let Some(host) = self.sessions[slot].host.take() {
            self.host_used -= host.full;
        }
    }

    /// Full blocks of the waiting turn's prompt that the host has and the GPU has not.
    pub(crate) fn restorable(&self, slot: u32) -> Blocks {
        let s = &self.sessions[slot];
        let Some(host) = s.host else {
            return Blocks::ZERO;
        };
        let size = self.config.block_size;
        // Of its own context a preempted turn wants all, of the one before the next turn what it reuses.
        let kept = if host.turn == s.turn {
            host.full
        } else {
            host.full.min(size.filled_by(s.reused))
        };
        let useful = kept.min(s.hit_limit(size));
        useful.saturating_sub(s.hit)
    }

    /// Takes the turn out of the waiting order, holds what it hits, allocates blocks for what the
    /// host has beyond that and starts the copy. Room was made before.
    pub(crate) fn begin_restore(&mut self, now: Time, slot: u32) {
        let missing = self.restorable(slot);
        let s = &self.sessions[slot];
        self.waiting.remove(s.rank, s.id);
        self.hold_hits(slot);
        let s = &mut self.sessions[slot];
        s.state = State::Restoring;
        self.take_blocks(now, slot, missing);
        self.changed = true;
        self.pin_for_copy(now, slot, Keep::Pin { until: None });
        self.start_copy(now, slot, Direction::ToGpu, missing);
    }

    /// Pins the blocks of a turn that a copy reads or fills.
    pub(crate) fn pin_for_copy(&mut self, now: Time, slot: u32, keep: Keep) {
        let s = &mut self.sessions[slot];
        s.pin = Some(Pin {
            reload: units::Nanos::ZERO,
            keep,
            next_use: Some(now),
            stale_from: None,
        });
        let (session, blocks) = (s.id, Blocks(s.blocks.len() as u64));
        for &block in &s.blocks {
            self.pool.pin(block);
        }
        self.pinned.insert(session);
        self.stale.forget();
        self.count_owed(slot);
        self.emit(now, Info::Pinned { session, blocks });
    }

    /// The restored blocks hold the context again: the turn waits with them as its pin.
    fn end_restore(&mut self, now: Time, slot: u32) {
        self.drop_host_copy(slot);
        self.register_full(now, slot, self.restored_end(slot));
        self.sessions[slot].state = State::Waiting;
        self.stale.forget();
        self.match_prefix(slot);
        self.count_owed(slot);
        self.rank_waiting(now, slot);
    }

    fn restored_end(&self, slot: u32) -> Tokens {
        let blocks = Blocks(self.sessions[slot].blocks.len() as u64);
        self.config.block_size.capacity(blocks)
    }
}
