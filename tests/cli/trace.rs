//! `orrery trace`: what each verb makes of a small trace, and how it refuses nonsense.

use std::fs;
use std::path::Path;

use crate::support::{HEADER, Ran, folder, names, run, succeed, trace, two_turns};

/// Runs `orrery trace` with these arguments, which must be refused with this code and these words.
fn refused(at: &Path, code: i32, args: &[&str], words: &[&str]) -> Ran {
    let ran = run(at, &[&["trace"], args].concat());
    assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stderr);
    assert!(
        ran.stderr.starts_with("error: "),
        "{args:?}: {}",
        ran.stderr
    );
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "{args:?}: no `{word}` in: {}",
            ran.stderr
        );
    }
    ran
}

fn made(at: &Path, args: &[&str]) -> Ran {
    succeed(at, &[&["trace"], args].concat())
}

fn unknown_times(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","turns":[{{"prompt":100,"output":20,"tools":[{{"name":"Bash"}}]}},{{"prompt":150,"reused":120,"output":5}}]}}"#
    )
}

#[test]
fn stats_are_those_of_the_trace() {
    let at = folder();
    trace(
        at.path(),
        "two.jsonl",
        &[two_turns("a"), unknown_times("b")],
    );
    let ran = made(
        at.path(),
        &["stats", "two.jsonl", "bundled", "--format", "json"],
    );
    let all = ran.json();
    let two = &all["traces"][0];
    assert_eq!((&two["sessions"], &two["turns"]), (&2.into(), &4.into()));
    let quantity = |name: &str| {
        let quantities = two["quantities"].as_array().expect("a list");
        quantities
            .iter()
            .find(|q| q["name"] == name)
            .expect("a quantity")
            .clone()
    };
    // 1600 + 2000, and 100 + 150.
    let volume = quantity("prompt volume per session");
    assert_eq!(
        (&volume["min"], &volume["max"]),
        (&250.0.into(), &3600.0.into())
    );
    // 2000 - 1601, and 150 - 120.
    let observation = quantity("observation");
    assert_eq!(
        (&observation["n"], &observation["sum"]),
        (&2.into(), &429.0.into())
    );
    assert!(quantity("idle share")["mean"].is_null());
    let tools = two["tools"].as_array().expect("a list");
    assert_eq!(tools[0]["name"], "Bash");
    assert_eq!(
        (&tools[0]["wall_from"]["unknown"], &tools[0]["cores"]),
        (&1.into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (&tools[1]["name"], &tools[1]["wall_s"]["p50"]),
        (&"bash".into(), &0.25.into())
    );
    assert_eq!(all["traces"][1]["sessions"], 101);

    let table = made(at.path(), &["stats", "two.jsonl"]).stdout;
    assert!(
        table.contains("two.jsonl: 2 sessions (0 sub-agents), 4 turns, 2 tool calls"),
        "{table}"
    );
    assert!(
        table.contains("tool times: 1 recorded, 1 unknown"),
        "{table}"
    );
    assert!(table.contains("n/a"), "{table}");
    let csv = made(at.path(), &["stats", "two.jsonl", "--format", "csv"]).stdout;
    assert!(
        csv.starts_with("trace,quantity,unit,n,mean,sd,min,p50,p90,p99,max,sum\n"),
        "{csv}"
    );
    assert!(
        csv.contains("\ntwo.jsonl,tool bash,s,1,0.25,0,0.25,"),
        "{csv}"
    );
}

#[test]
fn stats_draw_what_there_is() {
    let at = folder();
    trace(at.path(), "silent.jsonl", &[unknown_times("b")]);
    made(at.path(), &["stats", "silent.jsonl", "--svg", "one.svg"]);
    let one = fs::read_to_string(at.path().join("one.svg")).expect("a figure");
    assert!(one.contains("not recorded: Tool time"), "{one}");
    made(
        at.path(),
        &["stats", "silent.jsonl", "bundled", "--svg", "two.svg"],
    );
    let two = fs::read_to_string(at.path().join("two.svg")).expect("a figure");
    for words in [
        "Tool time",
        "bundled (101 sessions)",
        "silent.jsonl (1 sessions)",
    ] {
        assert!(two.contains(words), "no `{words}`");
    }
}

#[test]
fn check_tells_errors_warnings_and_notes_apart() {
    let at = folder();
    trace(at.path(), "fine.jsonl", &[two_turns("a")]);
    let ran = made(at.path(), &["check", "fine.jsonl"]);
    assert!(
        ran.stdout.contains("ok: every session can be replayed"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("note     no session has an arrival: 1 in 1 session"),
        "{}",
        ran.stdout
    );

    let big = r#"{"id":"big","turns":[{"prompt":900000,"output":1}]}"#;
    trace(
        at.path(),
        "odd.jsonl",
        &[unknown_times("b"), big.to_owned()],
    );
    let words = ["is a lawful trace with 3 warnings"];
    let ran = refused(
        at.path(),
        1,
        &["check", "odd.jsonl", "--gpu", "h200-nvl"],
        &words,
    );
    for words in [
        "warning  tool calls of unknown time: 1 in 1 session, first `b`",
        "`orrery trace fill` draws tool times",
        "warning  larger than the KV pool of ",
        "h200-nvl with qwen3-coder-30b-a3b rejects it",
    ] {
        assert!(ran.stdout.contains(words), "no `{words}` in {}", ran.stdout);
    }

    let negative = r#"{"id":"c","turns":[{"prompt":-5,"output":1}]}"#;
    trace(
        at.path(),
        "bad.jsonl",
        &[
            two_turns("a"),
            negative.to_owned(),
            two_turns("a"),
            two_turns("d"),
        ],
    );
    let words = ["`bad.jsonl` has 2 sessions that cannot be read"];
    let ran = refused(
        at.path(),
        2,
        &["check", "bad.jsonl", "--format", "json"],
        &words,
    );
    let found = ran.json();
    assert_eq!(
        (&found["sessions"], &found["errors"]),
        (&2.into(), &2.into())
    );
    let first = found["first_errors"].as_array().expect("a list");
    let line =
        "line 3: `turns[0].prompt` is -5 (wanted: a whole number of tokens from 1 to 4294967295)";
    assert_eq!(first[0], line);
    assert_eq!(
        first[1],
        "session 3 of the file: `id` is `a`, which an earlier session has (wanted: unique)"
    );
    refused(
        at.path(),
        2,
        &["check", "fine.jsonl", "--gpu", "h100-nv"],
        &["did you mean `h100-nvl`?"],
    );
}

#[test]
fn bad_lines_fail_or_are_counted() {
    let at = folder();
    trace(
        at.path(),
        "bad.jsonl",
        &[two_turns("a"), "{\"id\":".to_owned()],
    );
    let words = [
        "cannot use workload `bad.jsonl`",
        "line 3",
        "hint: `--on-bad-session skip`",
    ];
    refused(at.path(), 2, &["stats", "bad.jsonl"], &words);
    let args = [
        "stats",
        "bad.jsonl",
        "--on-bad-session",
        "skip",
        "--format",
        "json",
    ];
    let ran = made(at.path(), &args);
    let one = &ran.json()["traces"][0];
    assert_eq!(
        (&one["sessions"], &one["dropped_sessions"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn fill_makes_a_trace_that_runs() {
    let at = folder();
    trace(
        at.path(),
        "silent.jsonl",
        &[two_turns("a"), unknown_times("b")],
    );
    let ran = made(
        at.path(),
        &[
            "fill",
            "silent.jsonl",
            "--seed",
            "3",
            "-o",
            "filled.jsonl.zst",
        ],
    );
    assert!(
        ran.stderr
            .contains("2 sessions: drew 1 tool times and set 1 CPU times"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
    made(at.path(), &["check", "filled.jsonl.zst"]);
    let again = made(at.path(), &["fill", "silent.jsonl", "--seed", "3"]).stdout;
    assert!(
        again.contains(r#""wall_from":"drawn""#) && again.contains(r#""wall_s":0.25"#),
        "{again}"
    );
    assert!(
        again
            .lines()
            .next()
            .expect("a header")
            .contains("drawn with seed 3"),
        "{again}"
    );
    assert_eq!(
        again,
        made(at.path(), &["fill", "silent.jsonl", "--seed", "3"]).stdout
    );
    assert_ne!(
        again,
        made(at.path(), &["fill", "silent.jsonl", "--seed", "4"]).stdout
    );
}

#[test]
fn sample_scale_and_merge_make_traces() {
    let at = folder();
    let lines: Vec<String> = (0..20).map(|i| two_turns(&format!("s{i}"))).collect();
    trace(at.path(), "many.jsonl", &lines);
    made(
        at.path(),
        &["sample", "many.jsonl", "-n", "5", "-o", "five.jsonl"],
    );
    made(
        at.path(),
        &[
            "scale",
            "five.jsonl",
            "--time",
            "2",
            "--turns",
            "2",
            "-o",
            "slow.jsonl",
        ],
    );
    let slow = made(at.path(), &["stats", "slow.jsonl", "--format", "json"]).json();
    assert_eq!(slow["traces"][0]["turns"], 20);
    assert_eq!(slow["traces"][0]["tools"][0]["wall_s"]["max"], 0.5);
    let ran = made(
        at.path(),
        &["merge", "five.jsonl", "many.jsonl", "-o", "all.jsonl.zst"],
    );
    assert!(
        ran.stderr.contains("25 sessions of 2 traces; 10 had an id"),
        "{}",
        ran.stderr
    );
    let all = made(at.path(), &["check", "all.jsonl.zst"]).stdout;
    assert!(all.contains("25 sessions"), "{all}");
    assert_eq!(
        names(at.path()),
        ["all.jsonl.zst", "five.jsonl", "many.jsonl", "slow.jsonl"]
    );
}

#[test]
fn traces_flow_through_pipes() {
    let at = folder();
    trace(at.path(), "one.jsonl", &[two_turns("a")]);
    let text = made(at.path(), &["scale", "one.jsonl", "--length", "2"]).stdout;
    fs::write(at.path().join("piped.jsonl"), &text).expect("a trace");
    let ran = succeed(
        at.path(),
        &[
            "run",
            "--workload",
            "piped.jsonl",
            "--sessions",
            "1",
            "--policy",
            "fcfs",
            "--quiet",
        ],
    );
    assert!(ran.stdout.contains("piped.jsonl"), "{}", ran.stdout);
}

#[test]
fn nonsense_is_refused_and_leaves_nothing() {
    let at = folder();
    trace(at.path(), "one.jsonl", &[two_turns("a")]);
    fs::write(at.path().join("empty.jsonl"), format!("{HEADER}\n")).expect("a file");
    fs::write(at.path().join("text.txt"), "hello\n").expect("a file");
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["scale", "one.jsonl", "--time", "0"],
            &["`--time` is `0` (wanted: above 0, at most 1000)"],
        ),
        (
            &["scale", "one.jsonl", "--turns", "nan"],
            &["`--turns` is `nan`"],
        ),
        (
            &["sample", "one.jsonl", "-n", "0"],
            &["`--sessions` is `0` (wanted: sessions, at least 1)"],
        ),
        (
            &["sample", "one.jsonl", "--min-turns", "9"],
            &["none of the 1 sessions of `one.jsonl` passes the filter with at least 9 turns"],
        ),
        (
            &["fill", "one.jsonl", "--seed", "-1"],
            &["`--seed` is `-1`"],
        ),
        (
            &["fill", "one.jsonl", "--tool-limit", "0"],
            &["`--tool-limit` is `0`"],
        ),
        (
            &["merge", "one.jsonl", "./one.jsonl"],
            &["two of the traces are labelled `one`"],
        ),
        (&["stats", "empty.jsonl"], &["has a header and no session"]),
        (&["stats", "text.txt"], &["line 1"]),
        (&["stats", "bundle"], &["did you mean `bundled`?"]),
        (
            &["stats", "."],
            &["`orrery trace import` makes a trace of a folder"],
        ),
        (
            &["scale", "one.jsonl", "-o", "missing/x.jsonl"],
            &["cannot write `missing/x.jsonl`"],
        ),
        (&["scale", "one.jsonl", "-o", "."], &["cannot write `.`"]),
    ];
    for (args, words) in cases {
        refused(at.path(), 2, args, words);
    }
    assert_eq!(names(at.path()), ["empty.jsonl", "one.jsonl", "text.txt"]);
    // What was there stays when its replacement cannot be made.
    let before = fs::read(at.path().join("one.jsonl")).expect("a trace");
    refused(at.path(), 2, &["scale", "text.txt", "-o", "one.jsonl"], &[]);
    assert_eq!(
        fs::read(at.path().join("one.jsonl")).expect("a trace"),
        before
    );
}
