//! Who goes first, by section 4.2; for fcfs the lists are in order already.

use super::session::{At, NaiveSession};
use super::{Mlfq, Naive};

/// Level, "not started", arrival, id: the smallest goes first.
pub(super) type Place = (u64, bool, u64, usize);

fn count(thresholds: [u64; 3], reached: impl Fn(u64) -> bool) -> u64 {
    thresholds.iter().filter(|&&t| reached(t)).count() as u64
}

impl Naive {
    /// All prompt tokens computed and exactly one token missing.
    pub(super) fn decoding(&self, s: &NaiveSession) -> bool {
        let missing = self.missing(s.id);
        missing == 1 && s.total() - missing >= s.prompt()
    }

    pub(super) fn missing(&self, id: usize) -> usize {
        let s = &self.sessions[id];
        match s.at {
            At::Running => s.total() - s.computed,
            _ => s.total() - self.hit(id) * self.case.block,
        }
    }

    fn level(&self, mlfq: &Mlfq, id: usize) -> u64 {
        let s = &self.sessions[id];
        if self.decoding(s) {
            return 0;
        }
        let missing = self.missing(id) as u64;
        let by_footprint = count(mlfq.footprint, |most| missing > most);
        by_footprint.max(count(mlfq.service, |from| s.service >= from))
    }

    pub(super) fn aged_level(&self, mlfq: &Mlfq, now: u64, id: usize) -> u64 {
        let s = &self.sessions[id];
        let since = s.ready.max(s.last_scheduled.unwrap_or(0));
        self.level(mlfq, id)
            .saturating_sub((now - since) / mlfq.aging_ns)
    }

    /// For fcfs the position in the list, made to look like a place.
    pub(super) fn place(&self, now: u64, id: usize) -> Place {
        let s = &self.sessions[id];
        match &self.rules.mlfq {
            Some(mlfq) => (self.aged_level(mlfq, now, id), !s.started, s.arrival, id),
            None => (0, false, 0, 0),
        }
    }

    /// Level without aging, decode shielded; larger KV; youngest. For fcfs the last one started.
    pub(super) fn victim(&self) -> usize {
        let Some(mlfq) = &self.rules.mlfq else {
            return *self.running.last().expect("the requester runs");
        };
        let willing = |&id: &usize| {
            let s = &self.sessions[id];
            let level = if self.decoding(s) {
                0
            } else {
                1 + self.level(mlfq, id)
            };
            (level, s.blocks.len(), id)
        };
        self.running
            .iter()
            .copied()
            .max_by_key(willing)
            .expect("not empty")
    }
}
