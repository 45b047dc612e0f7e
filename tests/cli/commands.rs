//! Traces whose tool calls carry commands, on the command line.

use std::fs;
use std::path::Path;

use crate::support::{Ran, folder, names, run, succeed};

/// A session whose tool between two turns runs this command; `times` are further fields of the call.
fn session(id: &str, times: &str, argv: &[&str]) -> String {
    let argv = serde_json::to_string(argv).expect("JSON");
    let tool = format!(r#"{{"name":"Bash",{times}"command":{argv}}}"#);
    format!(
        r#"{{"id":"{id}","turns":[{{"prompt":160,"output":3,"tools":[{tool}]}},{{"prompt":200,"reused":160,"output":2}}]}}"#
    )
}

/// Writes a trace of version 3.
fn trace(at: &Path, name: &str, sessions: &[String]) {
    let text = format!("{{\"orrery_trace\":3}}\n{}\n", sessions.join("\n"));
    fs::write(at.join(name), text).expect("a trace");
}

fn says(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
}

fn text(at: &Path, name: &str) -> String {
    fs::read_to_string(at.join(name)).expect("a file")
}

const TIMES: &str = r#""wall_s":0.25,"cpu_s":0.1,"#;

/// Every command that reads a trace counts the commands or carries them.
#[test]
fn commands_are_counted_and_carried() {
    let at = folder();
    let touch = ["touch", "ran"];
    let (a, b) = (session("a", TIMES, &touch), session("b", TIMES, &touch));
    trace(at.path(), "c.jsonl", &[a.clone(), b.clone()]);
    let plain = r#"{"id":"p","turns":[{"prompt":9,"output":1}]}"#;
    fs::write(
        at.path().join("plain.jsonl"),
        format!("{{\"orrery_trace\":2}}\n{plain}\n"),
    )
    .expect("a trace");

    let of = |args: &[&str]| succeed(at.path(), &[&["trace"], args].concat());
    says(
        &of(&["check", "c.jsonl"]).stdout,
        &[
            "note     tool calls with a command: 2 in 2 sessions, first `a`",
            "`--commands`",
            "ok: every session can be replayed",
        ],
    );
    says(
        &of(&["stats", "c.jsonl"]).stdout,
        &["tool calls with a command: 2"],
    );
    let json = of(&["stats", "c.jsonl", "--format", "json"]);
    says(&json.stdout, &["\"commands\": 2"]);
    says(
        &of(&["export", "c.jsonl", "--to", "mooncake", "-o", "m.jsonl"]).stderr,
        &["commands of tools"],
    );

    of(&["sample", "c.jsonl", "-n", "1", "-o", "one.jsonl"]);
    of(&["merge", "plain.jsonl", "c.jsonl", "-o", "all.jsonl"]);
    let scaled = of(&["scale", "c.jsonl", "--time", "2", "-o", "slow.jsonl"]);
    says(
        &scaled.stderr,
        &["2 tool calls carry commands, which take as long as before when they are run"],
    );
    of(&["scale", "plain.jsonl", "--time", "2", "-o", "plain-2.jsonl"]);
    for (name, version, commands) in [
        ("one.jsonl", 3, 1),
        ("all.jsonl", 3, 2),
        ("slow.jsonl", 3, 2),
        ("plain-2.jsonl", 2, 0),
    ] {
        let text = text(at.path(), name);
        let head = format!("{{\"orrery_trace\":{version}");
        assert!(text.starts_with(&head), "{name}: {text}");
        let carried = text.matches(r#""command":["touch","ran"]"#).count();
        assert_eq!(carried, commands, "{name}: {text}");
    }
    says(&text(at.path(), "slow.jsonl"), &["\"wall_s\":0.5"]);
}

/// A simulation takes the times and runs nothing; without times it is told what to do.
#[test]
fn a_simulation_runs_no_command() {
    let at = folder();
    let touch = ["touch", "ran"];
    trace(at.path(), "c.jsonl", &[session("a", "", &touch)]);
    let simulate = ["run", "--sessions", "3", "--format", "json", "--workload"];
    let refused = run(at.path(), &[&simulate[..], &["c.jsonl"]].concat());
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    says(
        &refused.stderr,
        &["tool `Bash` has no wall time", "hint: `orrery trace fill`"],
    );
    succeed(at.path(), &["trace", "fill", "c.jsonl", "-o", "f.jsonl"]);
    says(
        &text(at.path(), "f.jsonl"),
        &[
            "{\"orrery_trace\":3",
            "\"wall_from\":\"drawn\"",
            "\"touch\"",
        ],
    );
    let ran: Ran = succeed(at.path(), &[&simulate[..], &["f.jsonl"]].concat());
    assert_eq!(ran.runs()[0]["completed"], 3);
    assert!(!names(at.path()).contains(&"ran".to_owned()));
}

/// A session with one command after each of its turns.
#[cfg(target_os = "linux")]
fn task(id: &str, commands: &[&[&str]]) -> String {
    let mut turns = Vec::new();
    for (i, argv) in commands.iter().enumerate() {
        let argv = serde_json::to_string(argv).expect("JSON");
        let (prompt, reused) = (60 + 20 * i, if i == 0 { 0 } else { 40 + 20 * i });
        turns.push(format!(
            r#"{{"prompt":{prompt},"reused":{reused},"output":2,"tools":[{{"name":"Bash","command":{argv}}}]}}"#
        ));
    }
    format!(r#"{{"id":"{id}","turns":[{}]}}"#, turns.join(","))
}

#[cfg(target_os = "linux")]
fn engine(at: &Path, sessions: &[String], more: &[&str]) -> Ran {
    trace(at, "c.jsonl", sessions);
    let count = sessions.len().to_string();
    let args = [
        "engine",
        "run",
        "--workload",
        "c.jsonl",
        "--model",
        "random:tiny",
        "--executor",
        "candle",
        "--policy",
        "fcfs",
        "--rate",
        "20",
        "--kv-mib",
        "8",
        "--out",
        "out",
        "--sessions",
        &count,
    ];
    run(at, &[&args[..], more].concat())
}

/// What the manifest of the only run says of commands.
#[cfg(target_os = "linux")]
fn totals(at: &Path) -> serde_json::Value {
    let [name] = &names(&at.join("out"))[..] else {
        panic!("{:?}", names(&at.join("out")));
    };
    let folder = at.join("out").join(name);
    assert!(names(&folder).contains(&"commands.parquet".to_owned()));
    let manifest: serde_json::Value =
        serde_json::from_str(&text(&folder, "manifest.json")).expect("JSON");
    assert_eq!(manifest["config"]["machine"]["tools"]["commands"], "run");
    let commands = &manifest["totals"]["real"]["commands"];
    assert_eq!(manifest["rows"]["commands"], commands["run"]);
    commands.clone()
}

/// What a session's command leaves, its next one finds, and no other session does; then it is gone. A status
/// that is not 0 stops nobody. Each session runs alone first, for `T_ideal`, in a folder of its own.
#[cfg(target_os = "linux")]
#[test]
fn a_session_keeps_its_folder_from_turn_to_turn_and_from_others() {
    let at = folder();
    let here = at.path().display();
    let (found, listed) = (
        format!("pwd > {here}/pwd; cat notes > {here}/found"),
        format!("ls -a > {here}/listed"),
    );
    let sessions = [
        task(
            "writes",
            &[
                &["bash", "-c", "test ! -e notes && echo one > notes"],
                &["bash", "-c", &found],
            ],
        ),
        task(
            "looks",
            &[
                &["sleep", "0.3"],
                &["bash", "-c", &listed],
                &["cat", "notes"],
            ],
        ),
    ];
    let ran = engine(
        at.path(),
        &sessions,
        &[
            "--commands",
            "run",
            "--sandboxes",
            "boxes",
            "--format",
            "json",
        ],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.runs()[0]["completed"], 2);
    assert_eq!(text(at.path(), "found"), "one\n");
    assert_eq!(text(at.path(), "listed"), ".\n..\n");
    let boxes = at.path().join("boxes");
    assert!(
        Path::new(text(at.path(), "pwd").trim())
            .starts_with(fs::canonicalize(&boxes).expect("is there"))
    );
    assert_eq!(names(&boxes), Vec::<String>::new());
    let totals = totals(at.path());
    // `cat notes` is the one that fails.
    assert_eq!(
        (&totals["run"], &totals["non_zero_exits"], &totals["failed"]),
        (&5.into(), &1.into(), &0.into())
    );
    // One slept for 0.3 s.
    let seconds = |key: &str| totals[key].as_f64().expect("a number");
    assert!(seconds("elapsed_s") >= 0.3, "{totals}");
    assert!(seconds("queue_s") < seconds("elapsed_s"), "{totals}");
    // A session's latency has its commands' time in it.
    let completed = &ran.runs()[0];
    assert!(
        completed["latency_s"]["mean"].as_f64().expect("a number") >= 0.15,
        "{completed}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_that_cannot_go_on_fails_its_session_and_no_other() {
    for (argv, says_why, status) in [
        (
            &["sleep", "60"][..],
            "it ran past its time limit and was killed after 1.",
            0,
        ),
        (
            &["no-such-program", "x"],
            "it could not be started: cannot run `no-such-program`: No such file",
            0,
        ),
        (&["bash", "-c", "kill -9 $$"], "signal 9 killed it", 0),
        // The shell ran: that it did not find something is its own affair.
        (&["bash", "-c", "no-such-program; exit 127"], "", 127),
    ] {
        let at = folder();
        let sessions = [
            task("well", &[&["true"]]),
            task("other", &[argv, &["true"]]),
        ];
        let more = ["--commands", "run", "--tool-timeout", "1.5", "--no-ideals"];
        let ran = engine(at.path(), &sessions, &more);
        let totals = totals(at.path());
        if status == 0 {
            assert_eq!(ran.code, Some(1), "{argv:?}: {}", ran.stderr);
            says(&ran.stderr, &[says_why, "turn 0 failed"]);
            says(&ran.stdout, &["1 given up because a tool failed"]);
            assert_eq!(
                (&totals["run"], &totals["failed"]),
                (&2.into(), &1.into()),
                "{argv:?}"
            );
        } else {
            assert_eq!(ran.code, Some(0), "{argv:?}: {}", ran.stderr);
            assert_eq!(
                (&totals["run"], &totals["failed"]),
                (&3.into(), &0.into()),
                "{argv:?}"
            );
            assert_eq!(totals["non_zero_exits"], 1);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_beyond_the_cap_is_counted_and_thrown_away() {
    let at = folder();
    let sessions = [task(
        "talks",
        &[&["head", "-c", "5000", "/dev/zero"], &["echo", "hi"]],
    )];
    let more = [
        "--commands",
        "run",
        "--tool-output-cap",
        "1000",
        "--no-ideals",
    ];
    let ran = engine(at.path(), &sessions, &more);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let totals = totals(at.path());
    assert_eq!(
        (&totals["output_bytes"], &totals["output_cut"]),
        (&5003.into(), &1.into())
    );
}

/// `dd` without limits writes its 3 MiB and takes its 256 MiB of memory.
#[cfg(target_os = "linux")]
#[test]
fn files_and_memory_of_a_command_have_limits() {
    let large = ["dd", "if=/dev/zero", "of=large", "bs=1M", "count=3"];
    let greedy = ["dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"];
    let of = |limits: &[&str]| {
        let at = folder();
        let sessions = [task("large", &[&large]), task("greedy", &[&greedy])];
        let more = [&["--commands", "run", "--no-ideals"], limits].concat();
        let ran = engine(at.path(), &sessions, &more);
        let totals = totals(at.path());
        let ends = [&totals["run"], &totals["non_zero_exits"], &totals["failed"]];
        let ends = ends.map(|n| n.as_u64().expect("a count"));
        (ran.code, ends, ran.stderr)
    };
    let (code, ends, told) = of(&[]);
    assert_eq!((code, ends), (Some(0), [2, 0, 0]), "{told}");
    // The kernel's signal for too large a file, 25, ends the session; `dd` itself says that it has no memory.
    let (code, ends, told) = of(&["--tool-file-mib", "2", "--tool-memory-mib", "128"]);
    assert_eq!((code, ends), (Some(1), [2, 1, 1]), "{told}");
    says(&told, &["signal 25 killed it"]);
}

/// One worker: of two commands that come together, one waits for the other, and that is its queue.
#[cfg(target_os = "linux")]
#[test]
fn commands_queue_for_workers() {
    let queued = |mode: &str| {
        let at = folder();
        let sessions = ["a", "b"].map(|id| task(id, &[&["sleep", "0.5"]]));
        let more = ["--commands", "run", "--no-ideals", "--set", mode];
        let ran = engine(at.path(), &sessions, &more);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        totals(at.path())["queue_s"].as_f64().expect("seconds")
    };
    // They arrive 50 ms apart; a busy machine may delay the second one, but hardly by half its sleep.
    let (fifo, shared) = (queued("tools.mode=fifo"), queued("tools.mode=shared"));
    assert!(fifo >= 0.2, "{fifo}");
    assert!(shared < fifo, "{shared} {fifo}");
}

/// Nothing of a trace is executed unasked, and `burn` never is.
#[cfg(target_os = "linux")]
#[test]
fn commands_run_only_when_told_to() {
    let at = folder();
    let touch = format!("{}/ran", at.path().display());
    let sessions = [session("a", TIMES, &["touch", &touch])];
    let refused = engine(at.path(), &sessions, &["--no-ideals"]);
    assert_eq!(
        (refused.code, &*refused.stdout),
        (Some(2), ""),
        "{}",
        refused.stderr
    );
    says(
        &refused.stderr,
        &[
            "tool calls of `c.jsonl` that carry a command: 1",
            "hint: `--commands run`",
            "hint: `--commands burn`",
        ],
    );
    assert!(!at.path().join("out").exists());
    let burnt = engine(
        at.path(),
        &sessions,
        &["--no-ideals", "--commands", "burn", "--format", "json"],
    );
    assert_eq!(burnt.code, Some(0), "{}", burnt.stderr);
    // Its tool took its 0.25 s and nothing else.
    assert!(
        burnt.runs()[0]["latency_s"]["mean"]
            .as_f64()
            .expect("a number")
            >= 0.25
    );
    let silent = [session("a", "", &["touch", &touch])];
    let ran = engine(at.path(), &silent, &["--no-ideals", "--commands", "burn"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    says(
        &ran.stderr,
        &["tool `Bash` has no wall time", "hint: `orrery trace fill`"],
    );
    assert!(!at.path().join("ran").exists());
    for (flag, value, told) in [
        ("--commands", "yes", "[possible values: run, burn]"),
        (
            "--tool-output-cap",
            "-1",
            "`--tool-output-cap` is `-1` (wanted: bytes, 0 to 1073741824)",
        ),
        (
            "--tool-memory-mib",
            "63",
            "`--tool-memory-mib` is `63` (wanted: MiB, 64 to 16777216)",
        ),
        (
            "--tool-file-mib",
            "0",
            "`--tool-file-mib` is `0` (wanted: MiB, 1 to 16777216)",
        ),
        (
            "--sandboxes",
            "c.jsonl",
            "cannot make the folder of `--sandboxes c.jsonl`",
        ),
    ] {
        let ran = engine(at.path(), &sessions, &["--commands", "burn", flag, value]);
        assert_eq!(ran.code, Some(2), "{flag} {value}: {}", ran.stderr);
        says(&ran.stderr, &[told]);
    }
}
