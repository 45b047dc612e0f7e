//! What the prompt of each step was made of, in characters.

use serde_json::Value;

use super::{Kept, Step};

/// One step's prompt: messages in order, each by its hash and its number of characters.
pub(super) struct Prompt {
    /// Hash and characters of each message.
    messages: Vec<(u64, u64)>,
    /// Whether the recording holds the prompt itself. One rebuilt from the history only ever grows.
    seen: bool,
}

impl Prompt {
    pub(super) fn chars(&self) -> u64 {
        self.messages.iter().map(|(_, chars)| chars).sum()
    }

    /// What of this prompt continues `previous`.
    ///
    /// The answer follows its prompt, so where all of the previous messages are there, so is it.
    pub(super) fn common_chars(&self, previous: &Self) -> Kept {
        if !self.seen || !previous.seen {
            return Kept::All;
        }
        let pairs = self.messages.iter().zip(&previous.messages);
        let same = pairs
            .take_while(|(ours, theirs)| ours.0 == theirs.0)
            .count();
        if same == previous.messages.len() {
            return Kept::All;
        }
        Kept::Chars(self.messages[..same].iter().map(|(_, chars)| chars).sum())
    }
}

/// The prompts of all steps: as recorded, or else as the history grew.
pub(super) fn prompts(steps: &[(usize, &Step)], history: &[Value]) -> Vec<Prompt> {
    let answers: Vec<usize> = (0..history.len())
        .filter(|at| is_answer(&history[*at]))
        .collect();
    let opening = answers.first().copied().unwrap_or(history.len());
    // The history lacks the steps that retries replaced: then only its opening can be trusted.
    let by_history = answers.len() + 1 >= steps.len();
    // Characters before each message, and before the end.
    let mut before = vec![0];
    before.extend(history.iter().scan(0, |sum, message| {
        *sum += chars_of(message);
        Some(*sum)
    }));
    let mut grown: u64 = before[opening];
    let mut prompts = Vec::with_capacity(steps.len());
    for (nth, (_, step)) in steps.iter().enumerate() {
        let query = step.query.as_deref().or(step.messages.as_deref());
        let query = query.filter(|query| query.iter().any(|message| chars_of(message) > 0));
        if let Some(query) = query {
            prompts.push(Prompt {
                messages: query.iter().map(|m| (hash_of(m), chars_of(m))).collect(),
                seen: true,
            });
        } else {
            let end = answers.get(nth).copied().unwrap_or(history.len());
            let chars = if by_history { before[end] } else { grown };
            prompts.push(Prompt {
                messages: vec![(0, chars)],
                seen: false,
            });
        }
        let observed = step.observation.as_ref().map_or(0, text_chars);
        grown += step.response().chars().count() as u64 + observed;
    }
    prompts
}

/// A message that a model wrote in this session, and not in a demonstration.
fn is_answer(message: &Value) -> bool {
    message["role"] == "assistant" && message["is_demo"] != true
}

/// Characters of a message: its text and the arguments of its function calls.
fn chars_of(message: &Value) -> u64 {
    let calls = message["tool_calls"].as_array();
    let arguments = calls.into_iter().flatten().map(|call| {
        let arguments = call["function"]["arguments"].as_str();
        arguments.map_or(0, |arguments| arguments.chars().count() as u64)
    });
    text_chars(&message["content"]) + arguments.sum::<u64>()
}

/// Characters of a text, or of the texts among parts.
fn text_chars(content: &Value) -> u64 {
    match content {
        Value::String(text) => text.chars().count() as u64,
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            texts.map(|text| text.chars().count() as u64).sum()
        }
        _ => 0,
    }
}

/// A hash of what the model sees of a message. Keys such as `cache_control` move from call to call.
fn hash_of(message: &Value) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in [&message["role"], &message["tool_calls"]] {
        hasher.update(part.to_string().as_bytes());
        hasher.update(&[0]);
    }
    match &message["content"] {
        Value::Array(parts) => {
            for text in parts.iter().filter_map(|part| part["text"].as_str()) {
                hasher.update(text.as_bytes());
            }
        }
        Value::String(text) => {
            hasher.update(text.as_bytes());
        }
        _ => {}
    }
    let mut half = [0; 8];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(half)
}
