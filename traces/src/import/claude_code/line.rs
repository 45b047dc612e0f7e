//! The parts of a transcript line that count; everything else is skipped while parsing.

use serde::Deserialize;
use serde_json::Value;

/// What every line may have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) subtype: Option<String>,
    pub(super) uuid: Option<String>,
    pub(super) parent_uuid: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) agent_id: Option<String>,
    pub(super) timestamp: Option<String>,
    pub(super) version: Option<String>,
    pub(super) is_sidechain: Option<bool>,
    pub(super) is_meta: Option<bool>,
    pub(super) is_compact_summary: Option<bool>,
}

/// The message of a user or assistant line. Apart from [`Head`], because other lines may have a
/// `message` of any shape.
#[derive(Deserialize)]
pub(super) struct Body {
    pub(super) message: Option<Message>,
}

#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) stop_reason: Option<String>,
    pub(super) usage: Option<Usage>,
    pub(super) content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

#[derive(Deserialize)]
pub(super) struct Block {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) text: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) input: Option<Value>,
    pub(super) tool_use_id: Option<String>,
}

/// Token counts; absent is unknown.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the source's own names")]
pub(super) struct Usage {
    pub(super) input_tokens: Option<Value>,
    pub(super) cache_creation_input_tokens: Option<Value>,
    pub(super) cache_read_input_tokens: Option<Value>,
    pub(super) output_tokens: Option<Value>,
}
