//! `orrery compare` and the decision log it reads.

use std::fs;
use std::path::Path;

use crate::support::{folder, names, run, succeed};

const LOAD: [&str; 7] = [
    "run",
    "--quiet",
    "--sessions",
    "30",
    "--set",
    "engine.kv_blocks=6000",
    "--rate",
];

/// Runs the small load at this rate into `out`.
fn load(at: &Path, rate: &str, out: &str, more: &[&str]) -> Vec<String> {
    succeed(at, &[&LOAD[..], &[rate, "--out", out], more].concat());
    let names = names(&at.join(out)).into_iter();
    names.map(|name| format!("{out}/{name}")).collect()
}

fn compare(at: &Path, args: &[&str]) -> serde_json::Value {
    let all = [&["compare", "--format", "json"], args].concat();
    succeed(at, &all).json()
}

/// `orrery compare` with these arguments, which must be refused with these words.
fn refused(at: &Path, args: &[&str], words: &[&str]) {
    let ran = run(at, &[&["compare"], args].concat());
    assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{args:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "no `{word}` in: {}", ran.stderr);
    }
}

#[test]
fn two_policies_part_where_one_pins() {
    let at = folder();
    let runs = load(at.path(), "0.2", "ab", &["--decisions"]);
    assert_eq!(runs.len(), 2);
    let found = compare(at.path(), &["ab"]);
    assert_eq!(found["policy_a"], "fcfs");
    assert_eq!(found["policy_b"], "mars");
    let pair = &found["pairs"][0];
    // The first tool call: nothing else can differ before it.
    let first = &pair["decisions"]["first_difference"];
    assert_eq!(first["a"]["decision"], "release");
    assert_eq!(first["a"]["reason"], "no-retention");
    assert_eq!(first["b"]["decision"], "pin");
    assert_eq!(first["b"]["reason"], "soft-pin");
    assert_eq!(first["a"]["at_ns"], first["b"]["at_ns"]);
    assert_eq!(first["a"]["blocks"], first["b"]["blocks"]);
    // A yield asks for no blocks and has no window: null, not 0.
    assert!(first["b"]["demand_blocks"].is_null());
    assert!(first["b"]["window_sessions"].is_null());
    assert!(first["b"]["tool_wait_s"].is_null());
    assert_eq!(pair["sessions"]["completed_in_both"], 30);
    let quarters = pair["by_size"].as_array().unwrap();
    let sizes = quarters
        .iter()
        .map(|q| q["completed_in_both"].as_u64().unwrap());
    assert_eq!(sizes.sum::<u64>(), 30);
    // What the pairs say must be what the means say.
    let totals = &pair["totals"];
    let paired = pair["sessions"]["mean_s"].as_f64().unwrap();
    let means = totals["latency_s.mean"]["difference"].as_f64().unwrap();
    assert!((paired - means).abs() < 1e-6, "{paired} is not {means}");
    assert!(totals["goodput_per_s.2"]["a"].is_number());
    // One run is one observation.
    assert!(found["over_seeds"]["paired_latency_mean_s"]["ci95"].is_null());

    // The other way round every difference has the other sign.
    let back = compare(at.path(), &[&runs[1], &runs[0]]);
    let mean = back["pairs"][0]["sessions"]["mean_s"].as_f64().unwrap();
    assert!((mean + paired).abs() < 1e-9);

    let table = succeed(at.path(), &["compare", "ab"]).stdout;
    for word in [
        "no-retention",
        "soft-pin",
        "kv_pressure",
        "admission",
        "not independent",
    ] {
        assert!(table.contains(word), "no `{word}` in {table}");
    }
    let csv = succeed(at.path(), &["compare", "ab", "--format", "csv"]).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("policy_a,policy_b,workload,rate_per_s,seed,"));
    assert!(lines[1].starts_with("fcfs,mars,bundled,0.2,1,"));
    assert!(lines[0].contains(",by_size.4.mean_s,"));
}

#[test]
fn a_run_is_the_same_as_itself() {
    let at = folder();
    let runs = load(at.path(), "0.2", "ab", &["--decisions", "--policy", "mars"]);
    let found = compare(at.path(), &[&runs[0], &runs[0]]);
    let pair = &found["pairs"][0];
    assert!(pair["decisions"]["first_difference"].is_null());
    assert!(pair["decisions"]["in_a"].as_u64() > Some(100));
    for name in ["mean_s", "median_s", "sooner_in_b", "later_in_b"] {
        assert_eq!(pair["sessions"][name], 0.0, "{name}");
    }
    assert_eq!(pair["totals"]["preemptions"]["difference"], 0);
    let table = succeed(at.path(), &["compare", &runs[0], &runs[0]]).stdout;
    assert!(table.contains("No difference: the same "), "{table}");
}

#[test]
fn the_log_changes_nothing_else_and_threads_change_nothing_in_it() {
    let at = folder();
    let path = at.path();
    let policies = "fcfs,mars,infercept-swap,continuum,concur,thunderagent";
    let args = |threads| ["--policy", policies, "--threads", threads];
    let plain = load(path, "0.3", "plain", &args("2"));
    let one = load(
        path,
        "0.3",
        "one",
        &[&args("1")[..], &["--decisions"]].concat(),
    );
    let two = load(
        path,
        "0.3",
        "two",
        &[&args("2")[..], &["--decisions"]].concat(),
    );
    assert_eq!(plain.len(), 6);
    let bytes = |run: &str, file: &str| fs::read(path.join(run).join(file)).unwrap();
    for ((plain, one), two) in plain.iter().zip(&one).zip(&two) {
        assert_ne!(
            Path::new(plain).file_name(),
            Path::new(one).file_name(),
            "with and without are two directories"
        );
        for file in ["sessions.parquet", "turns.parquet", "samples.parquet"] {
            assert!(bytes(plain, file) == bytes(one, file), "{plain}/{file}");
        }
        assert!(
            bytes(one, "decisions.parquet") == bytes(two, "decisions.parquet"),
            "{one}"
        );
        assert!(!path.join(plain).join("decisions.parquet").exists());
        let manifest: serde_json::Value =
            serde_json::from_slice(&bytes(one, "manifest.json")).unwrap();
        assert!(manifest["rows"]["decisions"].as_u64() > Some(100));
        let manifest: serde_json::Value =
            serde_json::from_slice(&bytes(plain, "manifest.json")).unwrap();
        assert!(manifest["rows"]["decisions"].is_null());
    }
}

#[test]
fn without_a_log_the_cost_is_still_told() {
    let at = folder();
    load(at.path(), "0.2", "ab", &[]);
    let ran = succeed(at.path(), &["compare", "ab"]);
    assert!(
        ran.stdout.contains("First different decision: n/a"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("prefix_hit_rate"), "{}", ran.stdout);
    assert!(ran.stderr.contains("--decisions"), "{}", ran.stderr);
    // Logged later into the same folder: the runs with the log are meant.
    load(at.path(), "0.2", "ab", &["--decisions"]);
    let found = compare(at.path(), &["ab"]);
    assert!(found["pairs"][0]["decisions"]["first_difference"].is_object());
}

#[test]
fn over_seeds_there_is_an_interval() {
    let at = folder();
    load(at.path(), "0.2", "seeds", &["--seed", "1,2,3"]);
    let found = compare(at.path(), &["seeds"]);
    let pairs = found["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 3);
    let over = &found["over_seeds"]["paired_latency_mean_s"];
    assert_eq!(over["seeds"], 3);
    assert!(over["ci95"].as_f64() > Some(0.0));
    let means = pairs
        .iter()
        .map(|p| p["sessions"]["mean_s"].as_f64().unwrap());
    let mean = means.sum::<f64>() / 3.0;
    assert!((over["mean"].as_f64().unwrap() - mean).abs() < 1e-9);
    // The same from a folder per policy.
    load(
        at.path(),
        "0.2",
        "fcfs",
        &["--seed", "1,2,3", "--policy", "fcfs"],
    );
    load(
        at.path(),
        "0.2",
        "mars",
        &["--seed", "1,2,3", "--policy", "mars"],
    );
    assert_eq!(compare(at.path(), &["fcfs", "mars"]), found);
    load(
        at.path(),
        "0.2",
        "more",
        &["--seed", "3,4", "--policy", "mars"],
    );
    refused(
        at.path(),
        &["fcfs", "more"],
        &["A has 1, 2, 3, B has 3, 4", "hint: `--anyway`"],
    );
}

#[test]
fn what_cannot_be_compared_says_why() {
    let at = folder();
    let path = at.path();
    let a = load(path, "0.2", "a", &[]);
    let b = load(path, "0.3", "b", &["--seed", "2", "--tool-cores", "16"]);
    refused(path, &["none"], &["cannot open run directory `none`"]);
    fs::create_dir(path.join("empty")).unwrap();
    refused(
        path,
        &["empty", &a[0]],
        &["`empty` is not a run directory", "hint: "],
    );
    refused(path, &[&a[0]], &["is one run (wanted: two)", "hint: "]);
    fs::create_dir(path.join("odd")).unwrap();
    fs::write(path.join("odd/manifest.json"), "{}").unwrap();
    refused(
        path,
        &["odd", &a[0]],
        &["odd/manifest.json", "orrery_manifest"],
    );
    refused(
        path,
        &[&a[0], &b[0]],
        &[
            "do not replay the same load",
            "`rate_per_s` is 0.2 in A and 0.3 in B",
            "`seed` is 1 in A and 2 in B",
            "`machine.tools.cores` is 8 in A and 16 in B",
            "hint: `--anyway`",
        ],
    );
    let ran = succeed(path, &["compare", "--anyway", &a[0], &b[0]]);
    assert!(
        ran.stderr
            .starts_with("warning: the loads or machines differ"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.contains("are not in both"), "{}", ran.stdout);
    load(path, "0.2", "three", &["--policy", "fcfs,mars,continuum"]);
    refused(
        path,
        &["three"],
        &["holds 3 runs of continuum, fcfs, mars", "hint: "],
    );
    load(path, "0.2", "rates", &["--policy", "fcfs"]);
    load(path, "0.3", "rates", &["--policy", "fcfs"]);
    refused(path, &["rates", &a[1]], &["several runs of one seed"]);
    // A run that was cut off while it was copied.
    let broken = path.join(&a[1]).join("sessions.parquet");
    fs::write(&broken, "PAR1").unwrap();
    refused(path, &[&a[0], &a[1]], &["cannot read", "sessions.parquet"]);
}
