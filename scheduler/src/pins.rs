//! Pins: KV kept for a session while its tools run, until it comes back or somebody needs it more.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use units::{BlockId, Blocks, SessionId, Time};

use crate::decision::{DecisionKind, Detail, Entry};
use crate::info::{Info, Unpin};
use crate::policy::{Claim, Keep, Yielding};
use crate::reason::Reason;
use crate::scheduler::Scheduler;
use crate::session::{Pin, State};

/// The sum of stale pins' blocks, kept until something about it can have changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StaleBlocks {
    /// `(retention version, next instant at which a pin goes stale, sum)`.
    known: Option<(u64, Time, Blocks)>,
    /// No pin ends by itself before this instant.
    pub(crate) next_expiry: Option<Time>,
}

impl StaleBlocks {
    pub(crate) fn forget(&mut self) {
        self.known = None;
    }

    /// The next instant at which a pin goes stale, if that is known.
    pub(crate) fn known_until(&self) -> Option<Time> {
        self.known.map(|(_, until, _)| until)
    }
}

impl Scheduler {
    /// Keeps or releases a yielding session's blocks, as the policy says.
    pub(crate) fn retain_or_release(&mut self, now: Time, slot: u32) {
        let telemetry = self.telemetry(now);
        let s = &self.sessions[slot];
        let reload = self.cost.reload(s.computed);
        let next_use = s.foresight.map(|ahead| now + ahead.idle_after);
        let yielding = Yielding {
            session: s.id,
            tool: s.tool,
            context: s.computed,
            blocks: Blocks(s.blocks.len() as u64),
            reload,
            next_use: next_use.filter(|_| self.doors.retention),
        };
        let keep = self.policy.retention.on_yield(now, &yielding, &telemetry);
        let entry = Entry {
            session: Some(yielding.session),
            kind: match keep {
                Keep::Release => DecisionKind::Release,
                Keep::Pin { .. } => DecisionKind::Pin,
                Keep::Offload => DecisionKind::Offload,
            },
            reason: self.policy.retention.reason(keep),
            detail: Detail {
                blocks: Some(yielding.blocks),
                tokens: Some(yielding.context),
                until: match keep {
                    Keep::Pin { until } => until,
                    Keep::Release | Keep::Offload => None,
                },
                ..Detail::default()
            },
        };
        self.log_seen(now, telemetry, entry);
        match keep {
            Keep::Release => {
                self.sessions[slot].released_at = now;
                self.release_blocks(slot);
            }
            Keep::Pin { .. } | Keep::Offload => {
                if let Keep::Pin { until } = keep {
                    self.note_expiry(until);
                }
                let s = &mut self.sessions[slot];
                s.pin = Some(Pin {
                    reload,
                    keep,
                    next_use,
                    stale_from: None,
                });
                for &block in &s.blocks {
                    self.pool.pin(block);
                }
                let (session, blocks) = (s.id, Blocks(s.blocks.len() as u64));
                self.pinned.insert(session);
                self.stale.forget();
                self.emit(now, Info::Pinned { session, blocks });
                if keep == Keep::Offload && !self.begin_copy_out(now, slot) {
                    self.log_keep(now, slot, DecisionKind::Release, Reason::HostFull);
                    self.drop_pin(now, slot, Unpin::HostFull);
                }
            }
        }
    }

    fn note_expiry(&mut self, until: Option<Time>) {
        if let Some(until) = until {
            let next = self.stale.next_expiry.map_or(until, |t| t.min(until));
            self.stale.next_expiry = Some(next);
        }
    }

    /// Gives all blocks back, deepest first, so that the deepest are lost first.
    pub(crate) fn release_blocks(&mut self, slot: u32) {
        // Who holds a shared opening decides what stale pins would free.
        self.stale.forget();
        let s = &mut self.sessions[slot];
        s.registered = 0;
        self.pool.release(&s.blocks);
        s.blocks.clear();
    }

    /// Ends a session's pin, if it has one, and frees its blocks.
    pub(crate) fn drop_pin(&mut self, now: Time, slot: u32, why: Unpin) {
        if !self.forget_pin(now, slot, why) {
            return;
        }
        self.sessions[slot].released_at = now;
        for &block in &self.sessions[slot].blocks {
            self.pool.unpin(block);
        }
        self.release_blocks(slot);
        if self.sessions[slot].state == State::Waiting {
            // Its blocks are still in the cache: they are hits now, like anybody's.
            self.match_prefix(slot);
            self.count_owed(slot);
            self.rerank_waiting(now, slot);
        }
    }

    /// The next turn takes over the first `kept` blocks of its session's pin; the rest is freed.
    pub(crate) fn take_over_pin(&mut self, now: Time, slot: u32, kept: usize) {
        let was_pinned = self.forget_pin(now, slot, Unpin::Resumed);
        debug_assert!(was_pinned, "took over a pin that is not there");
        let s = &mut self.sessions[slot];
        for &block in &s.blocks {
            self.pool.unpin(block);
        }
        self.pool.release(&s.blocks[kept..]);
        s.blocks.truncate(kept);
        s.registered = kept;
    }

    fn forget_pin(&mut self, now: Time, slot: u32, why: Unpin) -> bool {
        let s = &mut self.sessions[slot];
        let session = s.id;
        if s.pin.take().is_none() {
            return false;
        }
        self.pinned.remove(&session);
        self.stale.forget();
        self.changed = true;
        self.emit(now, Info::Unpinned { session, why });
        true
    }

    /// Ends the pins whose time is up, except those whose session's next turn already waits.
    pub(crate) fn expire_pins(&mut self, now: Time) {
        if self.stale.next_expiry.is_none_or(|at| at > now) {
            return;
        }
        self.stale.next_expiry = None;
        for id in self.pinned.iter().copied().collect::<Vec<_>>() {
            let slot = self.slot_of_pin(id);
            let s = &self.sessions[slot];
            let keep = s.pin.as_ref().map(|pin| pin.keep);
            if s.state != State::Yielded || s.copy.is_some() {
                continue;
            }
            match keep {
                Some(Keep::Pin { until: Some(at) }) if at <= now => {
                    self.log_keep(now, slot, DecisionKind::Expire, Reason::TimeUp);
                    self.drop_pin(now, slot, Unpin::Expired);
                }
                Some(Keep::Pin { until }) => self.note_expiry(until),
                _ => {}
            }
        }
    }

    fn slot_of_pin(&self, id: SessionId) -> u32 {
        self.sessions.find(id).expect("a pinned session is here")
    }

    /// A control tick: the policy looks at every pin again.
    pub(crate) fn reconsider_pins(&mut self, now: Time) {
        let telemetry = self.telemetry(now);
        for id in self.pinned.iter().copied().collect::<Vec<_>>() {
            let slot = self.slot_of_pin(id);
            let s = &self.sessions[slot];
            let settled = s.state == State::Yielded && s.copy.is_none();
            let Some(pin) = s.pin.as_ref().filter(|_| settled) else {
                continue;
            };
            let view = s.pin_view(pin, self.doors);
            let keep = self.policy.retention.reconsider(now, &view, &telemetry);
            match keep {
                Keep::Release => {
                    let why = self.policy.retention.reason(keep);
                    self.log_keep(now, slot, DecisionKind::Release, why);
                    self.drop_pin(now, slot, Unpin::Reconsidered);
                }
                Keep::Offload => {
                    let why = self.policy.retention.reason(keep);
                    self.log_keep(now, slot, DecisionKind::Offload, why);
                    if !self.begin_copy_out(now, slot) {
                        self.log_keep(now, slot, DecisionKind::Release, Reason::HostFull);
                        self.drop_pin(now, slot, Unpin::HostFull);
                    }
                }
                Keep::Pin { until } => {
                    self.note_expiry(until);
                    let pin = self.sessions[slot].pin.as_mut().expect("looked at above");
                    pin.keep = keep;
                }
            }
        }
    }

    /// Blocks that would become free if every stale pin ended.
    pub(crate) fn stale_blocks(&mut self, now: Time) -> Blocks {
        if self.pinned.is_empty() {
            return Blocks::ZERO;
        }
        let version = self.policy.retention.version();
        if let Some((known, until, sum)) = self.stale.known
            && known == version
            && now < until
        {
            return sum;
        }
        let mut next = Time::NEVER;
        for &id in &self.pinned {
            let slot = self.sessions.find(id).expect("a pinned session is here");
            let s = &self.sessions[slot];
            let pin = s.pin.as_ref().expect("a pinned session has a pin");
            let from = if s.state == State::Yielded {
                self.policy
                    .retention
                    .stale_from(&s.pin_view(pin, self.doors))
            } else {
                None
            };
            next = from.filter(|&at| at > now).map_or(next, |at| next.min(at));
            self.sessions[slot]
                .pin
                .as_mut()
                .expect("as above")
                .stale_from = from;
        }
        let sum = self.freed_by_stale(now, &[], &[]);
        self.stale.known = Some((version, next, sum));
        sum
    }

    /// The same as far as it makes room for the waiting turn in `slot`: less what the turn would hit
    /// (that it takes over, it cannot also build on it), and with what only its own pin and stale ones
    /// hold but it would not hit.
    pub(crate) fn stale_blocks_for(&mut self, now: Time, slot: u32) -> Blocks {
        let sum = self.stale_blocks(now);
        let s = &self.sessions[slot];
        if s.pin.is_some() {
            // It takes over its own copy, which no stale pin holds alone. What it does not take over
            // others may hold only if the context was cut back below a shared opening.
            let hit = usize::try_from(s.hit.get()).unwrap_or(usize::MAX);
            let is_shared = |&&b: &&BlockId| self.pool.holders(b) > 1;
            let surplus: Vec<BlockId> = s.blocks[hit..].iter().filter(is_shared).copied().collect();
            if surplus.is_empty() {
                return sum;
            }
            return self.freed_by_stale(now, &[], &surplus);
        }
        let shared = s.lineage.shared().min(s.hit).get();
        if sum == Blocks::ZERO || shared == 0 {
            return sum;
        }
        let hits: Vec<BlockId> = (0..shared)
            .filter_map(|k| self.pool.lookup(s.lineage.at(k, s.id).0))
            .collect();
        self.freed_by_stale(now, &hits, &[])
    }

    /// Blocks that nobody but stale pins holds, without those in `except`; one in `own` may have one
    /// holder more.
    fn freed_by_stale(&self, now: Time, except: &[BlockId], own: &[BlockId]) -> Blocks {
        let mut alone = 0;
        // Only a shared opening can have several holders.
        let mut shared: BTreeMap<BlockId, u32> = BTreeMap::new();
        for &id in &self.pinned {
            let slot = self.sessions.find(id).expect("a pinned session is here");
            let s = &self.sessions[slot];
            let stale_from = s.pin.as_ref().and_then(|pin| pin.stale_from);
            if stale_from.is_none_or(|at| at > now) {
                continue;
            }
            let opening = usize::try_from(s.lineage.shared().get()).unwrap_or(usize::MAX);
            let opening = opening.min(s.blocks.len());
            alone += s.blocks.len() - opening;
            for &block in &s.blocks[..opening] {
                *shared.entry(block).or_default() += 1;
            }
        }
        let freed = shared
            .iter()
            .filter(|&(block, &pins)| {
                let soft = pins + u32::from(own.contains(block));
                self.pool.holders(*block) == soft && !except.contains(block)
            })
            .count();
        Blocks((alone + freed) as u64)
    }

    /// Ends one pin for somebody who needs blocks: stale ones first, then the least valuable.
    /// `live` says whether live pins may be taken at all. False when there is none to take.
    pub(crate) fn reclaim_pin(
        &mut self,
        now: Time,
        claim: Claim,
        claimant: SessionId,
        live: bool,
    ) -> bool {
        self.stale_blocks(now); // brings every pin's staleness up to date
        let live = live && self.policy.retention.yields_to(claim);
        let worth = |&id: &SessionId| {
            let slot = self.sessions.find(id).expect("a pinned session is here");
            let s = &self.sessions[slot];
            let pin = s.pin.as_ref().expect("a pinned session has a pin");
            let stale = pin.stale_from.is_some_and(|at| at <= now);
            // A copy reads or fills these blocks.
            if id == claimant || s.copy.is_some() || !(stale || live) {
                return None;
            }
            let view = s.pin_view(pin, self.doors);
            let value = self.policy.retention.value(now, &view);
            let order = (view.next_turn_waits, !stale);
            Some((order, value, (Reverse(view.blocks), Reverse(id)), slot))
        };
        let least = self
            .pinned
            .iter()
            .filter_map(worth)
            .min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        let Some(((_, live), value, _, slot)) = least else {
            return false;
        };
        self.log(now, |this| {
            let s = &this.sessions[slot];
            Entry {
                session: Some(s.id),
                kind: DecisionKind::Reclaim,
                reason: if live {
                    Reason::LeastValue
                } else {
                    Reason::Stale
                },
                detail: Detail {
                    claimant: Some(claimant),
                    blocks: Some(Blocks(s.blocks.len() as u64)),
                    tokens: Some(s.computed),
                    value: Some(value),
                    ..Detail::default()
                },
            }
        });
        let why = match claim {
            Claim::Running { .. } => Unpin::ReclaimedForRunning,
            Claim::Waiting | Claim::WaitingIdle => Unpin::ReclaimedForWaiting,
        };
        self.drop_pin(now, slot, why);
        true
    }
}
