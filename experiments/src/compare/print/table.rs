//! A comparison for people: where the policies part, what each decided and saw, what it cost.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table};
use serde_json::{Map, Value};

use super::super::first::{Decisions, Parting};
use super::super::paired::Paired;
use super::super::seeds::OverSeeds;
use super::super::totals::Total;
use super::super::{Comparison, Pair};
use crate::output;

pub(super) fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    let (a, b) = (&comparison.policy_a, &comparison.policy_b);
    let one = comparison.pairs.len() == 1;
    for pair in &comparison.pairs {
        let _ = writeln!(
            text,
            "{}, {} sessions/s, seed {}\nA: {a}  {}\nB: {b}  {}\n",
            pair.workload, pair.rate_per_s, pair.seed, pair.run_a, pair.run_b
        );
        match &pair.decisions {
            None => text.push_str("First different decision: n/a, not both runs have a log.\n"),
            Some(decisions) if one => parted(&mut text, decisions),
            Some(decisions) => in_a_line(&mut text, decisions),
        }
        text.push('\n');
        if one {
            cost(&mut text, pair);
        }
    }
    over_seeds(&mut text, comparison);
    text.push_str(
        "Differences are B less A; latencies are paired, session by session. Size: prompt and output \
         tokens over all\nturns. ",
    );
    if one {
        text.push_str(
            "The sessions of one run share a machine and are not independent, so one run has no \
             confidence\ninterval: give the runs of several seeds for one.\n",
        );
    } else {
        text.push_str(
            "Each seed is one observation; the interval is Student's t over seeds. Sessions of one run \
             share a\nmachine and are not independent.\n",
        );
    }
    text
}

fn in_a_line(text: &mut String, decisions: &Decisions) {
    let _ = match &decisions.first_difference {
        None => writeln!(text, "The same {} decisions.", decisions.in_a),
        Some(parting) => writeln!(
            text,
            "First different decision at {} s, after {} the same: A {}, B {}.",
            seconds(parting.at_s),
            parting.same_before,
            what(parting.a.as_ref(), parting.at_s),
            what(parting.b.as_ref(), parting.at_s)
        ),
    };
}

/// The first difference in full, then one line per kind of decision.
fn parted(text: &mut String, decisions: &Decisions) {
    let Some(parting) = &decisions.first_difference else {
        let _ = writeln!(
            text,
            "No difference: the same {} decisions.",
            decisions.in_a
        );
        return;
    };
    let _ = writeln!(
        text,
        "First different decision at {} s, after {} that are the same (A makes {}, B {})\n{}",
        seconds(parting.at_s),
        parting.same_before,
        decisions.in_a,
        decisions.in_b,
        both(parting).trim_fmt()
    );
    let mut table = output::table(&["first different", "at (s)", "A", "B"]);
    for (kind, parting) in &decisions.first_difference_by_kind.0 {
        match parting {
            None => table.add_row([kind.as_str(), "never", "", ""]),
            Some(p) => table.add_row([
                kind.clone(),
                seconds(p.at_s),
                what(p.a.as_ref(), p.at_s),
                what(p.b.as_ref(), p.at_s),
            ]),
        };
    }
    let _ = writeln!(text, "\n{}", table.trim_fmt());
}

/// All that both logs say at the place where they part; rows that neither has are left out.
fn both(parting: &Parting) -> Table {
    let nothing = Map::new();
    let (a, b) = (
        parting.a.as_ref().unwrap_or(&nothing),
        parting.b.as_ref().unwrap_or(&nothing),
    );
    let mut table = output::table(&["", "A", "B"]);
    // Names in the order of the file; the exact time is that of `at_s`.
    let head = ["policy", "at_s", "session", "decision", "reason"];
    let (named, other) = if a.is_empty() { (b, a) } else { (a, b) };
    let more = other.keys().filter(|key| !named.contains_key(*key));
    let rest = named.keys().chain(more).map(String::as_str);
    let rest = rest.filter(|key| !head.contains(key) && *key != "at_ns");
    for key in head.into_iter().chain(rest) {
        let (in_a, in_b) = (a.get(key), b.get(key));
        if [in_a, in_b].iter().flatten().any(|v| !v.is_null()) {
            table.add_row([key.to_owned(), shown(in_a), shown(in_b)]);
        }
    }
    right(&mut table, 1..3);
    table
}

/// A decision in a few words.
fn what(decision: Option<&Map<String, Value>>, at_s: f64) -> String {
    let Some(decision) = decision else {
        return "nothing more".to_owned();
    };
    let text = |key: &str| shown(decision.get(key));
    let later = decision["at_s"].as_f64().filter(|&t| t > at_s);
    let later = later.map_or(String::new(), |t| format!(", later at {} s", seconds(t)));
    format!(
        "{} {} ({}){later}",
        text("decision"),
        text("session"),
        text("reason")
    )
}

fn cost(text: &mut String, pair: &Pair) {
    let all = &pair.sessions;
    let count = |n: Option<usize>| n.unwrap_or_default();
    let _ = write!(
        text,
        "Latency, B less A, over the {} sessions that completed in both",
        all.completed_in_both
    );
    let left_out = [
        (count(all.only_in_a), "completed only in A"),
        (count(all.only_in_b), "completed only in B"),
        (count(all.in_neither), "completed in neither"),
        (count(all.not_matched), "are not in both"),
    ];
    let left_out: Vec<String> = left_out
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    if !left_out.is_empty() {
        let _ = write!(text, " ({})", left_out.join(", "));
    }
    let mut table = output::table(&[
        "sessions",
        "count",
        "tokens",
        "mean (s)",
        "median (s)",
        "sooner in B (%)",
        "later in B (%)",
    ]);
    table.add_row(latency("all", all));
    let names = ["smallest quarter", "second", "third", "largest quarter"];
    for (name, part) in names.iter().zip(&pair.by_size) {
        table.add_row(latency(name, part));
    }
    right(&mut table, 1..7);
    let _ = writeln!(text, "\n{}\n", table.trim_fmt());

    let mut table = output::table(&["total", "A", "B", "B - A"]);
    for (name, Total { a, b, difference }) in &pair.totals.0 {
        let cells = [a, b, difference].map(|v| shown(Some(v)));
        table.add_row(std::iter::once(name.clone()).chain(cells));
    }
    right(&mut table, 1..4);
    let _ = writeln!(text, "{}\n", table.trim_fmt());
}

fn latency(name: &str, part: &Paired) -> Vec<String> {
    let tokens = match (part.tokens_min, part.tokens_max) {
        (Some(min), Some(max)) => format!("{min} - {max}"),
        _ => "n/a".to_owned(),
    };
    let number = |value: Option<f64>, factor: f64, digits: usize| match value {
        Some(x) => format!("{:.digits$}", x * factor),
        None => "n/a".to_owned(),
    };
    vec![
        name.to_owned(),
        part.completed_in_both.to_string(),
        tokens,
        number(part.mean_s, 1.0, 3),
        number(part.median_s, 1.0, 3),
        number(part.sooner_in_b, 100.0, 1),
        number(part.later_in_b, 100.0, 1),
    ]
}

fn over_seeds(text: &mut String, comparison: &Comparison) {
    if comparison.pairs.len() < 2 {
        return;
    }
    let mut table = output::table(&[
        "B less A, over seeds",
        "seeds",
        "mean",
        "95 % +-",
        "below 0",
        "above 0",
    ]);
    for (name, over) in &comparison.over_seeds.0 {
        let number = |x: Option<f64>| shown(x.map(Value::from).as_ref());
        let OverSeeds {
            seeds, mean, ci95, ..
        } = over;
        // A share of sessions is no difference: it has no sign.
        let is_share = name.ends_with("sooner_in_b") || name.ends_with("later_in_b");
        let count = |n: usize| {
            if is_share {
                String::new()
            } else {
                n.to_string()
            }
        };
        table.add_row([
            name.clone(),
            seeds.to_string(),
            number(*mean),
            number(*ci95),
            count(over.below_zero),
            count(over.above_zero),
        ]);
    }
    right(&mut table, 1..6);
    let _ = writeln!(text, "{}\n", table.trim_fmt());
}

/// A value with four decimals at most; `n/a` for none.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "n/a".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(n)) if n.is_f64() => {
            let x = n.as_f64().unwrap_or(f64::NAN);
            // Small worths and shares would be 0.0000.
            if x != 0.0 && x.abs() < 1e-3 {
                format!("{x:.3e}")
            } else {
                format!("{x:.4}")
            }
        }
        Some(other) => other.to_string(),
    }
}

fn seconds(s: f64) -> String {
    format!("{s:.6}")
}

fn right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
