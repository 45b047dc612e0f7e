//! Codex CLI rollouts (`~/.codex/sessions/**/rollout-*.jsonl`).
//!
//! What: one file is one session. `response_item` lines are what went to and from the model,
//! `token_count` events say what a call cost, after its items.
//! Why the rules:
//! - `total_token_usage` is a running total, `last_token_usage` is one call. A `token_count` may come
//!   again without a call in between: it is a call only if the total changed. Its `info` may be null.
//! - `cached_input_tokens` is part of `input_tokens`, `reasoning_output_tokens` of `output_tokens`.
//! - A call is sent with the latest user message or tool result before its items, and ends with its
//!   last item. User text is there twice, as an item and as an event; the event says that a person
//!   wrote, since the client sends user items of its own.
//! - A tool's time runs from its own `function_call` item to its output. `write_stdin` waits for a
//!   command that `exec_command` left running: it is a tool call with a name of its own, and no
//!   command. What the provider runs itself (web search) is part of the model's time.
//! - A `compacted` line cuts the context; reasoning of earlier tasks is left out of later prompts, which
//!   shows as a shrinking prompt. In both cases the recorded cache reads say what was kept.
//! - A sub-agent has a file of its own and `source.subagent`. Its parent is `parent_thread_id`, or the
//!   session in the same folder that entered review mode within 0.1 s of its start.
//!
//! Limits: the time in which a person approves a command is in the tool's time. Calls without a
//! `token_count` (interrupted ones, and all of early versions) have no counts and are left out.

mod file;
mod line;

use std::io::BufRead;

use units::Nanos;

use self::file::File;
use self::line::Line;
use super::recording::{names, one_of_lines, within};
use super::{Folder, Head, Importer, json};
use crate::error::TraceError;
use crate::lines::Lines;

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "codex",
    looks: "JSON lines with `timestamp`, `type` (session_meta, response_item, ...) and `payload`",
    recognises,
    // The others are recordings of their own, and no parts of this one.
    beside: &[],
    run: |mut recording, sink| {
        let mut folder = recording.folder.take();
        let finish = |mut file: File, name: &str| {
            if let Some(start) = file.orphan() {
                file.parent = parent(&mut folder, start)?;
            }
            Ok(file.finish(name))
        };
        one_of_lines(&mut recording, sink, File::default(), File::read, finish)
    },
};

/// The other sessions of the day, of which one may be the parent.
const OTHERS: &str = "rollout-*.jsonl";

/// A parent enters review mode so shortly before its sub-agent starts, or after.
const AT_ONCE: Nanos = Nanos::from_millis(100);

fn recognises(head: &Head<'_>) -> bool {
    const KINDS: &[&str] = &[
        "session_meta",
        "turn_context",
        "response_item",
        "event_msg",
        "compacted",
    ];
    head.any(|line| {
        line.has_all(&["timestamp", "payload"])
            && line.text("type").is_some_and(|kind| KINDS.contains(&kind))
    })
}

/// The session beside this one that started a sub-agent at `start`. What cannot be read there is no
/// parent: it is a recording of its own, and complains for itself.
fn parent(
    folder: &mut Option<&mut dyn Folder>,
    start: Nanos,
) -> Result<Option<String>, TraceError> {
    for name in names(folder, OTHERS)? {
        let Some(folder) = folder else { break };
        let opened = folder.open(&name).map_err(|source| {
            let place = crate::error::Place::Document;
            within(&name, TraceError::Read { place, source })
        })?;
        if let Some(parent) = spawned(opened, start) {
            return Ok(Some(parent));
        }
    }
    Ok(None)
}

/// The id of this session, if it entered review mode at `start`.
fn spawned(input: impl BufRead, start: Nanos) -> Option<String> {
    let mut lines = Lines::new(input);
    let mut id = None;
    while let Ok(Some((place, line))) = lines.next_line() {
        let line: Line = json::parse(place, line).ok()?;
        if line.is("session_meta", None) && id.is_none() {
            id = line.payload.id;
        } else if line.is("event_msg", Some("entered_review_mode")) {
            let at = super::clock::utc(line.timestamp.as_deref()?)?;
            if at.as_nanos().abs_diff(start.as_nanos()) <= AT_ONCE.as_nanos() {
                return id;
            }
        }
    }
    None
}
