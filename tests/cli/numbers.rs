//! A small trace with numbers that can be checked by hand, in every format.
//!
//! On an H100 SXM with Qwen3-Coder-30B-A3B a prefill of `n` tokens behind `p` computed ones takes
//! 22.8 + 0.01078 n + 1.199e-6 n (p + n / 2) ms, and the host is set to nothing. The session of
//! `two_turns` alone:
//!
//! - turn 0: 22.8 + 17.248 + 1.199e-6 * 1600 * 800 = 41.58272 ms
//! - tool: 250 ms
//! - turn 1: 100 blocks of 16 are hit, 400 tokens left: 22.8 + 4.312 + 1.199e-6 * 400 * 1800 =
//!   27.97528 ms
//!
//! Together 319.558 ms. At one session per second nobody meets another.

use std::fs::File;
use std::path::Path;

use polars::prelude::{DataFrame, ParquetReader, SerReader};
use serde_json::Value;

use crate::support::{Ran, folder, names, succeed, trace, two_turns};

pub(crate) const KEYS: [&str; 20] = [
    "attainment",
    "completed",
    "evicted_blocks_per_s",
    "goodput_per_s",
    "latency_s",
    "makespan_s",
    "offered",
    "output_tokens_per_s",
    "policy",
    "preemptions",
    "prefix_hit_rate",
    "rate_per_s",
    "recomputed_tokens",
    "rejected",
    "seed",
    "sim_wall_s",
    "tool_stretch",
    "ttft_s",
    "unfinished",
    "workload",
];

pub(crate) fn three(at: &Path, more: &[&str]) -> Ran {
    trace(at, "three.jsonl", &["a", "b", "c"].map(two_turns));
    let mut args = vec![
        "run",
        "--workload",
        "three.jsonl",
        "--sessions",
        "3",
        "--rate",
        "1",
        "--gpu",
        "h100-sxm",
        "--set",
        "host.per_step_ms=0",
        "--set",
        "host.per_running_us=0",
        "--out",
        "out",
        "--format",
        "json",
    ];
    args.extend(more);
    succeed(at, &args)
}

pub(crate) fn close(value: &Value, wanted: f64) {
    let got = value.as_f64().unwrap_or(f64::NAN);
    assert!((got - wanted).abs() < 1e-9, "{value} is not {wanted}");
}

pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn every_number_is_as_by_hand() {
    let at = folder();
    let ran = three(at.path(), &["--alpha", "1,1.5,3"]);
    assert_eq!(keys(&ran.json()), ["runs"]);
    let runs = ran.runs();
    assert_eq!(runs.len(), 2);
    for (run, policy) in runs.iter().zip(["fcfs", "mars"]) {
        assert_eq!(keys(run), KEYS);
        assert_eq!(run["policy"], policy);
        assert_eq!(run["workload"], "three.jsonl");
        assert_eq!((&run["offered"], &run["completed"]), (&3.into(), &3.into()));
        for part in ["mean", "p50", "p90", "p95", "p99"] {
            close(&run["latency_s"][part], 0.319_558);
        }
        close(
            &run["ttft_s"]["mean"],
            f64::midpoint(0.041_582_72, 0.027_975_28),
        );
        // Six turns, three of each: rank 2.5 of the sorted six lies between the two values.
        close(
            &run["ttft_s"]["p50"],
            f64::midpoint(0.041_582_72, 0.027_975_28),
        );
        close(&run["makespan_s"], 2.319_558);
        for alpha in ["1", "1.5", "3"] {
            close(&run["goodput_per_s"][alpha], 3.0 / 2.319_558);
            close(&run["attainment"][alpha], 1.0);
        }
        close(&run["output_tokens_per_s"], 6.0 / 2.319_558);
        close(&run["prefix_hit_rate"], 1600.0 / 3600.0);
        close(&run["tool_stretch"], 1.0);
        assert_eq!(run["preemptions"], 0);
    }
}

#[test]
fn a_horizon_leaves_sessions_offered_and_missed() {
    // The first ends at 0.32 s, the second (from 1 s) would at 1.32 s, the third never arrives.
    let at = folder();
    for run in three(at.path(), &["--horizon", "1.2"]).runs() {
        assert_eq!(run["offered"], 2);
        assert_eq!(run["completed"], 1);
        assert_eq!(run["unfinished"], 1);
        close(&run["makespan_s"], 1.2);
        close(&run["attainment"]["3"], 0.5);
        close(&run["goodput_per_s"]["3"], 1.0 / 1.2);
    }
}

#[test]
fn sessions_larger_than_the_pool_are_rejected() {
    // 2000 tokens need 125 blocks; 101 with the null block leave 100.
    let at = folder();
    for run in three(at.path(), &["--set", "engine.kv_blocks=101"]).runs() {
        assert_eq!(run["offered"], 3);
        assert_eq!(run["rejected"], 3);
        assert_eq!(run["completed"], 0);
        assert_eq!(run["latency_s"]["mean"], Value::Null);
        close(&run["attainment"]["3"], 0.0);
    }
}

#[test]
fn table_and_csv_tell_the_same() {
    let at = folder();
    let table = three(at.path(), &["--format", "table"]);
    for text in [
        "latency P95 (s)",
        "0.32",
        "goodput(1) (sessions/s)",
        "within 1 %",
        "44.4",
    ] {
        assert!(
            table.stdout.contains(text),
            "no `{text}` in {}",
            table.stdout
        );
    }
    let csv = three(at.path(), &["--format", "csv", "--quiet"]);
    assert_eq!(csv.stderr, "");
    let lines: Vec<&str> = csv.stdout.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("latency_s.p95,"));
    assert!(lines[1].starts_with("fcfs,three.jsonl,1,1,3,3,0,0,0.319558"));
}

pub(crate) fn parquet(path: &Path) -> DataFrame {
    let file = File::open(path).expect("a Parquet file");
    ParquetReader::new(file).finish().expect("Parquet")
}

#[test]
fn the_run_directory_has_the_records() {
    let at = folder();
    three(at.path(), &["--policy", "fcfs"]);
    let out = at.path().join("out");
    let [name] = &names(&out)[..] else {
        panic!("one run: {:?}", names(&out));
    };
    assert!(name.starts_with("fcfs-r1-s1-"), "{name}");
    let run = out.join(name);
    assert_eq!(
        names(&run),
        [
            "manifest.json",
            "samples.parquet",
            "sessions.parquet",
            "turns.parquet"
        ]
    );
    let sessions = parquet(&run.join("sessions.parquet"));
    let ideal = sessions.column("t_ideal_ns").unwrap().u64().unwrap();
    assert_eq!(ideal.iter().collect::<Vec<_>>(), [Some(319_558_000); 3]);
    let mut ids: Vec<_> = sessions
        .column("trace_id")
        .unwrap()
        .str()
        .unwrap()
        .iter()
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [Some("a"), Some("b"), Some("c")]);
    // Phases add up to the latency: 69.558 ms of prefill, 250 ms of tool.
    let phase = |name: &str| {
        sessions
            .column(name)
            .unwrap()
            .f64()
            .unwrap()
            .get(0)
            .unwrap()
    };
    assert!((phase("prefill_s") - 0.069_558).abs() < 1e-12);
    assert!((phase("tool_run_s") - 0.25).abs() < 1e-12);
    assert!((phase("latency_s") - 0.319_558).abs() < 1e-12);
    let turns = parquet(&run.join("turns.parquet"));
    assert_eq!(turns.height(), 6);
    // Samples at 0, 1 and 2 s.
    assert_eq!(parquet(&run.join("samples.parquet")).height(), 3);
    let manifest = std::fs::read_to_string(run.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["name"], name.as_str());
    assert_eq!(manifest["rows"]["turns"], 6);
    assert_eq!(manifest["totals"]["completed"], 3);
    assert_eq!(
        manifest["workload"]["numbers_in_file"]["tool_walls"]["recorded"],
        3
    );
}
