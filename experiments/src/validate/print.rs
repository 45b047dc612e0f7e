//! Printing a validation.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Value, json};
use sim::fidelity::Errors;

use super::Validated;
use crate::cli::Format;
use crate::failure::Failure;
use crate::output::table;

/// The result in this format.
///
/// # Errors
/// If it cannot be written as CSV, which it has no reason not to.
pub(super) fn print(validated: &Validated, format: Format) -> Result<String, Failure> {
    match format {
        Format::Table => Ok(text(validated)),
        Format::Json => {
            let json = serde_json::to_string_pretty(&value(validated));
            Ok(json.context("as JSON").map_err(Failure::bad_input)? + "\n")
        }
        Format::Csv => Ok(csv(validated)),
    }
}

fn figures(validated: &Validated) -> Vec<(&'static str, Errors)> {
    let c = &validated.comparison;
    let tpot = c.tpot.map(|e| ("tpot", e));
    [Some(("ttft", c.ttft)), tpot, Some(("latency", c.latency))]
        .into_iter()
        .flatten()
        .collect()
}

fn percent(share: f64) -> String {
    format!("{:+.2} %", 100.0 * share)
}

fn text(validated: &Validated) -> String {
    let mut rows = table(&[
        "figure",
        "recorded mean (s)",
        "simulated mean (s)",
        "mean",
        "P50",
        "P95",
        "per request",
        "weighted",
    ]);
    for (name, e) in figures(validated) {
        rows.add_row([
            name.to_owned(),
            format!("{:.4}", e.real_mean),
            format!("{:.4}", e.sim_mean),
            percent(e.mean),
            percent(e.p50),
            percent(e.p95),
            format!("{:.2} %", 100.0 * e.per_request),
            format!("{:.2} %", 100.0 * e.weighted),
        ]);
    }
    let counters = &validated.replay.summary.counters;
    let mut text = format!("{rows}\n\n");
    let _ = writeln!(
        text,
        "grade {} ({} requests, {} steps, {} preemptions)",
        validated.comparison.grade().as_str(),
        validated.pairs.len(),
        counters.steps,
        counters.preemptions
    );
    let _ = writeln!(text, "costs: {}", validated.machine.hardware.evidence);
    text
}

fn value(validated: &Validated) -> Value {
    let counters = &validated.replay.summary.counters;
    let mut value = json!({
        "grade": validated.comparison.grade().as_str(),
        "requests": validated.pairs.len(),
        "steps": counters.steps,
        "preemptions": counters.preemptions,
        "machine": validated.machine.config(),
        "evidence": validated.machine.evidence(),
        "notes": validated.notes,
    });
    for (name, e) in figures(validated) {
        value[name] = json!({
            "requests": e.requests,
            "real_mean_s": e.real_mean,
            "sim_mean_s": e.sim_mean,
            "mean_error": e.mean,
            "p50_error": e.p50,
            "p95_error": e.p95,
            "per_request_abs_error": e.per_request,
            "weighted_abs_error": e.weighted,
        });
    }
    value
}

fn csv(validated: &Validated) -> String {
    let mut text = "figure,requests,real_mean_s,sim_mean_s,mean_error,p50_error,p95_error,\
                    per_request_abs_error,weighted_abs_error\n"
        .to_owned();
    for (name, e) in figures(validated) {
        let _ = writeln!(
            text,
            "{name},{},{},{},{},{},{},{},{}",
            e.requests, e.real_mean, e.sim_mean, e.mean, e.p50, e.p95, e.per_request, e.weighted
        );
    }
    text
}
