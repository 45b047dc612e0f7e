//! Capacities for people, for programs and for spreadsheets.

use std::fmt::Write as _;

use comfy_table::CellAlignment;

use super::candidates::Candidates;
use super::{Capacities, Capacity, Point};
use crate::cli::Format;
use crate::estimate::plus_minus;
use crate::output;
use crate::run::Plan;

/// The text for stdout. CSV has a row per candidate tried, the others what they come to as well.
///
/// # Errors
/// If something cannot be written down, which nothing is.
pub fn print(found: &Capacities, format: Format) -> anyhow::Result<String> {
    match format {
        Format::Json => Ok(format!("{}\n", serde_json::to_string_pretty(found)?)),
        Format::Csv => csv(found),
        Format::Table => Ok(tables(found)),
    }
}

/// A line on what was just tried.
pub fn tried(
    plan: &Plan,
    policy: usize,
    alpha: usize,
    point: &Point,
    candidates: &Candidates,
) -> String {
    format!(
        "{}: {} {}: attainment({}) {} %, {} (of {} candidates)",
        plan.policies[policy].name,
        point.value,
        candidates.unit(),
        plan.alphas[alpha].text,
        plus_minus(point.attainment, 100.0, 1),
        if point.meets { "meets" } else { "misses" },
        candidates.count()
    )
}

fn csv(found: &Capacities) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut head: Vec<String> = ["policy", "alpha", "capacity", found.knob, "meets", "seeds"]
        .map(str::to_owned)
        .to_vec();
    for name in ["attainment", "goodput_per_s", "latency_s.mean"] {
        head.extend(["mean", "low", "high"].map(|part| format!("{name}.{part}")));
    }
    writer.write_record(&head)?;
    for capacity in &found.capacities {
        for point in &capacity.points {
            let mut row = vec![
                capacity.policy.clone(),
                capacity.alpha.clone(),
                number(capacity.capacity),
                point.value.to_string(),
                point.meets.to_string(),
                point.attainment.n.to_string(),
            ];
            for e in [point.attainment, point.goodput_per_s, point.latency_mean_s] {
                row.extend([e.mean, e.low, e.high].map(number));
            }
            writer.write_record(&row)?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".to_owned(), |x| x.to_string())
}

fn tables(found: &Capacities) -> String {
    let mut text = String::new();
    let header = [
        "policy",
        "alpha",
        "capacity",
        "attainment (%)",
        "goodput (per 1000 s)",
        "misses at",
        "attainment (%)",
    ];
    let mut table = output::table(&header);
    for capacity in &found.capacities {
        let at = |value: Option<f64>| {
            let same = |p: &&Point| Some(p.value) == value;
            capacity.points.iter().find(same)
        };
        let share = |point: Option<&Point>| {
            point.map_or_else(|| "n/a".to_owned(), |p| plus_minus(p.attainment, 100.0, 1))
        };
        let (last, next) = (at(capacity.capacity), at(capacity.next));
        table.add_row([
            capacity.policy.clone(),
            capacity.alpha.clone(),
            number(capacity.capacity),
            share(last),
            last.map_or_else(
                || "n/a".to_owned(),
                |p| plus_minus(p.goodput_per_s, 1000.0, 1),
            ),
            number(capacity.next),
            share(next),
        ]);
    }
    for column in 1..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let _ = writeln!(
        text,
        "Capacity: {} with attainment >= {} % ({} over {} seeds, {} sessions each)",
        what(found.knob),
        found.target * 100.0,
        if found.judged_by == "low" {
            "lower end of the 95 % interval"
        } else {
            "mean"
        },
        found.seeds.len(),
        found.sessions
    );
    let _ = writeln!(text, "{}\n", table.trim_fmt());
    for capacity in &found.capacities {
        text.push_str(&remark(capacity, found.unit));
    }
    let _ = writeln!(
        text,
        "+- is half the 95 % interval over seeds (Student's t). Attainment is not monotone near \
         saturation: the\ncapacity and all easier candidates that were tried meet the target, and the \
         next one misses it; `--scan`\ntries all {}, `--format csv` has every candidate tried.",
        found.candidates
    );
    text
}

fn what(knob: &str) -> &'static str {
    match knob {
        "rate" => "highest rate, sessions/s,",
        "tool-cores" => "fewest tool cores",
        _ => "fewest KV blocks",
    }
}

/// What the row does not say.
fn remark(capacity: &Capacity, unit: &str) -> String {
    let who = format!("{}, alpha {}", capacity.policy, capacity.alpha);
    match (capacity.capacity, capacity.next) {
        (None, _) => format!("{who}: even the easiest candidate misses the target.\n"),
        (Some(_), None) => format!(
            "{who}: even the hardest candidate meets the target; the capacity may be beyond it.\n"
        ),
        (Some(_), Some(next)) if !capacity.beyond.is_empty() => {
            let beyond: Vec<String> = capacity.beyond.iter().map(f64::to_string).collect();
            format!(
                "{who}: not monotone: missed at {next} {unit}, and met again at {}.\n",
                beyond.join(", ")
            )
        }
        _ => String::new(),
    }
}
