//! A random sample of the sessions that pass a filter.
//!
//! Every session is given a random number of its own, by `(seed, index in the file)`; the sample is
//! the sessions with the smallest ones, in the file's order. So a smaller sample is part of a larger
//! one, a narrower filter does not reshuffle what remains, and the file streams through.
//!
//! Limits: sessions are drawn one by one; a sub-agent may be in the sample without its parent.

use std::collections::BinaryHeap;

use rand_core::Rng;
use units::Tokens;

use crate::model::Session;
use crate::rng;

/// Which sessions may be drawn. The default lets every one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The fewest turns.
    pub min_turns: Option<usize>,
    /// The most turns.
    pub max_turns: Option<usize>,
    /// The most tokens of KV at the largest ([`Session::peak_tokens`]).
    pub max_peak: Option<Tokens>,
    /// The recorded model, in full.
    pub model: Option<String>,
}

impl Filter {
    /// Whether the session may be drawn.
    pub fn passes(&self, session: &Session) -> bool {
        let turns = session.turns.len();
        self.min_turns.is_none_or(|least| turns >= least)
            && self.max_turns.is_none_or(|most| turns <= most)
            && self
                .max_peak
                .is_none_or(|most| session.peak_tokens() <= most)
            && self
                .model
                .as_deref()
                .is_none_or(|model| session.model.as_deref() == Some(model))
    }
}

/// Draws while sessions stream by.
#[derive(Debug)]
pub struct Sampler {
    filter: Filter,
    count: Option<usize>,
    seed: u64,
    index: u64,
    passed: u64,
    held: BinaryHeap<Held>,
}

/// A session that is in the sample so far; the greatest is the first to go.
#[derive(Debug)]
struct Held {
    key: u64,
    index: u64,
    session: Session,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.key, self.index).cmp(&(other.key, other.index))
    }
}

impl Sampler {
    /// Draws `count` sessions, or all that pass with `None`.
    pub const fn new(filter: Filter, count: Option<usize>, seed: u64) -> Self {
        Self {
            filter,
            count,
            seed,
            index: 0,
            passed: 0,
            held: BinaryHeap::new(),
        }
    }

    /// Offers the next session of the file.
    pub fn offer(&mut self, session: Session) {
        let index = self.index;
        self.index += 1;
        if !self.filter.passes(&session) {
            return;
        }
        self.passed += 1;
        let key = rng::stream(self.seed, "sample", index).next_u64();
        self.held.push(Held {
            key,
            index,
            session,
        });
        if self.count.is_some_and(|count| self.held.len() > count) {
            self.held.pop();
        }
    }

    /// Sessions offered so far.
    pub const fn offered(&self) -> u64 {
        self.index
    }

    /// Of these, how many pass the filter.
    pub const fn passed(&self) -> u64 {
        self.passed
    }

    /// The sample, in the file's order.
    pub fn finish(self) -> Vec<Session> {
        let mut held = self.held.into_vec();
        held.sort_unstable_by_key(|held| held.index);
        held.into_iter().map(|held| held.session).collect()
    }
}
