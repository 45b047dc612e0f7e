//! The turns that wait for a start, in the policy's order.
//!
//! Ranks change with time (aging) and with the prefix cache (what a start would have to compute);
//! the queue is told of both, so no step looks at every waiting turn.

use std::collections::{BTreeMap, BTreeSet};

use units::{SessionId, Time};

use crate::policy::Rank;

/// Waiting turns by rank, then session id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    order: BTreeMap<([i64; 3], SessionId), u32>,
    expiries: BTreeSet<(Time, SessionId)>,
    /// A turn's place changed since this was last cleared.
    pub(crate) moved: bool,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn insert(&mut self, rank: Rank, session: SessionId, slot: u32) {
        self.order.insert((rank.key, session), slot);
        if rank.until != Time::NEVER {
            self.expiries.insert((rank.until, session));
        }
    }

    /// Whether a turn waits under this rank; for debug builds.
    pub(crate) fn contains(&self, rank: Rank, session: SessionId) -> bool {
        self.order.contains_key(&(rank.key, session))
    }

    pub(crate) fn remove(&mut self, rank: Rank, session: SessionId) {
        let was = self.order.remove(&(rank.key, session));
        debug_assert!(
            was.is_some(),
            "a waiting turn is in the queue under its rank"
        );
        self.expiries.remove(&(rank.until, session));
    }

    /// A session whose rank is out of date at `now`.
    pub(crate) fn expired(&self, now: Time) -> Option<SessionId> {
        let &(until, session) = self.expiries.first()?;
        (until <= now).then_some(session)
    }

    /// The first instant at which a rank is out of date.
    pub(crate) fn first_expiry(&self) -> Time {
        self.expiries
            .first()
            .map_or(Time::NEVER, |&(until, _)| until)
    }

    /// The first turn after `last` in order (the very first for `None`).
    pub(crate) fn after(
        &self,
        last: Option<([i64; 3], SessionId)>,
    ) -> Option<([i64; 3], SessionId, u32)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = last.map_or(Unbounded, Excluded);
        let (&(key, session), &slot) = self.order.range((from, Unbounded)).next()?;
        Some((key, session, slot))
    }
}
