//! The running pass: every running turn, in the policy's order, gets its tokens and its blocks.

use units::{Blocks, SessionId, Time, Tokens};

use crate::decision::{DecisionKind, Detail, Entry};
use crate::error::SchedulerError;
use crate::info::Info;
use crate::plan::{Chunk, Phase};
use crate::policy::{Claim, Quantum, Shrink};
use crate::reason::Reason;
use crate::scheduler::Scheduler;
use crate::session::State;

/// A chunk before its blocks are found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) tokens: Tokens,
    pub(crate) phase: Phase,
    /// A liftable quantum cut it, so it takes more if budget is left.
    pub(crate) liftable: bool,
}

/// What the walk over the running list carries along.
#[derive(Debug)]
struct Walk {
    /// Index of the turn being served.
    at: usize,
    preempted: bool,
}

/// What the search for a chunk's blocks came to.
#[derive(Clone, Copy, Debug)]
enum Room {
    /// Blocks for this many tokens are free.
    For(Tokens),
    /// They will be when the copies of preempted turns are done; none in this step.
    OnItsWay,
    /// The turn itself had to give way.
    GaveWay,
}

impl Scheduler {
    /// Serves the running turns while budget remains. True if anyone was preempted.
    pub(crate) fn running_pass(
        &mut self,
        now: Time,
        budget: &mut Tokens,
    ) -> Result<bool, SchedulerError> {
        self.capped.clear();
        let mut walk = Walk {
            at: 0,
            preempted: false,
        };
        while walk.at < self.running.len() && *budget > Tokens::ZERO {
            let slot = self.running[walk.at];
            if self.sessions[slot].ending {
                walk.at += 1;
                continue;
            }
            let wanted = self.wanted(now, slot, *budget);
            let tokens = match self.make_room(now, slot, wanted, budget, &mut walk)? {
                Room::For(tokens) => tokens,
                Room::OnItsWay => {
                    // What is free is spoken for as well: nobody starts with it.
                    walk.preempted = true;
                    walk.at += 1;
                    continue;
                }
                Room::GaveWay => break,
            };
            // A chunk that had to shrink is not one that its quantum cut.
            let liftable = wanted.liftable && tokens == wanted.tokens;
            let chunk = Wanted {
                tokens,
                liftable,
                ..wanted
            };
            self.schedule(now, slot, chunk);
            *budget -= tokens;
            walk.at += 1;
        }
        Ok(walk.preempted)
    }

    /// How many tokens the turn takes if blocks are no issue.
    pub(crate) fn wanted(&self, now: Time, slot: u32, budget: Tokens) -> Wanted {
        let s = &self.sessions[slot];
        if s.decoding(self.config.block_size) {
            return Wanted {
                tokens: Tokens(1),
                phase: Phase::Decode,
                liftable: false,
            };
        }
        let view = s.view(self.config.block_size, self.doors);
        let most = view.missing.min(budget);
        let (tokens, liftable) = match self.policy.order.quantum(now, &view) {
            Quantum::Unlimited => (most, false),
            Quantum::Fixed(quantum) => (most.min(quantum), false),
            Quantum::Liftable(quantum) => (most.min(quantum), quantum < view.missing),
        };
        Wanted {
            // A quantum of zero would stall the turn for good.
            tokens: tokens.max(Tokens(1)),
            phase: Phase::Prefill,
            liftable,
        }
    }

    /// Blocks that a chunk of `tokens` needs beyond those the turn holds.
    #[inline]
    pub(crate) fn shortfall(&self, slot: u32, tokens: Tokens) -> Blocks {
        let s = &self.sessions[slot];
        let held = Blocks(s.blocks.len() as u64);
        let end = s.computed + s.scheduled + tokens;
        if end <= self.config.block_size.capacity(held) {
            return Blocks::ZERO;
        }
        self.config.block_size.to_hold(end) - held
    }

    /// Finds blocks for the chunk: as it is, then smaller, then from pins, then from a victim.
    fn make_room(
        &mut self,
        now: Time,
        slot: u32,
        wanted: Wanted,
        budget: &mut Tokens,
        walk: &mut Walk,
    ) -> Result<Room, SchedulerError> {
        let shrink = match wanted.phase {
            Phase::Prefill => self.policy.order.shrink(),
            Phase::Decode => Shrink::Never,
        };
        let mut tokens = wanted.tokens;
        loop {
            let free = self.pool.free();
            if self.shortfall(slot, tokens) <= free {
                return Ok(Room::For(tokens));
            }
            if shrink != Shrink::Never {
                let smaller = self.halve_until(tokens, |n| self.shortfall(slot, n) <= free);
                if self.shortfall(slot, smaller) <= free {
                    return Ok(Room::For(smaller));
                }
                if shrink == Shrink::AndStay {
                    tokens = smaller;
                }
            }
            if self.enough_on_its_way(slot, tokens) {
                return Ok(Room::OnItsWay);
            }
            let claimant = self.sessions[slot].id;
            let claim = Claim::Running {
                running: self.running.len(),
            };
            if self.reclaim_pin(now, claim, claimant, true) {
                continue;
            }
            let victim = self.choose_victim(slot);
            if self.sessions[victim].ending {
                let before = |&other: &u32| other == victim;
                let at = self.running.iter().position(before).expect("it runs");
                walk.at -= usize::from(at < walk.at);
                walk.preempted = true;
                self.end_as_victim(now, victim);
                continue;
            }
            self.log_preemption(now, victim, slot, tokens);
            walk.preempted = true;
            *budget += self.preempt(now, victim, claimant, walk);
            if victim == slot {
                return Ok(Room::GaveWay);
            }
        }
    }

    /// Halves a chunk down to one block until `fits` says yes; one block (or the chunk, if it is
    /// smaller) when it never does.
    pub(crate) fn halve_until(&self, chunk: Tokens, fits: impl Fn(Tokens) -> bool) -> Tokens {
        let block = self.config.block_size.tokens();
        let mut tokens = chunk;
        while tokens > block && !fits(tokens) {
            tokens = Tokens(tokens.get() / 2).max(block);
        }
        tokens
    }

    fn choose_victim(&mut self, short: u32) -> u32 {
        let protected = self.protected(short);
        let willingness = |&slot: &u32| {
            let view = self.sessions[slot].view(self.config.block_size, self.doors);
            (self.policy.order.victim(&view), view.session)
        };
        let others = |&slot: &u32| Some(self.sessions[slot].id) != protected;
        let willing = self.running.iter().copied().filter(others);
        // Alone, a protected turn is its own victim.
        willing.max_by_key(willingness).unwrap_or(short)
    }

    fn log_preemption(&mut self, now: Time, victim: u32, short: u32, tokens: Tokens) {
        self.log(now, |this| {
            let view = this.sessions[victim].view(this.config.block_size, this.doors);
            Entry {
                session: Some(view.session),
                kind: DecisionKind::Preempt,
                reason: if this.circling.is_ending() {
                    Reason::EndsACircle
                } else if victim == short {
                    Reason::LowestPriorityItself
                } else {
                    Reason::LowestPriority
                },
                detail: Detail {
                    claimant: Some(this.sessions[short].id),
                    demand: Some(this.shortfall(short, tokens)),
                    blocks: Some(view.held),
                    tokens: Some(this.sessions[victim].computed),
                    key: Some(this.policy.order.victim(&view)),
                    ..Detail::default()
                },
            }
        });
    }

    /// Takes all blocks from a running turn and lets it wait, at once or when they are copied. Returns the tokens it gives back to
    /// the step's budget.
    fn preempt(&mut self, now: Time, slot: u32, by: SessionId, walk: &mut Walk) -> Tokens {
        let size = self.config.block_size;
        let swap = self.wants_swap(now, slot);
        let s = &mut self.sessions[slot];
        let given_back = s.scheduled;
        s.scheduled = Tokens::ZERO;
        s.service -= given_back;
        s.usage.scheduled -= given_back;
        let computed = usize::try_from(size.filled_by(s.computed).get()).unwrap_or(usize::MAX);
        if given_back > Tokens::ZERO {
            let session = s.id;
            self.plan.chunks.retain(|c| c.session != session);
            self.capped.retain(|&c| c != slot);
        }
        if self.policy.order.wants_feedback() {
            let view = self.sessions[slot].view(size, self.doors);
            self.policy.order.preempted(&view);
        }
        // Blocks that this step would have filled were never computed.
        let s = &self.sessions[slot];
        let never_computed: Vec<_> = s.blocks[computed.min(s.registered)..s.registered].to_vec();
        for block in never_computed {
            if let Some(lost) = self.pool.uncache(block) {
                self.content_lost(now, lost);
            }
        }
        let freed = Blocks(self.sessions[slot].blocks.len() as u64);
        if swap.is_none() {
            self.release_blocks(slot);
        }

        let at = self
            .running
            .iter()
            .position(|&r| r == slot)
            .expect("a victim runs");
        self.running.remove(at);
        if at < walk.at {
            walk.at -= 1;
        }
        let sequence = self.next_sequence();
        let s = &mut self.sessions[slot];
        s.seen = s.seen.max(s.computed);
        self.running_context -= s.computed;
        s.computed = Tokens::ZERO;
        s.preempted_seq = Some(sequence);
        s.usage.preemptions += 1;
        let session = s.id;
        self.counters.preemptions += 1;
        self.circling.preempted();
        self.changed = true;
        self.emit(now, Info::Preempted { session, by, freed });
        match swap {
            Some(full) => self.swap_out(now, slot, full),
            None => self.enqueue(now, slot),
        }
        given_back
    }

    /// Puts a chunk whose blocks are there into the plan.
    pub(crate) fn schedule(&mut self, now: Time, slot: u32, wanted: Wanted) {
        self.allocate(now, slot, wanted.tokens);
        if wanted.liftable {
            self.capped.push(slot);
        }
        let s = &mut self.sessions[slot];
        s.scheduled = wanted.tokens;
        s.last_scheduled = Some(now);
        s.service += wanted.tokens;
        s.usage.scheduled += wanted.tokens;
        self.plan.chunks.push(Chunk {
            session: s.id,
            slot,
            context: s.computed,
            tokens: wanted.tokens,
            phase: wanted.phase,
            samples: wanted.tokens == s.missing(),
        });
        // Most decodes owe nothing: only one that ends a recomputation pays off what was counted.
        if wanted.phase == Phase::Prefill || s.owed > Blocks::ZERO {
            self.count_owed(slot);
        }
    }

    /// Allocates the blocks of the turn's next `tokens` and makes those that fill up hittable.
    fn allocate(&mut self, now: Time, slot: u32, tokens: Tokens) {
        let count = self.shortfall(slot, tokens);
        self.take_blocks(now, slot, count);
        let s = &self.sessions[slot];
        let end = s.computed + s.scheduled + tokens;
        self.register_full(now, slot, end);
    }

    /// Allocates blocks for the turn. Room was made before.
    pub(crate) fn take_blocks(&mut self, now: Time, slot: u32, count: Blocks) {
        if count == Blocks::ZERO {
            return;
        }
        self.pool.allocate(count, &mut self.sessions[slot].blocks);
        if self.pool.has_lost() {
            self.pool.take_lost(&mut self.lost);
            self.contents_lost(now);
        }
    }

    /// Makes the turn's blocks hittable that the first `end` tokens of its context fill.
    pub(crate) fn register_full(&mut self, now: Time, slot: u32, end: Tokens) {
        let filled = self.config.block_size.filled_by(end).get();
        let s = &mut self.sessions[slot];
        let from = s.registered as u64;
        if from >= filled {
            return;
        }
        let place = |k: u64| usize::try_from(k).expect("fewer blocks than memory");
        s.registered = place(filled);
        let mut found = Vec::new();
        for (lineage, start, end, owner) in s.lineage.runs_within(from, filled, s.id) {
            let ids = &s.blocks[place(start)..place(end)];
            self.pool.register(ids, (lineage, start), owner, &mut found);
        }
        for run in found.chunk_by(|a, b| a.is_before(*b)) {
            self.shared_content_found(now, run[0], Blocks(run.len() as u64));
        }
    }

    /// Gives what budget is left to chunks that a liftable quantum cut, best rank first, from free
    /// blocks only.
    pub(crate) fn lift_quanta(&mut self, now: Time, mut budget: Tokens) {
        if self.capped.is_empty() || budget == Tokens::ZERO {
            return;
        }
        let mut capped = std::mem::take(&mut self.capped);
        capped.sort_by_key(|&slot| {
            let s = &self.sessions[slot];
            (s.rank.key, s.id)
        });
        for &slot in &capped {
            let s = &self.sessions[slot];
            debug_assert_eq!(s.state, State::Running);
            let room = self
                .config
                .block_size
                .capacity(Blocks(s.blocks.len() as u64) + self.pool.free())
                - (s.computed + s.scheduled);
            let extra = (s.missing() - s.scheduled).min(budget).min(room);
            if extra == Tokens::ZERO {
                continue;
            }
            self.allocate(now, slot, extra);
            let s = &mut self.sessions[slot];
            s.scheduled += extra;
            s.service += extra;
            s.usage.scheduled += extra;
            let (session, samples) = (s.id, s.scheduled == s.missing());
            let chunk = self
                .plan
                .chunks
                .iter_mut()
                .find(|c| c.session == session)
                .expect("a capped chunk is in the plan");
            chunk.tokens += extra;
            chunk.samples = samples;
            self.count_owed(slot);
            budget -= extra;
        }
        capped.clear();
        self.capped = capped;
    }
}
