//! SWE-agent trajectories (`.traj`, before and since version 1.0).
//!
//! What: one JSON document is one session, one step is one model call and the command it asked for.
//! Why the rules:
//! - Tokens are counted for the session only: `tokens_sent` sums the whole prompt of every call. It is
//!   split over the steps by the characters of their prompts, `tokens_received` by those of the
//!   answers, and the sums stay exact. So every count here is estimated, also that of the prompts
//!   ([`ImportReport::estimated_prompts`]).
//! - Replayed demonstrations called no model and state zero. Their counts are characters divided by
//!   4.42, which is what the prompts of SWE-agent's own GPT-4o test recording have (one session of 5
//!   calls), and its answers (4.44).
//! - `execution_time` is the tool alone. Versions before 1.0 have none: the time stays unknown.
//! - The prompt of a step is its `query` (`messages` in 1.0) where there is one. Elsewhere it is the
//!   history before the step's answer. With `query`, `reused` ends at the first message that differs,
//!   since history processors cut old observations; without it, the processors' work cannot be seen
//!   and the history counts as kept.
//! - More calls than steps are retries of answers that could not be parsed; their tokens are in the
//!   totals and so in the steps. They are counted ([`Skip::Retry`]).
//! - A step that the client made up when a limit was hit (`exit_cost` and the like, or no command and
//!   no time) called no model.
//!
//! Limits: there are no times of day, so neither model times nor a beginning. `tokens_received` leaves
//! out the arguments of function calls. A tool's time has a floor of 0.11 to 0.15 s, the round trip
//! to its container.

mod prompts;

use serde::Deserialize;
use serde_json::Value;
use units::Tokens;

use self::prompts::{Prompt, prompts};
use super::recording::{counted, document};
use super::{Head, ImportReport, Imported, Importer, Skip, json};
use crate::error::{Place, TraceError, shown};
use crate::model::{Known, Session, ToolCall, Turn};
use crate::seconds::from_seconds;

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "swe-agent",
    looks: "a JSON document with `trajectory`, a list of steps with `action` and `observation`",
    recognises,
    beside: &[],
    run: |mut recording, sink| document(&mut recording, sink, parse),
};

/// Characters to a token where the recording counted no tokens, in hundredths.
const CHARS_PER_100_TOKENS: u64 = 442;

fn recognises(head: &Head<'_>) -> bool {
    head.first().is_some_and(|document| {
        document.has("trajectory[].action")
            || document.has("trajectory[].observation")
            // A first step may be longer than the head.
            || (document.has("trajectory[]") && head.name.trim_end_matches(".traj") != head.name)
    })
}

/// Reads one trajectory. `name` becomes the session's id: the recording has none of its own.
///
/// # Errors
/// [`TraceError`] with the line and column of broken JSON, or with the path of a field that is
/// missing or impossible.
pub fn import(bytes: &[u8], name: &str) -> Result<(Imported, ImportReport), TraceError> {
    counted(Place::Document, parse(bytes, name))
}

#[derive(Deserialize)]
struct Document {
    trajectory: Vec<Step>,
    #[serde(default)]
    history: Vec<Value>,
    info: Option<Info>,
    replay_config: Option<Value>,
}

#[derive(Deserialize)]
struct Step {
    action: Option<String>,
    response: Option<String>,
    observation: Option<Value>,
    execution_time: Option<Value>,
    query: Option<Vec<Value>>,
    messages: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Info {
    model_stats: Option<Stats>,
}

#[derive(Deserialize)]
struct Stats {
    tokens_sent: Option<Value>,
    tokens_received: Option<Value>,
    api_calls: Option<Value>,
}

impl Step {
    fn action(&self) -> &str {
        self.action.as_deref().unwrap_or("")
    }

    fn response(&self) -> &str {
        self.response.as_deref().unwrap_or("")
    }

    /// Whether the client ended the session here by itself.
    fn is_by_client(&self) -> bool {
        let exits = [
            "exit_cost",
            "exit_context",
            "exit_error",
            "exit_format",
            "exit_api",
        ];
        let ran = self
            .execution_time
            .as_ref()
            .and_then(Value::as_f64)
            .is_none_or(|time| time > 0.0);
        exits.contains(&self.action()) || (self.action().trim().is_empty() && !ran)
    }

    fn tool(&self, step: usize) -> Result<Option<ToolCall>, TraceError> {
        let Some(command) = self.action().split_whitespace().next() else {
            return Ok(None);
        };
        let bad = |value: &Value| TraceError::Value {
            place: Place::Document,
            field: format!("trajectory[{step}].execution_time"),
            value: shown(value),
            wanted: "seconds, 0 or more".to_owned(),
        };
        let wall = match &self.execution_time {
            None | Some(Value::Null) => None,
            Some(value) => {
                let time = value.as_f64().and_then(|time| from_seconds(time).ok());
                Some(Known::recorded(time.ok_or_else(|| bad(value))?))
            }
        };
        Ok(Some(ToolCall {
            name: command.into(),
            wall,
            cpu: None,
            parallelism: 1,
            command: None,
        }))
    }
}

fn parse(bytes: &[u8], name: &str) -> Result<(Imported, ImportReport), TraceError> {
    let document: Document = json::parse(Place::Document, bytes)?;
    let mut report = ImportReport::default();
    let mut steps = Vec::with_capacity(document.trajectory.len());
    for (at, step) in document.trajectory.iter().enumerate() {
        if step.is_by_client() {
            report.skip(Skip::Synthetic);
        } else {
            steps.push((at, step));
        }
    }
    if steps.is_empty() {
        return Err(TraceError::Missing {
            place: Place::Document,
            field: "trajectory".to_owned(),
            wanted: "at least one step of a model".to_owned(),
        });
    }
    let totals = Totals::of(document.info.as_ref())?;
    report.skip_many(Skip::Retry, totals.calls.saturating_sub(steps.len() as u64));
    let prompts = prompts(&steps, &document.history);
    let prompt_chars: Vec<u64> = prompts.iter().map(Prompt::chars).collect();
    let answer_chars: Vec<u64> = steps
        .iter()
        .map(|(_, step)| step.response().chars().count() as u64)
        .collect();
    let sent = split(totals.sent, &prompt_chars);
    let received = split(totals.received, &answer_chars);
    report.estimated_prompts += steps.len() as u64;
    let mut turns: Vec<Turn> = Vec::with_capacity(steps.len());
    for (nth, (at, step)) in steps.iter().enumerate() {
        let mut turn = Turn {
            prompt: sent[nth],
            reused: Tokens::ZERO,
            output: Known::estimated(received[nth]),
            cached: None,
            llm: None,
            tools: step.tool(*at)?.into_iter().collect(),
            think: None,
        };
        if let Some(previous) = turns.last() {
            let most = turn.reusable_after(previous);
            turn.reused = match prompts[nth].common_chars(&prompts[nth - 1]) {
                Kept::All => most,
                // The share of the prompt's characters that comes first and is not new.
                Kept::Chars(chars) => {
                    most.min(Tokens(share(turn.prompt.0, chars, prompt_chars[nth])))
                }
            };
        }
        turns.push(turn);
    }
    let session = Session {
        id: name.into(),
        model: document
            .replay_config
            .as_ref()
            .and_then(model)
            .map(Into::into),
        arrival: None,
        shared: Vec::new(),
        parent: None,
        turns,
    };
    Ok((
        Imported {
            session,
            began: None,
        },
        report,
    ))
}

/// How much of a prompt comes from the step before.
enum Kept {
    /// As far as the recording shows, all of that step's prompt and answer.
    All,
    /// So many leading characters.
    Chars(u64),
}

/// The model's name in `replay_config`, which is JSON in a string.
fn model(config: &Value) -> Option<String> {
    let parsed: Value = match config {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    let name = parsed.pointer("/agent/model/name")?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The session's counts; `None` where a demonstration counted none.
struct Totals {
    sent: Option<u64>,
    received: Option<u64>,
    calls: u64,
}

impl Totals {
    fn of(info: Option<&Info>) -> Result<Self, TraceError> {
        let stats = info.and_then(|info| info.model_stats.as_ref());
        let count = |value: Option<&Value>, name: &str| match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                // Sums over a session outgrow one prompt's limit.
                let count = value.as_u64().filter(|n| *n < 1 << 48);
                count.map(Some).ok_or_else(|| TraceError::Value {
                    place: Place::Document,
                    field: format!("info.model_stats.{name}"),
                    value: shown(value),
                    wanted: "a whole number from 0 to 2^48".to_owned(),
                })
            }
        };
        let field = |get: fn(&Stats) -> Option<&Value>, name| count(stats.and_then(get), name);
        Ok(Self {
            sent: field(|s| s.tokens_sent.as_ref(), "tokens_sent")?.filter(|n| *n > 0),
            received: field(|s| s.tokens_received.as_ref(), "tokens_received")?.filter(|n| *n > 0),
            calls: field(|s| s.api_calls.as_ref(), "api_calls")?.unwrap_or(0),
        })
    }
}

/// `total * part / whole`, rounded down; nothing of nothing.
fn share(total: u64, part: u64, whole: u64) -> u64 {
    let share = (u128::from(total) * u128::from(part)).checked_div(u128::from(whole));
    share.map_or(0, |share| u64::try_from(share).unwrap_or(u64::MAX))
}

/// `total` in parts as `weights`, each at least 1; the sum is exact unless a part had to be raised.
/// Without a total, each weight is characters.
fn split(total: Option<u64>, weights: &[u64]) -> Vec<Tokens> {
    let whole: u64 = weights.iter().sum();
    let mut before = 0;
    let parts = weights.iter().map(|weight| {
        let part = match total {
            Some(total) => {
                // Differences of rounded-down running sums add up to the total.
                let part = share(total, before + weight, whole) - share(total, before, whole);
                before += weight;
                part
            }
            None => (weight * 100).div_ceil(CHARS_PER_100_TOKENS),
        };
        Tokens(part.max(1))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_total() {
        let sum = |parts: &[Tokens]| parts.iter().map(|t| t.0).sum::<u64>();
        let parts = split(Some(7141), &[5156, 5678, 6236, 7069, 7406]);
        assert_eq!(sum(&parts), 7141);
        assert_eq!(parts[0], Tokens(7141 * 5156 / 31545));
        assert_eq!(split(Some(3), &[0, 0, 1]), [1, 1, 3].map(Tokens));
        assert_eq!(split(None, &[0, 442, 443]), [1, 100, 101].map(Tokens));
    }
}
