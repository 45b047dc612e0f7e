//! A rollout while its lines arrive.

use std::collections::BTreeMap;

use serde_json::Value;
use units::{Nanos, Tokens};

use super::super::dialogue::{Call, Context, Used, output, turns};
use super::super::{ImportReport, Imported, Skip, clock, json};
use super::line::{Info, Line, Payload, Usage};
use crate::error::{Place, TraceError, shown};
use crate::model::{Session, SharedPrefix};

#[derive(Default)]
pub(super) struct File {
    id: Option<String>,
    version: Option<String>,
    model: Option<String>,
    /// What started the session, if not a person.
    sub_agent: bool,
    /// The session that did.
    pub(super) parent: Option<String>,
    started: Option<Nanos>,
    calls: Vec<Call>,
    /// The call whose items arrive.
    open: Open,
    /// (call, tool, start) by call id; the open call counts as the next of `calls`.
    by_use: BTreeMap<String, (usize, usize, Nanos)>,
    /// The latest message or tool result.
    submitted: Option<Nanos>,
    prompted: bool,
    cut: bool,
    /// The running totals of input and output so far.
    totals: Option<(u64, u64)>,
    report: ImportReport,
}

/// A call without its token counts.
#[derive(Default)]
struct Open {
    ended: Option<Nanos>,
    submitted: Option<Nanos>,
    prompted: bool,
    thinks: bool,
    tools: Vec<Used>,
    /// Call ids of the tools.
    ids: Vec<String>,
    /// Whether something came after it that answers it: its counts are then missing.
    answered: bool,
}

impl File {
    pub(super) fn read(&mut self, place: Place, bytes: &[u8]) -> Result<(), TraceError> {
        let line: Line = json::parse(place, bytes)?;
        let described = line.described();
        let time = || clock::utc_field(place, "timestamp", line.timestamp.as_deref());
        let payload = line.payload.kind.as_deref().unwrap_or("");
        match (line.kind(), payload) {
            ("session_meta", _) => self.meta(place, line.payload)?,
            ("turn_context", _) => {
                if self.model.is_none() {
                    self.model = line.payload.model;
                }
            }
            ("compacted", _) | ("event_msg", "context_compacted") => self.cut = true,
            ("event_msg", "user_message") => {
                let now = time()?;
                self.input(now);
                self.prompted = true;
            }
            ("event_msg", "token_count") => {
                let now = time()?;
                if let Some(info) = &line.payload.info {
                    self.token_count(place, now, info)?;
                }
            }
            ("response_item", "message") if line.payload.role.as_deref() != Some("assistant") => {
                let now = time()?;
                self.input(now);
            }
            ("response_item", "function_call_output" | "custom_tool_call_output") => {
                let now = time()?;
                self.tool_result(now, line.payload.call_id.as_deref());
            }
            ("response_item", "message" | "reasoning") => {
                let now = time()?;
                self.item(now).thinks |= payload == "reasoning";
            }
            ("response_item", "function_call" | "custom_tool_call" | "local_shell_call") => {
                let now = time()?;
                self.tool_call(now, line.payload);
            }
            ("response_item", kind) if kind.ends_with("_call") => {
                let now = time()?;
                self.item(now);
            }
            _ => self.report.skip(Skip::LineType(shown(&described))),
        }
        Ok(())
    }

    fn meta(&mut self, place: Place, meta: Payload) -> Result<(), TraceError> {
        // A forked session repeats that of the session it was forked from.
        if self.id.is_some() {
            self.report.skip(Skip::Repeated);
            return Ok(());
        }
        self.id = meta.id;
        self.version = meta.cli_version;
        if let Some(text) = &meta.timestamp {
            self.started = Some(clock::utc_field(place, "payload.timestamp", Some(text))?);
        }
        let sub_agent = meta
            .source
            .as_ref()
            .and_then(|source| source.get("subagent"));
        self.sub_agent = sub_agent.is_some();
        let spawn = sub_agent.and_then(|sub_agent| sub_agent.get("thread_spawn"));
        let parent = spawn
            .and_then(|spawn| spawn.get("parent_thread_id"))
            .and_then(Value::as_str);
        self.parent = parent.map(str::to_owned).or(meta.parent_thread_id);
        self.parent = self.parent.take().filter(|parent| !parent.is_empty());
        Ok(())
    }

    /// The start of a sub-agent that does not name its parent.
    pub(super) fn orphan(&self) -> Option<Nanos> {
        (self.sub_agent && self.parent.is_none() && !self.calls.is_empty())
            .then_some(self.started)
            .flatten()
    }

    /// Something for the model to read.
    fn input(&mut self, now: Nanos) {
        self.submitted = Some(self.submitted.map_or(now, |before| before.max(now)));
        self.open.answered |= self.open.ended.is_some();
    }

    /// Something that the model made: part of the open call.
    fn item(&mut self, now: Nanos) -> &mut Open {
        if self.open.answered {
            self.lose();
        }
        if self.open.ended.is_none() {
            self.open.submitted = self.submitted.take();
            self.open.prompted = std::mem::take(&mut self.prompted);
        }
        self.open.ended = Some(self.open.ended.map_or(now, |before| before.max(now)));
        &mut self.open
    }

    /// Forgets the open call: nobody counted its tokens.
    fn lose(&mut self) {
        self.report.skip(Skip::NoUsage);
        for id in std::mem::take(&mut self.open).ids {
            self.by_use.remove(&id);
        }
    }

    fn tool_call(&mut self, now: Nanos, payload: Payload) {
        let call = self.calls.len();
        let name = match payload.kind.as_deref() {
            Some("local_shell_call") => Some("local_shell".to_owned()),
            _ => payload.name,
        };
        let open = self.item(now);
        open.tools.push(Used::new(name));
        let tool = open.tools.len() - 1;
        if let Some(id) = payload.call_id {
            open.ids.push(id.clone());
            self.by_use.insert(id, (call, tool, now));
        }
    }

    fn tool_result(&mut self, now: Nanos, id: Option<&str>) {
        self.input(now);
        let Some(&(call, tool, started)) = id.and_then(|id| self.by_use.get(id)) else {
            self.report.skip(Skip::UnmatchedResult);
            return;
        };
        let tools = match self.calls.get_mut(call) {
            Some(call) => &mut call.tools,
            None => &mut self.open.tools,
        };
        tools[tool].end(started, now);
    }

    fn token_count(&mut self, place: Place, now: Nanos, info: &Info) -> Result<(), TraceError> {
        let count = |usage: &Usage, which: &str| Counts::of(place, usage, which);
        let total = info.total_token_usage.as_ref();
        let totals = total.map(|total| totals(place, total)).transpose()?;
        if totals.is_some() && totals == self.totals {
            self.report.skip(Skip::Repeated);
            return Ok(());
        }
        let counts = match (&info.last_token_usage, total) {
            (Some(last), _) => count(last, "last_token_usage")?,
            // The first call's total is its own.
            (None, Some(total)) if self.totals.is_none() => count(total, "total_token_usage")?,
            _ => {
                self.totals = totals.or(self.totals);
                self.lose();
                return Ok(());
            }
        };
        self.totals = totals.or(self.totals);
        if counts.prompt == Tokens::ZERO {
            self.lose();
            return Ok(());
        }
        if self.open.ended.is_none() {
            // A call without items, such as one that compacts.
            self.item(now);
        }
        let open = std::mem::take(&mut self.open);
        // Results that came before the counts belong to the next call's submission, not to this one.
        self.calls.push(Call {
            submitted: open.submitted,
            ended: open.ended.unwrap_or(now),
            llm: None,
            prompted: open.prompted,
            context: if std::mem::take(&mut self.cut) {
                Context::Cut
            } else {
                Context::Continued
            },
            prompt: counts.prompt,
            cached: counts.cached,
            output: output(counts.output),
            thinks: open.thinks || counts.reasons,
            tools: open.tools,
        });
        Ok(())
    }

    /// The session, or nothing if there are no counts of any call.
    pub(super) fn finish(mut self, name: &str) -> Option<(Imported, ImportReport)> {
        if self.open.ended.is_some() {
            self.report.skip(Skip::NoUsage);
        }
        let first = self.calls.first()?;
        let began = first.submitted.unwrap_or(first.ended);
        let model = self.model.as_deref();
        let shared = first.cached.filter(|cached| *cached > Tokens::ZERO);
        let group = format!(
            "codex/{}/{}/{}",
            self.version.as_deref().unwrap_or("unknown"),
            model.unwrap_or("unknown"),
            if self.sub_agent { "side" } else { "main" }
        );
        let id = self.id.as_deref().unwrap_or(name);
        let session = Session {
            id: id.into(),
            model: model.map(Into::into),
            arrival: None,
            shared: shared
                .map(|tokens| SharedPrefix {
                    group: group.into(),
                    tokens,
                })
                .into_iter()
                .collect(),
            parent: self
                .parent
                .as_deref()
                .filter(|parent| *parent != id)
                .map(Into::into),
            turns: turns(&self.calls),
        };
        let imported = Imported {
            session,
            began: Some(began),
        };
        Some((imported, self.report))
    }
}

/// Running totals, which outgrow the limit of one prompt.
fn totals(place: Place, usage: &Usage) -> Result<(u64, u64), TraceError> {
    let count = |value: &Option<Value>, name: &str| {
        let value = value.as_ref().filter(|value| !value.is_null());
        value.map_or(Ok(0), |value| {
            value.as_u64().ok_or_else(|| TraceError::Value {
                place,
                field: format!("payload.info.total_token_usage.{name}"),
                value: shown(value),
                wanted: "a whole number of tokens".to_owned(),
            })
        })
    };
    Ok((
        count(&usage.input_tokens, "input_tokens")?,
        count(&usage.output_tokens, "output_tokens")?,
    ))
}

/// The token counts of one call.
struct Counts {
    prompt: Tokens,
    cached: Option<Tokens>,
    output: Tokens,
    reasons: bool,
}

impl Counts {
    fn of(place: Place, usage: &Usage, which: &str) -> Result<Self, TraceError> {
        let count = |value: &Option<Value>, name: &str| {
            let value = value.as_ref().filter(|value| !value.is_null());
            let field = || format!("payload.info.{which}.{name}");
            value
                .map(|value| json::tokens(place, field, value))
                .transpose()
        };
        let need = |value: &Option<Value>, name: &str| {
            count(value, name)?.ok_or_else(|| TraceError::Missing {
                place,
                field: format!("payload.info.{which}.{name}"),
                wanted: "a number of tokens".to_owned(),
            })
        };
        let reasoning = count(&usage.reasoning_output_tokens, "reasoning_output_tokens")?;
        Ok(Self {
            prompt: need(&usage.input_tokens, "input_tokens")?,
            cached: count(&usage.cached_input_tokens, "cached_input_tokens")?,
            output: need(&usage.output_tokens, "output_tokens")?,
            reasons: reasoning.is_some_and(|tokens| tokens > Tokens::ZERO),
        })
    }
}
