//! `runs.csv` and `runs.parquet`: a row per run, made of the manifests alone.
//!
//! Why of the manifests: whoever did the runs, in whatever order and however often interrupted, the
//! bytes are the same.
//! Columns: what identifies a run, its totals, its files' rows (`rows.*`), its whole configuration
//! (`config.*`), every setting of its policy (`policy.*`). A run without a column has null there.
//! Limits: a list is one text, joined with commas.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
use serde_json::Value;

use crate::run::columns;

/// Columns that come first, in this order. Rows are sorted by them up to the policy, then by its
/// settings and the configuration, then by seed.
const FIRST: [&str; 11] = [
    "workload",
    "gpu",
    "model",
    "tool_cores",
    "arrivals",
    "sessions",
    "rate_per_s",
    "policy",
    "seed",
    "run",
    "trace_blake3",
];

/// As many of [`FIRST`] are more than the seed and what follows from it.
const BEFORE_SEED: usize = 8;

/// Parts of the configuration that other columns have.
const NOT_CONFIG: [&str; 6] = [
    "config.policy",
    "config.policy_toml",
    "config.rate_per_s",
    "config.seed",
    "config.sessions",
    "config.arrivals",
];

/// One run, by column.
pub type Row = BTreeMap<String, Value>;

/// The rows of a sweep, sorted, with all columns that any of them has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runs {
    /// Names of the columns, in order.
    pub columns: Vec<String>,
    /// One per run.
    pub rows: Vec<Row>,
}

impl Runs {
    /// The rows of these manifests.
    pub fn of(manifests: &[Value]) -> Self {
        let mut rows: Vec<Row> = manifests.iter().map(row).collect();
        let all: BTreeSet<String> = rows.iter().flat_map(BTreeMap::keys).cloned().collect();
        let settings = |group: &str| -> Vec<&str> {
            let names = all.iter().map(String::as_str);
            names.filter(|name| name.starts_with(group)).collect()
        };
        let mut by: Vec<&str> = FIRST[..BEFORE_SEED].to_vec();
        by.extend(settings("policy."));
        by.extend(settings("config."));
        by.extend(&FIRST[BEFORE_SEED..]);
        rows.sort_by(|a, b| {
            let orders = by.iter().map(|name| order(cell(a, name), cell(b, name)));
            orders
                .into_iter()
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        let first = FIRST.iter().map(|name| (*name).to_owned());
        let rank = |name: &str| {
            let groups = ["rows.", "config.", "policy."];
            groups
                .iter()
                .position(|g| name.starts_with(g))
                .map_or(0, |at| at + 1)
        };
        let rest = all.iter().filter(|name| !FIRST.contains(&name.as_str()));
        let mut rest: Vec<String> = rest.cloned().collect();
        rest.sort_by_key(|name| (rank(name), name.clone()));
        let columns = first.chain(rest).collect();
        Self { columns, rows }
    }

    /// As CSV; `n/a` is null.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub fn csv(&self) -> anyhow::Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.columns)?;
        for row in &self.rows {
            let cell = |name: &String| row.get(name).map_or_else(|| "n/a".to_owned(), text);
            writer.write_record(self.columns.iter().map(cell))?;
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }

    /// As Parquet. Whole numbers are 64-bit integers, numbers are floats, null is null.
    ///
    /// # Errors
    /// What the system or polars says.
    pub fn parquet(&self, path: &Path) -> anyhow::Result<()> {
        let column = |name: &String| {
            let values: Vec<&Value> = self
                .rows
                .iter()
                .map(|row| row.get(name).unwrap_or(&Value::Null))
                .collect();
            series(name, &values)
        };
        let columns: Vec<Column> = self.columns.iter().map(column).collect();
        let frame = DataFrame::new_infer_height(columns).context("cannot make a table of runs")?;
        columns::write(frame, path)?;
        Ok(())
    }
}

fn row(manifest: &Value) -> Row {
    let mut row = Row::new();
    flatten("", &manifest["totals"], &mut row);
    flatten("rows", &manifest["rows"], &mut row);
    let config = &manifest["config"];
    flatten("config", config, &mut row);
    for name in NOT_CONFIG {
        row.remove(name);
    }
    let policy = config["policy_toml"].as_str().unwrap_or_default();
    let policy: Option<toml::Table> = policy.parse().ok();
    if let Some(policy) = policy.and_then(|table| serde_json::to_value(table).ok()) {
        flatten("policy", &policy, &mut row);
    }
    // They are columns of their own, or long prose.
    for prose in ["policy.name", "policy.intent", "policy.source"] {
        row.remove(prose);
    }
    let machine = &config["machine"];
    let named = [
        ("workload", &manifest["workload"]["name"]),
        ("gpu", &machine["gpu"]),
        ("model", &machine["model"]),
        ("tool_cores", &machine["tools"]["cores"]),
        ("arrivals", &config["arrivals"]),
        ("sessions", &config["sessions"]),
        ("rate_per_s", &config["rate_per_s"]),
        ("policy", &config["policy"]),
        ("seed", &config["seed"]),
        ("run", &manifest["name"]),
        ("trace_blake3", &config["trace_blake3"]),
    ];
    for (name, value) in named {
        row.insert(name.to_owned(), value.clone());
    }
    row
}

fn flatten(prefix: &str, value: &Value, row: &mut Row) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&name, value, row);
            }
        }
        Value::Array(values) => {
            let joined: Vec<String> = values.iter().map(text).collect();
            row.insert(prefix.to_owned(), Value::from(joined.join(",")));
        }
        other => {
            row.insert(prefix.to_owned(), other.clone());
        }
    }
}

/// A value in CSV and in tables.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "n/a".to_owned(),
        Value::String(text) => text.clone(),
        // A float prints without an exponent, as in every other CSV here.
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
        other => other.to_string(),
    }
}

fn cell<'a>(row: &'a Row, name: &str) -> &'a Value {
    row.get(name).unwrap_or(&Value::Null)
}

/// Numbers by size, texts by letters, what is missing first.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a.as_u64(), b.as_u64()) {
        // Seeds may be too large for a float.
        (Some(a), Some(b)) => a.cmp(&b),
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => (a.is_string(), a.as_str(), text(a)).cmp(&(b.is_string(), b.as_str(), text(b))),
        },
    }
}

/// The narrowest type that takes all values.
fn series(name: &str, values: &[&Value]) -> Column {
    let all = |fits: fn(&Value) -> bool| values.iter().all(|v| v.is_null() || fits(v));
    let name = name.into();
    if values.iter().all(|v| v.is_null()) {
        Series::new(name, vec![None::<f64>; values.len()])
    } else if all(Value::is_u64) {
        let values: Vec<Option<u64>> = values.iter().map(|v| v.as_u64()).collect();
        Series::new(name, values)
    } else if all(Value::is_i64) {
        let values: Vec<Option<i64>> = values.iter().map(|v| v.as_i64()).collect();
        Series::new(name, values)
    } else if all(Value::is_number) {
        let values: Vec<Option<f64>> = values.iter().map(|v| v.as_f64()).collect();
        Series::new(name, values)
    } else if all(Value::is_boolean) {
        let values: Vec<Option<bool>> = values.iter().map(|v| v.as_bool()).collect();
        Series::new(name, values)
    } else {
        let shown = |v: &&Value| (!v.is_null()).then(|| text(v));
        let values: Vec<Option<String>> = values.iter().map(shown).collect();
        Series::new(name, values)
    }
    .into_column()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(policy: &str, seed: u64, toml: &str) -> Value {
        json!({
            "name": format!("{policy}-s{seed}"),
            "workload": {"name": "w"},
            "rows": {"turns": 3},
            "config": {
                "policy": policy, "policy_toml": toml, "seed": seed, "rate_per_s": 0.5,
                "sessions": 2, "arrivals": "fixed", "trace_blake3": "ab", "alphas": ["1", "3"],
                "machine": {"gpu": "g", "model": "m", "tools": {"cores": 8}, "horizon_s": null},
            },
            "totals": {"latency_s": {"mean": 10.0, "p50": null}, "steps": 7, "policy": policy},
        })
    }

    #[test]
    fn a_row_has_identity_totals_configuration_and_policy() {
        let manifests = [
            manifest("mars", 10, "name = 'mars'\n[order]\naging_s = 30\n"),
            manifest("mars", 9, "name = 'mars'\n[order]\naging_s = 30\n"),
            manifest("fcfs", 9, "name = 'fcfs'\n"),
        ];
        let runs = Runs::of(&manifests);
        assert_eq!(
            runs.csv().unwrap(),
            "workload,gpu,model,tool_cores,arrivals,sessions,rate_per_s,policy,seed,run,trace_blake3,\
             latency_s.mean,latency_s.p50,steps,rows.turns,config.alphas,config.machine.gpu,\
             config.machine.horizon_s,config.machine.model,config.machine.tools.cores,\
             config.trace_blake3,policy.order.aging_s\n\
             w,g,m,8,fixed,2,0.5,fcfs,9,fcfs-s9,ab,10,n/a,7,3,\"1,3\",g,n/a,m,8,ab,n/a\n\
             w,g,m,8,fixed,2,0.5,mars,9,mars-s9,ab,10,n/a,7,3,\"1,3\",g,n/a,m,8,ab,30\n\
             w,g,m,8,fixed,2,0.5,mars,10,mars-s10,ab,10,n/a,7,3,\"1,3\",g,n/a,m,8,ab,30\n"
        );
        // The order in which they come does not matter.
        let mut turned = manifests.to_vec();
        turned.reverse();
        assert_eq!(Runs::of(&turned), runs);
    }

    #[test]
    fn columns_are_as_narrow_as_their_values() {
        let of = |values: &[Value]| {
            let values: Vec<&Value> = values.iter().collect();
            series("x", &values).dtype().to_string()
        };
        assert_eq!(of(&[json!(1), json!(u64::MAX), Value::Null]), "u64");
        assert_eq!(of(&[json!(-1), json!(2)]), "i64");
        assert_eq!(of(&[json!(1), json!(0.5)]), "f64");
        assert_eq!(of(&[Value::Null]), "f64");
        assert_eq!(of(&[json!(true)]), "bool");
        assert_eq!(of(&[json!("a"), json!(1)]), "str");
    }
}
