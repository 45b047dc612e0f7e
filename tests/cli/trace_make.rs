//! Generated workloads, exports, and what runs make of workloads: descriptions by name, sessions that
//! cannot be read, and arrivals of every kind.

use std::fs;
use std::path::Path;

use crate::support::{Ran, folder, run, succeed, trace, two_turns};

fn made(at: &Path, args: &[&str]) -> Ran {
    succeed(at, &[&["trace"], args].concat())
}

fn refused(at: &Path, args: &[&str], words: &[&str]) {
    let ran = run(at, args);
    assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{args:?}");
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "{args:?}: no `{word}` in: {}",
            ran.stderr
        );
    }
}

const DESCRIPTION: &str = r#"
name = "tiny"
about = "one prompt and a tool"
sources = ["made up"]
output = { constant = 5 }
observation = { constant = 7 }

[[tool]]
name = "Bash"
cores = 0.5
timeout_s = 10
wall_s = { constant = 2 }

[[class]]
name = "only"
weight = 1
turns = { constant = 3 }
first_prompt = { constant = 100 }

[[target]]
of = "output"
statistic = "mean"
wanted = 5
tolerance = 0.01
source = "made up"

[[target]]
of = "turns"
statistic = "mean"
wanted = 4
tolerance = 0.1
source = "made up"
"#;

#[test]
fn a_description_becomes_a_trace() {
    let at = folder();
    fs::write(at.path().join("tiny.toml"), DESCRIPTION).expect("a file");
    let args = [
        "generate",
        "tiny.toml",
        "--sessions",
        "4",
        "-o",
        "tiny.jsonl",
        "--report",
        "r.json",
    ];
    let ran = made(at.path(), &args);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(at.path().join("r.json")).expect("a report"))
            .expect("JSON");
    let targets = report["targets"].as_array().expect("a list");
    assert_eq!(
        (&targets[0]["achieved"], &targets[0]["within"]),
        (&5.0.into(), &true.into())
    );
    assert_eq!(
        (&targets[1]["achieved"], &targets[1]["within"]),
        (&3.0.into(), &false.into())
    );
    // Two tools of 2 s, and some model time.
    let ideal = report["t_ideal_s"]["mean"].as_f64().expect("a time");
    assert!(ideal > 4.0 && ideal < 6.0, "{ideal}");
    assert!(ran.stderr.contains("T_ideal on h100-nvl"), "{}", ran.stderr);
    let stats = made(
        at.path(),
        &[
            "stats",
            "tiny.jsonl",
            "tiny.toml",
            "--sessions",
            "4",
            "--format",
            "json",
        ],
    )
    .json();
    let (file, direct) = (&stats["traces"][0], &stats["traces"][1]);
    assert_eq!((&file["sessions"], &file["turns"]), (&4.into(), &12.into()));
    assert_eq!(file["quantities"], direct["quantities"]);
    assert_eq!(
        file["tools"][0]["wall_from"]["drawn"],
        file["tools"][0]["calls"]
    );
}

#[test]
fn presets_are_workloads() {
    let at = folder();
    let trace = made(
        at.path(),
        &[
            "generate",
            "ilr-1",
            "--sessions",
            "3",
            "--seed",
            "5",
            "--quiet",
        ],
    )
    .stdout;
    fs::write(at.path().join("ilr.jsonl"), &trace).expect("a trace");
    let again = made(
        at.path(),
        &[
            "generate",
            "ilr-1",
            "--sessions",
            "3",
            "--seed",
            "5",
            "--quiet",
        ],
    );
    assert_eq!(trace, again.stdout);
    let common = [
        "--sessions",
        "3",
        "--policy",
        "fcfs",
        "--rate",
        "0.1",
        "--format",
        "json",
        "--quiet",
    ];
    let by_name = ["run", "--workload", "ilr-1", "--set", "workload.seed=5"];
    let by_name = succeed(at.path(), &[&by_name[..], &common].concat()).runs();
    let by_file = succeed(
        at.path(),
        &[&["run", "--workload", "ilr.jsonl"][..], &common].concat(),
    )
    .runs();
    assert_eq!(by_name[0]["latency_s"], by_file[0]["latency_s"]);
    let list = succeed(at.path(), &["workloads", "list"]).stdout;
    assert!(
        list.contains("ilr-4") && list.contains("continuum-bfcl"),
        "{list}"
    );
}

#[test]
fn exports_come_back() {
    let at = folder();
    trace(at.path(), "two.jsonl", &[two_turns("a"), two_turns("b")]);
    let ran = made(
        at.path(),
        &[
            "export",
            "two.jsonl",
            "--to",
            "inference-lab",
            "-o",
            "lab.jsonl",
        ],
    );
    assert!(
        ran.stderr.contains("2 sessions, 4 turns as inference-lab"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("the format cannot hold:"),
        "{}",
        ran.stderr
    );
    let back = made(
        at.path(),
        &[
            "import",
            "lab.jsonl",
            "--from",
            "inference-lab",
            "-o",
            "back.jsonl",
        ],
    );
    assert!(
        back.stderr.contains("imported 2 sessions"),
        "{}",
        back.stderr
    );
    let stats = made(
        at.path(),
        &["stats", "two.jsonl", "back.jsonl", "--format", "json"],
    )
    .json();
    let (one, two) = (&stats["traces"][0], &stats["traces"][1]);
    assert_eq!(one["quantities"][1], two["quantities"][1], "prompt volumes");
    refused(
        at.path(),
        &["trace", "export", "two.jsonl", "--to", "moonkake"],
        &["`--to` is `moonkake`", "did you mean `mooncake`?"],
    );
}

#[test]
fn runs_can_skip_sessions_and_say_so() {
    let at = folder();
    trace(
        at.path(),
        "bad.jsonl",
        &[two_turns("a"), "{".to_owned(), two_turns("b")],
    );
    let args = [
        "run",
        "--workload",
        "bad.jsonl",
        "--policy",
        "fcfs",
        "--sessions",
        "2",
    ];
    refused(at.path(), &args, &["line 3", "`--on-bad-session skip`"]);
    let skip = ["--on-bad-session", "skip", "--out", "out", "--quiet"];
    succeed(at.path(), &[&args[..], &skip].concat());
    let run = fs::read_dir(at.path().join("out"))
        .expect("a folder")
        .next()
        .expect("a run")
        .expect("it");
    let manifest = fs::read_to_string(run.path().join("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let workload = &manifest["workload"];
    assert_eq!(
        (&workload["sessions_dropped"], &workload["sessions_in_file"]),
        (&1.into(), &2.into())
    );
    assert!(
        workload["dropped_because"][0]
            .as_str()
            .expect("a reason")
            .contains("line 3")
    );
}

#[test]
fn arrivals_are_of_many_kinds() {
    let at = folder();
    let with_arrival = |id: &str, at_s: u32| {
        two_turns(id).replace(r#""turns""#, &format!(r#""arrival_s":{at_s},"turns""#))
    };
    trace(
        at.path(),
        "timed.jsonl",
        &[with_arrival("late", 30), with_arrival("early", 10)],
    );
    let args = |kind| {
        [
            "run",
            "--workload",
            "timed.jsonl",
            "--policy",
            "fcfs",
            "--sessions",
            "2",
            "--rate",
            "0.1",
            "--arrivals",
            kind,
            "--format",
            "json",
            "--out",
            "out",
            "--quiet",
        ]
    };
    let mut spans = Vec::new();
    for kind in ["fixed", "poisson", "gamma:2", "burst:2", "recorded"] {
        let runs = succeed(at.path(), &args(kind)).runs();
        assert_eq!(runs[0]["completed"], 2, "{kind}");
        spans.push(runs[0]["makespan_s"].as_f64().expect("a time"));
    }
    // One gap of 10 s at this rate, evenly and as recorded; none in a burst.
    assert!((spans[0] - spans[4]).abs() < 1e-9, "{spans:?}");
    assert!((spans[0] - spans[3]) > 9.0, "{spans:?}");
    assert!((spans[1] - spans[2]).abs() > 1e-3, "{spans:?}");
    refused(at.path(), &args("gamma:0"), &["gamma:CV wants"]);
    refused(
        at.path(),
        &args("gama:2"),
        &["wanted: fixed, poisson, gamma:CV, burst:N, recorded"],
    );
    trace(
        at.path(),
        "timed.jsonl",
        &[with_arrival("late", 30), two_turns("never")],
    );
    refused(
        at.path(),
        &args("recorded"),
        &["session 1 has no recorded arrival"],
    );
    let mut many = args("recorded");
    many[6] = "3";
    refused(at.path(), &many, &["`--sessions` is `3`", "at most 2"]);
}

#[test]
fn wrong_descriptions_are_refused() {
    let at = folder();
    fs::write(
        at.path().join("bad.toml"),
        DESCRIPTION.replace("turns = {", "turnz = {"),
    )
    .expect("a file");
    for args in [
        &["trace", "generate", "bad.toml"][..],
        &["run", "--workload", "bad.toml"],
    ] {
        refused(
            at.path(),
            args,
            &[
                "cannot use description `bad.toml`",
                "line ",
                "turnz",
                "did you mean",
            ],
        );
    }
    refused(
        at.path(),
        &["trace", "generate", "ilr-9"],
        &["`ilr-9` is no description", "did you mean `ilr-1`?"],
    );
    refused(
        at.path(),
        &["trace", "generate", "missing.toml"],
        &["cannot use description `missing.toml`"],
    );
    refused(
        at.path(),
        &["trace", "fill", "ilr-1"],
        &["`orrery trace generate ilr-1"],
    );
    refused(
        at.path(),
        &["trace", "generate", "ilr-1", "--sessions", "0"],
        &["`--sessions` is `0`"],
    );
    let unknown = r#"{"id":"u","turns":[{"prompt":9,"output":1,"tools":[{"name":"Bash"}]}]}"#;
    trace(at.path(), "silent.jsonl", &[unknown.to_owned()]);
    refused(
        at.path(),
        &[
            "run",
            "--workload",
            "silent.jsonl",
            "--sessions",
            "1",
            "--policy",
            "fcfs",
        ],
        &["hint: `orrery trace fill` draws"],
    );
}
