//! `OpenHands` recordings: V0 evaluations (`output.jsonl`) and V1 conversations (`base_state.json` with
//! `events/event-*.json`, or `events.json`).
//!
//! What: an evaluation holds one session a line. A conversation is a folder: the state has the token
//! counts, the events have the times. Everything is keyed by the id of the model's response.
//! Why the rules:
//! - `llm_metrics` and all `accumulated_*` are running totals and are not read. `token_usages` has one
//!   entry a call, but may lack one that `response_latencies` has: that call failed, and it has no
//!   event either. A usage that no event belongs to is counted and left out.
//! - Several actions may share one response: one call with parallel tools.
//! - `prompt_tokens` includes `cache_read_tokens`.
//! - An action's time is when the answer came; the call was sent its latency before. A tool's time is
//!   its observation's less its action's. `run` and `terminal` wait for their shell in polls, so no
//!   such time is below 0.58 to 0.61 s; they are kept as recorded, since that wait is real.
//! - V0's `finish` runs nothing and has no observation: it takes no time, by definition and not by
//!   measurement (estimated 0).
//! - A condenser's call is a turn of its own between those of the agent, with a prompt of its own. It
//!   reuses nothing, and neither does the call after it, whose context is new from the summary on.
//!   A condensation without a call cuts the context: the recorded cache reads are the evidence.
//! - Forked conversations repeat events: one with an id seen before is skipped, and so is an action of
//!   a response before the latest one.
//! - Times have no zone. Where a call also has the provider's own time (`created`, or a cost's
//!   `timestamp`), the difference, rounded to a quarter of an hour, gives the zone; else the beginning
//!   is as if the host's clock were UTC.
//!
//! Limits: V0's tools of one response run one after another, while a turn's tools are side by side
//! here: such a turn is shorter than it was. Waiting for a person's confirmation is in a tool's time.

mod build;
mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};

use serde::Deserialize;

use self::build::Building;
use self::event::{Event, Metrics};
use super::recording::{Out, beside, names, whole, within};
use super::{
    Folder, HEAD_BYTES, Head, ImportReport, Imported, Importer, Recording, Sink, Skip, json,
};
use crate::error::{Place, TraceError};
use crate::lines::Lines;

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "openhands",
    looks: "JSON lines with `instance_id` and `history`, or a conversation's `base_state.json` or \
            `events.json`",
    recognises: |head| Shape::of(head).is_some(),
    beside: &[STATE, EVENTS, EVENT_FILES],
    run,
};

const STATE: &str = "base_state.json";
const EVENTS: &str = "events.json";
const EVENT_FILES: &str = "events/event-*.json";

/// The three kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Evaluation,
    State,
    Events,
}

impl Shape {
    fn of(head: &Head<'_>) -> Option<Self> {
        let first = head.first()?;
        if first.has("instance_id")
            && ["history", "test_result", "instruction", "metadata"]
                .iter()
                .any(|key| first.has(key))
            && !first.has("messages")
        {
            return Some(Self::Evaluation);
        }
        let of_state = [
            "workspace",
            "max_iterations",
            "execution_status",
            "stats.usage_to_metrics",
        ];
        if (first.has("agent") || first.has("stats"))
            && (of_state.iter().any(|key| first.has(key)) || head.name.ends_with(STATE))
        {
            return Some(Self::State);
        }
        let is_event = |item: &str| {
            first.has(&format!("{item}timestamp"))
                && first
                    .text(&format!("{item}kind"))
                    .is_some_and(|kind| kind.ends_with("Event"))
        };
        (is_event("[].") || is_event("events[].")).then_some(Self::Events)
    }
}

/// One line of an evaluation.
#[derive(Deserialize)]
struct Evaluated {
    instance_id: Option<String>,
    history: Option<Vec<Event>>,
    metrics: Option<Metrics>,
}

/// The part of a conversation's state that counts.
#[derive(Deserialize)]
struct State {
    id: Option<String>,
    stats: Option<Stats>,
}

#[derive(Deserialize)]
struct Stats {
    /// By what the model is used for: `agent`, `condenser`, ...
    #[serde(alias = "service_to_metrics")]
    usage_to_metrics: Option<BTreeMap<String, Metrics>>,
}

/// `events.json`: the events, or an object that holds them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Bare(Vec<Event>),
    Named { events: Vec<Event> },
}

fn run(mut recording: Recording<'_>, sink: Sink<'_>) -> Result<ImportReport, TraceError> {
    let mut out = Out::new(&recording, sink);
    let mut head = Vec::new();
    let bytes = (&mut *recording.input)
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head);
    bytes.map_err(|source| TraceError::Read {
        place: Place::Document,
        source,
    })?;
    // What is none of the three fails as an evaluation, with its line.
    let shape = Shape::of(&Head::new(recording.name, &head)).unwrap_or(Shape::Evaluation);
    let input = &mut head.chain(&mut *recording.input);
    if shape == Shape::Evaluation {
        evaluation(input, recording.name, &mut out)?;
    } else {
        let folder = recording.folder.take();
        match conversation(input, recording.name, folder, shape) {
            Ok(Ok(session)) => out.put(Place::Document, Ok(session))?,
            Ok(Err(nothing)) => out.report().skip(nothing),
            Err(error) => out.fault(error)?,
        }
    }
    Ok(out.finish())
}

/// One session a line.
fn evaluation(input: &mut dyn BufRead, name: &str, out: &mut Out<'_>) -> Result<(), TraceError> {
    let mut lines = Lines::new(input);
    while let Some((place, line)) = lines.next_line()? {
        match evaluated(place, line, name) {
            Ok(Some(session)) => out.put(place, Ok(session))?,
            Ok(None) => out.report().skip(Skip::NoCalls),
            Err(error) => out.fault(error)?,
        }
    }
    Ok(())
}

fn evaluated(
    place: Place,
    line: &[u8],
    name: &str,
) -> Result<Option<(Imported, ImportReport)>, TraceError> {
    let session: Evaluated = json::parse(place, line)?;
    let history = session.history.unwrap_or_default();
    let named: BTreeSet<String> = history.iter().filter_map(Event::response).collect();
    let mut calls = Building::default();
    if let Some(metrics) = session.metrics {
        calls.metrics(place, "metrics", metrics, &named)?;
    }
    for (i, event) in history.iter().enumerate() {
        calls.event(place, &|| format!("history[{i}]."), event)?;
    }
    let id = session.instance_id.unwrap_or_else(|| name.to_owned());
    Ok(calls.finish(&id))
}

fn missing(file: &str) -> TraceError {
    TraceError::Missing {
        place: Place::Document,
        field: file.to_owned(),
        wanted: "the other half of the conversation, in the same folder".to_owned(),
    }
}

/// A folder with a state and events, of which `input` is the one or the other: its session, or why
/// there is none.
fn conversation(
    input: &mut dyn BufRead,
    name: &str,
    mut folder: Option<&mut dyn Folder>,
    shape: Shape,
) -> Result<Result<(Imported, ImportReport), Skip>, TraceError> {
    let place = Place::Document;
    let input = whole(input)?;
    let state = match shape {
        Shape::State => input.clone(),
        _ => beside(&mut folder, STATE)?.ok_or_else(|| missing(STATE))?,
    };
    let in_state = |error| {
        if shape == Shape::State {
            error
        } else {
            within(STATE, error)
        }
    };
    let state: State = json::parse(place, &state).map_err(in_state)?;
    let mut calls = Building::default();
    let metrics = state.stats.and_then(|stats| stats.usage_to_metrics);
    for (usage, metrics) in metrics.unwrap_or_default() {
        let path = format!("stats.usage_to_metrics.{usage}");
        calls
            .metrics(place, &path, metrics, &BTreeSet::new())
            .map_err(in_state)?;
    }
    if shape == Shape::Events {
        calls.listed(&input)?;
    } else {
        calls.beside(&mut folder)?;
    }
    let session = calls.finish(state.id.as_deref().unwrap_or(name));
    Ok(session.ok_or(Skip::NoCalls))
}

impl Building {
    /// Takes the events in the folder: a file each, or all in one.
    fn beside(&mut self, folder: &mut Option<&mut dyn Folder>) -> Result<(), TraceError> {
        let mut files = names(folder, EVENT_FILES)?;
        if files.is_empty() {
            let listed = beside(folder, EVENTS)?.ok_or_else(|| missing(EVENT_FILES))?;
            return self.listed(&listed).map_err(|e| within(EVENTS, e));
        }
        // The number grows a digit after 99,999.
        files.sort_by_key(|file| (event_number(file), file.clone()));
        for file in files {
            let bytes = beside(folder, &file)?.ok_or_else(|| missing(&file))?;
            let event: Event =
                json::parse(Place::Document, &bytes).map_err(|e| within(&file, e))?;
            self.event(Place::Document, &String::new, &event)
                .map_err(|e| within(&file, e))?;
        }
        Ok(())
    }

    fn listed(&mut self, bytes: &[u8]) -> Result<(), TraceError> {
        let (Listed::Bare(events) | Listed::Named { events }) =
            json::parse(Place::Document, bytes)?;
        for (i, event) in events.iter().enumerate() {
            self.event(Place::Document, &|| format!("[{i}]."), event)?;
        }
        Ok(())
    }
}

/// The number in `events/event-00012-<id>.json`; those without one come last.
fn event_number(file: &str) -> u64 {
    let digits = file.split('-').nth(1).map(str::parse);
    digits.and_then(Result::ok).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_shapes_are_told_apart() {
        let shape = |name: &str, text: &str| Shape::of(&Head::new(name, text.as_bytes()));
        let line = r#"{"instance_id":"a","test_result":{"git_patch":""},"history":[{"id":0"#;
        assert_eq!(shape("x", line), Some(Shape::Evaluation));
        let state = r#"{"id":"a","agent":{"kind":"Agent"},"workspace":{},"stats":{"#;
        assert_eq!(shape("x", state), Some(Shape::State));
        assert_eq!(shape("x", r#"{"id":"a","agent":{"tools":["#), None);
        assert_eq!(
            shape("a/base_state.json", r#"{"id":"a","agent":{"#),
            Some(Shape::State)
        );
        let event = r#"{"id":"a","timestamp":"t","kind":"SystemPromptEvent"}"#;
        assert_eq!(shape("x", &format!("[{event},")), Some(Shape::Events));
        assert_eq!(
            shape("x", &format!("{{\"events\":[{event}")),
            Some(Shape::Events)
        );
        // One event is a part of a conversation.
        assert_eq!(shape("events/event-00000-a.json", event), None);
    }
}
