//! Who may enter: the external control plane's decision.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeBounds;

use units::{Blocks, Nanos, SessionId, Time, Tokens};

use crate::foresight::Foresight;
use crate::info::Window;
use crate::reason::Reason;
use crate::telemetry::Telemetry;

/// Decides which sessions of the backlog enter. The unit is the whole session: an admitted one keeps
/// its place until it completes. A decision never revokes one.
pub trait Admission: Debug + Send {
    /// A session joined the backlog; [`Admission::admit`] follows in the same instant.
    fn arrived(&mut self, now: Time, candidate: &Candidate) {
        let _ = (now, candidate);
    }

    /// Appends to `admit` the sessions that enter now, each with why, in the order in which they
    /// enter. Called at every arrival, turn end, session end and control tick. Returns the window's
    /// update, if this call made one.
    fn admit(
        &mut self,
        now: Time,
        why: Trigger,
        telemetry: &Telemetry,
        backlog: &Backlog,
        in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window>;

    /// Whether this part is an oracle: only then is it shown what its session's future holds.
    fn needs_foresight(&self) -> bool {
        false
    }

    /// The load generator says that no session follows the one that arrives now.
    fn load_over(&mut self) {}

    /// An admitted session completed.
    fn ended(&mut self, session: SessionId) {
        let _ = session;
    }

    /// Whether [`Admission::regulate`] wants to be asked at control ticks while sessions are in
    /// flight.
    fn regulates(&self) -> bool {
        false
    }

    /// A control tick: whom to pause and whom to resume. A paused session's next turn is held when
    /// it becomes ready; a turn that already waits or runs goes on.
    fn regulate(
        &mut self,
        now: Time,
        telemetry: &Telemetry,
        programs: &[Program],
        out: &mut Regulation,
    ) {
        let _ = (now, telemetry, programs, out);
    }

    /// Time between control ticks while sessions queue or pins exist; `None` for a policy that
    /// needs none.
    fn tick(&self) -> Option<Nanos> {
        None
    }
}

/// A session that was chosen, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub session: SessionId,
    /// Why.
    pub reason: Reason,
}

impl Choice {
    /// This session for this reason.
    pub fn new(session: SessionId, reason: Reason) -> Self {
        Self { session, reason }
    }
}

/// Why the policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A session arrived.
    Arrival,
    /// One or more turns ended.
    TurnEnd,
    /// A session completed with its last tool.
    SessionEnd,
    /// The control interval passed.
    Tick,
}

impl Trigger {
    /// Its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrival => "arrival",
            Self::TurnEnd => "turn-end",
            Self::SessionEnd => "session-end",
            Self::Tick => "tick",
        }
    }
}

/// A session that waits for admission, as the policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub session: SessionId,
    /// When it arrived.
    pub arrival: Time,
    /// Prompt tokens of its first turn.
    pub prompt: Tokens,
    /// Blocks that this prompt needs.
    pub demand: Blocks,
    /// Its future, for an oracle that asked; `None` for everybody else.
    pub foresight: Option<Foresight>,
}

/// A session in flight, as a regulating policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Which.
    pub session: SessionId,
    /// Tokens of its context: the current turn's, or while its tools run the last turn's.
    pub context: Tokens,
    /// Since when its tools run; `None` while its turn waits (held or not) or runs.
    pub acting_since: Option<Time>,
}

/// What a regulating policy decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regulation {
    /// Sessions whose next turn is to be held.
    pub pause: Vec<Choice>,
    /// Sessions that may go on.
    pub resume: Vec<Choice>,
}

/// What a policy may ask about sessions it admitted.
pub trait InFlight {
    /// Blocks that the session's turn or pin holds right now.
    fn held(&self, session: SessionId) -> Blocks;
}

/// The sessions that wait for admission, in three orders.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    by_arrival: BTreeMap<SessionId, Candidate>,
    by_size: BTreeMap<(Tokens, SessionId), Candidate>,
    largest_first: BTreeMap<(std::cmp::Reverse<Tokens>, SessionId), Candidate>,
}

impl Backlog {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.by_arrival.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.by_arrival.is_empty()
    }

    /// In order of arrival (ids are given in that order).
    pub fn by_arrival(&self) -> impl Iterator<Item = &Candidate> {
        self.by_arrival.values()
    }

    /// By rising first prompt, then arrival.
    pub fn by_size(&self) -> impl Iterator<Item = &Candidate> {
        self.by_size.values()
    }

    /// By falling first prompt, then arrival.
    pub fn largest_first(&self) -> impl Iterator<Item = &Candidate> {
        self.largest_first.values()
    }

    /// Those whose first prompt is in `sizes`, by rising first prompt, then arrival.
    pub fn sized(&self, sizes: impl RangeBounds<Tokens>) -> impl Iterator<Item = &Candidate> {
        let low = match sizes.start_bound() {
            std::ops::Bound::Included(&t) => (t, SessionId(0)),
            std::ops::Bound::Excluded(&t) => (t + Tokens(1), SessionId(0)),
            std::ops::Bound::Unbounded => (Tokens::ZERO, SessionId(0)),
        };
        let high = match sizes.end_bound() {
            std::ops::Bound::Included(&t) => std::ops::Bound::Included((t, SessionId(u32::MAX))),
            std::ops::Bound::Excluded(&t) => std::ops::Bound::Excluded((t, SessionId(0))),
            std::ops::Bound::Unbounded => std::ops::Bound::Unbounded,
        };
        self.by_size
            .range((std::ops::Bound::Included(low), high))
            .map(|(_, candidate)| candidate)
    }

    /// Puts a session in the queue. The mechanism does this; it is public for tests of policies.
    pub fn insert(&mut self, candidate: Candidate) {
        self.by_arrival.insert(candidate.session, candidate);
        self.by_size
            .insert((candidate.prompt, candidate.session), candidate);
        self.largest_first.insert(
            (std::cmp::Reverse(candidate.prompt), candidate.session),
            candidate,
        );
    }

    pub(crate) fn remove(&mut self, session: SessionId) -> Option<Candidate> {
        let candidate = self.by_arrival.remove(&session)?;
        self.by_size.remove(&(candidate.prompt, session));
        self.largest_first
            .remove(&(std::cmp::Reverse(candidate.prompt), session));
        Some(candidate)
    }
}
