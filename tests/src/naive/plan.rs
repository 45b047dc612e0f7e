//! One step, by section 4.1: running pass, waiting pass, and the lifting of quanta.

use super::session::At;
use super::{Naive, Piece};

#[derive(Clone, Copy, Debug)]
struct Wish {
    tokens: usize,
    decode: bool,
    /// A quantum cut it.
    cut: bool,
}

impl Naive {
    pub(super) fn plan(&mut self, now: u64) {
        loop {
            self.pieces.clear();
            self.cut.clear();
            self.changed = false;
            if self.rules.mlfq.is_some() {
                let mut order: Vec<_> = self
                    .running
                    .iter()
                    .map(|&id| (self.place(now, id), id))
                    .collect();
                order.sort_unstable();
                self.running = order.into_iter().map(|(_, id)| id).collect();
            }
            let mut budget = self.case.budget;
            if !self.running_pass(now, &mut budget) {
                self.waiting_pass(now, &mut budget);
            }
            self.lift(budget);
            if !self.pieces.is_empty() || !self.changed {
                return;
            }
        }
    }

    fn running_pass(&mut self, now: u64, budget: &mut usize) -> bool {
        let mut preempted = false;
        let mut served: Vec<usize> = Vec::new();
        while *budget > 0 {
            // The first who is not served yet: removing a victim skips nobody.
            let Some(id) = self.running.iter().copied().find(|id| !served.contains(id)) else {
                break;
            };
            let wish = self.wish(now, id, *budget);
            let tokens = loop {
                let fits = |n: usize| self.new_blocks(id, n) <= self.pool.free();
                let mut sizes = vec![wish.tokens];
                if self.rules.mlfq.is_some() && !wish.decode {
                    sizes.extend(self.halved(wish.tokens));
                }
                if let Some(tokens) = sizes.into_iter().find(|&n| fits(n)) {
                    break Some(tokens);
                }
                if self.rules.pins.is_some() && self.reclaim(now, id, true, "running") {
                    continue;
                }
                let victim = self.victim();
                preempted = true;
                *budget += self.preempt(now, victim, id);
                served.retain(|&s| s != victim);
                if victim == id {
                    break None;
                }
            };
            let Some(tokens) = tokens else {
                break;
            };
            let cut = wish.cut && tokens == wish.tokens;
            self.give(
                now,
                id,
                Wish {
                    tokens,
                    cut,
                    ..wish
                },
            );
            *budget -= tokens;
            served.push(id);
        }
        preempted
    }

    /// The chunk halved, and halved again, down to one block.
    fn halved(&self, chunk: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut size = chunk;
        while size > self.case.block {
            size = (size / 2).max(self.case.block);
            sizes.push(size);
        }
        sizes
    }

    /// Tokens missing, budget, quantum: the least.
    fn wish(&self, now: u64, id: usize, budget: usize) -> Wish {
        let s = &self.sessions[id];
        let missing = self.missing(id);
        if self.decoding(s) {
            return Wish {
                tokens: 1,
                decode: true,
                cut: false,
            };
        }
        let quantum = match &self.rules.mlfq {
            None => usize::MAX,
            Some(mlfq) => {
                let level = usize::try_from(self.aged_level(mlfq, now, id)).expect("0 to 3");
                usize::try_from(mlfq.quanta[level]).expect("small")
            }
        };
        Wish {
            tokens: missing.min(budget).min(quantum),
            decode: false,
            cut: quantum < missing,
        }
    }

    fn new_blocks(&self, id: usize, tokens: usize) -> usize {
        let s = &self.sessions[id];
        (s.computed + s.scheduled + tokens)
            .div_ceil(self.case.block)
            .saturating_sub(s.blocks.len())
    }

    /// Frees the victim's blocks; returns what it gives back to the budget.
    fn preempt(&mut self, now: u64, id: usize, by: usize) -> usize {
        let given_back = self.sessions[id].scheduled;
        self.pieces.retain(|p| p.session != id);
        self.cut.retain(|&(_, c)| c != id);
        let s = &mut self.sessions[id];
        s.service -= given_back as u64;
        s.scheduled = 0;
        // Registered for that chunk, but never computed.
        for k in s.computed / self.case.block..s.full {
            self.pool.forget(s.blocks[k]);
        }
        let freed = s.blocks.len();
        self.release(id);
        let s = &mut self.sessions[id];
        s.computed = 0;
        s.at = At::Waiting;
        self.usage[id].2 += 1;
        self.running.retain(|&r| r != id);
        self.waiting.insert(0, id);
        self.changed = true;
        self.tell(now, format!("s{id} preempted by s{by}: {freed} blocks"));
        given_back
    }

    fn give(&mut self, now: u64, id: usize, wish: Wish) {
        let place = self.place(now, id);
        self.fill(id, wish.tokens);
        let s = &mut self.sessions[id];
        s.last_scheduled = Some(now);
        if wish.cut {
            self.cut.push((place, id));
        }
        self.pieces.push(Piece {
            session: id,
            context: s.computed,
            tokens: wish.tokens,
            decode: wish.decode,
        });
    }

    /// Blocks for so many more tokens; those that fill up are hittable at once.
    fn fill(&mut self, id: usize, tokens: usize) {
        for _ in 0..self.new_blocks(id, tokens) {
            let block = self.pool.take();
            self.sessions[id].blocks.push(block);
        }
        let s = &mut self.sessions[id];
        s.scheduled += tokens;
        s.service += tokens as u64;
        let context = s.tokens();
        while (s.full + 1) * self.case.block <= s.computed + s.scheduled {
            s.full += 1;
            self.pool
                .register(s.blocks[s.full - 1], &context[..s.full * self.case.block]);
        }
    }

    /// What budget is left goes to pieces that a quantum cut, from free blocks only.
    fn lift(&mut self, mut budget: usize) {
        let mut cut = std::mem::take(&mut self.cut);
        cut.sort_unstable();
        for (_, id) in cut {
            let s = &self.sessions[id];
            let mut extra = (s.total() - s.computed - s.scheduled).min(budget);
            while extra > 0 && self.new_blocks(id, extra) > self.pool.free() {
                extra -= 1;
            }
            self.fill(id, extra);
            let piece = self.pieces.iter_mut().find(|p| p.session == id);
            piece.expect("it was cut in this step").tokens += extra;
            budget -= extra;
        }
    }

    /// Leading full blocks that a start finds: never the last token.
    pub(super) fn hit(&self, id: usize) -> usize {
        let s = &self.sessions[id];
        let tokens = s.tokens();
        let limit = (tokens.len() - 1) / self.case.block;
        (0..limit)
            .take_while(|&k| {
                let prefix = &tokens[..(k + 1) * self.case.block];
                if s.pinned {
                    s.blocks.get(k).is_some_and(|&b| self.pool.holds(b, prefix))
                } else {
                    self.pool.find(prefix).is_some()
                }
            })
            .count()
    }

    fn waiting_pass(&mut self, now: u64, budget: &mut usize) {
        let mut passed: Vec<usize> = Vec::new();
        while *budget > 0 && self.running.len() < self.case.max_running {
            let candidates = self.waiting.iter().copied().enumerate();
            let head = candidates
                .filter(|(_, id)| !passed.contains(id))
                .min_by_key(|&(at, id)| (self.place(now, id), at))
                .map(|(_, id)| id);
            let Some(id) = head else {
                break;
            };
            let wish = self.wish(now, id, *budget);
            if self.can_start(now, id, wish.tokens) {
                self.start(now, id, wish);
                *budget -= wish.tokens;
            } else if self.case.skip {
                passed.push(id);
            } else {
                break;
            }
        }
    }

    /// Blocks a start still lacks: for its chunk, or for all that the start rule wants.
    fn lacks(&self, now: u64, id: usize, tokens: usize, rule: bool, stale: bool) -> bool {
        let s = &self.sessions[id];
        let (hit, block) = (self.hit(id), self.case.block);
        let mut wanted = (hit * block + tokens).div_ceil(block) - hit;
        if rule && self.rules.mlfq.is_some() {
            let n = self.outputs.len().max(1);
            let sum: usize = self.outputs.iter().sum();
            let whole = (s.total() * n + sum).div_ceil(n * block);
            wanted = wanted.max(whole.min(self.pool.usable()) - hit);
        }
        // Free, or held by nobody but the own pin or stale ones; less what the turn itself hits.
        let tokens = s.tokens();
        let hits: Vec<usize> = (0..hit)
            .map(|k| {
                if s.pinned {
                    return s.blocks[k];
                }
                self.pool.find(&tokens[..(k + 1) * block]).expect("a hit")
            })
            .collect();
        let there = (0..self.pool.usable())
            .filter(|b| !hits.contains(b))
            .filter(|&b| {
                let soft = self.sessions.iter().filter(|p| {
                    p.pinned
                        && p.blocks.contains(&b)
                        && (p.id == id || (stale && self.stale(now, p.id)))
                });
                soft.count() == self.pool.holders(b)
            })
            .count();
        wanted > there
    }

    fn can_start(&mut self, now: u64, id: usize, tokens: usize) -> bool {
        loop {
            if !self.lacks(now, id, tokens, true, false) {
                return true;
            }
            if !self.lacks(now, id, tokens, true, true) {
                while self.lacks(now, id, tokens, false, false) {
                    assert!(self.reclaim(now, id, false, "waiting"), "enough was stale");
                }
                return true;
            }
            let idle = self.running.is_empty();
            if !idle || self.rules.pins.is_none() || !self.reclaim(now, id, true, "waiting") {
                return false;
            }
        }
    }

    fn start(&mut self, now: u64, id: usize, wish: Wish) {
        let hit = self.hit(id);
        self.waiting.retain(|&w| w != id);
        let tokens = self.sessions[id].tokens();
        if self.sessions[id].pinned {
            while self.sessions[id].blocks.len() > hit {
                let block = self.sessions[id].blocks.pop().expect("longer than the hit");
                self.pool.let_go(block);
            }
            self.sessions[id].pinned = false;
            self.tell(now, format!("s{id} unpinned: resumed"));
        } else {
            for k in 0..hit {
                let block = self
                    .pool
                    .find(&tokens[..(k + 1) * self.case.block])
                    .expect("a hit");
                self.pool.hold(block);
                self.sessions[id].blocks.push(block);
            }
        }
        let place = self.place(now, id);
        let s = &mut self.sessions[id];
        s.full = hit;
        s.computed = hit * self.case.block;
        for (place, &token) in tokens.iter().enumerate().take(s.computed) {
            s.had.insert((place, token));
        }
        s.at = At::Running;
        let (turn, computed, first) = (s.turn, s.computed, !s.started);
        if first && turn > 0 && !s.warm {
            self.record.cold(now - s.ready);
        }
        self.running.push(id);
        self.changed = true;
        let again = if first { "" } else { " again" };
        self.tell(
            now,
            format!("s{id} starts turn {turn}{again}: hit {computed}"),
        );
        self.give(now, id, wish);
        // Its place in this step is the one it waited at.
        if let Some(cut) = self.cut.iter_mut().find(|(_, c)| *c == id) {
            cut.0 = place;
        }
        self.sessions[id].started = true;
    }
}
