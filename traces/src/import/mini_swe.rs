//! mini-swe-agent trajectories (`.traj.json`, formats `mini-swe-agent-1` and `-1.1`).
//!
//! What: one JSON document is one session; every assistant message holds the raw answer of the
//! provider with its token counts.
//! Why the rules: reasoning tokens are part of `completion_tokens` but are not sent back, so after a
//! call with reasoning only the previous *prompt* is a common prefix. So it is after an answer that
//! the client could not use: it sends a complaint instead of the answer. Two providers count tokens
//! differently, so a prompt may shrink although the history grows; the prefix ends with it then.
//! Limits: version 1 records no tool times (they stay unknown, but for a command killed at the
//! time limit, which ran that long) and no call times. Version 1.1 writes the time of every message:
//! its tool time is the last observation's time less the assistant message's, and several commands
//! of one message, which run one after another, become one tool call of their total time. The last
//! command, which hands the work in, returns nothing to a model and is left out (and counted).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use units::{Nanos, Tokens};

use super::recording::{counted, document};
use super::{Head, ImportReport, Imported, Importer, Skip, json};
use crate::error::{Place, TraceError, shown};
use crate::model::{Known, Session, SharedPrefix, ToolCall, Turn};
use crate::seconds::from_seconds;

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "mini-swe-agent",
    looks: "a JSON document with `messages` and `trajectory_format` mini-swe-agent-1 or -1.1",
    recognises,
    beside: &[],
    run: |mut recording, sink| document(&mut recording, sink, parse),
};

/// `trajectory_format` may come after megabytes of messages, so what opens the document has to do.
fn recognises(head: &Head<'_>) -> bool {
    head.first().is_some_and(|document| {
        let format = document.text("trajectory_format");
        let before_messages = document.has("info.exit_status") && head.name.ends_with(".traj.json");
        format.is_some_and(|format| format.starts_with("mini-swe-agent"))
            || document.has("info.mini_version")
            || (before_messages && !document.has("trajectory"))
            || document.has("messages[].extra.response.usage")
    })
}

/// Reads one trajectory. `name` becomes the session's id where the recording has no instance id.
///
/// # Errors
/// [`TraceError`] with the line and column of broken JSON, or with the path of a field that is
/// missing or impossible.
pub fn import(bytes: &[u8], name: &str) -> Result<(Imported, ImportReport), TraceError> {
    counted(Place::Document, parse(bytes, name))
}

fn parse(bytes: &[u8], name: &str) -> Result<(Imported, ImportReport), TraceError> {
    let trajectory: Trajectory = json::parse(Place::Document, bytes)?;
    if let Some(format) = &trajectory.format
        && format != "mini-swe-agent-1"
        && format != "mini-swe-agent-1.1"
    {
        return Err(TraceError::Value {
            place: Place::Document,
            field: "trajectory_format".to_owned(),
            value: shown(format),
            wanted: "mini-swe-agent-1 or mini-swe-agent-1.1".to_owned(),
        });
    }
    let mut report = ImportReport::default();
    let mut turns: Vec<Turn> = Vec::new();
    let mut answer_dropped = false;
    let calls: Vec<usize> = trajectory.calls().collect();
    for (nth, &at) in calls.iter().enumerate() {
        let Some(usage) = Usage::of(&trajectory.messages[at], at)? else {
            report.skip(Skip::NoUsage);
            continue;
        };
        let next = calls
            .get(nth + 1)
            .copied()
            .unwrap_or(trajectory.messages.len());
        let tools = trajectory.tools(at, next, &mut report);
        let mut turn = Turn {
            prompt: usage.prompt,
            reused: Tokens::ZERO,
            output: usage.output,
            cached: usage.cached,
            llm: trajectory.call_time(at),
            tools,
            think: None,
        };
        if let Some(previous) = turns.last() {
            turn.reused = if answer_dropped {
                previous.prompt.min(turn.prompt)
            } else {
                turn.reusable_after(previous)
            };
        }
        answer_dropped = usage.reasoning > Tokens::ZERO || !trajectory.messages[at].stays();
        turns.push(turn);
    }
    let Some(first) = turns.first() else {
        return Err(TraceError::Missing {
            place: Place::Document,
            field: "messages".to_owned(),
            wanted: "at least one assistant message with `extra.response.usage`".to_owned(),
        });
    };
    let model = trajectory.model();
    let session = Session {
        id: trajectory.instance_id.as_deref().unwrap_or(name).into(),
        arrival: None,
        shared: trajectory
            .shared(first.prompt, model.as_deref())
            .into_iter()
            .collect(),
        parent: None,
        turns,
        model,
    };
    let began = trajectory.began();
    Ok((Imported { session, began }, report))
}

#[derive(Deserialize)]
struct Trajectory {
    messages: Vec<Message>,
    #[serde(rename = "trajectory_format")]
    format: Option<String>,
    instance_id: Option<String>,
    #[serde(default)]
    info: Info,
}

#[derive(Default, Deserialize)]
struct Info {
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    agent: Agent,
    #[serde(default)]
    environment: Environment,
}

#[derive(Default, Deserialize)]
struct Agent {
    timeout_template: Option<String>,
    action_observation_template: Option<String>,
}

#[derive(Default, Deserialize)]
struct Environment {
    /// Seconds after which a command is killed.
    timeout: Option<f64>,
}

#[derive(Deserialize)]
struct Message {
    role: Option<String>,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    extra: Extra,
    /// `response` where the message is the raw answer of the responses interface.
    object: Option<String>,
    usage: Option<RawUsage>,
    model: Option<String>,
    created_at: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Extra {
    response: Option<Answer>,
    timestamp: Option<f64>,
    returncode: Option<Value>,
    exception_info: Option<Value>,
}

/// The raw answer of the provider; some text in its place where it could not be written as JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Whole(Box<Response>),
    Text(#[expect(dead_code, reason = "only that it is there counts")] String),
}

#[derive(Deserialize)]
struct Response {
    created: Option<f64>,
    model: Option<String>,
    usage: Option<RawUsage>,
}

/// Chat completions say `prompt_tokens`, the responses interface says `input_tokens`.
#[derive(Deserialize)]
struct RawUsage {
    prompt_tokens: Option<Value>,
    input_tokens: Option<Value>,
    completion_tokens: Option<Value>,
    output_tokens: Option<Value>,
    prompt_tokens_details: Option<Details>,
    input_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<Value>,
    reasoning_tokens: Option<Value>,
}

/// The token counts of one call.
struct Usage {
    prompt: Tokens,
    cached: Option<Tokens>,
    output: Known<Tokens>,
    reasoning: Tokens,
}

impl Message {
    fn is_call(&self) -> bool {
        self.role.as_deref() == Some("assistant")
            || self.extra.response.is_some()
            || self.is_answer()
    }

    fn is_answer(&self) -> bool {
        self.object.as_deref() == Some("response")
    }

    /// Whether the model's answer is part of later prompts. The client's complaint about a malformed
    /// answer takes its place and holds the answer only for the record.
    fn stays(&self) -> bool {
        self.role.as_deref() != Some("user")
    }

    fn response(&self) -> Option<&Response> {
        match self.extra.response.as_ref()? {
            Answer::Whole(response) => Some(response),
            Answer::Text(_) => None,
        }
    }

    /// The provider's counts, and where in the message they are.
    fn usage(&self) -> Option<(&RawUsage, &'static str)> {
        let inner = self.response().and_then(|response| response.usage.as_ref());
        let own = self.usage.as_ref().filter(|_| self.is_answer());
        inner
            .map(|usage| (usage, "extra.response.usage"))
            .or(own.map(|usage| (usage, "usage")))
    }

    fn model(&self) -> Option<&str> {
        let inner = self
            .response()
            .and_then(|response| response.model.as_deref());
        inner.or(self.model.as_deref().filter(|_| self.is_answer()))
    }

    /// When the provider made the answer, in seconds since 1970.
    fn created(&self) -> Option<f64> {
        let inner = self.response().and_then(|response| response.created);
        inner.or(self.created_at.filter(|_| self.is_answer()))
    }
}

impl Usage {
    /// The counts of message `at`; `None` if the provider sent none.
    fn of(message: &Message, at: usize) -> Result<Option<Self>, TraceError> {
        let Some((raw, place)) = message.usage() else {
            return Ok(None);
        };
        let path = |name: &str| format!("messages[{at}].{place}.{name}");
        let count = |value: &Value, name: &str| json::tokens(Place::Document, || path(name), value);
        let need = |value: Option<&Value>, name: &str| match value {
            Some(value) => count(value, name),
            None => Err(TraceError::Missing {
                place: Place::Document,
                field: path(name),
                wanted: "a number of tokens".to_owned(),
            }),
        };
        let prompt = raw.prompt_tokens.as_ref().or(raw.input_tokens.as_ref());
        let output = raw
            .completion_tokens
            .as_ref()
            .or(raw.output_tokens.as_ref());
        let asked = raw
            .prompt_tokens_details
            .as_ref()
            .or(raw.input_tokens_details.as_ref());
        let made = raw
            .completion_tokens_details
            .as_ref()
            .or(raw.output_tokens_details.as_ref());
        let cached = asked.and_then(|details| details.cached_tokens.as_ref());
        let reasoning = made.and_then(|details| details.reasoning_tokens.as_ref());
        let output = need(output, "completion_tokens")?;
        Ok(Some(Self {
            prompt: need(prompt, "prompt_tokens")?,
            cached: cached
                .map(|value| count(value, "prompt_tokens_details.cached_tokens"))
                .transpose()?,
            // No call generates nothing: even an empty answer ends with the token that ends it.
            output: match output {
                Tokens::ZERO => Known::estimated(Tokens(1)),
                output => Known::recorded(output),
            },
            reasoning: reasoning
                .map(|value| count(value, "completion_tokens_details.reasoning_tokens"))
                .transpose()?
                .unwrap_or(Tokens::ZERO),
        }))
    }
}

impl Trajectory {
    /// Indices of the messages that a model wrote.
    fn calls(&self) -> impl Iterator<Item = usize> {
        (0..self.messages.len()).filter(|&at| self.messages[at].is_call())
    }

    /// The tool calls between the model's message `at` and its `next` one.
    fn tools(&self, at: usize, next: usize, report: &mut ImportReport) -> Vec<ToolCall> {
        let mut last_run = None;
        for message in &self.messages[at + 1..next] {
            match self.outcome(message) {
                Outcome::Ran => last_run = Some((message, None)),
                Outcome::TimedOut => last_run = Some((message, self.time_limit())),
                Outcome::NotExecuted => report.skip(Skip::NotExecuted),
                Outcome::Nothing => {}
            }
        }
        let Some((observation, limit)) = last_run else {
            if next == self.messages.len() && at + 1 < next {
                report.skip(Skip::FinalCommand);
            }
            return Vec::new();
        };
        let measured = self.between(at, observation).map(Known::recorded);
        vec![ToolCall {
            name: "bash".into(),
            wall: measured.or(limit.map(Known::estimated)),
            cpu: None,
            parallelism: 1,
            command: None,
        }]
    }

    fn outcome(&self, message: &Message) -> Outcome {
        let info = message.extra.exception_info.as_ref();
        if info
            .and_then(Value::as_str)
            .is_some_and(|info| info.contains("not executed"))
        {
            return Outcome::NotExecuted;
        }
        if message
            .extra
            .returncode
            .as_ref()
            .is_some_and(|code| !code.is_null())
        {
            return Outcome::Ran;
        }
        let text = text_of(&message.content);
        let agent = &self.info.config.agent;
        let opens = |template: Option<&str>, default: &str| {
            // What a template says before its first placeholder is how every filling of it starts.
            let head = template.map_or("", |template| template.split('{').next().unwrap_or(""));
            let head = if head.trim().is_empty() {
                default
            } else {
                head
            };
            text.starts_with(head)
        };
        if opens(agent.action_observation_template.as_deref(), "<returncode>") {
            Outcome::Ran
        } else if opens(
            agent.timeout_template.as_deref(),
            "The last command <command>",
        ) {
            Outcome::TimedOut
        } else {
            Outcome::Nothing
        }
    }

    fn time_limit(&self) -> Option<Nanos> {
        self.info
            .config
            .environment
            .timeout
            .and_then(|limit| from_seconds(limit).ok())
    }

    /// From the model's message `at` to `observation`, where both have a time.
    fn between(&self, at: usize, observation: &Message) -> Option<Nanos> {
        let end = observation.extra.timestamp?;
        let start = self.messages[at].extra.timestamp?;
        span(start, end)
    }

    /// Time of the call: from the message before it to its own.
    fn call_time(&self, at: usize) -> Option<Nanos> {
        let before = self.messages.get(at.checked_sub(1)?)?.extra.timestamp?;
        span(before, self.messages[at].extra.timestamp?)
    }

    fn began(&self) -> Option<Nanos> {
        let first = &self.messages[self.calls().next()?];
        first
            .created()
            .or(first.extra.timestamp)
            .and_then(|epoch| from_seconds(epoch).ok())
    }

    fn model(&self) -> Option<Arc<str>> {
        let models = self.messages.iter().filter_map(Message::model);
        models.map(Arc::from).next()
    }

    /// The system message, which all sessions of the agent open with; its tokens are estimated by
    /// its share of the characters in the first prompt.
    fn shared(&self, first_prompt: Tokens, model: Option<&str>) -> Option<SharedPrefix> {
        let opening = self.messages.first()?;
        if opening.role.as_deref() != Some("system") {
            return None;
        }
        let first_call = self.calls().next()?;
        let chars = |message: &Message| text_of(&message.content).chars().count() as u64;
        let all: u64 = self.messages[..first_call].iter().map(chars).sum();
        // Rounded down: a token that straddles the border is not shared. Both are below 2^32.
        let tokens = first_prompt
            .0
            .saturating_mul(chars(opening))
            .checked_div(all)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(text_of(&opening.content).as_bytes());
        hasher.update(&[0]);
        hasher.update(model.unwrap_or("").as_bytes());
        let hash = hasher.finalize().to_hex();
        Some(SharedPrefix {
            group: format!("mini-swe-agent/{}", &hash[..12]).into(),
            tokens: Tokens(tokens),
        })
    }
}

/// What a message after a model's says about its command.
enum Outcome {
    /// It ran to its end.
    Ran,
    /// It ran until the time limit.
    TimedOut,
    /// The client had it and did not start it.
    NotExecuted,
    /// No command: a format error, the end, or a message of the client.
    Nothing,
}

/// The text of a message: a string, or a list of parts of which some are text.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect(),
        _ => String::new(),
    }
}

/// The span between two times in seconds; `None` if a clock went back.
fn span(start: f64, end: f64) -> Option<Nanos> {
    let (start, end) = (from_seconds(start).ok()?, from_seconds(end).ok()?);
    (end >= start).then(|| end - start)
}
