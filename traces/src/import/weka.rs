//! WEKA's recordings of Claude Code (`trace_NNNN.json`): token counts, block hashes and times.
//!
//! What: one JSON document is one session with its model calls; each sub-agent in it becomes a session
//! of its own. Prompts are described by the ids of their full 64-token blocks.
//! The traps, and the rules that answer them:
//! - Ids are numbered within a file and cover full blocks of *prompts* alone. So `reused` is what two
//!   prompts have in common, in whole blocks: a lower bound, since nothing tells whether the answer in
//!   between was fed back.
//! - Nothing in a file tells what it shares with another. Tools and system prompt come first, and
//!   their lengths are given: sessions of one model whose tools are equally long are taken to open
//!   with the same tools, and, if the system prompts are equally long too, with the same of these.
//! - `think_time` is what passed between an answer and the next call. Before a call that brings tool
//!   results this is one tool call of that time, marked estimated: it holds the tools, but the
//!   permission prompt and the client too, in whole seconds. It is an upper bound. Before any other
//!   call it is a human's pause.
//! - Where it is missing, a tool's time stays unknown; a pause lasts from one call's beginning to the
//!   next one's, less the call if its time is known (counted in the report).
//! - Half of the streamed calls have no `api_time`: their time stays unknown.
//! - Sub-agents have a clock of their own, and share the parent's numbering of blocks.
//! - Some files hold several conversations in turns. A call that goes on from an earlier call than
//!   the one before is counted; the model links a turn to the one before only.
//! - An answer of 0 tokens is one of 1, marked estimated: a model stops by a token.
//!
//! Limits: when a session began, and when in its parent a sub-agent did, is not kept. Tools have no
//! names (`Task` if a sub-agent ran, else `tool`). Some files repeat the opening of another, see
//! [`super::Openings`].

use std::sync::Arc;

use rustc_hash::FxHashSet;
use serde::Deserialize;
use units::{Nanos, Tokens};

use super::recording::{Out, whole};
use super::{Head, ImportReport, Imported, Importer, Recording, Sink, Skip, json};
use crate::error::{Place, TraceError};
use crate::model::{Known, Session, SharedPrefix, ToolCall, Turn};
use crate::validate::TOKEN_LIMIT;

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "weka",
    looks: "a JSON document with `block_size` and `requests` that have `hash_ids`",
    recognises,
    beside: &[],
    run: |mut recording, sink| import(&mut recording, sink),
};

fn recognises(head: &Head<'_>) -> bool {
    head.first()
        .is_some_and(|document| document.has_all(&["block_size", "requests[].hash_ids"]))
}

#[derive(Deserialize)]
struct Recorded {
    id: Option<String>,
    block_size: u64,
    tool_tokens: Option<u64>,
    system_tokens: Option<u64>,
    requests: Vec<Entry>,
}

/// A model call, or a sub-agent with calls of its own (`type`: `subagent`).
#[derive(Deserialize)]
struct Entry {
    t: Option<f64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    model: Option<String>,
    #[serde(rename = "in")]
    prompt: Option<u64>,
    out: Option<u64>,
    hash_ids: Option<Vec<u64>>,
    input_types: Option<Vec<String>>,
    api_time: Option<f64>,
    think_time: Option<f64>,
    agent_id: Option<String>,
    tool_tokens: Option<u64>,
    system_tokens: Option<u64>,
    requests: Option<Vec<Entry>>,
}

impl Entry {
    fn is_agent(&self) -> bool {
        self.kind.as_deref() == Some("subagent")
    }

    fn brings_tool_results(&self) -> bool {
        let types = self.input_types.as_deref().unwrap_or_default();
        types.iter().any(|kind| kind == "tool_result")
    }
}

fn import(recording: &mut Recording<'_>, sink: Sink<'_>) -> Result<ImportReport, TraceError> {
    let mut out = Out::new(recording, sink);
    let bytes = whole(recording.input)?;
    let recorded: Recorded = match json::parse(Place::Document, &bytes) {
        Ok(recorded) => recorded,
        Err(error) => {
            out.fault(error)?;
            return Ok(out.finish());
        }
    };
    drop(bytes);
    let id: Arc<str> = recorded.id.as_deref().unwrap_or(recording.name).into();
    let main = Conversation {
        path: "requests".to_owned(),
        id: Arc::clone(&id),
        parent: None,
        block: recorded.block_size,
        tools: recorded.tool_tokens,
        system: recorded.system_tokens,
        requests: &recorded.requests,
    };
    main.put(&mut out)?;
    let agents = recorded.requests.iter().enumerate();
    for (at, agent) in agents.filter(|(_, entry)| entry.is_agent()) {
        let name = agent.agent_id.clone().unwrap_or_else(|| at.to_string());
        let side = Conversation {
            path: format!("requests[{at}].requests"),
            id: format!("{id}/{name}").into(),
            parent: Some(Arc::clone(&id)),
            block: recorded.block_size,
            tools: agent.tool_tokens,
            system: agent.system_tokens,
            requests: agent.requests.as_deref().unwrap_or_default(),
        };
        side.put(&mut out)?;
    }
    Ok(out.finish())
}

/// The calls of one agent.
struct Conversation<'a> {
    path: String,
    id: Arc<str>,
    parent: Option<Arc<str>>,
    block: u64,
    tools: Option<u64>,
    system: Option<u64>,
    requests: &'a [Entry],
}

impl Conversation<'_> {
    fn put(&self, out: &mut Out<'_>) -> Result<(), TraceError> {
        if self.requests.iter().all(Entry::is_agent) {
            out.report().skip(Skip::NoCalls);
            return Ok(());
        }
        out.put(Place::Document, self.session())
    }

    fn session(&self) -> Result<(Imported, ImportReport), TraceError> {
        let mut report = ImportReport::default();
        let mut turns: Vec<Turn> = Vec::new();
        let mut seen: FxHashSet<u64> = FxHashSet::default();
        let mut previous: Option<(usize, &Entry)> = None;
        for (at, entry) in self.requests.iter().enumerate() {
            if entry.is_agent() {
                continue;
            }
            let mut turn = self.turn(at, entry)?;
            if let (Some((before_at, before)), Some(last)) = (previous, turns.last_mut()) {
                turn.reused = self.common(before, entry).min(turn.reusable_after(last));
                let agents = at - before_at > 1;
                self.gap((before, last), (at, entry), agents, &mut report)?;
            }
            let kept = turn.reused.get().checked_div(self.block).unwrap_or(0);
            let kept = usize::try_from(kept).unwrap_or(usize::MAX);
            let ids = entry.hash_ids.as_deref().unwrap_or_default();
            let fresh = ids.get(kept..).unwrap_or_default();
            report.returns += u64::from(fresh.first().is_some_and(|id| seen.contains(id)));
            seen.extend(fresh);
            turns.push(turn);
            previous = Some((at, entry));
        }
        let model = self.requests.iter().find_map(|e| e.model.as_deref());
        let first_prompt = turns.first().map_or(Tokens::ZERO, |turn| turn.prompt);
        let session = Session {
            id: Arc::clone(&self.id),
            arrival: None,
            shared: self.shared(model, first_prompt),
            parent: self.parent.clone(),
            turns,
            model: model.map(Arc::from),
        };
        let began = None;
        Ok((Imported { session, began }, report))
    }

    /// The call as it stands for itself.
    fn turn(&self, at: usize, entry: &Entry) -> Result<Turn, TraceError> {
        let tokens = |name: &str, value: Option<u64>| {
            json::need_tokens(Place::Document, || self.field(at, name), value)
        };
        let output = match tokens("out", entry.out)? {
            Tokens::ZERO => Known::estimated(Tokens(1)),
            output => Known::recorded(output),
        };
        Ok(Turn {
            prompt: tokens("in", entry.prompt)?,
            reused: Tokens::ZERO,
            output,
            cached: None,
            llm: self.span(at, "api_time", entry.api_time)?,
            tools: Vec::new(),
            think: None,
        })
    }

    /// Leading tokens that two prompts have in common, in whole blocks.
    fn common(&self, before: &Entry, entry: &Entry) -> Tokens {
        let (Some(before), Some(ids)) = (&before.hash_ids, &entry.hash_ids) else {
            return Tokens::ZERO;
        };
        let equal = before.iter().zip(ids).take_while(|(a, b)| a == b).count();
        Tokens((equal as u64).saturating_mul(self.block))
    }

    /// What passed between two calls, as tool or pause of the turn `last` before.
    fn gap(
        &self,
        (before, last): (&Entry, &mut Turn),
        (at, entry): (usize, &Entry),
        agents: bool,
        report: &mut ImportReport,
    ) -> Result<(), TraceError> {
        let between = self.span(at, "think_time", entry.think_time)?;
        let beginnings = self.between_beginnings(before, at, entry)?;
        if entry.brings_tool_results() {
            last.tools.push(ToolCall {
                name: if agents { "Task" } else { "tool" }.into(),
                wall: between.map(Known::estimated),
                cpu: None,
                parallelism: 1,
                command: None,
            });
            return Ok(());
        }
        last.think = between.or_else(|| {
            let pause = beginnings?.saturating_sub(last.llm.unwrap_or(Nanos::ZERO));
            report.estimated_pauses += 1;
            Some(pause)
        });
        Ok(())
    }

    /// From the beginning of one call to that of the next, where both are known.
    fn between_beginnings(
        &self,
        before: &Entry,
        at: usize,
        entry: &Entry,
    ) -> Result<Option<Nanos>, TraceError> {
        let (Some(from), Some(_)) = (before.t, entry.t) else {
            return Ok(None);
        };
        let from = self.span(at, "t", Some(from))?.unwrap_or(Nanos::ZERO);
        let to = self.span(at, "t", entry.t)?.unwrap_or(Nanos::ZERO);
        if to < from {
            return Err(TraceError::Value {
                place: Place::Document,
                field: self.field(at, "t"),
                value: to.to_string(),
                wanted: format!("at least {from}, when the call before began"),
            });
        }
        Ok(Some(to - from))
    }

    fn shared(&self, model: Option<&str>, first_prompt: Tokens) -> Vec<SharedPrefix> {
        let model = model.unwrap_or("unknown");
        let mut shared: Vec<SharedPrefix> = Vec::new();
        let mut end = Tokens::ZERO;
        let mut group = format!("weka/{model}");
        for (part, tokens) in [("tools", self.tools), ("system", self.system)] {
            let tokens = tokens.unwrap_or(0);
            group = format!("{group}/{part}-{tokens}");
            if tokens == 0 {
                continue;
            }
            end = Tokens(end.get().saturating_add(tokens));
            // A first prompt shorter than the tools was sent without them.
            if end > first_prompt || end > TOKEN_LIMIT {
                break;
            }
            shared.push(SharedPrefix {
                group: group.as_str().into(),
                tokens: end,
            });
        }
        shared
    }

    fn field(&self, at: usize, name: &str) -> String {
        format!("{}[{at}].{name}", self.path)
    }

    fn span(&self, at: usize, name: &str, value: Option<f64>) -> Result<Option<Nanos>, TraceError> {
        value
            .map(|value| json::seconds(Place::Document, || self.field(at, name), value))
            .transpose()
    }
}
