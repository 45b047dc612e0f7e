//! The waiting pass: turns start, in the policy's order, while budget, places and blocks remain.

use units::{Blocks, SessionId, Time, Tokens};

use crate::config::{HeadOfLine, StartRoom};
use crate::decision::{DecisionKind, Detail, Entry};
use crate::info::Info;
use crate::policy::{Claim, Resume, Shrink, StartRule};
use crate::reason::Reason;
use crate::running_pass::Wanted;
use crate::scheduler::Scheduler;
use crate::session::State;

/// What a start takes from the pool.
#[derive(Clone, Copy, Debug)]
struct Bill {
    /// Found blocks that are free now and will be held.
    idle_hits: Blocks,
    /// Blocks that the session's own pin frees on take-over.
    own_rest: Blocks,
    /// New blocks that the start rule wants room for beyond the chunk; zero if it wants none.
    reserve: Blocks,
}

impl Scheduler {
    /// Starts waiting turns while budget and running places remain. Always the first in order that was
    /// not passed over yet: a start may move others, but nobody is tried twice in one pass.
    pub(crate) fn waiting_pass(&mut self, now: Time, budget: &mut Tokens) {
        self.passes += 1;
        self.waiting.moved = false;
        let mut last: Option<([i64; 3], SessionId)> = None;
        let mut reason = Reason::HeadOfOrder;
        while *budget > Tokens::ZERO && self.running.len() < self.config.max_running {
            if std::mem::take(&mut self.waiting.moved) {
                last = None;
            }
            let Some((key, session, slot)) = self.waiting.after(last) else {
                break;
            };
            if self.sessions[slot].passed_over == self.passes {
                last = Some((key, session));
                continue;
            }
            match self.fit_start(now, slot, *budget) {
                Some(wanted) if self.restorable(slot) > Blocks::ZERO => {
                    self.log_start(now, slot, wanted, Reason::RestoreFromHost);
                    self.begin_restore(now, slot);
                }
                Some(wanted) => {
                    self.log_start(now, slot, wanted, reason);
                    self.start(now, slot, wanted);
                    *budget -= wanted.tokens;
                }
                None if self.config.head_of_line == HeadOfLine::Stop => break,
                None => {
                    // Looking for room may have moved the turn itself.
                    self.sessions[slot].passed_over = self.passes;
                    reason = Reason::HeadDoesNotFit;
                    last = Some((key, session));
                }
            }
        }
    }

    /// The first chunk of a start, if there is or can be made room for it.
    fn fit_start(&mut self, now: Time, slot: u32, budget: Tokens) -> Option<Wanted> {
        loop {
            let wanted = self.wanted(now, slot, budget);
            let bill = self.bill(slot);
            let room = self.pool.free() + bill.own_rest;
            if self.start_needs(slot, bill, wanted.tokens) <= room {
                return Some(wanted);
            }
            let claimant = self.sessions[slot].id;
            let idle = self.running.is_empty();
            let claim = if idle {
                Claim::WaitingIdle
            } else {
                Claim::Waiting
            };
            let stale = self.stale_blocks_for(now, slot);
            if self.start_needs(slot, bill, wanted.tokens) <= room + stale {
                // Enough is there for the taking; take what the first chunk needs.
                while self.chunk_needs(slot, self.bill(slot), wanted.tokens)
                    > self.pool.free() + self.bill(slot).own_rest
                {
                    if !self.reclaim_pin(now, claim, claimant, false) {
                        return None;
                    }
                }
                return Some(wanted);
            }
            if bill.reserve == Blocks::ZERO && self.policy.order.shrink() != Shrink::Never {
                let fits = |n| self.chunk_needs(slot, bill, n) <= room;
                let tokens = self.halve_until(wanted.tokens, fits);
                if fits(tokens) {
                    return Some(Wanted {
                        tokens,
                        liftable: false,
                        ..wanted
                    });
                }
            }
            // Taking some pins without getting to start would only lose their content.
            if !self.policy.retention.yields_to(claim)
                || !self.reclaim_pin(now, claim, claimant, true)
            {
                return None;
            }
        }
    }

    fn log_start(&mut self, now: Time, slot: u32, wanted: Wanted, reason: Reason) {
        self.log(now, |this| {
            let bill = this.bill(slot);
            let s = &this.sessions[slot];
            Entry {
                session: Some(s.id),
                kind: DecisionKind::Start,
                reason,
                detail: Detail {
                    demand: Some(this.start_needs(slot, bill, wanted.tokens)),
                    tokens: Some(s.prompt),
                    hit: Some(this.config.block_size.capacity(s.hit)),
                    key: Some(s.rank.key),
                    ..Detail::default()
                },
            }
        });
    }

    fn bill(&self, slot: u32) -> Bill {
        let s = &self.sessions[slot];
        let size = self.config.block_size;
        let (idle_hits, own_rest) = if s.pin.is_some() {
            let hit = usize::try_from(s.hit.get()).unwrap_or(usize::MAX);
            let rest = s.blocks[hit..]
                .iter()
                .filter(|&&b| self.pool.holders(b) == 1)
                .count();
            (Blocks::ZERO, Blocks(rest as u64))
        } else {
            // Nobody but the session itself can hold its own blocks, so unpinned ones are free.
            (s.hit - self.shared_held(slot), Blocks::ZERO)
        };
        let reserve = match self.policy.order.start_rule() {
            StartRule::FirstChunk if self.config.start_room == StartRoom::WholeContext => {
                size.to_hold(s.total()) - s.hit
            }
            StartRule::FirstChunk => Blocks::ZERO,
            StartRule::WholePromptAndMeanOutput => {
                // Exact: ceil((total + sum / count) / block), without a float.
                let count = self.outputs_count.max(1);
                let tokens = s.total().get() * count + self.outputs_sum;
                let blocks = Blocks(tokens.div_ceil(count * size.tokens().get()));
                // A mean above what the pool holds must not lock everyone out.
                blocks.min(self.pool.usable()) - s.hit
            }
        };
        Bill {
            idle_hits,
            own_rest,
            reserve,
        }
    }

    /// Blocks that the first chunk takes.
    fn chunk_needs(&self, slot: u32, bill: Bill, tokens: Tokens) -> Blocks {
        let restorable = self.restorable(slot);
        if restorable > Blocks::ZERO {
            return restorable + bill.idle_hits;
        }
        let size = self.config.block_size;
        let hit = self.sessions[slot].hit;
        size.to_hold(size.capacity(hit) + tokens) - hit + bill.idle_hits
    }

    /// Blocks that must be there before the turn may start.
    fn start_needs(&self, slot: u32, bill: Bill, tokens: Tokens) -> Blocks {
        self.chunk_needs(slot, bill, tokens)
            .max(bill.reserve + bill.idle_hits)
    }

    /// Holds the blocks that the turn finds in the cache.
    pub(crate) fn hold_hits(&mut self, slot: u32) {
        let s = &mut self.sessions[slot];
        for (lineage, from, to) in s.lineage.runs(s.hit.get()) {
            s.blocks.extend(self.pool.cached_blocks(lineage, from, to));
        }
        assert_eq!(
            s.blocks.len() as u64,
            s.hit.get(),
            "the tracked hit is there"
        );
        for &block in &s.blocks {
            self.pool.hold(block);
        }
        s.registered = s.blocks.len();
    }

    /// Moves a turn from waiting to running, with what it finds in KV, and schedules its chunk.
    fn start(&mut self, now: Time, slot: u32, wanted: Wanted) {
        let size = self.config.block_size;
        let s = &self.sessions[slot];
        debug_assert!(
            s.pin.is_some() || !self.config.prefix_caching || {
                let found = |k: &u64| self.pool.lookup(s.lineage.at(*k, s.id).0).is_some();
                let limit = s.hit_limit(size).get();
                (0..limit).take_while(found).count() as u64 == s.hit.get()
            },
            "the tracked hit is what a look-up finds"
        );
        self.waiting.remove(s.rank, s.id);
        let hit = s.hit;
        let kept = usize::try_from(hit.get()).expect("fewer blocks than memory");
        if s.pin.is_some() {
            self.take_over_pin(now, slot, kept);
        } else {
            self.hold_hits(slot);
        }
        // What the host has is older than what is computed from here on.
        self.drop_host_copy(slot);
        let sequence = self.next_sequence();
        let s = &mut self.sessions[slot];
        let first_start = !s.started;
        self.running_context += size.capacity(hit);
        s.state = State::Running;
        s.computed = size.capacity(hit);
        s.started = true;
        s.start_seq = sequence;
        s.preempted_seq = None;
        s.rank_stale = true;
        let (session, turn, hit) = (s.id, s.turn, s.computed);
        if first_start {
            self.counters.prompt += s.prompt.get();
            self.counters.hit += hit.get();
            let resume = Resume {
                queued: now.since(s.ready),
                since_release: now.since(s.released_at),
            };
            if turn > 0 && !s.kept_warm {
                self.policy.retention.cold_resume(resume);
            }
        }
        self.ranks_stale = true;
        self.running.push(slot);
        self.stale.forget();
        self.changed = true;
        self.emit(
            now,
            Info::TurnStarted {
                session,
                turn,
                hit,
                first_start,
            },
        );
        self.schedule(now, slot, wanted);
    }
}
