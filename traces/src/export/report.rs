//! What an export wrote, and what its format could not hold.

use std::collections::BTreeMap;
use std::fmt;

use units::Tokens;

use crate::error::{Place, TraceError};
use crate::model::{Evidence, Session};

/// Something that sessions say and a format cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// Names of models, one a session.
    Model,
    /// Names of sessions.
    Name,
    /// Times of arrival, one a session.
    Arrival,
    /// Sessions of unknown arrival, in a format that wants one: written at time 0.
    UnknownArrival,
    /// Shared openings, one a session that has any.
    Opening,
    /// Links to parents.
    Parent,
    /// That calls belong to one session and wait for one another: calls after a first one.
    Order,
    /// Tokens that a call reuses, or an opening shares: all, or those beyond whole blocks of prompts.
    Reuse,
    /// What the recorded server had cached, one a call.
    Cached,
    /// Times of calls.
    CallTime,
    /// Names of tools.
    ToolName,
    /// CPU times of tools, and how many threads they keep busy.
    ToolCpu,
    /// Commands that tools run.
    Command,
    /// Tool calls beside the longest one of their turn.
    SideBySide,
    /// Whether a tool or a human took the time: turns where that is not told, or both took some.
    Cause,
    /// What follows a last call: nothing waits for it.
    AfterLast,
    /// Numbers that are estimated or drawn and look recorded.
    Evidence,
    /// Digits of a time that the format has no room for.
    Digits,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "names of models",
            Self::Name => "names of sessions",
            Self::Arrival => "times of arrival",
            Self::UnknownArrival => "unknown arrivals, written at 0",
            Self::Opening => "sessions' shared openings",
            Self::Parent => "links to parents",
            Self::Order => "calls that waited for the one before",
            Self::Reuse => "reused or shared tokens that are not told",
            Self::Cached => "cached tokens of calls",
            Self::CallTime => "times of calls",
            Self::ToolName => "names of tools",
            Self::ToolCpu => "CPU needs of tools",
            Self::Command => "commands of tools",
            Self::SideBySide => "tools beside a longer one",
            Self::Cause => "gaps whose cause is not told",
            Self::AfterLast => "tools or pauses after the last call",
            Self::Evidence => "estimated or drawn numbers told as recorded",
            Self::Digits => "times cut to the format's digits",
        })
    }
}

/// What one export wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Sessions.
    pub sessions: u64,
    /// Model calls.
    pub turns: u64,
    /// What is not in the file, by kind.
    pub lost: BTreeMap<Lost, u64>,
}

impl ExportReport {
    pub(super) fn lose(&mut self, what: Lost, count: u64) {
        if count > 0 {
            *self.lost.entry(what).or_default() += count;
        }
    }

    /// Counts a session, and what it says that no format here holds. The caller counts the rest.
    pub(super) fn begin(&mut self, session: &Session) -> Result<(), TraceError> {
        session.check().map_err(|broken| TraceError::Unlawful {
            place: Place::Session(self.sessions + 1),
            broken,
        })?;
        self.sessions += 1;
        self.turns += session.turns.len() as u64;
        let count = |is: &dyn Fn(&crate::model::Turn) -> bool| {
            session.turns.iter().filter(|turn| is(turn)).count() as u64
        };
        self.lose(Lost::Command, session.commands());
        self.lose(Lost::Cached, count(&|turn| turn.cached.is_some()));
        let plain = |evidence| evidence == Evidence::Recorded;
        self.lose(Lost::Evidence, count(&|turn| !plain(turn.output.evidence)));
        if let Some(last) = session.turns.last() {
            let after = !last.tools.is_empty() || last.think.is_some();
            self.lose(Lost::AfterLast, u64::from(after));
        }
        Ok(())
    }

    /// Counts what a format without names, arrivals and links loses of a session.
    pub(super) fn lose_surroundings(&mut self, session: &Session) {
        self.lose(Lost::Model, u64::from(session.model.is_some()));
        self.lose(Lost::Parent, u64::from(session.parent.is_some()));
    }

    pub(super) fn lose_call_times(&mut self, session: &Session) {
        let known = session.turns.iter().filter(|turn| turn.llm.is_some());
        self.lose(Lost::CallTime, known.count() as u64);
    }

    pub(super) fn lose_tokens(&mut self, tokens: Tokens) {
        self.lose(Lost::Reuse, tokens.get());
    }
}
