//! `orrery engine run`: a real model, real tools, real time; and what happens when they break.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Ran, folder, names, orrery, run, succeed, trace};
use crate::sweep_errors::Tmpfs;

/// A session of two turns with a tool of so many seconds between them.
fn session(id: &str, tool_s: f64) -> String {
    format!(
        r#"{{"id":"{id}","turns":[{{"prompt":160,"output":3,"tools":[{{"name":"bash","wall_s":{tool_s},"cpu_s":0.01}}]}},{{"prompt":200,"reused":160,"output":2}}]}}"#
    )
}

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "engine",
        "run",
        "--workload",
        "w.jsonl",
        "--model",
        "random:tiny",
    ];
    args.extend([
        "--rate",
        "20",
        "--kv-mib",
        "8",
        "--executor",
        "candle",
        "--out",
        "out",
    ]);
    args.extend(more);
    args
}

fn manifest(folder: &Path) -> Value {
    let out = folder.join("out");
    let [name] = &names(&out)[..] else {
        panic!("{:?}", names(&out));
    };
    let text = fs::read_to_string(out.join(name).join("manifest.json")).expect("a manifest");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_real_run_writes_what_a_simulated_one_does() {
    let at = folder();
    trace(
        at.path(),
        "w.jsonl",
        &[session("a", 0.1), session("b", 0.2)],
    );
    let more = [
        "--policy",
        "fcfs,mars",
        "--sessions",
        "4",
        "--decisions",
        "--format",
        "json",
    ];
    let ran = succeed(at.path(), &args(&more));
    let runs = ran.runs();
    assert_eq!(runs.len(), 2);
    for run in &runs {
        assert_eq!(run["completed"], 4);
        // Four sessions, 150 ms apart in the mean; each waits for its tool.
        assert!(
            run["latency_s"]["mean"].as_f64().expect("a number") >= 0.15,
            "{run}"
        );
        // T_ideal was measured: somebody is in time for three times as long.
        assert!(
            run["attainment"]["3"].as_f64().expect("a share") > 0.0,
            "{run}"
        );
        assert_eq!(run["sim_wall_s"], Value::Null);
    }
    let out = at.path().join("out");
    for name in names(&out) {
        let files = ["decisions.parquet", "manifest.json", "samples.parquet"];
        let more = ["sessions.parquet", "turns.parquet"];
        assert_eq!(names(&out.join(&name)), [&files[..], &more[..]].concat());
        let text = fs::read_to_string(out.join(&name).join("manifest.json")).expect("a manifest");
        let manifest: Value = serde_json::from_str(&text).expect("JSON");
        let machine = &manifest["config"]["machine"];
        assert_eq!(
            (&machine["kind"], &machine["executor"]),
            (&"real".into(), &"candle".into())
        );
        let real = &manifest["totals"]["real"];
        assert_eq!(real["complete"], true);
        assert_eq!(real["sampled_tokens"], 4 * 5);
        assert_eq!(real["tool_failures"], Value::Array(Vec::new()));
    }
}

#[test]
fn a_tool_that_takes_too_long_fails_its_session_and_the_run_goes_on() {
    let at = folder();
    trace(
        at.path(),
        "w.jsonl",
        &[session("a", 0.05), session("b", 60.0)],
    );
    let more = [
        "--policy",
        "fcfs",
        "--sessions",
        "2",
        "--tool-timeout",
        "1.5",
        "--no-ideals",
    ];
    let ran = run(at.path(), &args(&more));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("failed: it ran past its time limit and was killed after 1."),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("1 given up because a tool failed"),
        "{}",
        ran.stdout
    );
    // Nobody knows who was in time without T_ideal.
    assert!(!ran.stdout.contains("goodput(3)"), "{}", ran.stdout);
    let manifest = manifest(at.path());
    let real = &manifest["totals"]["real"];
    assert_eq!(
        (&real["complete"], &real["failed_sessions"]),
        (&true.into(), &1.into())
    );
    assert_eq!(real["tool_failures"][0]["tool"], "bash");
    assert_eq!(manifest["totals"]["completed"], 1);
}

/// Two runs of one session each, by seed: one session can be run, the other ends its run when its tool is to
/// start. What is complete is printed all the same.
#[test]
fn a_run_that_ends_early_does_not_keep_the_others_from_being_printed() {
    let at = folder();
    let silent = r#"{"id":"b","turns":[{"prompt":160,"output":3,"tools":[{"name":"bash"}]}]}"#;
    trace(
        at.path(),
        "w.jsonl",
        &[session("a", 0.01), silent.to_owned()],
    );
    // The first offers `a`, the second `b`.
    let more = ["--policy", "fcfs", "--sessions", "1", "--seed", "1,2"];
    let ran = run(at.path(), &args(&[&more[..], &["--no-ideals"]].concat()));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains("seed 1"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("seed 2"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("tool `bash` has no wall time"),
        "{}",
        ran.stderr
    );
    // What there is of the other is kept, and says so.
    let out = at.path().join("out");
    let complete = names(&out).into_iter().map(|name| {
        let text = fs::read_to_string(out.join(name).join("manifest.json")).expect("a manifest");
        let manifest: Value = serde_json::from_str(&text).expect("JSON");
        manifest["totals"]["real"]["complete"].as_bool()
    });
    let mut complete: Vec<_> = complete.collect();
    complete.sort();
    assert_eq!(complete, [Some(false), Some(true)]);
}

/// Children of a process that are tools.
fn tools_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let after = stat.rsplit(") ").next().unwrap_or("");
        let ppid = after.split(' ').nth(1).and_then(|p| p.parse().ok());
        let tool = line.split(|b| *b == 0).nth(1) == Some(b"tool-burn");
        ppid == Some(parent) && tool
    })
    .collect()
}

/// Starts a run whose tool takes a minute, and waits for that tool.
#[expect(
    clippy::zombie_processes,
    reason = "the caller waits for it; a test that fails ends it all"
)]
fn with_a_slow_tool(folder: &Path) -> (std::process::Child, u32) {
    trace(folder, "w.jsonl", &[session("a", 60.0)]);
    let more = ["--policy", "fcfs", "--sessions", "1", "--no-ideals"];
    let mut command = orrery(folder, &args(&more));
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.expect("it starts");
    let began = Instant::now();
    loop {
        if let [tool, ..] = tools_of(child.id())[..] {
            return (child, tool);
        }
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "no tool ever started"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn send(signal: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(sent.expect("there is a kill").success());
}

#[test]
fn a_tool_that_is_killed_fails_its_session() {
    let at = folder();
    let (child, tool) = with_a_slow_tool(at.path());
    send("-KILL", tool);
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("failed: signal 9 killed it"),
        "{}",
        ran.stderr
    );
    let real = &manifest(at.path())["totals"]["real"];
    assert_eq!(
        (&real["complete"], &real["failed_sessions"]),
        (&true.into(), &1.into())
    );
}

/// Where the kernel lets a process run, such as `0-2,5`.
fn allowed(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    line.expect("Linux says").trim().to_owned()
}

#[test]
fn the_engine_and_its_tools_run_on_cores_of_their_own() {
    if !allowed(std::process::id()).contains(['-', ',']) {
        eprintln!("skipped: there is one core only");
        return;
    }
    let at = folder();
    let (child, tool) = with_a_slow_tool(at.path());
    let began = Instant::now();
    // The engine moves to its cores and a tool to its own, each in its own time: until both have, the tool
    // may still be where it was started, or where the engine is.
    let settled = || {
        let (engine, tool) = (allowed(child.id()), allowed(tool));
        !tool.contains(['-', ',']) && tool != engine
    };
    while !settled() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (engine, tool) = (allowed(child.id()), allowed(tool));
    send("-INT", child.id());
    child.wait_with_output().expect("it ends");
    let last = tool.parse::<u32>().expect("one core: the last");
    assert!(
        engine
            .split([',', '-'])
            .all(|core| core.parse::<u32>().is_ok_and(|core| core < last)),
        "engine on {engine}, tool on {tool}"
    );
}

/// What a run leaves that is sent this signal so often at once while its tool works: nothing, and exit
/// code 130.
fn leaves_nothing(signal: &str, times: usize) {
    let at = folder();
    let (child, tool) = with_a_slow_tool(at.path());
    let pid = child.id().to_string();
    // One `kill` with the process named several times: nothing comes between.
    let sent = Command::new("kill")
        .arg(signal)
        .args(vec![&pid; times])
        .status();
    assert!(sent.expect("there is a kill").success());
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(130), "{signal}: {}", ran.stderr);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("interrupted: 0 of 1 runs are complete"),
        "{signal}: {}",
        ran.stderr
    );
    assert_eq!(names(&at.path().join("out")), Vec::<String>::new());
    assert!(
        !Path::new(&format!("/proc/{tool}")).exists(),
        "{signal}: its tool still runs"
    );
}

#[test]
fn ctrl_c_leaves_neither_files_nor_tools() {
    leaves_nothing("-INT", 1);
}

/// Real runs take real time: those that are complete are printed, and stay.
#[test]
fn ctrl_c_shows_the_runs_that_are_complete() {
    let at = folder();
    trace(at.path(), "w.jsonl", &[session("a", 5.0)]);
    let more = [
        "--policy",
        "fcfs,mars",
        "--sessions",
        "1",
        "--no-ideals",
        "--format",
        "json",
    ];
    let child = orrery(at.path(), &args(&more))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // A run appears complete or not at all; the next one waits for its tool.
    let out = at.path().join("out");
    let complete = || out.exists() && names(&out).iter().any(|name| !name.starts_with('.'));
    let began = Instant::now();
    while !complete() {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "no run ever ended"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    send("-INT", child.id());
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("interrupted: 1 of 2 runs are complete"),
        "{}",
        ran.stderr
    );
    assert_eq!(names(&out).len(), 1);
    let runs = ran.runs();
    assert_eq!(runs.len(), 1, "{}", ran.stdout);
    assert_eq!(
        (&runs[0]["policy"], &runs[0]["completed"]),
        (&"fcfs".into(), &1.into())
    );
}

/// As job schedulers and containers end a program.
#[test]
fn sigterm_leaves_neither_files_nor_tools() {
    leaves_nothing("-TERM", 1);
}

/// `timeout` signals the program, then its process group: that is no second Ctrl-C.
#[test]
fn a_signal_that_comes_twice_at_once_still_ends_cleanly() {
    leaves_nothing("-TERM", 3);
}

#[test]
fn a_full_disk_is_said_and_nothing_half_is_left() {
    let at = folder();
    trace(at.path(), "w.jsonl", &[session("a", 0.01)]);
    let disk = at.path().join("out");
    let Some(_mounted) = Tmpfs::mount(&disk, "size=16k") else {
        eprintln!("skipped: nobody may mount a tmpfs here");
        return;
    };
    let more = ["--policy", "fcfs", "--sessions", "2", "--no-ideals"];
    let ran = run(at.path(), &args(&more));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("No space left on device"),
        "{}",
        ran.stderr
    );
    assert_eq!(names(&disk), Vec::<String>::new());
}

#[test]
fn a_broken_model_is_refused_by_name() {
    let at = folder();
    trace(at.path(), "w.jsonl", &[session("a", 0.01)]);
    fs::write(at.path().join("cut.gguf"), b"GGUF\x03\0\0\0\x01").expect("a file");
    fs::write(at.path().join("junk.gguf"), [7; 3000]).expect("a file");
    for (file, says) in [
        ("cut.gguf", "cut.gguf: "),
        ("junk.gguf", "junk.gguf: is neither a GGUF file"),
        ("none.gguf", "none.gguf"),
    ] {
        let ran = run(at.path(), &args(&["--model", file]));
        assert_eq!(ran.code, Some(2), "{file}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{file}: {}", ran.stderr);
        assert!(!at.path().join("out").exists());
    }
}

#[test]
fn wrong_flags_are_bad_input_with_flag_value_and_limit() {
    let at = folder();
    trace(at.path(), "w.jsonl", &[session("a", 0.01)]);
    for (flag, value, says) in [
        ("--model", "random:huge", "shape is huge; wanted: tiny"),
        (
            "--shrink",
            "0.5",
            "`--shrink` is `0.5` (wanted: a number, 1 to 1000)",
        ),
        (
            "--time-scale",
            "0",
            "`--time-scale` is `0` (wanted: a number, 0.001 to 1000)",
        ),
        ("--tool-cores", "4000", "but this process may use cores"),
        (
            "--engine-cores",
            "cores:4000",
            "but this process may use cores",
        ),
        (
            "--engine-cores",
            "two",
            "wanted: a number from 1, or cores:LIST",
        ),
        ("--kv-mib", "0", "`--kv-mib` is `0` (wanted: MiB"),
        (
            "--tool-timeout",
            "-1",
            "`--tool-timeout` is `-1` (wanted: seconds above 0)",
        ),
        ("--threads", "0", "`--threads` is `0` (wanted: 1 to 1024)"),
        ("--policy", "isolated", "which is computed, not run"),
        (
            "--set",
            "tools.mode=unlimited",
            "which only a simulation can be",
        ),
        ("--rate", "0", "`--rate` is `0`"),
    ] {
        let ran = run(at.path(), &args(&[flag, value]));
        assert_eq!(ran.code, Some(2), "{flag} {value}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{flag} {value}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}
