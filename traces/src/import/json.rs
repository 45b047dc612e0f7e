//! Reading the JSON of recordings, which is not always what a strict parser takes.
//!
//! Why: tools written in JavaScript cut text in the middle of a surrogate pair, and then write half
//! of it as `\ud83d`. Rust strings cannot hold that; a whole session must not be lost over it.

use serde::de::DeserializeOwned;
use serde_json::Value;
use units::{Nanos, Tokens};

use crate::error::{Place, TraceError, shown};
use crate::seconds::{from_millis, from_seconds};
use crate::validate::{ARRIVAL_LIMIT, TOKEN_LIMIT};

/// Parses one value; half surrogate pairs become U+FFFD, as they do in a browser.
pub(super) fn parse<T: DeserializeOwned>(place: Place, bytes: &[u8]) -> Result<T, TraceError> {
    // Some editors begin UTF-8 with a mark.
    let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
        Some(rest) if !rest.is_empty() => rest,
        _ => bytes,
    };
    let strict = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(not_utf8(place, bytes, error.valid_up_to()));
    }
    // Only now pay for the copy; nearly every line parses at once.
    mended(bytes)
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| match TraceError::json(place, &strict) {
            TraceError::Shape {
                place,
                column,
                what,
            } => TraceError::Shape {
                place,
                column,
                what: path_to_fault::<T>(bytes).map_or(what.clone(), |p| format!("`{p}`: {what}")),
            },
            other => other,
        })
}

/// The field that is not as `T` wants it; `None` where it is the whole value.
///
/// Looked up in a second pass, because keeping the path costs a little at every field.
fn path_to_fault<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let fault = serde_path_to_error::deserialize::<_, T>(&mut json).err()?;
    let path = fault.path().to_string();
    (path != ".").then(|| shown(&path))
}

/// The error of a byte that is not UTF-8, by line and offset in it also for a document of many lines.
fn not_utf8(place: Place, bytes: &[u8], at: usize) -> TraceError {
    let before = &bytes[..at];
    let line_start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |i| i + 1);
    let place = match place {
        Place::Document => Place::Line(before.split(|b| *b == b'\n').count() as u64),
        other => other,
    };
    TraceError::NotUtf8 {
        place,
        byte: at - line_start,
    }
}

/// A copy with every half surrogate pair replaced; `None` if there is none.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut copy = bytes.to_vec();
    let mut found = false;
    let mut at = 0;
    while at + 1 < copy.len() {
        if copy[at] != b'\\' {
            at += 1;
            continue;
        }
        match escape(&copy, at) {
            Some(0xD800..=0xDBFF) if matches!(escape(&copy, at + 6), Some(0xDC00..=0xDFFF)) => {
                at += 12;
            }
            Some(0xD800..=0xDFFF) => {
                copy[at + 2..at + 6].copy_from_slice(b"fffd");
                found = true;
                at += 6;
            }
            // Another escape: the byte after the backslash must not start a new one.
            _ => at += 2,
        }
    }
    found.then_some(copy)
}

/// The code unit of a `\uXXXX` escape that starts at `at`.
fn escape(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A count of tokens as a recording states it.
pub(super) fn tokens(
    place: Place,
    field: impl FnOnce() -> String,
    value: &Value,
) -> Result<Tokens, TraceError> {
    let count = value.as_u64().filter(|n| *n <= TOKEN_LIMIT.0);
    count.map(Tokens).ok_or_else(|| TraceError::Value {
        place,
        field: field(),
        value: shown(value),
        wanted: format!("a whole number of tokens from 0 to {TOKEN_LIMIT}"),
    })
}

/// The same for a count that was read as one, or not at all.
pub(super) fn need_tokens(
    place: Place,
    field: impl FnOnce() -> String,
    value: Option<u64>,
) -> Result<Tokens, TraceError> {
    let wanted = || format!("a whole number of tokens from 0 to {TOKEN_LIMIT}");
    match value {
        Some(count) if count <= TOKEN_LIMIT.0 => Ok(Tokens(count)),
        Some(count) => Err(TraceError::Value {
            place,
            field: field(),
            value: count.to_string(),
            wanted: wanted(),
        }),
        None => Err(TraceError::Missing {
            place,
            field: field(),
            wanted: wanted(),
        }),
    }
}

/// A time in seconds as a recording states it.
pub(super) fn seconds(
    place: Place,
    field: impl FnOnce() -> String,
    value: f64,
) -> Result<Nanos, TraceError> {
    from_seconds(value).map_err(|_| TraceError::Value {
        place,
        field: field(),
        value: shown(&value),
        wanted: "seconds, a number from 0".to_owned(),
    })
}

/// The same in milliseconds.
pub(super) fn millis(
    place: Place,
    field: impl FnOnce() -> String,
    value: f64,
) -> Result<Nanos, TraceError> {
    let span = from_millis(value).ok();
    span.filter(|span| *span <= ARRIVAL_LIMIT)
        .ok_or_else(|| TraceError::Value {
            place,
            field: field(),
            value: shown(&value),
            wanted: "milliseconds, a number from 0 to 10^12".to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_encodings_are_named_by_line_and_byte() {
        let fault = |place, bytes: &[u8]| parse::<Value>(place, bytes).unwrap_err().to_string();
        let latin = b"{\"a\":1,\n\"b\":\"\xF6\"}";
        assert_eq!(
            fault(Place::Document, latin),
            "line 2: byte 5 of the line is not UTF-8"
        );
        assert_eq!(
            fault(Place::Line(7), b"\xFF\xFE{\0}\0"),
            "line 7: byte 0 of the line is not UTF-8"
        );
        assert!(parse::<Value>(Place::Document, b"\xEF\xBB\xBF{}").is_ok());
    }

    #[test]
    fn half_a_surrogate_pair_does_not_cost_the_line() {
        let place = Place::Line(1);
        let text: String = parse(place, br#""a\ud83d\" \ud83d\ude00 \\ud83d""#).unwrap();
        assert_eq!(text, "a\u{FFFD}\" \u{1F600} \\ud83d");
        assert!(parse::<String>(place, br#""\ud83"#).is_err());
        assert!(parse::<String>(place, br#""\"#).is_err());
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        let fault = parse::<Vec<(u8, u8)>>(Place::Line(7), b"[[1,2],[3,\"x\"]]").unwrap_err();
        let text = fault.to_string();
        assert!(
            text.starts_with("line 7, column 13: `[1][1]`: invalid type"),
            "{text}"
        );
    }
}
