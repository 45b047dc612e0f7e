//! Every way to hand in nonsense: what is wrong, where, and what would be right.

use std::fs;
use std::path::Path;

use crate::support::{HEADER, folder, names, run, trace, two_turns};

/// Runs `orrery run` with these arguments, which must be refused with exit code 2 and these words.
pub(crate) fn refused(at: &Path, args: &[&str], words: &[&str]) -> String {
    let ran = run(at, &[&["run"], args].concat());
    assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{args:?}");
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
    assert!(!at.join("runs").exists(), "{args:?} left files");
    ran.stderr
}

#[test]
fn wrong_flags_name_value_and_limit() {
    let at = folder();
    let cases: [(&[&str], &str); 16] = [
        (
            &["--rate", "0"],
            "`--rate` is `0` (wanted: sessions per second, 1e-9 to 1e9)",
        ),
        (&["--rate", "-1"], "`--rate` is `-1`"),
        (&["--rate", "nan"], "`--rate` is `nan`"),
        (&["--rate", "0.1,x"], "`--rate` is `x`"),
        (&["--rate", "0.1,0.10"], "`--rate` has `0.10` twice"),
        (
            &["--sessions", "0"],
            "`--sessions` is `0` (wanted: 1 to 10000000)",
        ),
        (
            &["--alpha", "0"],
            "`--alpha` is `0` (wanted: numbers above 0)",
        ),
        (&["--alpha", ""], "`--alpha` is ``"),
        (&["--seed", "-1"], "`--seed` is `-1`"),
        (&["--tool-cores", "0"], "`--tool-cores` is `0`"),
        (
            &["--utilisation", "1.5"],
            "`--utilisation` is `1.5` (wanted: above 0, at most 1)",
        ),
        (&["--horizon", "0"], "`--horizon` is `0`"),
        (&["--threads", "0"], "`--threads` is `0`"),
        (
            &["--set", "nonsense"],
            "`--set` is `nonsense` (wanted: KEY=VALUE)",
        ),
        (
            &["--set", "engine.token_budget=0"],
            "`engine.token_budget` is `0`",
        ),
        (&["--policy", ""], "`--policy` names no policy"),
    ];
    for (args, words) in cases {
        refused(at.path(), args, &[words]);
    }
}

#[test]
fn unknown_names_name_the_nearest() {
    let at = folder();
    let cases: [(&[&str], &str); 7] = [
        (&["--policy", "fcfs,marz"], "did you mean `mars`?"),
        (&["--gpu", "h100-nv"], "did you mean `h100-nvl`?"),
        (
            &["--model", "qwen3-coder-30b"],
            "did you mean `qwen3-coder-30b-a3b`?",
        ),
        (&["--workload", "bundeld"], "did you mean `bundled`?"),
        (
            &["--set", "admission.window_mx=3"],
            "did you mean `admission.window_max`?",
        ),
        (
            &["--set", "mars.order.agin_s=3"],
            "did you mean `mars.order.aging_s`?",
        ),
        (
            &["--set", "engine.token_buget=3"],
            "did you mean `engine.token_budget`?",
        ),
    ];
    for (args, hint) in cases {
        refused(at.path(), args, &[&format!("\nhint: {hint}")]);
    }
}

#[test]
fn a_policy_file_is_checked_like_a_preset() {
    let at = folder();
    let file = at.path().join("mine.toml");
    fs::write(
        &file,
        "base = \"mars\"\nname = \"mine\"\n[order]\nagin_s = 3\n",
    )
    .unwrap();
    let words = [
        "cannot use policy `mine.toml`",
        "order.agin_s",
        "`order.aging_s`",
    ];
    refused(at.path(), &["--policy", "mine.toml"], &words);
    fs::write(
        &file,
        "base = \"mars\"\nname = \"mine\"\n[admission]\nwindow_min = 99\n",
    )
    .unwrap();
    refused(at.path(), &["--policy", "mine.toml"], &["window", "99"]);
    refused(
        at.path(),
        &["--policy", "none.toml"],
        &["cannot read policy `none.toml`"],
    );
    refused(
        at.path(),
        &["--policy", "mars,mars"],
        &["two policies are called `mars`"],
    );
}

#[test]
fn hardware_that_cannot_be() {
    let at = folder();
    let args = ["--utilisation", "0.5"];
    refused(
        at.path(),
        &args,
        &["`qwen3-coder-30b-a3b` does not fit `h100-nvl`", "GiB"],
    );
}

#[test]
fn traces_are_refused_with_the_line() {
    let at = folder();
    let path = at.path();
    refused(
        path,
        &["--workload", "no/such.jsonl"],
        &["cannot open workload `no/such.jsonl`"],
    );
    refused(path, &["--workload", "."], &["cannot open workload `.`"]);

    let mut lines: Vec<String> = (0..900).map(|i| two_turns(&format!("s{i}"))).collect();
    // Line 1 is the header, so session 810 (from 0) is on line 812.
    lines[810].truncate(40);
    trace(path, "broken.jsonl", &lines);
    let words = ["cannot use workload `broken.jsonl`", "cause: line 812"];
    refused(path, &["--workload", "broken.jsonl"], &words);

    let negative = two_turns("a").replace("\"prompt\":1600", "\"prompt\":-5");
    trace(path, "negative.jsonl", &[negative]);
    let words = ["line 2: `turns[0].prompt` is -5 (wanted: "];
    refused(path, &["--workload", "negative.jsonl"], &words);

    trace(path, "twice.jsonl", &["a", "a"].map(two_turns));
    refused(
        path,
        &["--workload", "twice.jsonl"],
        &["session 2", "`id` is `a`"],
    );

    let unknown = two_turns("a").replace("\"wall_s\":0.25,\"cpu_s\":0.1", "\"parallelism\":1");
    trace(path, "unknown.jsonl", &[unknown]);
    let ran = run(path, &["run", "--workload", "unknown.jsonl", "--out", "o"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("tool `bash` has no wall time"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("\nhint: "), "{}", ran.stderr);
    assert_eq!(names(&path.join("o")), Vec::<String>::new());

    for (name, text) in [
        ("empty.jsonl", ""),
        ("no.jsonl", HEADER),
        ("not.jsonl", "{}\n"),
    ] {
        fs::write(path.join(name), text).unwrap();
        refused(path, &["--workload", name], &["cannot use workload"]);
    }
}

#[test]
fn loads_that_no_clock_can_hold() {
    let at = folder();
    refused(at.path(), &["--rate", "1e-9"], &["146 years", "hint: "]);
    refused(
        at.path(),
        &["--rate", "1e-6", "--sessions", "200"],
        &["samples", "hint: "],
    );
}

#[test]
fn an_output_folder_that_cannot_be() {
    let at = folder();
    fs::write(at.path().join("file"), "").unwrap();
    refused(at.path(), &["--out", "file/below"], &["file/below"]);
}

#[test]
fn arguments_that_clap_refuses_are_bad_input_too() {
    let at = folder();
    refused(at.path(), &["--polcy", "mars"], &["--policy"]);
    refused(at.path(), &["--format", "xml"], &["table", "json", "csv"]);
    refused(at.path(), &["--arrivals", "burst"], &["fixed", "poisson"]);
}
