//! Sessions of the pi coding agent (`~/.pi/agent/sessions/**/*.jsonl`).
//!
//! What: one file is one session, one `message` line of role `assistant` is one model call.
//! Why the rules:
//! - A line's own `timestamp` is the end of what it tells, `message.timestamp` (milliseconds since
//!   1970) its start: a call's time is the difference.
//! - `input`, `cacheRead` and `cacheWrite` are disjoint; their sum is the prompt.
//! - A call that was aborted before its first token states zero everywhere. It is left out; one that
//!   was aborted later has counts and stays.
//! - A tool's time runs from the end of the call to its result. Tools of one call run one after
//!   another there, so the time of a later one contains the earlier ones, and the longest is that of
//!   all. Tools of an aborted call have no result and no time.
//! - A compaction replaces the conversation; its own model call is not in the file. Newer files are a
//!   tree: a line whose parent is not the line before begins another branch. After either, and after
//!   a change of the model, the recorded cache reads say what was kept.
//!
//! Limits: a tool's time includes a prompt for permission. Costs and the texts are not read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use units::{Nanos, Tokens};

use super::dialogue::{Call, Context, Used, output, turns};
use super::recording::one_of_lines;
use super::{Head, ImportReport, Imported, Importer, Skip, clock, json};
use crate::error::{Place, TraceError, shown};
use crate::model::{Session, SharedPrefix};

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "pi",
    looks: "JSON lines that open with `type` session, then `type` message with a `message.role`",
    recognises,
    beside: &[],
    run: |mut recording, sink| {
        let finish = |file: File, name: &str| Ok(file.finish(name));
        one_of_lines(&mut recording, sink, File::default(), File::read, finish)
    },
};

fn recognises(head: &Head<'_>) -> bool {
    head.first().is_some_and(|line| {
        line.text("type") == Some("session")
            && line.has_all(&["id", "timestamp"])
            && !line.has("sessionId")
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<String>,
    parent_id: Option<String>,
    timestamp: Option<String>,
    message: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    role: Option<String>,
    timestamp: Option<Value>,
    model: Option<String>,
    usage: Option<Usage>,
    content: Option<Value>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    input: Option<Value>,
    output: Option<Value>,
    cache_read: Option<Value>,
    cache_write: Option<Value>,
}

/// A session file while it is read.
#[derive(Default)]
struct File {
    id: Option<String>,
    model: Option<String>,
    calls: Vec<Call>,
    /// (call, tool) by the id of the tool call.
    by_use: BTreeMap<String, (usize, usize)>,
    prompted: bool,
    reset: bool,
    /// Id of the line before, in files that are trees.
    last_line: Option<String>,
    last_model: Option<String>,
    report: ImportReport,
}

impl File {
    fn read(&mut self, place: Place, bytes: &[u8]) -> Result<(), TraceError> {
        let line: Line = json::parse(place, bytes)?;
        let kind = line.kind.as_deref().unwrap_or("");
        if kind == "session" {
            self.id = self.id.take().or(line.id);
            return Ok(());
        }
        if let (Some(parent), Some(last)) = (&line.parent_id, &self.last_line) {
            self.reset |= parent != last;
        }
        self.last_line = line.id.or(self.last_line.take());
        let ("message", Some(message)) = (kind, line.message) else {
            self.reset |= kind == "compaction";
            self.report.skip(Skip::LineType(shown(&kind)));
            return Ok(());
        };
        let message: Message =
            serde_json::from_value(message).map_err(|error| TraceError::Value {
                place,
                field: "message".to_owned(),
                value: "of another shape".to_owned(),
                wanted: error.to_string(),
            })?;
        let ended = clock::utc_field(place, "timestamp", line.timestamp.as_deref())?;
        match message.role.as_deref() {
            Some("assistant") => self.assistant(place, ended, message),
            Some("toolResult") => {
                self.tool_result(ended, &message);
                Ok(())
            }
            Some("user") => {
                self.prompted = true;
                Ok(())
            }
            other => {
                let role = other.unwrap_or("none");
                self.report
                    .skip(Skip::LineType(shown(&format!("message of role {role}"))));
                Ok(())
            }
        }
    }

    fn assistant(
        &mut self,
        place: Place,
        ended: Nanos,
        message: Message,
    ) -> Result<(), TraceError> {
        let Some(usage) = &message.usage else {
            self.report.skip(Skip::NoUsage);
            return Ok(());
        };
        let count = |value: &Option<Value>, name: &str| {
            let value = value.as_ref().filter(|value| !value.is_null());
            let field = || format!("message.usage.{name}");
            value
                .map(|value| json::tokens(place, field, value))
                .transpose()
        };
        let input = count(&usage.input, "input")?.unwrap_or(Tokens::ZERO);
        let cached = count(&usage.cache_read, "cacheRead")?;
        let written = count(&usage.cache_write, "cacheWrite")?.unwrap_or(Tokens::ZERO);
        let made = count(&usage.output, "output")?.unwrap_or(Tokens::ZERO);
        let prompt = input + cached.unwrap_or(Tokens::ZERO) + written;
        if prompt == Tokens::ZERO {
            self.report.skip(Skip::NoUsage);
            return Ok(());
        }
        let switched = self.last_model.is_some() && self.last_model != message.model;
        self.last_model.clone_from(&message.model);
        let mut call = Call {
            submitted: started(place, message.timestamp.as_ref())?,
            ended,
            llm: None,
            prompted: std::mem::take(&mut self.prompted),
            context: if std::mem::take(&mut self.reset) || switched {
                Context::Cut
            } else {
                Context::Continued
            },
            prompt,
            cached,
            output: output(made),
            thinks: false,
            tools: Vec::new(),
        };
        let blocks = message.content.as_ref().and_then(Value::as_array);
        for block in blocks.into_iter().flatten() {
            match block["type"].as_str() {
                Some("thinking") => call.thinks = true,
                Some("toolCall") => {
                    if let Some(id) = block["id"].as_str() {
                        let place = (self.calls.len(), call.tools.len());
                        self.by_use.insert(id.to_owned(), place);
                    }
                    let name = block["name"].as_str().map(str::to_owned);
                    call.tools.push(Used::new(name));
                }
                _ => {}
            }
        }
        if self.model.is_none() {
            self.model = message.model;
        }
        self.calls.push(call);
        Ok(())
    }

    fn tool_result(&mut self, ended: Nanos, message: &Message) {
        let id = message.tool_call_id.as_ref();
        match id.and_then(|id| self.by_use.get(id)) {
            Some(&(call, tool)) => {
                let call = &mut self.calls[call];
                call.tools[tool].end(call.ended, ended);
            }
            None => self.report.skip(Skip::UnmatchedResult),
        }
    }

    fn finish(self, name: &str) -> Option<(Imported, ImportReport)> {
        let first = self.calls.first()?;
        let began = first.submitted.unwrap_or(first.ended);
        let model = self.model.as_deref();
        let shared = first.cached.filter(|cached| *cached > Tokens::ZERO);
        let session = Session {
            id: self.id.as_deref().unwrap_or(name).into(),
            model: model.map(Into::into),
            arrival: None,
            shared: shared
                .into_iter()
                .map(|tokens| SharedPrefix {
                    group: format!("pi/{}", model.unwrap_or("unknown")).into(),
                    tokens,
                })
                .collect(),
            parent: None,
            turns: turns(&self.calls),
        };
        let imported = Imported {
            session,
            began: Some(began),
        };
        Some((imported, self.report))
    }
}

/// The start of a message: whole milliseconds since 1970.
fn started(place: Place, value: Option<&Value>) -> Result<Option<Nanos>, TraceError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let ms = value.as_u64().filter(|ms| *ms < clock::MILLIS_LIMIT);
    ms.map(|ms| Some(Nanos::from_millis(ms)))
        .ok_or_else(|| TraceError::Value {
            place,
            field: "message.timestamp".to_owned(),
            value: shown(value),
            wanted: "milliseconds since 1970".to_owned(),
        })
}
