//! The same input gives the same bytes, whatever the threads and however the trace is stored.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{folder, names, succeed, trace, two_turns};

const LOAD: [&str; 14] = [
    "run",
    "--sessions",
    "60",
    "--rate",
    "0.1,0.3",
    "--arrivals",
    "poisson",
    "--seed",
    "1,2",
    "--format",
    "json",
    "--quiet",
    "--set",
    "engine.kv_blocks=6000",
];

fn without_wall_time(mut json: Value) -> Value {
    for run in json["runs"].as_array_mut().expect("runs") {
        run.as_object_mut().expect("a run").remove("sim_wall_s");
    }
    json
}

fn files(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for run in names(out) {
        for name in names(&out.join(&run)) {
            let bytes = fs::read(out.join(&run).join(&name)).expect("a file");
            files.push((format!("{run}/{name}"), bytes));
        }
    }
    files
}

#[test]
fn one_thread_or_two() {
    let at = folder();
    let on = |threads: &str, out: &str| {
        let args = [&LOAD[..], &["--threads", threads, "--out", out]].concat();
        let json = without_wall_time(succeed(at.path(), &args).json());
        (json, files(&at.path().join(out)))
    };
    let (json, written) = on("1", "one");
    let (again, rewritten) = on("2", "two");
    assert_eq!(json, again);
    assert_eq!(written.len(), 8 * 4);
    assert!(written == rewritten, "the files differ");
    // A second time into the same folder replaces each run by itself.
    let (_, replaced) = on("2", "one");
    assert!(written == replaced, "the files differ");
}

#[test]
fn policies_meet_the_same_arrivals() {
    let at = folder();
    let args = ["--sessions", "60", "--policy"];
    let json = |policy: &str| {
        let all = [
            &["run", "--quiet", "--format", "json"],
            &args[..],
            &[policy],
        ]
        .concat();
        without_wall_time(succeed(at.path(), &all).json())
    };
    // Alone or beside another, a policy's run is the same.
    let both = json("fcfs,mars");
    assert_eq!(json("mars")["runs"][0], both["runs"][1]);
}

#[test]
fn a_compressed_trace_and_stdin_are_the_same_run() {
    let at = folder();
    trace(at.path(), "w.jsonl", &["a", "b", "c"].map(two_turns));
    let plain = fs::read(at.path().join("w.jsonl")).unwrap();
    let zstd = zstd::encode_all(&plain[..], 3).unwrap();
    fs::write(at.path().join("w.zst"), zstd).unwrap();
    let args = |workload| ["run", "--workload", workload, "--sessions", "7", "--quiet"];
    succeed(at.path(), &args("w.jsonl"));
    let runs = names(&at.path().join("runs/run"));
    succeed(at.path(), &args("w.zst"));
    let piped = fs::File::open(at.path().join("w.jsonl")).unwrap();
    let mut from_stdin = crate::support::orrery(at.path(), &args("-"));
    assert!(from_stdin.stdin(piped).output().unwrap().status.success());
    // The name holds the digest of the trace: no new directory.
    assert_eq!(names(&at.path().join("runs/run")), runs);
}
