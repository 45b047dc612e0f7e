//! Session files of the simulator inference-lab: `{id, steps: [{input, new, output, gap, kind}]}`.
//!
//! What: one session a line, one turn a step. Source: the Rust crate `inference-lab` 1.0.0, README and
//! `src/request/session.rs`: `input` is the whole prompt, `new` the part of it that is not the context
//! (prompt and answer) of the step before, `gap` the seconds from the end of that step to this one,
//! `kind` any word. Keys that are not listed are errors there, and here.
//! The rules:
//! - The gap before a step of kind `user` is a pause. Before one of any other kind it is a tool call
//!   with that name, which took as long; without a kind, a gap of 0 is none.
//! - The gap of the first step says nothing: arrivals are drawn when the file is used.
//!
//! Limits: no models, arrivals, shared openings or call times are in the format. Its other input, texts
//! in the form of the `OpenAI` batch interface, needs a tokenizer and is not read.

use std::sync::Arc;

use serde::Deserialize;
use units::{Nanos, Tokens};

use super::recording::Out;
use super::{Head, ImportReport, Imported, Importer, Recording, Sink, json};
use crate::error::{Place, TraceError};
use crate::lines::Lines;
use crate::model::{Known, Session, ToolCall, Turn};

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "inference-lab",
    looks: "JSON lines with `id` and `steps` that have `input`, `new` and `output`",
    recognises,
    beside: &[],
    run: |mut recording, sink| import(&mut recording, sink),
};

fn recognises(head: &Head<'_>) -> bool {
    head.first().is_some_and(|session| {
        session.has_all(&["id", "steps[].input", "steps[].new", "steps[].output"])
    })
}

/// What a step of a human is called.
pub(crate) const USER: &str = "user";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    input: u64,
    new: u64,
    output: u64,
    #[serde(default)]
    gap: f64,
    kind: Option<String>,
}

fn import(recording: &mut Recording<'_>, sink: Sink<'_>) -> Result<ImportReport, TraceError> {
    let mut out = Out::new(recording, sink);
    let mut lines = Lines::new(&mut *recording.input);
    while let Some((place, text)) = lines.next_line()? {
        let session = json::parse::<Line>(place, text).and_then(|line| session(place, &line));
        out.put(place, session)?;
    }
    Ok(out.finish())
}

fn session(place: Place, line: &Line) -> Result<(Imported, ImportReport), TraceError> {
    let mut turns: Vec<Turn> = Vec::with_capacity(line.steps.len());
    for (at, step) in line.steps.iter().enumerate() {
        let field = |name: &str| format!("steps[{at}].{name}");
        let tokens = |name: &str, value| json::need_tokens(place, || field(name), Some(value));
        let (prompt, new) = (tokens("input", step.input)?, tokens("new", step.new)?);
        let most_reused = if turns.is_empty() {
            Tokens::ZERO
        } else {
            prompt
        };
        let reused = prompt.get().checked_sub(new.get()).map(Tokens);
        let reused = reused.filter(|reused| *reused <= most_reused);
        let reused = reused.ok_or_else(|| TraceError::Value {
            place,
            field: field("new"),
            value: new.to_string(),
            wanted: if turns.is_empty() {
                format!("{prompt}, all of the first step's `input`")
            } else {
                format!("at most {prompt}, the step's `input`")
            },
        })?;
        if let Some(last) = turns.last_mut() {
            let gap = json::seconds(place, || field("gap"), step.gap)?;
            between(last, gap, step.kind.as_deref());
        }
        turns.push(Turn {
            prompt,
            reused,
            output: match tokens("output", step.output)? {
                // A model stops by a token.
                Tokens::ZERO => Known::estimated(Tokens(1)),
                output => Known::recorded(output),
            },
            cached: None,
            llm: None,
            tools: Vec::new(),
            think: None,
        });
    }
    let session = Session {
        id: Arc::from(line.id.as_str()),
        model: None,
        arrival: None,
        shared: Vec::new(),
        parent: None,
        turns,
    };
    let began = None;
    Ok((Imported { session, began }, ImportReport::default()))
}

/// What passed before a step, as tool or pause of the turn before.
fn between(last: &mut Turn, gap: Nanos, kind: Option<&str>) {
    let name = match kind.filter(|kind| !kind.is_empty()) {
        Some(USER) => {
            last.think = Some(gap);
            return;
        }
        Some(kind) => kind,
        None if gap == Nanos::ZERO => return,
        None => "tool",
    };
    last.tools.push(ToolCall {
        name: name.into(),
        wall: Some(Known::recorded(gap)),
        cpu: None,
        parallelism: 1,
        command: None,
    });
}
