//! Taking a JSON object apart, field by field, so that every complaint has a path and a value.

use std::sync::Arc;

use serde_json::{Map, Value};
use units::{Nanos, Tokens};

use crate::error::{Place, TraceError, shown};
use crate::seconds;
use crate::validate::TOKEN_LIMIT;

/// One JSON object of a line, with the way to it from the root.
pub(super) struct Fields {
    map: Map<String, Value>,
    /// Empty at the root, otherwise `turns[3]`.
    path: String,
    place: Place,
}

impl Fields {
    /// Takes `value` as an object that has no other keys than `known`.
    pub(super) fn new(
        value: Value,
        path: String,
        place: Place,
        known: &'static [&'static str],
    ) -> Result<Self, TraceError> {
        let Value::Object(map) = value else {
            let field = if path.is_empty() {
                "the line".to_owned()
            } else {
                path
            };
            return Err(bad(place, field, &value, "an object"));
        };
        let fields = Self { map, path, place };
        if let Some(key) = fields.map.keys().find(|key| !known.contains(&key.as_str())) {
            let similarity = |name: &&&str| {
                // Ordered by an integer: similarities are floats, and ties go to the first name.
                let similar = strsim::jaro_winkler(key, name) * 1e6;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a similarity lies in 0..=1"
                )]
                let similar = similar as u64;
                similar
            };
            return Err(TraceError::UnknownField {
                place,
                field: fields.path_of(key),
                nearest: known.iter().rev().max_by_key(similarity).unwrap_or(&""),
            });
        }
        Ok(fields)
    }

    /// Path of the field `key` of this object.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            return shown(&key);
        }
        format!("{}.{}", self.path, shown(&key))
    }

    /// The value of `key`; `None` where it is absent or null, which both say "unknown".
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// The value of `key`, which has to be there.
    pub(super) fn need(&mut self, key: &str, wanted: &str) -> Result<Value, TraceError> {
        self.take(key).ok_or_else(|| TraceError::Missing {
            place: self.place,
            field: self.path_of(key),
            wanted: wanted.to_owned(),
        })
    }

    pub(super) fn bad(&self, key: &str, value: &Value, wanted: &str) -> TraceError {
        bad(self.place, self.path_of(key), value, wanted)
    }

    /// A count of tokens, if the field is there.
    pub(super) fn tokens(&mut self, key: &str, least: u64) -> Result<Option<Tokens>, TraceError> {
        self.take(key)
            .map(|value| self.as_tokens(key, &value, least))
            .transpose()
    }

    /// A count of tokens that has to be there.
    pub(super) fn need_tokens(&mut self, key: &str, least: u64) -> Result<Tokens, TraceError> {
        let value = self.need(key, &count_wanted(least))?;
        self.as_tokens(key, &value, least)
    }

    fn as_tokens(&self, key: &str, value: &Value, least: u64) -> Result<Tokens, TraceError> {
        value
            .as_u64()
            .filter(|n| (least..=TOKEN_LIMIT.0).contains(n))
            .map(Tokens)
            .ok_or_else(|| self.bad(key, value, &count_wanted(least)))
    }

    /// A time in seconds, if the field is there.
    pub(super) fn seconds(&mut self, key: &str) -> Result<Option<Nanos>, TraceError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        value
            .as_f64()
            .and_then(|s| seconds::from_seconds(s).ok())
            .map(Some)
            .ok_or_else(|| self.bad(key, &value, "seconds, a number from 0"))
    }

    /// A short text, if the field is there.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<Arc<str>>, TraceError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.into())),
            Some(other) => Err(self.bad(key, &other, "a text")),
        }
    }

    /// A text that has to be there and say something.
    pub(super) fn need_text(&mut self, key: &str) -> Result<Arc<str>, TraceError> {
        const WANTED: &str = "a text that is not empty";
        match self.need(key, WANTED)? {
            Value::String(text) if !text.is_empty() => Ok(text.into()),
            other => Err(self.bad(key, &other, WANTED)),
        }
    }

    /// The items of a list; none where the field is absent.
    pub(super) fn list(&mut self, key: &str) -> Result<Vec<Value>, TraceError> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.bad(key, &other, "a list")),
        }
    }
}

fn count_wanted(least: u64) -> String {
    format!("a whole number of tokens from {least} to {TOKEN_LIMIT}")
}

fn bad(place: Place, field: String, value: &Value, wanted: &str) -> TraceError {
    TraceError::Value {
        place,
        field,
        value: shown(value),
        wanted: wanted.to_owned(),
    }
}
