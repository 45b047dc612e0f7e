//! Cost models from the command line: choosing one, fitting one, holding one against a log.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::support::{folder, run, succeed};

const SMALL: [&str; 8] = [
    "--policy",
    "fcfs",
    "--sessions",
    "3",
    "--rate",
    "1",
    "--set",
    "metrics.alpha1_tolerance=0.01",
];

/// Ten requests of three tokens each, a second apart, on a machine whose step takes 20 ms.
fn log() -> String {
    let mut text = String::new();
    for i in 0..10 {
        let at = 100.0 + f64::from(i);
        let (first, last) = (at + 0.02, at + 0.06);
        let _ = writeln!(
            text,
            "{{\"request_id\":\"r{i}\",\"input_toks\":100,\"output_toks\":3,\"queued_ts\":{at},\
             \"first_token_ts\":{first},\"last_token_ts\":{last}}}"
        );
    }
    text
}

/// Steps of 20 ms, whatever is in them.
fn steps() -> String {
    let mut text = "decodes,decode_context,prefill_tokens,prefill_work,ms\n".to_owned();
    for i in 1..=10_u64 {
        let _ = writeln!(text, "{i},{},0,0,20", 100 * i);
        let _ = writeln!(text, "0,0,{},{},20", 10 * i, 100 * i * i);
    }
    text
}

#[test]
fn steps_become_a_cost_that_meets_its_log() {
    let at = folder();
    fs::write(at.path().join("steps.csv"), steps()).expect("writable");
    fs::write(at.path().join("log.jsonl"), log()).expect("writable");
    let fitted = succeed(
        at.path(),
        &[
            "calibrate",
            "steps.csv",
            "--gpu",
            "h100-sxm",
            "--model",
            "llama-3.1-8b",
        ],
    );
    assert!(fitted.stderr.contains("across folds"), "{}", fitted.stderr);
    assert!(
        fitted.stdout.contains("includes_host = true"),
        "{}",
        fitted.stdout
    );
    fs::write(at.path().join("mine.toml"), &fitted.stdout).expect("writable");
    let checked = succeed(
        at.path(),
        &[
            "validate",
            "--real",
            "log.jsonl",
            "--gpu",
            "h100-sxm",
            "--model",
            "llama-3.1-8b",
            "--cost",
            "mine.toml",
            "--format",
            "json",
            "--svg",
            "s.svg",
            "--series",
            "s.csv",
        ],
    );
    let json: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    assert_eq!(json["grade"], "A", "{json}");
    for figure in ["ttft", "tpot", "latency"] {
        let error = json[figure]["per_request_abs_error"]
            .as_f64()
            .expect("a number");
        assert!(error < 1e-3, "{figure} {error}");
    }
    let svg = fs::read_to_string(at.path().join("s.svg")).expect("drawn");
    assert!(svg.contains("recorded (ms)") && svg.contains("grade A"));
    let series = fs::read_to_string(at.path().join("s.csv")).expect("written");
    assert!(
        series.starts_with("t_s,running,waiting,kv_used\n"),
        "{series}"
    );
}

#[test]
fn requests_scale_a_cost_to_themselves() {
    let at = folder();
    fs::write(at.path().join("log.jsonl"), log()).expect("writable");
    let machine = ["--gpu", "h100-sxm", "--model", "llama-3.1-8b"];
    let fitted = succeed(
        at.path(),
        &[&["calibrate", "log.jsonl"], &machine[..]].concat(),
    );
    assert!(fitted.stderr.contains("decode x "), "{}", fitted.stderr);
    fs::write(at.path().join("mine.toml"), &fitted.stdout).expect("writable");
    let check = [
        "validate",
        "--real",
        "log.jsonl",
        "--cost",
        "mine.toml",
        "--format",
        "json",
    ];
    let checked = succeed(at.path(), &[&check[..], &machine[..]].concat());
    let json: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    let error = |figure: &str| json[figure]["mean_error"].as_f64().expect("a number").abs();
    assert!(error("tpot") < 0.02 && error("latency") < 0.02, "{json}");
}

#[test]
fn cost_models_are_chosen_by_name_and_say_what_they_rest_on() {
    let at = folder();
    for (cost, basis) in [("roofline", "roofline"), ("closed-form", "fitted")] {
        let flags = [
            "run", "--gpu", "h100-sxm", "--cost", cost, "--out", cost, "--quiet",
        ];
        succeed(at.path(), &[&flags[..], &SMALL[..]].concat());
        let runs = fs::read_dir(at.path().join(cost)).expect("runs");
        let run = runs.last().expect("one").expect("readable").path();
        let manifest = fs::read_to_string(run.join("manifest.json")).expect("written");
        let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
        let text = manifest.to_string();
        assert!(
            text.contains(&format!("\"step_cost_basis\":\"{basis}\"")),
            "{text}"
        );
    }
    let list = succeed(at.path(), &["hardware", "list"]).stdout;
    assert!(list.contains("rtx-4090") && list.contains("gpt-oss-120b"));
}

#[test]
fn a_users_hardware_is_listed_and_runs() {
    let at = folder();
    let spec = "[[gpu]]\nname = \"mine\"\nmemory_mib = 98304\nmemory_gb_per_s = 2000\n\
                bf16_tflops = 400\nsources = [\"my data sheet\"]\n";
    fs::write(at.path().join("mine.toml"), spec).expect("writable");
    let list = succeed(
        at.path(),
        &["hardware", "list", "--hardware-file", "mine.toml"],
    )
    .stdout;
    assert!(list.contains("mine: my data sheet"), "{list}");
    let flags = [
        "run",
        "--hardware-file",
        "mine.toml",
        "--gpu",
        "mine",
        "--out",
        "o",
        "--quiet",
    ];
    succeed(at.path(), &[&flags[..], &SMALL[..]].concat());
}

#[test]
fn what_cannot_be_says_why() {
    let at = folder();
    fs::write(at.path().join("bad.jsonl"), log().replace("100.02", "99.5")).expect("writable");
    fs::write(at.path().join("steps.csv"), "decodes,ms\n1,2\n").expect("writable");
    let zero = "[[gpu]]\nname = \"z\"\nmemory_mib = 1\nmemory_gb_per_s = 0\nsources = []\n";
    fs::write(at.path().join("zero.toml"), zero).expect("writable");
    let cases: [(&[&str], &str); 8] = [
        (&["run", "--cost", "rooofline"], "`--cost` is `rooofline`"),
        (
            &["run", "--set", "tools.host_threads=2"],
            "setting `tools.host_threads` is `2` (wanted: nothing, but with tools.host_cores=shared)",
        ),
        (
            &["run", "--cost", "profile:nowhere"],
            "no kernel tables in `nowhere`",
        ),
        (
            &["run", "--model", "llama-3.1-70b"],
            "hint: it fits on: `xeon-8480`",
        ),
        (
            &["run", "--hardware-file", "zero.toml"],
            "`memory_gb_per_s` is 0",
        ),
        (&["validate", "--real", "bad.jsonl"], "`bad.jsonl` line 1"),
        (
            &["calibrate", "steps.csv"],
            "`--gpu` and `--model` are needed",
        ),
        (
            &[
                "calibrate",
                "steps.csv",
                "--gpu",
                "h100-sxm",
                "--model",
                "llama-3.1-8b",
            ],
            "no column `decode_context`",
        ),
    ];
    for (args, told) in cases {
        let refused = run(at.path(), args);
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(told),
            "{args:?}: {}",
            refused.stderr
        );
    }
}
