//! A sweep: killed and gone on with, on one thread and two, in shards, with runs that fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Ran, folder, names, orrery, run, succeed, trace, two_turns};

/// Sixteen runs of some tens of milliseconds.
const KNEE: &str = r#"
policy = ["fcfs", "mars"]
rate = [0.06, 0.2]
arrivals = "poisson"
sessions = 20
seed = "1-2"
tool_cores = [4, 8]
"#;

fn write(at: &Path, name: &str, text: &str) {
    fs::write(at.join(name), text).unwrap();
}

/// Every file below the folder with its bytes, but the lock and the log, which tells times.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(folder)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                open.push(path);
            } else if name != "log.jsonl" && name != ".lock" {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn assert_same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) {
    let names = |map: &BTreeMap<String, Vec<u8>>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(a), names(b));
    for (name, bytes) in a {
        assert!(b[name] == *bytes, "`{name}` differs");
    }
}

fn finished(out: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(out.join("runs")) else {
        return Vec::new();
    };
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// `(done, before)` of a sweep that went well.
fn counts(ran: &Ran) -> (u64, u64) {
    let counts = &ran.json()["counts"];
    (
        counts["done"].as_u64().unwrap(),
        counts["before"].as_u64().unwrap(),
    )
}

#[cfg(unix)]
#[test]
fn a_killed_sweep_goes_on_where_it_was_and_ends_with_the_same_bytes() {
    let at = folder();
    write(at.path(), "knee.toml", KNEE);
    succeed(
        at.path(),
        &["sweep", "knee.toml", "--out", "whole", "--quiet"],
    );
    let whole = bytes(&at.path().join("whole"));
    let out = at.path().join("cut");
    let args = [
        "sweep",
        "knee.toml",
        "--out",
        "cut",
        "--threads",
        "2",
        "--format",
        "json",
    ];
    // Killed again and again, each time after two more runs, wherever it then is in the others.
    for kills in 1.. {
        let before = finished(&out).len();
        let mut child = orrery(at.path(), &args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while finished(&out).len() < before + 2 && child.try_wait().unwrap().is_none() {
            assert!(
                began.elapsed() < Duration::from_mins(2),
                "no run in two minutes"
            );
            std::thread::sleep(Duration::from_millis(3));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if finished(&out).len() >= 10 {
            assert!(kills >= 2, "it was to be killed several times");
            break;
        }
    }
    let there = finished(&out);
    assert!(there.len() < 16, "it was killed too late to show anything");
    let when: Vec<_> = there
        .iter()
        .map(|name| {
            fs::metadata(out.join("runs").join(name))
                .unwrap()
                .modified()
                .unwrap()
        })
        .collect();
    let ran = succeed(at.path(), &args);
    assert_eq!(counts(&ran), (16 - there.len() as u64, there.len() as u64));
    for (name, when) in there.iter().zip(when) {
        let path = out.join("runs").join(name);
        assert_eq!(
            fs::metadata(path).unwrap().modified().unwrap(),
            when,
            "{name} was done again"
        );
    }
    assert_same(&bytes(&out), &whole);
    // All is done: nothing is done again.
    assert_eq!(counts(&succeed(at.path(), &args)), (0, 16));
}

#[test]
fn broken_runs_are_done_again_and_no_others() {
    let at = folder();
    write(at.path(), "knee.toml", KNEE);
    let args = ["sweep", "knee.toml", "--out", "out", "--format", "json"];
    succeed(at.path(), &args);
    let out = at.path().join("out");
    let whole = bytes(&out);
    let there = finished(&out);
    let path = |i: usize, name: &str| out.join("runs").join(&there[i]).join(name);
    // Cut short, as by a power cut; of the right length but not what was written; without its end;
    // gone; another run's.
    let turns = fs::read(path(0, "turns.parquet")).unwrap();
    fs::write(path(0, "turns.parquet"), &turns[..turns.len() / 2]).unwrap();
    let length = fs::metadata(path(1, "samples.parquet")).unwrap().len();
    fs::write(
        path(1, "samples.parquet"),
        vec![0; usize::try_from(length).unwrap()],
    )
    .unwrap();
    let manifest = fs::read_to_string(path(2, "manifest.json")).unwrap();
    fs::write(path(2, "manifest.json"), &manifest[..manifest.len() / 3]).unwrap();
    fs::remove_file(path(3, "sessions.parquet")).unwrap();
    for name in [
        "sessions.parquet",
        "turns.parquet",
        "samples.parquet",
        "manifest.json",
    ] {
        fs::copy(path(5, name), path(4, name)).unwrap();
    }
    // What a process that was killed leaves behind.
    fs::create_dir(out.join("runs/.mars.1.tmp")).unwrap();
    write(&out, "runs/.mars.1.tmp/turns.parquet", "half");
    write(&out, "failed/.mars.json.1.tmp", "{");
    write(&out, ".runs.csv.1.tmp", "half");
    write(&out, "log.jsonl", "{\"run\":\"cut sho");
    let ran = succeed(at.path(), &args);
    assert_eq!(counts(&ran), (5, 11));
    for broken in &there[..5] {
        assert!(
            ran.stderr.contains(&format!("`{broken}` is done again: ")),
            "{}",
            ran.stderr
        );
    }
    assert_same(&bytes(&out), &whole);
    // A cache of T_ideal that is broken is computed anew, and says the same.
    let ideals = names(&out.join("ideals"));
    assert_eq!(ideals.len(), 2, "one per number of tool cores");
    fs::write(out.join("ideals").join(&ideals[0]), "{\"of\":").unwrap();
    fs::remove_dir_all(out.join("runs").join(&there[0])).unwrap();
    fs::remove_dir_all(out.join("runs").join(&there[15])).unwrap();
    assert_eq!(counts(&succeed(at.path(), &args)), (2, 14));
    let again = bytes(&out);
    let tables = |map: &BTreeMap<String, Vec<u8>>| {
        let mut map = map.clone();
        map.retain(|name, _| !name.starts_with("ideals"));
        map
    };
    assert_same(&tables(&again), &tables(&whole));
}

#[test]
fn threads_and_shards_do_not_change_a_byte() {
    let at = folder();
    write(at.path(), "knee.toml", KNEE);
    let sweep = |out: &str, more: &[&str]| {
        let args = [&["sweep", "knee.toml", "--quiet", "--out", out], more].concat();
        succeed(at.path(), &args)
    };
    sweep("one", &["--threads", "1"]);
    sweep("two", &["--threads", "2"]);
    let one = bytes(&at.path().join("one"));
    assert_same(&one, &bytes(&at.path().join("two")));
    let mut in_shards = Vec::new();
    for shard in 0..3 {
        let out = format!("part-{shard}");
        sweep(&out, &["--shard", &format!("{shard}/3")]);
        in_shards.extend(finished(&at.path().join(out)));
    }
    in_shards.sort();
    // Every run is in one shard, and in one only.
    assert_eq!(in_shards, finished(&at.path().join("one")));
    let merge = [
        "merge", "part-2", "part-0", "part-1", "-o", "merged", "--format", "csv",
    ];
    let ran = succeed(at.path(), &merge);
    let mut merged = bytes(&at.path().join("merged"));
    let mut whole = one;
    // T_ideal stays with the shards.
    whole.retain(|name, _| !name.starts_with("ideals"));
    merged.retain(|name, _| !name.starts_with("ideals"));
    assert_same(&merged, &whole);
    assert_eq!(ran.stdout.as_bytes(), merged["runs.csv"]);
    // A shard that is not finished is missed by name.
    let lost = finished(&at.path().join("part-1"))[0].clone();
    fs::remove_file(
        at.path()
            .join("part-1/runs")
            .join(&lost)
            .join("manifest.json"),
    )
    .unwrap();
    let ran = run(
        at.path(),
        &["merge", "part-0", "part-1", "part-2", "-o", "less"],
    );
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("1 of 16 planned runs are missing"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains(&lost), "{}", ran.stderr);
    assert_eq!(finished(&at.path().join("less")).len(), 15);
}

#[test]
fn a_run_that_fails_is_written_down_and_stops_no_other() {
    let at = folder();
    trace(at.path(), "good.jsonl", &[two_turns("a"), two_turns("b")]);
    let unknown = r#"{"id":"u","turns":[{"prompt":9,"output":1,"tools":[{"name":"bash"}]},{"prompt":99,"output":1}]}"#;
    trace(at.path(), "bad.jsonl", &[unknown.to_owned()]);
    let text =
        "workload = ['bad.jsonl', 'good.jsonl']\npolicy = 'fcfs'\nseed = [1, 2]\nsessions = 2\n";
    write(at.path(), "s.toml", text);
    let ran = run(at.path(), &["sweep", "s.toml", "--format", "json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("2 of 4 runs failed"), "{}", ran.stderr);
    assert_eq!(counts(&ran), (2, 0));
    assert_eq!(ran.runs().len(), 2);
    let failed = names(&at.path().join("runs/s/failed"));
    assert_eq!(failed.len(), 2);
    let record = fs::read_to_string(at.path().join("runs/s/failed").join(&failed[0])).unwrap();
    assert!(record.contains("session `u`"), "{record}");
    // Started again, what is done is done and what failed is tried.
    let again = run(at.path(), &["sweep", "s.toml", "--format", "json"]);
    assert_eq!((again.code, counts(&again)), (Some(1), (0, 2)));
}

#[test]
fn combinations_that_are_the_same_run_are_done_once() {
    let at = folder();
    trace(at.path(), "w.jsonl", &[two_turns("a")]);
    let text = "
policy = ['fcfs', 'mars', 'isolated', 'bound']
workload = 'w.jsonl'
sessions = 2
rate = [1, 2]
seed = '1-3'
[set]
admission.window_max = [30, 40]
[[skip]]
policy = 'mars'
rate = 2
set.admission.window_max = 40
";
    write(at.path(), "s.toml", text);
    let dry = succeed(
        at.path(),
        &["sweep", "s.toml", "--dry-run", "--format", "json"],
    );
    let plan = dry.json();
    // Only mars has a window: 2 windows x 2 rates x 3 seeds, less 3. The others: 6 each.
    assert_eq!(plan["runs"].as_array().unwrap().len(), 3 * 6 + 12 - 3);
    assert_eq!(
        (&plan["repeated"], &plan["skipped"]),
        (&18.into(), &3.into())
    );
    assert_eq!((&plan["to_do"], &plan["finished"]), (&27.into(), &0.into()));
    assert!(plan["estimated_s"].as_f64().unwrap() > 0.0);
    assert!(!at.path().join("runs").exists(), "a dry run writes nothing");
    let ran = succeed(at.path(), &["sweep", "s.toml", "--format", "json"]);
    assert_eq!(counts(&ran), (27, 0));
    let dry = succeed(
        at.path(),
        &["sweep", "s.toml", "--dry-run", "--format", "json"],
    );
    let plan = dry.json();
    assert_eq!((&plan["to_do"], &plan["finished"]), (&0.into(), &27.into()));
    assert!(
        plan["estimated_from"]
            .as_str()
            .unwrap()
            .starts_with("by 15 runs in its log")
    );
    // A limit that is lost is made again, although T_ideal is there.
    let whole = bytes(&at.path().join("runs/s"));
    let is_limit = |name: &&String| name.starts_with("isolated");
    let lost = finished(&at.path().join("runs/s"));
    let lost = lost.iter().find(is_limit).unwrap();
    fs::remove_dir_all(at.path().join("runs/s/runs").join(lost)).unwrap();
    let again = succeed(at.path(), &["sweep", "s.toml", "--format", "json"]);
    assert_eq!(counts(&again), (1, 26));
    assert_same(&bytes(&at.path().join("runs/s")), &whole);
    // A row of the table is the run's manifest.
    let rows = ran.runs();
    let row = &rows[0];
    let directory = at
        .path()
        .join("runs/s/runs")
        .join(row["run"].as_str().unwrap());
    let manifest = fs::read_to_string(directory.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(
        row["latency_s.mean"],
        manifest["totals"]["latency_s"]["mean"]
    );
    assert_eq!(row["seed"], manifest["config"]["seed"]);
}

#[test]
fn two_processes_do_not_share_a_folder() {
    let at = folder();
    write(at.path(), "knee.toml", KNEE);
    fs::create_dir_all(at.path().join("out")).unwrap();
    let lock = fs::File::create(at.path().join("out/.lock")).unwrap();
    lock.lock().unwrap();
    let ran = run(at.path(), &["sweep", "knee.toml", "--out", "out"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("another process works in `out`"),
        "{}",
        ran.stderr
    );
}
