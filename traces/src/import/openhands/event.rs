//! The parts of events and metrics that count, for both versions.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// One event. V0 says `action` or `observation`, V1 has a `kind`.
#[derive(Deserialize)]
pub(super) struct Event {
    id: Option<Value>,
    pub(super) timestamp: Option<String>,
    source: Option<String>,
    // V0
    action: Option<Name>,
    observation: Option<Name>,
    cause: Option<Value>,
    tool_call_metadata: Option<ToolCall>,
    llm_metrics: Option<Value>,
    // V1
    kind: Option<String>,
    tool_name: Option<String>,
    tool_call_id: Option<String>,
    llm_response_id: Option<String>,
    action_id: Option<String>,
    reasoning_content: Option<String>,
    thinking_blocks: Option<Vec<IgnoredAny>>,
}

/// A name in V0; something that nobody needs in V1.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct ToolCall {
    model_response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    id: Option<String>,
    created: Option<Value>,
}

/// Counts and times of all calls for one use of a model.
#[derive(Deserialize)]
pub(super) struct Metrics {
    pub(super) token_usages: Option<Vec<Usage>>,
    pub(super) response_latencies: Option<Vec<Latency>>,
    pub(super) costs: Option<Vec<Cost>>,
}

#[derive(Deserialize)]
pub(super) struct Usage {
    pub(super) model: Option<String>,
    pub(super) prompt_tokens: Option<Value>,
    pub(super) completion_tokens: Option<Value>,
    pub(super) cache_read_tokens: Option<Value>,
    pub(super) reasoning_tokens: Option<Value>,
    pub(super) response_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Latency {
    pub(super) latency: Option<Value>,
    pub(super) response_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Cost {
    pub(super) timestamp: Option<Value>,
}

/// What an event tells.
pub(super) enum What {
    /// A model answered.
    Answer(Answer),
    /// A tool returned: to the action or tool call with one of these ids.
    Result(Vec<String>),
    /// A person wrote.
    Prompt,
    /// The history was condensed, perhaps by a call with this response.
    Condensed(Option<String>),
    /// Nothing that counts.
    Other(String),
}

/// One part of a model's answer.
pub(super) struct Answer {
    pub(super) response: Option<String>,
    /// The running total of prompt tokens after the call, where the event names no response.
    pub(super) total: Option<u64>,
    /// Seconds since 1970 by the provider's clock.
    pub(super) created: Option<f64>,
    /// The tool called, if it is no message.
    pub(super) tool: Option<String>,
    /// What a result may refer to.
    pub(super) ids: Vec<String>,
    pub(super) thinks: bool,
    /// A call that ends the session and runs nothing.
    pub(super) finishes: bool,
}

impl Name {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(IgnoredAny) => None,
        }
    }
}

impl Event {
    /// The event's own id, as text.
    pub(super) fn id(&self) -> Option<String> {
        text(self.id.as_ref())
    }

    /// The response that the event names.
    pub(super) fn response(&self) -> Option<String> {
        let in_metadata = self
            .tool_call_metadata
            .as_ref()
            .and_then(|call| call.model_response.as_ref())
            .and_then(|response| response.id.clone());
        let id = self.llm_response_id.clone().or(in_metadata);
        id.filter(|id| !id.is_empty())
    }

    pub(super) fn what(&self) -> What {
        match self.kind.as_deref() {
            Some(kind) => self.what_of_kind(kind),
            None => self.what_of_v0(),
        }
    }

    fn what_of_kind(&self, kind: &str) -> What {
        let by_user = self.source.as_deref() == Some("user");
        match kind {
            "ActionEvent" if !by_user => What::Answer(self.answer(self.tool_name.clone())),
            "MessageEvent" if by_user => What::Prompt,
            "MessageEvent" if self.response().is_some() => What::Answer(self.answer(None)),
            "ObservationEvent" | "UserRejectObservation" | "AgentErrorEvent" => {
                let ids = [self.action_id.clone(), self.tool_call_id.clone()];
                What::Result(ids.into_iter().flatten().collect())
            }
            "Condensation" => What::Condensed(self.response()),
            other => What::Other(other.to_owned()),
        }
    }

    fn what_of_v0(&self) -> What {
        let source = self.source.as_deref().unwrap_or("");
        let name = |name: &Option<Name>| name.as_ref().and_then(Name::text).map(str::to_owned);
        if let Some(action) = name(&self.action) {
            return match (source, action.as_str()) {
                ("user", "message") => What::Prompt,
                ("agent", "condensation") => What::Condensed(self.response()),
                ("agent", "message") => What::Answer(self.answer(None)),
                ("agent", "system" | "recall" | "change_agent_state" | "null") => {
                    What::Other(action)
                }
                ("agent", _) => What::Answer(self.answer(Some(action))),
                _ => What::Other(action),
            };
        }
        match name(&self.observation) {
            Some(seen) if ["recall", "agent_state_changed", "null"].contains(&seen.as_str()) => {
                What::Other(seen)
            }
            // An error that answers no action: the answer could not be used, nothing ran.
            Some(seen) => match text(self.cause.as_ref()) {
                Some(cause) => What::Result(vec![cause]),
                None => What::Other(seen),
            },
            None => What::Other("none".to_owned()),
        }
    }

    fn answer(&self, tool: Option<String>) -> Answer {
        let response = self
            .tool_call_metadata
            .as_ref()
            .and_then(|call| call.model_response.as_ref());
        let total = self.llm_metrics.as_ref().and_then(|metrics| {
            metrics
                .pointer("/accumulated_token_usage/prompt_tokens")?
                .as_u64()
        });
        Answer {
            response: self.response(),
            total,
            created: response
                .and_then(|response| response.created.as_ref())
                .and_then(Value::as_f64),
            finishes: self.kind.is_none() && tool.as_deref() == Some("finish"),
            tool,
            ids: [self.id(), self.tool_call_id.clone()]
                .into_iter()
                .flatten()
                .collect(),
            thinks: self
                .reasoning_content
                .as_ref()
                .is_some_and(|text| !text.is_empty())
                || self
                    .thinking_blocks
                    .as_ref()
                    .is_some_and(|blocks| !blocks.is_empty()),
        }
    }
}

/// An id that is a text or a number.
fn text(id: Option<&Value>) -> Option<String> {
    match id? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
