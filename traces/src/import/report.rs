//! What an import read, estimated and left out.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::{Evidence, Session};

/// Why a part of a recording is not in the session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// A line whose type carries no work (`summary`, `queue-operation`, ...).
    LineType(String),
    /// A message that the client made up itself to report an error: no model ran.
    Synthetic,
    /// A model call that the recording gives no token counts for.
    NoUsage,
    /// A tool result that answers no known call.
    UnmatchedResult,
    /// A conversation in the file without any model call.
    NoCalls,
    /// A command that ran after the last model call, when the work was already handed in.
    FinalCommand,
    /// A command that the client never started.
    NotExecuted,
    /// An event that the recording holds a second time.
    Repeated,
    /// Token counts of a call that no event belongs to.
    UnusedUsage,
    /// A model call whose answer the client could not use and asked for again.
    Retry,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineType(name) => write!(f, "line of type `{name}`"),
            Self::Synthetic => f.write_str("client-made message"),
            Self::NoUsage => f.write_str("model call without token counts"),
            Self::UnmatchedResult => f.write_str("tool result without a call"),
            Self::NoCalls => f.write_str("conversation without a model call"),
            Self::FinalCommand => f.write_str("command after the last model call"),
            Self::Repeated => f.write_str("repeated event"),
            Self::UnusedUsage => f.write_str("token counts without an event"),
            Self::Retry => f.write_str("model call that was asked again"),
            Self::NotExecuted => f.write_str("command that was not executed"),
        }
    }
}

/// Counts over one import, or over many when [`absorbed`](Self::absorb).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Sessions, sub-agents included.
    pub sessions: u64,
    /// Sessions that another one started.
    pub children: u64,
    /// Model calls.
    pub turns: u64,
    /// Prompt counts computed from the session's sum, because the recording has none of each call.
    pub estimated_prompts: u64,
    /// Output counts computed from the text, because the recording has none that is final.
    pub estimated_outputs: u64,
    /// Model calls for which the recorded server does not say what it had cached.
    pub unknown_cached: u64,
    /// Model calls that continue less than the whole previous turn: something was dropped.
    pub broken_prefixes: u64,
    /// Model calls that go on from an earlier call than the one before, and count as new from where
    /// they part from that one: a session links a turn to its predecessor alone.
    pub returns: u64,
    /// Pauses computed from when two calls began, because the recording does not state them.
    pub estimated_pauses: u64,
    /// Tool calls.
    pub tools: u64,
    /// Tool calls whose time the recording does not tell.
    pub unknown_walls: u64,
    /// Tool calls whose CPU time the recording does not tell.
    pub unknown_cpu: u64,
    /// What was left out of sessions, by reason.
    pub skipped: BTreeMap<Skip, u64>,
    /// Sessions that could not be read and were left out whole, under
    /// [`OnBadSession::Skip`](super::OnBadSession::Skip).
    pub dropped: u64,
    /// Why, for the first of them: recording, place, field and value.
    pub dropped_because: Vec<String>,
}

/// So many reasons for dropped sessions are kept.
const REASONS: usize = 20;

/// So many line types are told apart; a file of random ones must not fill the memory.
const LINE_TYPES: usize = 64;

impl ImportReport {
    /// Adds the counts of `other`.
    pub fn absorb(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.children += other.children;
        self.turns += other.turns;
        self.estimated_prompts += other.estimated_prompts;
        self.estimated_outputs += other.estimated_outputs;
        self.unknown_cached += other.unknown_cached;
        self.broken_prefixes += other.broken_prefixes;
        self.returns += other.returns;
        self.estimated_pauses += other.estimated_pauses;
        self.tools += other.tools;
        self.unknown_walls += other.unknown_walls;
        self.unknown_cpu += other.unknown_cpu;
        for (skip, count) in other.skipped {
            *self.skipped.entry(skip).or_default() += count;
        }
        self.dropped += other.dropped;
        let room = REASONS.saturating_sub(self.dropped_because.len());
        self.dropped_because
            .extend(other.dropped_because.into_iter().take(room));
    }

    /// Counts one session that is left out whole.
    pub(super) fn drop_session(&mut self, reason: String) {
        self.dropped += 1;
        if self.dropped_because.len() < REASONS {
            self.dropped_because.push(reason);
        }
    }

    /// Counts one finished session.
    pub(super) fn count(&mut self, session: &Session) {
        self.sessions += 1;
        self.children += u64::from(session.parent.is_some());
        for (i, turn) in session.turns.iter().enumerate() {
            self.turns += 1;
            self.estimated_outputs += u64::from(turn.output.evidence == Evidence::Estimated);
            self.unknown_cached += u64::from(turn.cached.is_none());
            if let Some(previous) = i.checked_sub(1).map(|i| &session.turns[i]) {
                self.broken_prefixes += u64::from(turn.reused < turn.reusable_after(previous));
            }
            for tool in &turn.tools {
                self.tools += 1;
                self.unknown_walls += u64::from(tool.wall.is_none());
                self.unknown_cpu += u64::from(tool.cpu.is_none());
            }
        }
    }

    /// Counts one part that is left out.
    pub(super) fn skip(&mut self, reason: Skip) {
        self.skip_many(reason, 1);
    }

    /// Counts `count` parts that are left out.
    pub(super) fn skip_many(&mut self, reason: Skip, count: u64) {
        if count == 0 {
            return;
        }
        let reason = match reason {
            Skip::LineType(name)
                if self.skipped.len() >= LINE_TYPES
                    && !self.skipped.contains_key(&Skip::LineType(name.clone())) =>
            {
                Skip::LineType("(others)".to_owned())
            }
            other => other,
        };
        *self.skipped.entry(reason).or_default() += count;
    }
}
