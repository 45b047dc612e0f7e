//! The timeline: well formed, nested, in order, and true to the run's own numbers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{folder, names, run, succeed};

/// The one run below the folder: its timeline and its manifest.
fn read(out: &Path) -> (Value, Value) {
    let all = names(out);
    assert_eq!(all.len(), 1, "{all:?}");
    let json = |name: &str| {
        let text = fs::read_to_string(out.join(&all[0]).join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    (json("perfetto.json"), json("manifest.json"))
}

fn micros(event: &Value, key: &str) -> f64 {
    event[key]
        .as_f64()
        .unwrap_or_else(|| panic!("no `{key}`: {event}"))
}

/// Slices of sessions that were begun and ended: name, begin and end in microseconds, by depth.
fn slices(events: &[Value]) -> BTreeMap<usize, Vec<(String, f64, f64)>> {
    let mut open: BTreeMap<u64, Vec<(String, f64)>> = BTreeMap::new();
    let mut closed: BTreeMap<usize, Vec<(String, f64, f64)>> = BTreeMap::new();
    for event in events {
        let at = || micros(event, "ts");
        let name = || event["name"].as_str().unwrap().to_owned();
        let stack = |event: &Value| event["id"].as_u64().unwrap();
        match event["ph"].as_str().unwrap() {
            "b" => open.entry(stack(event)).or_default().push((name(), at())),
            "e" => {
                let stack = open.get_mut(&stack(event)).expect("it began");
                let (begun, from) = stack.pop().expect("it began");
                assert_eq!(begun, name(), "what began last ends first");
                assert!(from < at(), "{event}");
                closed
                    .entry(stack.len())
                    .or_default()
                    .push((begun, from, at()));
            }
            _ => {}
        }
    }
    assert!(open.values().all(Vec::is_empty), "something never ends");
    closed
}

fn check_order(events: &[Value]) {
    let mut last = 0.0;
    let mut step_ends = 0.0;
    for event in events {
        let at = micros(event, "ts");
        assert!(at >= last, "time goes back: {event}");
        last = at;
        if event["ph"] == "X" {
            assert!(at >= step_ends - 1e-6, "two steps at once: {event}");
            step_ends = at + micros(event, "dur");
        }
    }
}

#[test]
fn a_timeline_is_nested_in_order_and_true_to_the_run() {
    let at = folder();
    // A pool so small that turns are preempted.
    let args = [
        "run",
        "--perfetto",
        "--policy",
        "mars",
        "--rate",
        "0.5",
        "--sessions",
        "12",
        "--tool-cores",
        "2",
        "--set",
        "engine.kv_blocks=2400",
        "--quiet",
        "--format",
        "json",
    ];
    let ran = succeed(at.path(), &args);
    let (timeline, manifest) = read(&at.path().join("runs/run"));
    let events = timeline["traceEvents"].as_array().unwrap();
    check_order(events);
    let closed = slices(events);
    let totals = &manifest["totals"];
    let count = |ph: &str| events.iter().filter(|e| e["ph"] == ph).count();
    assert_eq!(
        count("X"),
        usize::try_from(totals["steps"].as_u64().unwrap()).unwrap()
    );
    let completed = closed[&0].len();
    assert_eq!(completed as u64, totals["completed"].as_u64().unwrap());
    let turns = closed[&1]
        .iter()
        .filter(|(name, ..)| name.starts_with("turn "));
    assert_eq!(
        turns.count() as u64,
        manifest["rows"]["turns"].as_u64().unwrap()
    );
    let sum = |depth: usize, wanted: &dyn Fn(&str) -> bool| {
        let of = closed[&depth].iter().filter(|(name, ..)| wanted(name));
        of.map(|(_, from, to)| (to - from) / 1e6).sum::<f64>()
    };
    // All of a session's time is waiting for admission, a turn, or tools; all of a turn's is a part.
    let all = sum(0, &|_| true);
    let latency = ran.runs()[0]["latency_s"]["mean"].as_f64().unwrap();
    let sessions = f64::from(u32::try_from(completed).unwrap());
    assert!((all / sessions - latency).abs() < 1e-6, "{all} {latency}");
    assert!((sum(1, &|_| true) - all).abs() < 1e-4);
    assert!((sum(2, &|_| true) - sum(1, &|name| name.starts_with("turn "))).abs() < 1e-4);
    // Tools took what the run says they took; its tool phases are those with one call each or more.
    assert!(sum(1, &|name| name.starts_with("tools: ")) > 0.0);
    let preempted = closed[&2]
        .iter()
        .filter(|(name, ..)| name == "preempted")
        .count();
    assert_eq!(preempted as u64, totals["preemptions"].as_u64().unwrap());
    assert!(preempted > 0, "the pool was to be too small");
    // The pool's blocks are all accounted for, in every sample.
    let usable = manifest["config"]["machine"]["engine"]["usable_blocks"]
        .as_u64()
        .unwrap();
    let pool: Vec<u64> = events
        .iter()
        .filter(|e| e["name"] == "KV blocks")
        .map(|e| {
            e["args"]
                .as_object()
                .unwrap()
                .values()
                .map(|v| v.as_u64().unwrap())
                .sum()
        })
        .collect();
    assert_eq!(
        pool.len() as u64,
        manifest["rows"]["samples"].as_u64().unwrap()
    );
    assert!(pool.iter().all(|blocks| *blocks == usable));
    for counter in ["backlog", "turns", "tools", "sessions", "admission window"] {
        assert!(
            events
                .iter()
                .any(|e| e["ph"] == "C" && e["name"] == counter),
            "{counter}"
        );
    }
}

#[test]
fn a_part_and_a_limit_keep_it_well_formed() {
    let at = folder();
    let run_ = |out: &str, more: &[&str]| {
        let args = [
            "run",
            "--perfetto",
            "--policy",
            "fcfs",
            "--rate",
            "0.2",
            "--sessions",
            "30",
            "--out",
            out,
        ];
        succeed(at.path(), &[&args[..], more].concat())
    };
    run_("part", &["--perfetto-range", "20..40.5", "--quiet"]);
    let (part, _) = read(&at.path().join("part"));
    let events = part["traceEvents"].as_array().unwrap();
    check_order(events);
    assert!(!slices(events).is_empty());
    let timed: Vec<&Value> = events.iter().filter(|e| e["ph"] != "M").collect();
    assert!(
        timed
            .iter()
            .all(|e| (20e6..=40.5e6).contains(&micros(e, "ts")))
    );
    let ends = timed
        .iter()
        .filter(|e| e["ph"] == "X")
        .map(|e| micros(e, "ts") + micros(e, "dur"));
    assert!(ends.fold(0.0, f64::max) <= 40.5e6 + 1e-3);
    let ran = run_("small", &["--perfetto-limit", "1"]);
    assert!(
        ran.stderr.contains("s for its size (`--perfetto-limit`"),
        "{}",
        ran.stderr
    );
    let (small, manifest) = read(&at.path().join("small"));
    let cut = small["otherData"]["cut_for_its_size_at_s"]
        .as_f64()
        .unwrap();
    let events = small["traceEvents"].as_array().unwrap();
    check_order(events);
    slices(events);
    assert!(events.iter().all(|e| micros(e, "ts") <= cut * 1e6 + 1e-3));
    let files = manifest["files"].as_array().unwrap();
    let bytes = files.iter().find(|f| f["name"] == "perfetto.json").unwrap()["bytes"].as_u64();
    let mib = 1 << 20;
    assert!(
        (mib / 2..mib * 5 / 4).contains(&bytes.unwrap()),
        "{bytes:?}"
    );
    let bad = run(
        at.path(),
        &["run", "--perfetto", "--perfetto-range", "5..4"],
    );
    assert_eq!(bad.code, Some(2));
    assert!(
        bad.stderr
            .contains("`--perfetto-range` is `5..4` (wanted: FROM..TO"),
        "{}",
        bad.stderr
    );
}
