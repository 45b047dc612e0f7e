//! A race for people (a table per rate), for programs (JSON) and for spreadsheets (CSV).

use std::fmt::Write as _;

use comfy_table::CellAlignment;
use serde::Serialize;

use super::{Estimate, PolicyReport, RateReport};
use crate::cli::Format;
use crate::estimate::plus_minus;
use crate::output;
use crate::run::Plan;

/// The race as text for stdout.
///
/// # Errors
/// If a report cannot be written down, which none does.
pub(super) fn print(rates: &[RateReport], plan: &Plan) -> anyhow::Result<String> {
    match plan.format {
        Format::Table => Ok(tables(rates, plan)),
        Format::Csv => csv(rates),
        Format::Json => {
            #[derive(Serialize)]
            struct Rates<'a> {
                rates: &'a [RateReport],
            }
            let mut text = serde_json::to_string_pretty(&Rates { rates })?;
            text.push('\n');
            Ok(text)
        }
    }
}

/// One row per rate and policy: name by name the mean and the ends of its interval.
fn csv(rates: &[RateReport]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // A policy whose every seed failed has no names.
    let mut policies = rates.iter().flat_map(|r| &r.policies);
    let complete = policies.find(|p| !p.estimates.is_empty());
    let names: Vec<&str> = complete
        .map(|p| p.estimates.iter().map(|e| e.name.as_str()).collect())
        .unwrap_or_default();
    let mut head: Vec<String> = ["rate_per_s", "policy", "seeds", "failed_seeds"]
        .map(String::from)
        .to_vec();
    head.extend(["offered", "completed"].map(String::from));
    for name in names.iter().copied().chain(["mean_over_mars"]) {
        head.extend(["mean", "low", "high"].map(|part| format!("{name}.{part}")));
    }
    writer.write_record(&head)?;
    for rate in rates {
        for policy in &rate.policies {
            let mut row = vec![rate.rate_per_s.to_string(), policy.policy.clone()];
            row.push(seeds(policy).to_string());
            row.push(policy.failed_seeds.to_string());
            row.push(policy.offered.to_string());
            row.push(policy.completed.map_or_else(na, |n| n.to_string()));
            let estimates = names.iter().map(|name| estimate(policy, name));
            for e in estimates.chain([policy.mean_over_mars]) {
                row.extend([e.mean, e.low, e.high].map(|x| match x {
                    Some(x) => x.to_string(),
                    None => na(),
                }));
            }
            writer.write_record(&row)?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn na() -> String {
    "n/a".to_owned()
}

fn estimate(policy: &PolicyReport, name: &str) -> Estimate {
    let found = policy.estimates.iter().find(|e| e.name == name);
    found.map_or_else(Estimate::default, |e| e.estimate)
}

/// Seeds that went into the numbers.
fn seeds(policy: &PolicyReport) -> usize {
    policy.estimates.first().map_or(0, |e| e.estimate.n)
}

fn tables(rates: &[RateReport], plan: &Plan) -> String {
    let mut text = String::new();
    let alphas: Vec<&str> = plan.alphas.iter().map(|a| a.text.as_str()).collect();
    for rate in rates {
        let _ = writeln!(
            text,
            "{}, {} sessions/s, {} seeds of {} sessions; mean over seeds +- half its 95 % interval",
            plan.workload.name,
            rate.rate_per_s,
            plan.seeds.len(),
            plan.sessions
        );
        let _ = writeln!(text, "{}", table(rate, &alphas).trim_fmt());
        if let Some(best) = &rate.best_baseline {
            let _ = writeln!(
                text,
                "Best baseline: {}, {} x mars.",
                best.policy,
                interval(best.mean_over_mars)
            );
        }
        for p in &rate.policies {
            if p.failed_seeds > 0 {
                let _ = writeln!(
                    text,
                    "{}: {} of {} seeds failed and are in no number.",
                    p.policy,
                    p.failed_seeds,
                    plan.seeds.len()
                );
            }
            if let Some(completed) = p.completed.filter(|&completed| completed < p.offered) {
                let _ = writeln!(
                    text,
                    "{}: {} of {} offered sessions did not complete; latencies are of the others.",
                    p.policy,
                    p.offered - completed,
                    p.offered
                );
            }
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "Latency in s: arrival to completion. G(a): sessions within a x their time alone, per 1000 s \
         of makespan.\nhits: prompt tokens found in KV, %. x mars: mean latency over that of mars on \
         the same draws, geometric mean\nover seeds and its 95 % interval; above 1 mars is faster. \
         Intervals are Student's t."
    );
    text
}

fn table(rate: &RateReport, alphas: &[&str]) -> comfy_table::Table {
    let mut header: Vec<String> = ["policy", "seeds", "mean", "P90", "P95"]
        .map(String::from)
        .to_vec();
    header.extend(alphas.iter().map(|a| format!("G({a})")));
    header.extend(["hits", "x mars"].map(String::from));
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = output::table(&names);
    for p in &rate.policies {
        let mut row = vec![p.policy.clone(), seeds(p).to_string()];
        for part in ["mean", "p90", "p95"] {
            row.push(plus_minus(
                estimate(p, &format!("latency_s.{part}")),
                1.0,
                0,
            ));
        }
        for alpha in alphas {
            // Per 1000 s: goodput near 0.05 per second has its digits behind the comma.
            let goodput = estimate(p, &format!("goodput_per_s.{alpha}"));
            row.push(plus_minus(goodput, 1000.0, 1));
        }
        row.push(plus_minus(estimate(p, "prefix_hit_rate"), 100.0, 1));
        row.push(interval(p.mean_over_mars));
        table.add_row(row);
    }
    for column in 1..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// `1.52 (1.31 to 1.76)`; without an interval the ratio alone.
fn interval(e: Estimate) -> String {
    match (e.mean, e.low, e.high) {
        (Some(mean), Some(low), Some(high)) => format!("{mean:.2} ({low:.2} to {high:.2})"),
        (Some(mean), _, _) => format!("{mean:.2}"),
        (None, _, _) => "n/a".to_owned(),
    }
}
