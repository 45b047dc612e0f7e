//! `manifest.json`: what a run was, in full. Written last, so its presence means "complete".
//!
//! Limits: that of a simulation holds nothing of the machine or the hour, so the same run gives the same
//! bytes. That of a real run says on what it ran and how long it took.

use serde_json::{Value, json};

use super::directory::Written;
use super::plan::Plan;
use super::recorder::Rows;
use crate::SEMANTICS;
use crate::report::RunReport;
use sim::world::Summary;
use units::Time;

/// One run of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// Index of the policy.
    pub policy: usize,
    /// Sessions per second.
    pub rate_per_s: f64,
    /// Seed.
    pub seed: u64,
}

/// What a run directory holds beside its manifest.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Rows of each file.
    pub rows: Rows,
    /// The files.
    pub files: Vec<Written>,
}

/// What only a run on a real machine has to say; never the same twice.
#[derive(Clone, Debug)]
pub struct RealRun {
    /// Seconds that it took.
    pub wall_s: f64,
    /// What happened.
    pub values: Value,
}

/// Everything that can change a number of the run's files, and which files there are.
pub fn config(plan: &Plan, case: Case) -> Value {
    let alphas: Vec<&str> = plan.alphas.iter().map(|a| a.text.as_str()).collect();
    let policy = &plan.policies[case.policy];
    let mut config = json!({
        "semantics": SEMANTICS,
        "policy": policy.name,
        "policy_toml": policy.toml(),
        "trace_blake3": plan.workload.digest,
        "rate_per_s": case.rate_per_s,
        "arrivals": plan.arrivals.to_string(),
        "sessions": plan.sessions,
        "seed": case.seed,
        "alphas": alphas,
        "decisions": plan.decisions() && policy.limit().is_none(),
        "alpha1_tolerance": plan.tolerance,
        "machine": plan.real.as_ref().map_or_else(|| plan.machine.config(), |real| (**real).clone()),
    });
    if let (Some(limit), Some(config)) = (policy.limit(), config.as_object_mut()) {
        config.insert("limit".to_owned(), json!(limit.name()));
    }
    if let (Some(wanted), None, Some(config)) =
        (plan.perfetto, policy.limit(), config.as_object_mut())
    {
        let to = (wanted.to < Time::NEVER).then(|| wanted.to.as_secs());
        let wanted = json!({
            "from_s": wanted.from.as_secs(), "to_s": to, "limit_bytes": wanted.limit,
        });
        config.insert("perfetto".to_owned(), wanted);
    }
    config
}

/// What identifies a run: BLAKE3 of its [`config`], which holds the trace's digest and the semantics
/// version.
pub fn digest(plan: &Plan, case: Case) -> blake3::Hash {
    digest_of(&config(plan, case))
}

/// BLAKE3 of a configuration's text: no spaces, keys sorted, whatever order they were written in.
pub fn digest_of(config: &Value) -> blake3::Hash {
    let mut text = String::new();
    canonical(config, &mut text);
    blake3::hash(text.as_bytes())
}

fn canonical(value: &Value, text: &mut String) {
    let list = |open, close, items: Vec<String>, text: &mut String| {
        text.push(open);
        text.push_str(&items.join(","));
        text.push(close);
    };
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let item = |(key, value): (&String, &Value)| {
                let mut item = format!("{}:", Value::from(key.as_str()));
                canonical(value, &mut item);
                item
            };
            list('{', '}', entries.into_iter().map(item).collect(), text);
        }
        Value::Array(values) => {
            let item = |value| {
                let mut item = String::new();
                canonical(value, &mut item);
                item
            };
            list('[', ']', values.iter().map(item).collect(), text);
        }
        other => text.push_str(&other.to_string()),
    }
}

/// The name of the run's directory: policy, rate, seed and the first 12 digits of its [`digest`].
pub fn name(plan: &Plan, case: Case) -> String {
    let digest = digest(plan, case).to_hex();
    let policy = super::directory::plain_name(&plan.policies[case.policy].name);
    format!(
        "{policy}-r{}-s{}-{}",
        case.rate_per_s,
        case.seed,
        &digest[..12]
    )
}

/// The manifest of a run that came to `report`.
///
/// # Errors
/// If a report cannot be written down, which none does.
pub fn manifest(
    plan: &Plan,
    case: Case,
    summary: &Summary,
    report: &RunReport,
    kept: &Kept,
    real: Option<&RealRun>,
) -> anyhow::Result<String> {
    let mut totals = totals_of(report)?;
    if let Some(totals) = totals.as_object_mut() {
        if let Some(real) = real {
            totals.insert("wall_s".to_owned(), json!(real.wall_s));
            totals.insert("real".to_owned(), real.values.clone());
        }
        totals.insert("steps".to_owned(), json!(summary.counters.steps));
        totals.insert("prompt_tokens".to_owned(), json!(summary.counters.prompt));
        totals.insert("hit_tokens".to_owned(), json!(summary.counters.hit));
        totals.insert(
            "output_tokens".to_owned(),
            json!(summary.counters.generated),
        );
        totals.insert(
            "scheduled_tokens".to_owned(),
            json!(summary.counters.scheduled),
        );
        totals.insert("evicted_blocks".to_owned(), json!(summary.counters.evicted));
        totals.insert("tool_calls".to_owned(), json!(summary.tool_calls));
        totals.insert(
            "tool_elapsed_s".to_owned(),
            json!(summary.tool_elapsed.as_secs()),
        );
        totals.insert(
            "tool_alone_s".to_owned(),
            json!(summary.tool_alone.as_secs()),
        );
    }
    text(plan, case, kept, &totals)
}

/// The manifest of a limit; `bound` has the parts of a bound.
///
/// # Errors
/// If a report cannot be written down, which none does.
pub fn of_limit(
    plan: &Plan,
    case: Case,
    report: &RunReport,
    kept: &Kept,
    bound: &Value,
) -> anyhow::Result<String> {
    let mut totals = totals_of(report)?;
    if let Some(totals) = totals.as_object_mut().filter(|_| !bound.is_null()) {
        totals.insert("bound".to_owned(), bound.clone());
    }
    text(plan, case, kept, &totals)
}

fn totals_of(report: &RunReport) -> anyhow::Result<Value> {
    let mut totals = serde_json::to_value(report)?;
    if let Some(totals) = totals.as_object_mut() {
        // Not a property of the run but of the computer and the moment.
        totals.remove("sim_wall_s");
    }
    Ok(totals)
}

fn text(plan: &Plan, case: Case, kept: &Kept, totals: &Value) -> anyhow::Result<String> {
    let in_file = plan.workload.sessions.len();
    let header = &plan.workload.header;
    let manifest = json!({
        "orrery_manifest": 1,
        "name": name(plan, case),
        "config": config(plan, case),
        "workload": {
            "name": plan.workload.name,
            "source": header.source,
            "license": header.license,
            "note": header.note,
            "blake3": plan.workload.digest,
            "sessions_in_file": in_file,
            "sessions_offered_at_most": plan.sessions,
            "cycles_through_the_file": plan.sessions.div_ceil(in_file.max(1)),
            "order": if plan.recorded.is_some() {
                "as recorded, by arrival"
            } else {
                "drawn for each cycle from the random stream (seed, session_order, cycle)"
            },
            "numbers_in_file": plan.workload.evidence,
            "sessions_dropped": plan.workload.dropped.count,
            "dropped_because": plan.workload.dropped.because,
        },
        "hardware_evidence": if plan.real.is_some() { Value::Null } else { plan.machine.evidence() },
        "definitions": {
            "latency_s": "arrival to completion, over completed sessions",
            "ttft_s": "prompt ready to first token, over turns that ended",
            "t_ideal_s": if plan.real.is_some() {
                "measured latency alone on this machine under preset fcfs, once a session; null if not measured"
            } else {
                "latency alone on this machine under preset fcfs; own context warm, shared prefix cold"
            },
            "goodput_per_s": "sessions with latency <= alpha * T_ideal per second of makespan; from alpha 1 up, at least 1 + alpha1_tolerance",
            "attainment": "that count over sessions offered",
            "percentiles": "linear between order statistics, rank p * (n - 1)",
            "isolated": "limit: every session on a machine of its own from its arrival on; nothing is scheduled, so engine counters are null",
            "bound": "limit: a mean latency that no policy can go below on this load; nothing else of it exists",
            "makespan_s": "start to last completion; to the horizon if sessions were open then",
        },
        "rows": kept.rows,
        "files": kept.files,
        "totals": totals,
    });
    let mut text = serde_json::to_string_pretty(&manifest)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest is that of a text which other programs can make too.
    #[test]
    fn the_digest_is_of_sorted_keys_without_spaces() {
        let value: Value =
            serde_json::from_str(r#" {"b": [1, 2.5, null], "a": {"z": "x\"y", "c": true}} "#)
                .unwrap();
        let text = r#"{"a":{"c":true,"z":"x\"y"},"b":[1,2.5,null]}"#;
        assert_eq!(digest_of(&value), blake3::hash(text.as_bytes()));
    }
}
