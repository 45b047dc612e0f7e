//! How many characters a JSON value has as text, the way the output estimator was fitted.
//!
//! The fit counted Unicode characters of JSON with a space after every `:` and `,` and with
//! non-ASCII characters as they are. Counting another rendering would bias the estimate.

use serde_json::Value;

/// Characters of `value` as JSON text.
pub(super) fn json_chars(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => number.to_string().len() as u64,
        Value::String(text) => string_chars(text),
        Value::Array(items) => 2 + items.iter().map(json_chars).sum::<u64>() + gaps(items.len()),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| string_chars(key) + 2 + json_chars(value));
            2 + entries.sum::<u64>() + gaps(map.len())
        }
    }
}

/// Characters of the `, ` between `items` items.
const fn gaps(items: usize) -> u64 {
    2 * (items as u64).saturating_sub(1)
}

fn string_chars(text: &str) -> u64 {
    let escaped = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => 1,
    };
    2 + text.chars().map(escaped).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_spaced_rendering() {
        let cases = [
            (r#"{"a": [1, 2.5, true], "b": {}}"#, 30),
            (r#"{"é": "x\ny\u0001", "n": null}"#, 30),
            (r"[]", 2),
            (r"-1", 2),
        ];
        for (text, chars) in cases {
            assert_eq!(
                json_chars(&serde_json::from_str(text).unwrap()),
                chars,
                "{text}"
            );
        }
    }
}
