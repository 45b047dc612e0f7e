//! Agentic Mooncake traces, version 2: requests with what they wait for.
//!
//! What: a header `{"schema":"dynamo.agentic_mooncake","version":2,"block_size":..,..}`, then a request
//! a line: `request_id`, `play_id`, `session_id`, `model`, `input_length`, `output_length`, `hash_ids`
//! (exactly one for each block), `not_before_ms`, and maybe `recorded_api_time_ms` and `dependencies`,
//! each with a `request_id` that comes before, a `relation`, a `trigger` and `delay_ms`.
//! Source: the Rust crate `dynamo-data-gen` 1.6.0, `mooncake.rs`; `ai-dynamo/aisimulate`,
//! `crates/core/src/replay/loadgen`. Version 1 has other fields and is refused.
//! The rules:
//! - The requests of one `session_id` within a play are the turns of one session, in the file's order.
//! - A session is called by its id, after the play's where it does not begin with that.
//! - Ids hold within a play: its sessions share what their first prompts have in common.
//! - `sequence` from the turn before: what passed is one tool call of that delay, marked estimated,
//!   for it holds the tool and whatever else; none for a delay of 0.
//! - `join` of another session: the turn before ran a sub-agent (`Task`), as long as that takes:
//!   unknown. A turn with neither waits for something that is not told: its time is unknown too.
//! - `spawn` by another session makes that one the parent. The session begins at its `not_before_ms`,
//!   and no earlier than the delay after its parent's beginning, if the parent's first request
//!   dispatches it; later requests begin when a simulation says so.
//!
//! Limits: barriers of the replay, priorities and token ids are not kept.

use std::num::NonZeroU64;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;
use units::{Nanos, Tokens};

use super::rows::within_limit;
use super::trie::Trie;
use crate::error::{Place, TraceError, shown};
use crate::import::recording::Out;
use crate::import::{Head, ImportReport, Imported, Importer, Recording, Sink, json};
use crate::lines::Lines;
use crate::model::{Known, Session, ToolCall, Turn};
use crate::validate::ARRIVAL_LIMIT;

/// Name of the schema in the header.
pub(crate) const SCHEMA: &str = "dynamo.agentic_mooncake";

/// The version that is read and written.
pub(crate) const VERSION: u64 = 2;

/// What a model is called that nobody named: the format wants some word.
pub(crate) const UNKNOWN_MODEL: &str = "unknown";

/// This importer, for [`crate::import::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "agentic-mooncake",
    looks: "JSON lines that open with `schema` dynamo.agentic_mooncake",
    recognises,
    beside: &[],
    run: |mut recording, sink| import(&mut recording, sink),
};

fn recognises(head: &Head<'_>) -> bool {
    head.first()
        .is_some_and(|header| header.text("schema") == Some(SCHEMA))
}

#[derive(Deserialize)]
struct Header {
    schema: String,
    version: u64,
    block_size: NonZeroU64,
}

#[derive(Deserialize)]
struct Line {
    request_id: String,
    play_id: String,
    session_id: String,
    model: Option<String>,
    #[serde(alias = "input_tokens")]
    input_length: Option<u64>,
    #[serde(alias = "output_tokens")]
    output_length: Option<u64>,
    hash_ids: Vec<u64>,
    not_before_ms: f64,
    recorded_api_time_ms: Option<f64>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    request_id: String,
    relation: Relation,
    trigger: Trigger,
    delay_ms: f64,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Relation {
    Sequence,
    Spawn,
    Join,
    ReplayBarrier,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Trigger {
    Dispatch,
    Completion,
}

/// A session while the file is read.
struct Agent {
    line: u64,
    id: Arc<str>,
    model: Option<Arc<str>>,
    parent: Option<Arc<str>>,
    began: Option<Nanos>,
    turns: Vec<Turn>,
    /// Blocks of the first prompt, and of the last one so far.
    first: Vec<u32>,
    last: Vec<u32>,
}

#[derive(Default)]
struct File {
    trie: Trie,
    agents: Vec<Agent>,
    /// By play and session.
    by_session: FxHashMap<(Arc<str>, String), usize>,
    /// Root of each play in the tree of blocks.
    plays: FxHashMap<Arc<str>, u32>,
    names: FxHashSet<Arc<str>>,
    /// Session and turn of each request.
    requests: FxHashMap<String, (usize, usize)>,
    blocks: usize,
}

fn import(recording: &mut Recording<'_>, sink: Sink<'_>) -> Result<ImportReport, TraceError> {
    let mut out = Out::new(recording, sink);
    let name = recording.name;
    let mut lines = Lines::new(&mut *recording.input);
    let header = match lines.next_line()? {
        Some((place, text)) => header(place, text),
        None => Err(TraceError::Empty),
    };
    let header = match header {
        Ok(header) => header,
        Err(error) => {
            out.fault(error)?;
            return Ok(out.finish());
        }
    };
    let mut file = File::default();
    while let Some((place, text)) = lines.next_line()? {
        let line = json::parse::<Line>(place, text);
        match line.and_then(|line| file.request(place, line, header.block_size)) {
            Ok(()) => within_limit(place, file.blocks)?,
            Err(error) => out.fault(error)?,
        }
    }
    let File { trie, agents, .. } = file;
    for agent in agents {
        let place = Place::Line(agent.line);
        out.put(place, Ok(agent.session(name, &trie, header.block_size)))?;
    }
    Ok(out.finish())
}

fn header(place: Place, text: &[u8]) -> Result<Header, TraceError> {
    let header: Header = json::parse(place, text)?;
    let bad = |field: &str, value: String, wanted: String| TraceError::Value {
        place,
        field: field.to_owned(),
        value,
        wanted,
    };
    if header.schema != SCHEMA {
        return Err(bad("schema", shown(&header.schema), SCHEMA.to_owned()));
    }
    if header.version != VERSION {
        let value = header.version.to_string();
        return Err(bad("version", value, VERSION.to_string()));
    }
    Ok(header)
}

impl File {
    fn request(&mut self, place: Place, line: Line, block: NonZeroU64) -> Result<(), TraceError> {
        let tokens = |name: &str, value| json::need_tokens(place, || name.to_owned(), value);
        let bad = |field: &str, value: String, wanted: String| TraceError::Value {
            place,
            field: field.to_owned(),
            value,
            wanted,
        };
        let prompt = tokens("input_length", line.input_length)?;
        let output = match tokens("output_length", line.output_length)? {
            // A model stops by a token.
            Tokens::ZERO => Known::estimated(Tokens(1)),
            output => Known::recorded(output),
        };
        let (ids, blocks) = (
            line.hash_ids.len() as u64,
            prompt.get().div_ceil(block.get()),
        );
        if ids != blocks || blocks == 0 {
            let value = format!("{ids} ids for {prompt} tokens");
            let wanted = format!("{blocks} and at least 1, one for each block of {block} tokens");
            return Err(bad("hash_ids", value, wanted));
        }
        if self.requests.contains_key(&line.request_id) {
            let wanted = "an id that no request before has".to_owned();
            return Err(bad("request_id", shown(&line.request_id), wanted));
        }
        let millis = |name: &str, value| json::millis(place, || name.to_owned(), value);
        let not_before = millis("not_before_ms", line.not_before_ms)?;
        let llm = line.recorded_api_time_ms;
        let llm = llm
            .map(|ms| millis("recorded_api_time_ms", ms))
            .transpose()?;
        let waits = self.dependencies(place, &line)?;
        let play: Arc<str> = Arc::from(line.play_id.as_str());
        let root = match self.plays.get(&play) {
            Some(&root) => root,
            None => self.trie.root(),
        };
        self.plays.insert(Arc::clone(&play), root);
        let path = self.trie.path(root, &line.hash_ids);
        self.blocks += path.len();
        let mut turn = Turn {
            prompt,
            reused: Tokens::ZERO,
            output,
            cached: None,
            llm,
            tools: Vec::new(),
            think: None,
        };
        let key = (Arc::clone(&play), line.session_id);
        let at = if let Some(&at) = self.by_session.get(&key) {
            let agent = &mut self.agents[at];
            let equal = path.iter().zip(&agent.last).take_while(|(a, b)| a == b);
            let common = Tokens((equal.count() as u64).saturating_mul(block.get()));
            let before = agent.turns.len() - 1;
            let last = &mut agent.turns[before];
            turn.reused = common.min(last.prompt).min(prompt);
            last.tools.extend(waits.tool(at, before));
            agent.turns.push(turn);
            agent.last = path;
            at
        } else {
            self.trie.count_opening(&path);
            let (parent, began) = waits.parent(&self.agents, not_before);
            let id = self.name(&key);
            self.agents.push(Agent {
                line: if let Place::Line(line) = place {
                    line
                } else {
                    0
                },
                id,
                model: line
                    .model
                    .as_deref()
                    .filter(|model| *model != UNKNOWN_MODEL)
                    .map(Arc::from),
                parent,
                began,
                turns: vec![turn],
                last: path.clone(),
                first: path,
            });
            self.by_session.insert(key, self.agents.len() - 1);
            self.agents.len() - 1
        };
        let turn = self.agents[at].turns.len() - 1;
        self.requests.insert(line.request_id, (at, turn));
        Ok(())
    }

    /// A name of its own for a session: the one it has, after the play's where it does not begin so.
    fn name(&mut self, (play, session): &(Arc<str>, String)) -> Arc<str> {
        let after = session.strip_prefix(&**play);
        let named = after.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut name: Arc<str> = if named {
            session.as_str().into()
        } else {
            format!("{play}/{session}").into()
        };
        while !self.names.insert(Arc::clone(&name)) {
            name = format!("{name}/{}", self.names.len()).into();
        }
        name
    }

    /// What a request waits for, as sessions and turns.
    fn dependencies(&self, place: Place, line: &Line) -> Result<Waits, TraceError> {
        let mut waits = Vec::with_capacity(line.dependencies.len());
        for (at, dependency) in line.dependencies.iter().enumerate() {
            let field = |name: &str| format!("dependencies[{at}].{name}");
            let known = self.requests.get(&dependency.request_id);
            let &on = known.ok_or_else(|| TraceError::Value {
                place,
                field: field("request_id"),
                value: shown(&dependency.request_id),
                wanted: "the id of a request before".to_owned(),
            })?;
            let delay = json::millis(place, || field("delay_ms"), dependency.delay_ms)?;
            waits.push(Wait {
                on,
                delay,
                relation: dependency.relation,
                trigger: dependency.trigger,
            });
        }
        Ok(Waits(waits))
    }
}

struct Wait {
    /// Session and turn.
    on: (usize, usize),
    delay: Nanos,
    relation: Relation,
    trigger: Trigger,
}

struct Waits(Vec<Wait>);

impl Waits {
    /// What passed after turn `last` of session `at`, before the request that waits.
    fn tool(&self, at: usize, last: usize) -> Option<ToolCall> {
        let joins = self.0.iter().any(|wait| wait.relation == Relation::Join);
        let follows = self
            .0
            .iter()
            .find(|wait| wait.relation == Relation::Sequence && wait.on == (at, last));
        let (name, wall) = match follows {
            _ if joins => ("Task", None),
            Some(wait) if wait.delay == Nanos::ZERO => return None,
            Some(wait) => ("tool", Some(Known::estimated(wait.delay))),
            None => ("tool", None),
        };
        Some(ToolCall {
            name: name.into(),
            wall,
            cpu: None,
            parallelism: 1,
            command: None,
        })
    }

    /// Who started the session, and when it began.
    fn parent(&self, agents: &[Agent], not_before: Nanos) -> (Option<Arc<str>>, Option<Nanos>) {
        let spawn = self.0.iter().find(|wait| wait.relation == Relation::Spawn);
        let Some(spawn) = spawn else {
            return (None, Some(not_before));
        };
        let parent = &agents[spawn.on.0];
        let at_once = spawn.trigger == Trigger::Dispatch && spawn.on.1 == 0;
        let begins = |at: Nanos| at.as_nanos().checked_add(spawn.delay.as_nanos());
        let after = parent.began.filter(|_| at_once).and_then(begins);
        let began = after.map(|after| Nanos::new(after).max(not_before));
        let began = began.filter(|began| *began <= ARRIVAL_LIMIT);
        (Some(Arc::clone(&parent.id)), began)
    }
}

impl Agent {
    fn session(self, name: &str, trie: &Trie, block: NonZeroU64) -> (Imported, ImportReport) {
        let first_prompt = self.turns[0].prompt;
        let session = Session {
            shared: trie.shared(&self.first, (block, first_prompt), name),
            id: self.id,
            model: self.model,
            arrival: None,
            parent: self.parent,
            turns: self.turns,
        };
        let began = self.began;
        (Imported { session, began }, ImportReport::default())
    }
}
