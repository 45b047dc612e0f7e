//! What a sweep prints: means over seeds for people, everything for programs.
//!
//! How: rows that differ in nothing but the seed are one line; only columns that vary are shown.
//! Limits: the interval is Student's t over seeds; with one seed there is none.

use std::collections::BTreeMap;

use comfy_table::CellAlignment;
use serde::Serialize;
use serde_json::{Value, json};

use super::table::{Row, Runs, text};
use crate::cli::Format;
use crate::estimate::{Estimate, plus_minus};
use crate::output;

/// Columns that are estimated, with a heading, a factor and digits. A name that ends with a dot is a
/// family.
const SHOWN: [(&str, &str, f64, usize); 5] = [
    ("latency_s.mean", "mean (s)", 1.0, 0),
    ("latency_s.p95", "P95 (s)", 1.0, 0),
    ("goodput_per_s.", "G", 1000.0, 1),
    ("attainment.", "A", 100.0, 1),
    ("prefix_hit_rate", "hits", 100.0, 1),
];

/// Columns that name a group although they may not vary.
const ALWAYS: [&str; 2] = ["rate_per_s", "policy"];

/// How a sweep went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Runs of the sweep, or of its shard.
    pub planned: usize,
    /// Done by this process.
    pub done: usize,
    /// Done before.
    pub before: usize,
    /// Failed, or missing.
    pub failed: usize,
}

/// The text for stdout.
///
/// # Errors
/// If something cannot be written down, which nothing is.
pub fn print(runs: &Runs, counts: &Counts, format: Format) -> anyhow::Result<String> {
    match format {
        Format::Csv => runs.csv(),
        Format::Json => {
            let rows: Vec<Value> = runs
                .rows
                .iter()
                .map(|row| {
                    runs.columns
                        .iter()
                        .map(|c| (c.clone(), row.get(c).cloned().unwrap_or_default()))
                })
                .map(|cells| Value::Object(cells.collect()))
                .collect();
            let mut text = serde_json::to_string_pretty(&json!({"counts": counts, "runs": rows}))?;
            text.push('\n');
            Ok(text)
        }
        Format::Table => Ok(table(runs)),
    }
}

/// What the columns of the table mean.
pub const LEGEND: &str = "\
Means over seeds +- half their 95 % interval (Student's t). Latency: arrival to completion. G(a): sessions
within a x their time alone, per 1000 s. A(a): their share of those offered, %. hits: prompt tokens found in KV, %.";

fn table(runs: &Runs) -> String {
    if runs.rows.is_empty() {
        return String::new();
    }
    let (header, rows, texts) = grid(runs);
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = output::table(&names);
    for row in rows {
        table.add_row(row);
    }
    for column in texts..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{}\n\n{LEGEND}\n", table.trim_fmt())
}

/// Headings, rows, and how many columns name the group before the numbers begin.
pub fn grid(runs: &Runs) -> (Vec<String>, Vec<Vec<String>>, usize) {
    let names = names(runs);
    let shown: Vec<Shown<'_>> = SHOWN.iter().flat_map(|what| shown(runs, *what)).collect();
    let mut header: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    header.push("seeds".to_owned());
    header.extend(shown.iter().map(|(_, heading, _, _)| heading.clone()));
    let row = |group: Vec<&Row>| {
        let mut cells = key(group[0], &names);
        cells.push(group.len().to_string());
        for (name, _, scale, digits) in &shown {
            let values = group.iter().filter_map(|row| row.get(*name)?.as_f64());
            let estimate = Estimate::of(&values.collect::<Vec<f64>>());
            cells.push(plus_minus(estimate, *scale, *digits));
        }
        cells
    };
    let rows = groups(runs, &names).into_iter().map(row).collect();
    let texts = names.len();
    (header, rows, texts)
}

/// Columns that name a group: policy and rate, and whatever else varies, but what follows from it.
pub fn names(runs: &Runs) -> Vec<&str> {
    let varies = |name: &str| {
        let mut values = runs.rows.iter().map(|row| row.get(name));
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    let is_identity = |name: &str| {
        [
            "workload",
            "gpu",
            "model",
            "tool_cores",
            "arrivals",
            "sessions",
        ]
        .contains(&name)
            || name.starts_with("config.")
            || name.starts_with("policy.")
    };
    let mut names: Vec<&str> = Vec::new();
    for name in runs.columns.iter().map(String::as_str) {
        if ALWAYS.contains(&name) || (is_identity(name) && varies(name)) {
            // A GPU has fifty constants: they vary with its name and say nothing more.
            let mut told: BTreeMap<Vec<String>, Option<&Value>> = BTreeMap::new();
            let says_more = runs.rows.iter().any(|row| {
                let value = row.get(name);
                *told.entry(key(row, &names)).or_insert(value) != value
            });
            if ALWAYS.contains(&name) || says_more {
                names.push(name);
            }
        }
    }
    names
}

/// Rows with the same names, which differ in the seed alone; in the order of their first.
fn groups<'a>(runs: &'a Runs, names: &[&str]) -> Vec<Vec<&'a Row>> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    let mut at: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for row in &runs.rows {
        let index = *at.entry(key(row, names)).or_insert(groups.len());
        if index == groups.len() {
            groups.push(Vec::new());
        }
        groups[index].push(row);
    }
    groups
}

fn key(row: &Row, names: &[&str]) -> Vec<String> {
    let cell = |name: &&str| row.get(*name).map_or_else(|| "n/a".to_owned(), text);
    names.iter().map(cell).collect()
}

/// A column, its heading, factor and digits.
type Shown<'a> = (&'a str, String, f64, usize);

/// The columns of an entry of [`SHOWN`]: itself, or its family.
fn shown<'a>(
    runs: &'a Runs,
    (name, heading, scale, digits): (&'static str, &'static str, f64, usize),
) -> impl Iterator<Item = Shown<'a>> {
    runs.columns.iter().filter_map(move |column| {
        let heading = if name.ends_with('.') {
            format!("{heading}({})", column.strip_prefix(name)?)
        } else {
            (column == name).then(|| heading.to_owned())?
        };
        Some((column.as_str(), heading, scale, digits))
    })
}
