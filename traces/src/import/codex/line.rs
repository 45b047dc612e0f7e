//! The parts of a rollout line that count.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) timestamp: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    pub(super) payload: Payload,
}

/// All kinds of payloads in one: each has some of these.
#[derive(Default, Deserialize)]
pub(super) struct Payload {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    // response_item
    pub(super) role: Option<String>,
    pub(super) name: Option<String>,
    pub(super) call_id: Option<String>,
    // session_meta, turn_context
    pub(super) id: Option<String>,
    pub(super) timestamp: Option<String>,
    pub(super) cli_version: Option<String>,
    pub(super) source: Option<Value>,
    pub(super) parent_thread_id: Option<String>,
    pub(super) model: Option<String>,
    // event_msg token_count
    pub(super) info: Option<Info>,
}

#[derive(Deserialize)]
pub(super) struct Info {
    pub(super) total_token_usage: Option<Usage>,
    pub(super) last_token_usage: Option<Usage>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the source's own names")]
pub(super) struct Usage {
    pub(super) input_tokens: Option<Value>,
    pub(super) cached_input_tokens: Option<Value>,
    pub(super) output_tokens: Option<Value>,
    pub(super) reasoning_output_tokens: Option<Value>,
}

impl Line {
    pub(super) fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("")
    }

    /// Whether the line is of that type, with that type of payload if one is named.
    pub(super) fn is(&self, kind: &str, payload: Option<&str>) -> bool {
        self.kind() == kind && payload.is_none_or(|kind| self.payload.kind.as_deref() == Some(kind))
    }

    /// How a report calls a line that says nothing of the session.
    pub(super) fn described(&self) -> String {
        match &self.payload.kind {
            Some(payload) => format!("{} {payload}", self.kind()),
            None => self.kind().to_owned(),
        }
    }
}
