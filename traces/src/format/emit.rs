//! From a [`Session`] to a line's JSON: no field that has its default.
//!
//! Structs and not JSON maps: the order of the keys then is this file's, whatever features another
//! crate switches on in the JSON library.

use serde::Serialize;
use units::{Nanos, Tokens};

use super::Header;
use crate::model::{Evidence, Known, Session, SharedPrefix, ToolCall, Turn};
use crate::seconds::to_seconds;

#[derive(Serialize)]
pub(super) struct HeaderLine<'a> {
    orrery_trace: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct SessionLine<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival_s: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shared: Vec<SharedItem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    turns: Vec<TurnItem<'a>>,
}

#[derive(Serialize)]
struct SharedItem<'a> {
    group: &'a str,
    tokens: u64,
}

#[derive(Serialize)]
struct TurnItem<'a> {
    prompt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reused: Option<u64>,
    output: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_s: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolItem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think_s: Option<f64>,
}

#[derive(Serialize)]
struct ToolItem<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallelism: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a [Box<str>]>,
}

impl<'a> HeaderLine<'a> {
    pub(super) fn of(header: &'a Header) -> Self {
        Self {
            orrery_trace: header.version(),
            source: header.source.as_deref(),
            license: header.license.as_deref(),
            note: header.note.as_deref(),
        }
    }
}

impl<'a> SessionLine<'a> {
    pub(super) fn of(session: &'a Session) -> Self {
        Self {
            id: &session.id,
            model: session.model.as_deref(),
            arrival_s: session.arrival.map(to_seconds),
            shared: session.shared.iter().map(SharedItem::of).collect(),
            parent: session.parent.as_deref(),
            turns: session.turns.iter().map(TurnItem::of).collect(),
        }
    }
}

impl<'a> SharedItem<'a> {
    fn of(shared: &'a SharedPrefix) -> Self {
        Self {
            group: &shared.group,
            tokens: shared.tokens.0,
        }
    }
}

impl<'a> TurnItem<'a> {
    fn of(turn: &'a Turn) -> Self {
        Self {
            prompt: turn.prompt.0,
            reused: (turn.reused > Tokens::ZERO).then_some(turn.reused.0),
            output: turn.output.value.0,
            output_from: from(turn.output.evidence),
            cached: turn.cached.map(Tokens::get),
            llm_s: turn.llm.map(to_seconds),
            tools: turn.tools.iter().map(ToolItem::of).collect(),
            think_s: turn.think.map(to_seconds),
        }
    }
}

impl<'a> ToolItem<'a> {
    fn of(tool: &'a ToolCall) -> Self {
        let value = |time: Option<Known<Nanos>>| time.map(|known| to_seconds(known.value));
        let source = |time: Option<Known<Nanos>>| time.and_then(|known| from(known.evidence));
        Self {
            name: &tool.name,
            wall_s: value(tool.wall),
            wall_from: source(tool.wall),
            cpu_s: value(tool.cpu),
            cpu_from: source(tool.cpu),
            parallelism: (tool.parallelism > 1).then_some(tool.parallelism),
            command: tool.command.as_ref().map(|command| &*command.argv),
        }
    }
}

/// The word for where a number comes from; none for the default.
const fn from(evidence: Evidence) -> Option<&'static str> {
    match evidence {
        Evidence::Recorded => None,
        Evidence::Estimated => Some("estimated"),
        Evidence::Drawn => Some("drawn"),
    }
}
