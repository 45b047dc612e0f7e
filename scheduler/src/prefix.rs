//! Who would hit what: the link between the prefix cache and the order of the waiting turns.
//!
//! A waiting turn's hit is looked up once, when it becomes ready. After that only two things change
//! it: an allocation drops a block of its context, or (for a group's shared opening) somebody
//! computes one. Both are told here, so nothing is looked up again at every step.

use units::{Blocks, Time};

use crate::lineage::{Ident, Owner};
use crate::pool::Lost;
use crate::scheduler::Scheduler;
use crate::session::State;

impl Scheduler {
    /// Looks up how many leading full blocks a start of this waiting turn would find.
    pub(crate) fn match_prefix(&mut self, slot: u32) {
        let hit = self.prefix_hit(slot);
        self.sessions[slot].hit = hit;
    }

    fn prefix_hit(&self, slot: u32) -> Blocks {
        let s = &self.sessions[slot];
        let limit = s.hit_limit(self.config.block_size).get();
        if s.pin.is_some() {
            // The pin's own blocks are taken over, whatever other copies there are.
            let found = |k: &u64| {
                let block = usize::try_from(*k).ok().and_then(|k| s.blocks.get(k));
                let (ident, _) = s.lineage.at(*k, s.id);
                block.is_some_and(|&b| self.pool.content(b) == Some(ident))
            };
            return Blocks((0..limit).take_while(found).count() as u64);
        }
        if !self.config.prefix_caching {
            return Blocks::ZERO;
        }
        let mut hit = 0;
        for (lineage, from, to) in s.lineage.runs(limit) {
            hit += self.pool.cached_run(lineage, from, to);
            if hit < to {
                break;
            }
        }
        Blocks(hit)
    }

    /// Counts what the turn still has to allocate into the sum that admission reads.
    pub(crate) fn count_owed(&mut self, slot: u32) {
        let s = &self.sessions[slot];
        let whole = self.config.block_size.to_hold(s.total());
        let owed = match s.state {
            State::Waiting if s.pin.is_some() => whole - s.hit,
            State::Waiting => {
                // Own blocks are free when nobody pins them; shared ones may be held by others.
                whole - self.shared_held(slot)
            }
            State::Running if s.computed + s.scheduled < s.total() => {
                whole.saturating_sub(Blocks(s.blocks.len() as u64))
            }
            _ => Blocks::ZERO,
        };
        let waiting = if s.state == State::Waiting {
            owed
        } else {
            Blocks::ZERO
        };
        self.owed = self.owed + owed - s.owed;
        self.owed_waiting = self.owed_waiting + waiting - s.owed_waiting;
        let s = &mut self.sessions[slot];
        (s.owed, s.owed_waiting) = (owed, waiting);
    }

    /// Of the shared opening that the waiting turn hits, the blocks that somebody holds.
    pub(crate) fn shared_held(&self, slot: u32) -> Blocks {
        let s = &self.sessions[slot];
        let shared = s.lineage.shared().min(s.hit).get();
        let runs = s.lineage.runs(shared);
        Blocks(
            runs.map(|(lineage, from, to)| self.pool.cached_held(lineage, from, to))
                .sum(),
        )
    }

    /// Waiting turns whose openings name the group of this content and whose hit is such. In no order that
    /// means anything: what befalls one is nothing to another.
    fn waiting_for(&self, ident: Ident, hit: impl Fn(Blocks) -> bool) -> Vec<u32> {
        let waits = |slot: &u32| {
            let s = &self.sessions[*slot];
            let waits = s.state == State::Waiting && hit(s.hit);
            debug_assert!(
                !waits || self.waiting.contains(s.rank, s.id),
                "a waiting turn is in the order"
            );
            waits
        };
        self.members.of(ident.lineage()).filter(waits).collect()
    }

    /// The last copy of some content is gone: whoever waits for it will compute it again.
    pub(crate) fn content_lost(&mut self, now: Time, lost: Lost) {
        match lost.owner {
            Owner::Session(id) => {
                if let Some(slot) = self.sessions.find(id) {
                    self.shorten_hit(now, slot, lost.ident);
                }
            }
            Owner::Group => {
                for slot in self.waiting_for(lost.ident, |hit| hit > lost.ident.depth()) {
                    self.shorten_hit(now, slot, lost.ident);
                }
            }
        }
    }

    /// The same for all that one chunk's allocations took, in one go per session.
    pub(crate) fn contents_lost(&mut self, now: Time) {
        let mut lost = std::mem::take(&mut self.lost);
        for of_one in lost.chunk_by(|a, b| a.owner == b.owner) {
            let Owner::Session(id) = of_one[0].owner else {
                for &one in of_one {
                    self.content_lost(now, one);
                }
                continue;
            };
            let Some(slot) = self.sessions.find(id) else {
                continue;
            };
            let s = &self.sessions[slot];
            if s.state != State::Waiting || s.pin.is_some() {
                continue;
            }
            // What counts is the shallowest.
            let hits = of_one
                .iter()
                .map(|l| l.ident)
                .filter(|i| i.depth() < s.hit && s.lineage.at(i.depth().get(), id).0 == *i);
            if let Some(first) = hits.min_by_key(|i| i.depth()) {
                self.shorten_hit(now, slot, first);
            }
        }
        lost.clear();
        self.lost = lost;
    }

    fn shorten_hit(&mut self, now: Time, slot: u32, ident: Ident) {
        let s = &self.sessions[slot];
        let depth = ident.depth();
        if s.state != State::Waiting
            || s.pin.is_some()
            || depth >= s.hit
            || s.lineage.at(depth.get(), s.id).0 != ident
        {
            return;
        }
        self.sessions[slot].hit = depth;
        self.count_owed(slot);
        self.rerank_waiting(now, slot);
    }

    /// So many blocks of a shared opening became hittable: waiting turns of the group may now hit further.
    pub(crate) fn shared_content_found(&mut self, now: Time, first: Ident, count: Blocks) {
        let (lineage, from) = (first.lineage(), first.depth());
        let ends_there = |hit: Blocks| from <= hit && hit < from + count;
        for slot in self.waiting_for(first, ends_there) {
            let s = &self.sessions[slot];
            let hit = s.hit.get();
            if s.pin.is_none() && s.lineage.at(hit, s.id).0 == Ident::new(lineage, hit) {
                self.match_prefix(slot);
                self.count_owed(slot);
                self.rerank_waiting(now, slot);
            }
        }
    }

    /// Enters a waiting turn into the order.
    pub(crate) fn rank_waiting(&mut self, now: Time, slot: u32) {
        let view = self.sessions[slot].view(self.config.block_size, self.doors);
        let rank = self.policy.order.waiting(now, &view);
        let s = &mut self.sessions[slot];
        s.rank = rank;
        self.waiting.insert(rank, s.id, slot);
    }

    /// Moves a waiting turn to where it belongs now.
    pub(crate) fn rerank_waiting(&mut self, now: Time, slot: u32) {
        let s = &self.sessions[slot];
        let view = s.view(self.config.block_size, self.doors);
        let rank = self.policy.order.waiting(now, &view);
        if rank == s.rank {
            return;
        }
        self.waiting.remove(s.rank, s.id);
        self.waiting.moved = true;
        self.waiting.insert(rank, s.id, slot);
        self.sessions[slot].rank = rank;
    }

    /// Asks again for the ranks that ran out.
    pub(crate) fn refresh_waiting_ranks(&mut self, now: Time) {
        while let Some(id) = self.waiting.expired(now) {
            let slot = self.sessions.find(id).expect("waiting sessions are here");
            self.rerank_waiting(now, slot);
            let until = self.sessions[slot].rank.until;
            assert!(
                until > now,
                "policy `{}` gave a waiting turn a rank that is out of date at once",
                self.policy.name
            );
        }
    }

    /// Puts the running turns into the policy's order, if anything about it can have changed.
    pub(crate) fn order_running(&mut self, now: Time) {
        if !self.ranks_stale && now < self.ranks_until {
            return;
        }
        self.ranks_stale = false;
        self.ranks_until = Time::NEVER;
        let mut moved = false;
        for &slot in &self.running {
            let s = &mut self.sessions[slot];
            if s.rank_stale || s.rank.until <= now {
                let rank = self
                    .policy
                    .order
                    .running(now, &s.view(self.config.block_size, self.doors));
                moved |= rank.key != s.rank.key || s.rank_stale;
                s.rank = rank;
                s.rank_stale = false;
            }
            self.ranks_until = self.ranks_until.min(s.rank.until);
        }
        if moved {
            let sessions = &self.sessions;
            self.running.sort_by_key(|&slot| {
                let s = &sessions[slot];
                (s.rank.key, s.id)
            });
        }
    }
}
