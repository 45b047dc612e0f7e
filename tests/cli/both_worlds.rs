//! `orrery calibrate --engine` and `orrery validate --engine`: a real model, real tools, a real clock.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::support::{Ran, folder, names, orrery, run, succeed, trace};

/// A model of some 100,000 weights on a small pool: a step takes far below a millisecond.
const TINY: [&str; 8] = [
    "--executor",
    "candle",
    "--weights",
    "random:tiny",
    "--rounds",
    "1",
    "--max-running",
    "4",
];

fn with<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &TINY].concat()
}

/// What is measured describes machine and model so that a simulation can be run on it, and its step log
/// gives the same coefficients again.
#[test]
fn a_calibrated_engine_can_be_simulated() {
    let at = folder();
    let made = succeed(
        at.path(),
        &with(&["calibrate", "--engine", "--steps-out", "steps.csv"]),
    );
    assert!(
        made.stderr.contains("mean absolute error"),
        "{}",
        made.stderr
    );
    std::fs::write(at.path().join("mine.toml"), &made.stdout).expect("a file");
    let machine = [
        "--gpu",
        "this-machine",
        "--model",
        "random-tiny",
        "--cost",
        "mine.toml",
    ];
    let run = [
        &[
            "run",
            "--hardware-file",
            "mine.toml",
            "--sessions",
            "5",
            "--format",
            "json",
        ][..],
        &machine,
    ]
    .concat();
    assert_eq!(succeed(at.path(), &run).runs().len(), 2);

    let again = ["calibrate", "steps.csv", "--hardware-file", "mine.toml"];
    let again = succeed(at.path(), &[&again[..], &machine[..4]].concat());
    let coefficients = |text: &str| -> Vec<f64> {
        let lines = text.lines().filter_map(|line| line.split_once(" = "));
        let numbers = lines.filter(|(key, _)| key.len() <= 2);
        numbers
            .map(|(_, value)| value.parse().expect("a number"))
            .collect()
    };
    let (first, second) = (coefficients(&made.stdout), coefficients(&again.stdout));
    assert_eq!((first.len(), second.len()), (7, 7));
    for (a, b) in first.iter().zip(&second) {
        // The log has nanoseconds.
        assert!(
            (a - b).abs() <= 1e-5 * a.abs().max(1e-3),
            "{first:?} {second:?}"
        );
    }
}

fn changed(file: &Path) -> SystemTime {
    let meta = std::fs::metadata(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    meta.modified().expect("the system tells")
}

/// Another load on the engine of `study` needs no calibration of its own; another engine does.
fn others_take_its_calibration(at: &Path) {
    let more = |calibration, out, flags: &[&'static str]| {
        let more = ["--sessions", "1", "--loads", "100", "--repeats", "1"];
        let from = ["--calibration", calibration, "--out", out];
        let args = [&with(&["validate", "--engine"])[..], &more, &from, flags].concat();
        run(at, &args)
    };
    let third = more("study", "more", &["--policy", "fcfs"]);
    assert!(matches!(third.code, Some(0 | 1)), "{}", third.stderr);
    assert!(
        third.stderr.contains("the calibration in `study` is taken"),
        "{}",
        third.stderr
    );
    let costs = |file: &Path| -> Value {
        let text = std::fs::read_to_string(file).expect("a calibration");
        let mut all: Value = serde_json::from_str(&text).expect("JSON");
        // Load 1 is that of the sessions, not of the engine.
        all.as_object_mut().expect("an object").remove("unit_per_s");
        all
    };
    assert_eq!(
        costs(&at.join("more/calibration.json")),
        costs(&at.join("study/calibration.json"))
    );
    assert!(!at.join("more/steps.csv").exists(), "nothing was timed");
    for (calibration, flags, says) in [
        (
            "study",
            &["--kv-tokens", "1600"][..],
            "is of an engine with `blocks` 200, not 100",
        ),
        ("none", &[], "`none` is no folder"),
        ("study/runs", &[], "`study/runs` holds no calibration"),
    ] {
        let refused = more(calibration, "refused", flags);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
}

/// Both worlds run, everything is written, and the same command takes what is there. How near the two are
/// is the machine's business here, so either verdict will do.
#[test]
fn a_study_is_written_and_goes_on_where_it_was_stopped() {
    let at = folder();
    let study = with(&[
        "validate",
        "--engine",
        "--sessions",
        "2",
        "--loads",
        "100",
        "--policy",
        "fcfs,mars",
        "--repeats",
        "1",
        "--out",
        "study",
    ]);
    let first = run(at.path(), &study);
    assert!(
        matches!(first.code, Some(0 | 1)),
        "{:?}: {}",
        first.code,
        first.stderr
    );
    assert!(first.stdout.contains("latency_mean_s"), "{}", first.stdout);
    let study_folder = at.path().join("study");
    for file in [
        "results.json",
        "results.csv",
        "results.md",
        "report.html",
        "steps.csv",
        "trace.jsonl",
    ] {
        assert!(study_folder.join(file).is_file(), "{file}");
    }
    let runs: Vec<_> = std::fs::read_dir(study_folder.join("runs"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let of = |world: &str| {
        let these = runs.iter().filter(|r| r.to_string_lossy().contains(world));
        these.count()
    };
    // Two policies, once on the engine and twenty times in the simulator.
    assert_eq!((of("-real-"), of("-simulated-"), runs.len()), (2, 40, 42));
    let real = runs
        .iter()
        .find(|run| run.to_string_lossy().contains("real-0"));
    let real = real.expect("a real run");
    let calibration = study_folder.join("calibration.json");
    let before = (changed(real), changed(&calibration));

    let second = run(at.path(), &study);
    assert_eq!((changed(real), changed(&calibration)), before);
    assert_eq!((second.code, second.stdout), (first.code, first.stdout));

    others_take_its_calibration(at.path());

    // Another engine in the same folder is refused.
    let other = [&study[..], &["--kv-tokens", "1600"]].concat();
    let refused = run(at.path(), &other);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("holds runs with `blocks` 200, not 100"),
        "{}",
        refused.stderr
    );
}

/// Four calls of one turn, which wait for 0.2 s each and compute nothing, on one worker that has a call to its
/// end: they end after 0.2, 0.4, 0.6 and 0.8 s, in both worlds. Side by side they would take 0.8 s in all.
#[test]
fn both_worlds_queue_for_workers_if_told_to() {
    let at = folder();
    let tool = r#"{"name":"wait","wall_s":0.2,"cpu_s":0}"#;
    let turns = format!(r#"[{{"prompt":40,"output":2,"tools":[{tool},{tool},{tool},{tool}]}}]"#);
    trace(
        at.path(),
        "w.jsonl",
        &[format!(r#"{{"id":"s","turns":{turns}}}"#)],
    );
    let study = with(&[
        "validate",
        "--engine",
        "--workload",
        "w.jsonl",
        "--sessions",
        "1",
        "--loads",
        "1",
        "--policy",
        "fcfs",
        "--repeats",
        "1",
        "--out",
        "study",
        "--set",
        "tools.mode=fifo",
        "--set",
        "tools.worker_holds=call",
    ]);
    let ran = run(at.path(), &study);
    assert!(
        matches!(ran.code, Some(0 | 1)),
        "{:?}: {}",
        ran.code,
        ran.stderr
    );
    let json = |file: &Path| -> serde_json::Value {
        let text = std::fs::read_to_string(file).expect("a file");
        serde_json::from_str(&text).expect("JSON")
    };
    let study_folder = at.path().join("study");
    assert_eq!(
        json(&study_folder.join("engine.json"))["tools_mode"],
        "fifo-calls"
    );
    for world in ["simulated", "real-0"] {
        let runs = std::fs::read_dir(study_folder.join("runs")).expect("a folder");
        let mut files = runs.map(|entry| entry.expect("an entry").path());
        let file = files
            .find(|file| file.to_string_lossy().contains(world))
            .expect("a run");
        let run = json(&file);
        assert_eq!(run["tool_calls"], 4, "{world}");
        let sum = run["tools_ns"].as_u64().expect("a number");
        assert!(sum >= 2_000_000_000, "{world}: {sum}");
    }
    // Runs of another mode do not belong here.
    let shared = run(
        at.path(),
        &study[..study.len() - TINY.len() - 4]
            .iter()
            .chain(&TINY)
            .copied()
            .collect::<Vec<_>>(),
    );
    assert_eq!(shared.code, Some(2), "{}", shared.stderr);
    assert!(
        shared
            .stderr
            .contains("holds runs with `tools_mode` \"fifo-calls\", not \"shared\""),
        "{}",
        shared.stderr
    );
}

/// SIGTERM while the second policy's tool waits: the first policy's run is kept and compared.
#[test]
fn a_study_that_is_ended_says_what_it_has() {
    let at = folder();
    let session = r#"{"id":"a","turns":[{"prompt":40,"output":2,"tools":[{"name":"bash","wall_s":4,"cpu_s":0}]},{"prompt":60,"reused":40,"output":2}]}"#;
    trace(at.path(), "w.jsonl", &[session.to_owned()]);
    let flags = ["--workload", "w.jsonl", "--sessions", "1", "--loads", "100"];
    let more = ["--policy", "fcfs,mars", "--repeats", "1", "--out", "study"];
    let study = [&with(&["validate", "--engine"])[..], &flags, &more].concat();
    let child = orrery(at.path(), &study)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let began = Instant::now();
    let done = || {
        let runs = at.path().join("study/runs");
        runs.is_dir() && names(&runs).iter().any(|n| n.ends_with("real-0.json"))
    };
    while !done() {
        assert!(
            began.elapsed() < Duration::from_mins(3),
            "no run ever ended"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(sent.expect("there is a kill").success());
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("interrupted: what is complete is kept"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("Runs are missing: no verdict."),
        "{}",
        ran.stdout
    );
    let text = std::fs::read_to_string(at.path().join("study/results.json")).expect("is written");
    let results: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(results["passes"], Value::Null);
    let cells = results["comparison"]["cells"].as_array().expect("a list");
    let mean = |policy: &str| {
        let mut of = cells.iter().filter(|c| c["policy"] == policy);
        of.find(|c| c["figure"] == "latency_mean_s")
            .expect("a mean")["real"]
            .clone()
    };
    assert!(mean("fcfs").as_f64().expect("it ran") >= 4.0);
    assert_eq!(mean("mars"), Value::Null);
}

#[test]
fn what_no_engine_can_be_is_refused() {
    let at = folder();
    for (flags, told) in [
        (
            &["--sessions", "0"][..],
            "`--sessions` is `0` (wanted: 1 to 100000)",
        ),
        (&["--loads", "1,1"], "`--loads` has `1` twice"),
        (
            &["--kv-tokens", "100"],
            "`--kv-tokens` is 100 (wanted: at least `--context`, 1024)",
        ),
        (
            &["--kv-tokens", "80000", "--context", "70000"],
            "`--context` is 70000 (wanted: at most 65536, which is what `random:tiny` takes)",
        ),
        (&["--policy", "isolated"], "`isolated` is a limit"),
        (
            &["--tool-cores", "cores:4000"],
            "`--tool-cores` is `cores:4000`",
        ),
        (&["--workload", "ilr-2"], "beyond `--context` 1024"),
    ] {
        let refused = run(
            at.path(),
            &[&with(&["validate", "--engine"])[..], flags].concat(),
        );
        assert_eq!(refused.code, Some(2), "{flags:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(told),
            "{flags:?}: {}",
            refused.stderr
        );
    }
    // What only a recording needs is not silently ignored.
    let ignored = run(
        at.path(),
        &["validate", "--engine", "--set", "engine.kv_blocks=10"],
    );
    assert_eq!(ignored.code, Some(2), "{}", ignored.stderr);
    assert!(ignored.stderr.contains("--set"), "{}", ignored.stderr);
    // Without either there is nothing to compare with.
    let nothing = run(at.path(), &["validate"]);
    assert_eq!(nothing.code, Some(2), "{}", nothing.stderr);
    assert!(nothing.stderr.contains("--real"), "{}", nothing.stderr);
}
