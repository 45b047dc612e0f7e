//! Lists, explanations and help: on stdout, for people and pipes.

use std::process::Stdio;

use crate::support::{folder, orrery, run, succeed};

#[test]
fn policies_are_listed_shown_and_explained() {
    let at = folder();
    let list = succeed(at.path(), &["policies", "list"]).stdout;
    assert!(list.contains("fcfs") && list.contains("mars"));
    // Limits are listed and explained as what they are; there is no setting to show.
    assert!(list.contains("bound") && list.contains("isolated"));
    let explained = succeed(at.path(), &["policies", "explain", "bound"]).stdout;
    assert!(
        explained.starts_with("bound: Limit: a mean latency"),
        "{explained}"
    );
    let refused = run(at.path(), &["policies", "show", "bound"]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused
            .stderr
            .contains("`bound` is a limit and has no settings"),
        "{}",
        refused.stderr
    );
    let shown = succeed(at.path(), &["policies", "show", "mars"]).stdout;
    assert!(shown.contains("window_max = 30 "), "{shown}");
    assert!(shown.contains("# sessions"), "comments are part of it");
    let explained = succeed(at.path(), &["policies", "explain", "mars"]).stdout;
    for word in [
        "[admission] mars-window",
        "Formula:",
        "window_max = 30",
        "arXiv 2604.26963",
    ] {
        assert!(explained.contains(word), "{explained}");
    }
    let wrong = run(at.path(), &["policies", "show", "marz"]);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.ends_with("hint: did you mean `mars`?\n"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn what_is_shown_can_be_run() {
    let at = folder();
    let shown = succeed(at.path(), &["policies", "show", "mars"]).stdout;
    std::fs::write(
        at.path().join("mine.toml"),
        shown.replace("\"mars\"", "\"mine\""),
    )
    .unwrap();
    let args = [
        "run",
        "--policy",
        "mars,mine.toml",
        "--sessions",
        "20",
        "--format",
        "json",
    ];
    let runs = succeed(at.path(), &args).runs();
    assert_eq!(runs[1]["policy"], "mine");
    assert_eq!(runs[0]["latency_s"], runs[1]["latency_s"]);
}

#[test]
fn hardware_and_workloads_are_listed() {
    let at = folder();
    let hardware = succeed(at.path(), &["hardware", "list"]).stdout;
    for word in [
        "h100-nvl",
        "qwen3-coder-30b-a3b",
        "266792",
        "AIConfigurator",
    ] {
        assert!(hardware.contains(word), "no `{word}` in {hardware}");
    }
    let workloads = succeed(at.path(), &["workloads", "list"]).stdout;
    for word in ["swebench-mini", "101 sessions", "MIT", "drawn"] {
        assert!(workloads.contains(word), "no `{word}` in {workloads}");
    }
}

#[test]
fn help_teaches() {
    let at = folder();
    let help = succeed(at.path(), &["run", "--help"]).stdout;
    for flag in [
        "[default: fcfs,mars]",
        "[default: bundled]",
        "[default: 0.2]",
        "[default: fixed]",
        "[default: 400]",
        "[default: 1]",
        "[default: h100-nvl]",
        "[default: qwen3-coder-30b-a3b]",
        "[default: 8]",
        "[default: 1,2,3]",
        "[default: runs/run]",
        "[default: table]",
        "Examples:",
    ] {
        assert!(help.contains(flag), "no `{flag}` in {help}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let at = folder();
    for args in [
        &["policies", "show", "mars"][..],
        &["hardware", "list"],
        &["--help"],
    ] {
        let mut child = orrery(at.path(), args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}
