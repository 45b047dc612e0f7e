//! What is lawful in a session, and still not what a recording should look like.
//!
//! Limits: of one session alone; what needs the whole file or a machine (order of arrivals, size of
//! the KV pool) is the caller's to look at.

use std::fmt;

use units::{Nanos, Tokens};

use crate::model::{Evidence, Session, Turn};

/// A tool call of more than an hour, which no command limit of a coding agent allows: 3,600 s.
pub const LONG_TOOL: Nanos = Nanos::from_millis(3_600_000);

/// The most tokens that cannot hold a tool call: what streaming servers report before they count.
pub const PLACEHOLDER: Tokens = Tokens(2);

/// A kind of oddity, with how often the session has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// Tool calls whose time is unknown: the session cannot be replayed.
    UnknownWalls(u64),
    /// Tool calls whose CPU time is unknown: the session cannot be replayed.
    UnknownCpus(u64),
    /// Tool calls recorded as taking no time at all.
    InstantTools(u64),
    /// Tool calls recorded as longer than [`LONG_TOOL`].
    LongTools(u64),
    /// Model calls that called a tool with an output of at most [`PLACEHOLDER`] recorded tokens.
    Placeholders(u64),
    /// Turns whose context is shorter than what came before: compaction, a reset, or another
    /// conversation under the same id.
    Shrinks(u64),
    /// Model calls recorded as taking no time at all.
    InstantCalls(u64),
    /// Tool calls that carry a command.
    Commands(u64),
}

impl Oddity {
    /// How often the session has it.
    pub const fn count(self) -> u64 {
        match self {
            Self::UnknownWalls(n)
            | Self::UnknownCpus(n)
            | Self::InstantTools(n)
            | Self::LongTools(n)
            | Self::Placeholders(n)
            | Self::Shrinks(n)
            | Self::InstantCalls(n)
            | Self::Commands(n) => n,
        }
    }

    /// Whether the session cannot be replayed as it is.
    pub const fn hinders(self) -> bool {
        matches!(self, Self::UnknownWalls(_) | Self::UnknownCpus(_))
    }

    /// What it means and what can be done, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::UnknownWalls(_) => {
                "no simulation can replay it: `orrery trace fill` draws tool times and marks them drawn"
            }
            Self::UnknownCpus(_) => {
                "no simulation can replay it: `orrery trace fill` draws CPU times and marks them drawn"
            }
            Self::InstantTools(_) => "a clock too coarse, or results without calls",
            Self::LongTools(_) => "people who were asked for permission, or a machine asleep",
            Self::Placeholders(_) => "probably what the stream began with, not the final count",
            Self::Shrinks(_) => "compaction, a reset, or two conversations under one id",
            Self::InstantCalls(_) => "a clock too coarse; the idle share is too high",
            Self::Commands(_) => {
                "`orrery engine run` wants to be told what to do with them (`--commands`); a simulation \
                 takes the times beside them"
            }
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::UnknownWalls(_) => "tool calls of unknown time",
            Self::UnknownCpus(_) => "tool calls of unknown CPU time",
            Self::InstantTools(_) => "tool calls that took no time",
            Self::LongTools(_) => "tool calls longer than an hour",
            Self::Placeholders(_) => "tool-calling outputs of at most 2 tokens",
            Self::Shrinks(_) => "turns whose context is shorter than what came before",
            Self::InstantCalls(_) => "model calls that took no time",
            Self::Commands(_) => "tool calls with a command",
        };
        f.write_str(what)
    }
}

/// The oddities of one session, in the order of [`Oddity`]; none is listed with a count of 0.
pub fn oddities(session: &Session) -> Vec<Oddity> {
    let tools = || session.turns.iter().flat_map(|turn| &turn.tools);
    let walls = |holds: &dyn Fn(Nanos) -> bool| {
        let recorded = tools()
            .filter_map(|tool| tool.wall)
            .filter(|wall| wall.evidence != Evidence::Drawn);
        recorded.filter(|wall| holds(wall.value)).count()
    };
    let placeholder = |turn: &&Turn| {
        !turn.tools.is_empty()
            && turn.output.evidence == Evidence::Recorded
            && turn.output.value <= PLACEHOLDER
    };
    let instant = |turn: &&Turn| turn.llm == Some(Nanos::ZERO);
    let shrinks = |pair: &&[Turn]| pair[1].prompt < pair[0].prompt + pair[0].output.value;
    let found = [
        Oddity::UnknownWalls(count(tools().filter(|tool| tool.wall.is_none()).count())),
        Oddity::UnknownCpus(count(tools().filter(|tool| tool.cpu.is_none()).count())),
        Oddity::InstantTools(count(walls(&|wall| wall == Nanos::ZERO))),
        Oddity::LongTools(count(walls(&|wall| wall > LONG_TOOL))),
        Oddity::Placeholders(count(session.turns.iter().filter(placeholder).count())),
        Oddity::Shrinks(count(session.turns.windows(2).filter(shrinks).count())),
        Oddity::InstantCalls(count(session.turns.iter().filter(instant).count())),
        Oddity::Commands(session.commands()),
    ];
    found.into_iter().filter(|odd| odd.count() > 0).collect()
}

const fn count(n: usize) -> u64 {
    n as u64
}
