//! The rows of a sweep as figures: a facet per machine, workload and setting, a line per policy.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::estimate::Estimate;
use crate::plot::scale::Axis;
use crate::plot::{Mark, Panel, Point, Series, style};
use crate::sweep::summary;
use crate::sweep::table::{Row, Runs, text};

/// A figure and what it is of.
#[derive(Clone, Debug)]
pub struct Facet {
    /// What all its runs share, of what varies in the sweep; empty if nothing does.
    pub title: String,
    /// Its plots.
    pub panels: Vec<Panel>,
}

/// What is plotted: column, axis, factor, whether it is a share. A name that ends with a dot stands
/// for the last of its family.
const PLOTTED: [(&str, &str, f64, bool); 4] = [
    ("latency_s.mean", "mean latency (s)", 1.0, false),
    ("latency_s.p95", "P95 latency (s)", 1.0, false),
    (
        "goodput_per_s.",
        "goodput (sessions in time per 1000 s)",
        1000.0,
        false,
    ),
    ("attainment.", "attainment", 1.0, true),
];

/// The facets, in the order of the rows.
pub fn facets(runs: &Runs) -> Vec<Facet> {
    let names = summary::names(runs);
    let (of_policy, rest): (Vec<&str>, Vec<&str>) = names
        .iter()
        .filter(|name| **name != "rate_per_s")
        .partition(|name| **name == "policy" || name.starts_with("policy."));
    let mut facets: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in &runs.rows {
        let title = described(row, &rest);
        match facets.iter_mut().find(|(known, _)| *known == title) {
            Some((_, rows)) => rows.push(row),
            None => facets.push((title, vec![row])),
        }
    }
    let facet = |(title, rows): (String, Vec<&Row>)| Facet {
        panels: panels(runs, &rows, &of_policy),
        title,
    };
    facets.into_iter().map(facet).collect()
}

fn described(row: &Row, names: &[&str]) -> String {
    let one = |name: &&str| format!("{name} {}", value(row, name));
    names.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn value(row: &Row, name: &str) -> String {
    row.get(name).map_or_else(|| "n/a".to_owned(), text)
}

fn panels(runs: &Runs, rows: &[&Row], of_policy: &[&str]) -> Vec<Panel> {
    let name = |row: &Row| {
        let mut name = value(row, "policy");
        for setting in of_policy.iter().filter(|n| **n != "policy") {
            if row.get(*setting).is_some_and(|v| !v.is_null()) {
                let short = setting.trim_start_matches("policy.");
                let _ = write!(name, ", {short} {}", value(row, setting));
            }
        }
        name
    };
    let mut lines: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in rows {
        let name = name(row);
        match lines.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => lines.push((name, vec![row])),
        }
    }
    let mut panels = Vec::new();
    for (column, axis, factor, is_share) in PLOTTED {
        let in_family =
            |c: &&String| *c == column || (column.ends_with('.') && c.starts_with(column));
        let Some(found) = runs.columns.iter().rfind(in_family) else {
            continue;
        };
        let alpha = found.strip_prefix(column).filter(|a| !a.is_empty());
        let y = alpha.map_or_else(|| axis.to_owned(), |alpha| format!("{axis}, alpha {alpha}"));
        let series = lines.iter().enumerate().map(|(i, (name, rows))| Series {
            name: name.clone(),
            style: style::of(name, i),
            mark: Mark::Line,
            points: points(rows, found, factor),
        });
        let y = Axis::linear(y);
        panels.push(Panel {
            title: String::new(),
            x: Axis::linear("rate (sessions/s)"),
            y: if is_share { y.within(0.0, 1.04) } else { y },
            series: series.collect(),
        });
    }
    panels
}

/// Estimates over seeds, by rate.
fn points(rows: &[&Row], column: &str, factor: f64) -> Vec<Point> {
    let mut by_rate: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
    for row in rows {
        let Some(rate) = row.get("rate_per_s").and_then(serde_json::Value::as_f64) else {
            continue;
        };
        // Rates are positive, so their bits sort as they do.
        let entry = by_rate.entry(rate.to_bits()).or_insert((rate, Vec::new()));
        let measured = row.get(column).and_then(serde_json::Value::as_f64);
        entry.1.extend(measured.map(|x| x * factor));
    }
    let point = |(rate, values): (f64, Vec<f64>)| {
        let estimate = Estimate::of(&values);
        Some(Point {
            x: rate,
            y: estimate.mean?,
            half: estimate.half(),
        })
    };
    by_rate.into_values().filter_map(point).collect()
}
