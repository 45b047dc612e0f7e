//! `orrery race` on a trace whose every number is known by hand.
//!
//! Three sessions at one per second never meet (see `numbers`): each takes 319.558 ms whatever the
//! policy, the seed and the order, so every interval has no width and every ratio is 1.

use std::path::Path;

use serde_json::Value;

use crate::support::{Ran, folder, names, run, succeed, trace, two_turns};

fn race(at: &Path, more: &[&str]) -> Ran {
    trace(at, "three.jsonl", &["a", "b", "c"].map(two_turns));
    let mut args = vec![
        "race",
        "--workload",
        "three.jsonl",
        "--sessions",
        "3",
        "--rate",
        "1,0.5",
        "--arrivals",
        "fixed",
        "--seed",
        "1,2,3",
        "--gpu",
        "h100-sxm",
        "--set",
        "host.per_step_ms=0",
        "--set",
        "host.per_running_us=0",
        "--alpha",
        "2",
    ];
    args.extend(more);
    succeed(at, &args)
}

fn estimate<'a>(policy: &'a Value, name: &str) -> &'a Value {
    let all = policy["estimates"].as_array().expect("a list");
    all.iter()
        .find(|e| e["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {policy}"))
}

fn is(estimate: &Value, wanted: f64) {
    assert_eq!(estimate["n"], 3);
    for part in ["mean", "low", "high"] {
        let got = estimate[part].as_f64().unwrap_or(f64::NAN);
        assert!((got - wanted).abs() < 1e-9, "{estimate} is not {wanted}");
    }
}

#[test]
fn every_preset_races_and_the_numbers_are_as_by_hand() {
    let at = folder();
    let ran = race(at.path(), &["--format", "json"]);
    let json = ran.json();
    let rates = json["rates"].as_array().expect("a list");
    assert_eq!(rates.len(), 2);
    let makespans = [2.319_558, 4.319_558];
    for ((rate, per_s), makespan) in rates.iter().zip([1.0, 0.5]).zip(makespans) {
        assert_eq!(rate["rate_per_s"], per_s);
        is(&rate["isolated_s"], 0.319_558);
        let bound = rate["bound_s"]["mean"].as_f64().expect("a number");
        assert!(bound > 0.0 && bound <= 0.319_558, "{bound}");
        let raced = rate["policies"].as_array().expect("a list");
        assert_eq!(raced.len(), policies::PRESETS.len());
        for policy in raced {
            assert_eq!(policy["failed_seeds"], 0);
            assert_eq!(policy["offered"], 9);
            assert_eq!(policy["completed"], 9);
            for part in ["mean", "p90", "p95"] {
                is(estimate(policy, &format!("latency_s.{part}")), 0.319_558);
            }
            is(estimate(policy, "goodput_per_s.2"), 3.0 / makespan);
            is(estimate(policy, "prefix_hit_rate"), 1600.0 / 3600.0);
            is(&policy["mean_over_mars"], 1.0);
        }
        assert_eq!(rate["best_baseline"]["policy"], "fcfs");
        is(&rate["best_baseline"]["mean_over_mars"], 1.0);
    }
    assert_eq!(names(at.path()), ["three.jsonl"], "no run directories");
}

#[test]
fn table_csv_and_kept_runs() {
    let at = folder();
    let table = race(at.path(), &["--policy", "fcfs,mars", "--quiet"]);
    assert_eq!(table.stderr, "");
    for text in [
        "three.jsonl, 1 sessions/s, 3 seeds of 3 sessions",
        "G(2)",
        "44.4 +- 0.0",
        "Best baseline: fcfs, 1.00 (1.00 to 1.00) x mars.",
    ] {
        assert!(
            table.stdout.contains(text),
            "no `{text}` in {}",
            table.stdout
        );
    }
    let more = ["--policy", "fcfs,mars", "--format", "csv", "--out", "out"];
    let csv = race(at.path(), &more);
    let lines: Vec<&str> = csv.stdout.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].starts_with(
        "rate_per_s,policy,seeds,failed_seeds,offered,completed,latency_s.mean.mean,"
    ));
    assert!(lines[0].ends_with("mean_over_mars.mean,mean_over_mars.low,mean_over_mars.high"));
    assert!(
        lines[1].starts_with("1,fcfs,3,0,9,9,0.319558"),
        "{}",
        lines[1]
    );
    assert_eq!(names(&at.path().join("out")).len(), 2 * 2 * 3);
}

#[test]
fn without_mars_or_with_one_seed_there_is_less_to_say() {
    let at = folder();
    let ran = race(
        at.path(),
        &["--policy", "fcfs", "--seed", "7", "--format", "json"],
    );
    let rate = &ran.json()["rates"][0];
    assert_eq!(rate["best_baseline"], Value::Null);
    let fcfs = &rate["policies"][0];
    assert_eq!(fcfs["mean_over_mars"]["mean"], Value::Null);
    let mean = estimate(fcfs, "latency_s.mean");
    assert_eq!((&mean["n"], &mean["low"]), (&1.into(), &Value::Null));
    let table = race(at.path(), &["--policy", "fcfs", "--seed", "7"]);
    assert!(table.stdout.contains("n/a"), "{}", table.stdout);
}

#[test]
fn bad_input_is_refused_as_by_a_run() {
    let at = folder();
    for (args, words) in [
        (["race", "--rate", "0"], "`--rate` is `0`"),
        (["race", "--policy", "marz"], "did you mean `mars`?"),
        (["race", "--seed", "1,1"], "`--seed` has `1` twice"),
    ] {
        let ran = run(at.path(), &args);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}
