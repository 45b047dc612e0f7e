//! One row per pair, names as in the JSON, joined with dots; members of a list are numbered from 1.
//!
//! Limits: means over seeds are not in it; they follow from the rows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::Comparison;

/// What identifies a row, and so stands first.
const FIRST: [&str; 7] = [
    "policy_a",
    "policy_b",
    "workload",
    "rate_per_s",
    "seed",
    "run_a",
    "run_b",
];

pub(super) fn rows(comparison: &Comparison) -> anyhow::Result<String> {
    let mut rows: Vec<BTreeMap<String, Value>> = Vec::new();
    for pair in &comparison.pairs {
        let mut row = BTreeMap::new();
        flatten("", &serde_json::to_value(pair)?, &mut row);
        row.insert("policy_a".to_owned(), comparison.policy_a.clone().into());
        row.insert("policy_b".to_owned(), comparison.policy_b.clone().into());
        rows.push(row);
    }
    let all: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    // Null where another pair has a whole group: its columns say n/a.
    let is_group = |name: &str| {
        let below = format!("{name}.");
        all.range(below.clone()..)
            .next()
            .is_some_and(|next| next.starts_with(&below))
    };
    let rest = all.iter().map(|name| name.as_str());
    let rest = rest.filter(|name| !FIRST.contains(name) && !is_group(name));
    let header: Vec<&str> = FIRST.into_iter().chain(rest).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header)?;
    for row in &rows {
        writer.write_record(header.iter().map(|name| cell(row.get(*name))))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn flatten(name: &str, value: &Value, row: &mut BTreeMap<String, Value>) {
    let below = |part: &str| {
        if name.is_empty() {
            part.to_owned()
        } else {
            format!("{name}.{part}")
        }
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                flatten(&below(key), value, row);
            }
        }
        Value::Array(list) => {
            for (number, value) in (1..).zip(list) {
                flatten(&below(&number.to_string()), value, row);
            }
        }
        _ => {
            row.insert(name.to_owned(), value.clone());
        }
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "n/a".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
