//! Values that do not fit their key: which one it is, and what was wanted.
//!
//! Why: a part is read as a whole, and where that fails the reader's message names no key. Here every
//! value is read alone among the defaults of its part; the one that still fails is to blame.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::admission::AdmissionSpec;
use crate::order::OrderSpec;
use crate::preset::{PolicyError, SECTIONS, part_defaults};
use crate::retention::RetentionSpec;

/// Why `policy` cannot be read: the first key whose value is to blame, if a single one is.
pub(crate) fn to_blame(policy: &Table, name: &str) -> Option<PolicyError> {
    for key in ["name", "intent", "source"] {
        if let Some(value) = policy.get(key).filter(|v| !v.is_str()) {
            return Some(bad(name, key, value, "a text in quotes"));
        }
    }
    for section in SECTIONS {
        let Some(part) = policy.get(section).and_then(Value::as_table) else {
            continue;
        };
        let kind = part.get("kind").unwrap_or(&Value::Boolean(false));
        let defaults = match kind.as_str() {
            Some(kind) => part_defaults(section, kind),
            None => part_defaults(section, &kind.to_string()),
        };
        let defaults = match defaults {
            Ok(defaults) => defaults,
            Err(error) => return Some(error),
        };
        for (key, value) in part {
            if reads(section, &defaults, key, value).is_err() {
                let wanted = wanted(section, &defaults, key);
                return Some(bad(name, &format!("{section}.{key}"), value, &wanted));
            }
        }
    }
    None
}

pub(crate) fn bad(policy: &str, key: &str, value: &Value, wanted: &str) -> PolicyError {
    PolicyError::BadValue {
        policy: policy.to_owned(),
        what: format!("`{key}` is {value}, wanted {wanted}"),
    }
}

/// Whether the part can be read with this value among its defaults.
fn reads(section: &str, defaults: &Table, key: &str, value: &Value) -> Result<(), String> {
    fn read<T: DeserializeOwned>(part: Table) -> Result<(), String> {
        match part.try_into::<T>() {
            Ok(_) => Ok(()),
            Err(e) => Err(e.message().to_owned()),
        }
    }
    let mut part = defaults.clone();
    part.insert(key.to_owned(), value.clone());
    match section {
        "admission" => read::<AdmissionSpec>(part),
        "order" => read::<OrderSpec>(part),
        _ => read::<RetentionSpec>(part),
    }
}

/// What the key takes, by the shape of its default.
fn wanted(section: &str, defaults: &Table, key: &str) -> String {
    match defaults.get(key) {
        Some(Value::Integer(_)) => "a whole number, 0 or more".to_owned(),
        Some(Value::Float(_)) => "a number".to_owned(),
        Some(Value::Boolean(_)) => "true or false".to_owned(),
        Some(Value::Array(list)) => format!(
            "{} whole numbers, 0 or more, such as {}",
            list.len(),
            Value::Array(list.clone())
        ),
        // A word of a list: what is said of a word that is none names the list.
        _ => {
            let nonsense = Value::String(String::new());
            let said = reads(section, defaults, key, &nonsense).err();
            said.as_deref()
                .and_then(|text| text.split_once("expected "))
                .map_or_else(|| "something else".to_owned(), |(_, list)| list.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{PRESETS, PolicySpec};
    use toml::Table;

    use super::SECTIONS;

    fn error(preset: &str, key: &str, value: &str) -> String {
        let set = [(key.to_owned(), value.to_owned())];
        match PolicySpec::preset_with(preset, &set).map(|spec| spec.build().err()) {
            Ok(None) => String::new(),
            Ok(Some(error)) | Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_names_key_value_and_what_is_wanted() {
        for (preset, key, value, wanted) in [
            ("mars", "order.aging_s", "\"ten\"", "a number"),
            ("mars", "order.lift", "1", "true or false"),
            (
                "mars",
                "admission.window_max",
                "-3",
                "a whole number, 0 or more",
            ),
            (
                "mars",
                "admission.window_max",
                "3.5",
                "a whole number, 0 or more",
            ),
            (
                "mars",
                "order.quanta",
                "[1, 2]",
                "4 whole numbers, 0 or more, such as [2048, 1024, 512, 256]",
            ),
            ("continuum", "retention.ttl_s", "true", "a number"),
            (
                "mars",
                "order.shrink",
                "\"nver\"",
                "one of `never`, `then-retry-whole`, `and-stay`",
            ),
            (
                "infercept",
                "retention.form",
                "3",
                "`min-waste` or `break-even`",
            ),
        ] {
            assert_eq!(
                error(preset, key, value),
                format!("policy `{preset}`: `{key}` is {value}, wanted {wanted}")
            );
        }
        assert!(error("mars", "name", "3").contains("`name` is 3, wanted a text in quotes"));
        assert!(error("mars", "order.kind", "3").starts_with("`order.kind` is `3`, wanted one of"));
        let whole = error("mars", "order", "3");
        assert!(whole.contains("`order` is 3, wanted a section such as [order]"));
    }

    /// Whatever is written into whatever key: it is taken, or the message names the key and the value.
    #[test]
    fn no_bad_value_goes_unnamed() {
        let values = [
            "\"x\"",
            "true",
            "3",
            "-1",
            "0",
            "2.5",
            "-0.5",
            "1e300",
            "nan",
            "inf",
            "[]",
            "[3, 2, 1]",
            "[0, 0, 0, 0]",
            "[1, -2, 3]",
            "{ a = 1 }",
        ];
        let mut refused = 0;
        for (preset, text) in PRESETS {
            let table: Table = text.parse().unwrap();
            for section in SECTIONS {
                for key in table[section].as_table().unwrap().keys() {
                    for value in values {
                        let said = error(preset, &format!("{section}.{key}"), value);
                        if said.is_empty() {
                            continue;
                        }
                        refused += 1;
                        let text = format!("x = {value}");
                        let shown = text.parse::<Table>().unwrap()["x"].clone();
                        let as_number = shown.as_float().map(|f| f.to_string());
                        let shown = shown.to_string();
                        let mut parts = shown
                            .trim_matches(['[', ']'])
                            .split(", ")
                            .chain(as_number.as_deref());
                        let lower = said.to_lowercase();
                        assert!(
                            said.contains(key.as_str())
                                && said.contains("wanted")
                                && parts
                                    .any(|p| lower.contains(&p.trim_matches('"').to_lowercase())),
                            "{preset} {section}.{key} = {value}: {said}"
                        );
                    }
                }
            }
        }
        assert!(refused > 1000, "{refused}");
    }
}
