//! `orrery generate`: a real model's text, where the model is here; refusals everywhere.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{Ran, folder, orrery, run, succeed};

/// Whether the cache has SmolLM2; a line says so where it does not.
fn smollm2() -> bool {
    match engine::fetch::find("smollm2") {
        Ok(_) => true,
        Err(e) => {
            eprintln!("skipped: {e}");
            false
        }
    }
}

const QUESTION: &str = "What is the capital of France?";

#[test]
fn a_model_answers_and_the_executors_agree() {
    if !smollm2() {
        return;
    }
    let at = folder();
    let fast = succeed(at.path(), &["generate", "--max-tokens", "24", QUESTION]);
    assert!(fast.stdout.contains("Paris"), "{}", fast.stdout);
    assert!(fast.stderr.contains("37 prompt tokens"), "{}", fast.stderr);
    let args = [
        "generate",
        "--max-tokens",
        "24",
        "--executor",
        "candle",
        "--format",
        "json",
    ];
    let slow = succeed(at.path(), &[&args[..], &[QUESTION]].concat()).json();
    assert_eq!(
        slow["text"].as_str().map(str::trim),
        Some(fast.stdout.trim()),
        "in 32-bit floats both say the same"
    );
    assert!(
        slow["text"].as_str().expect("text").contains("Paris"),
        "{slow}"
    );
    assert_eq!(
        (&slow["prompt_tokens"], &slow["executor"]),
        (&37.into(), &"candle".into())
    );
}

#[test]
fn a_seed_repeats_a_drawn_text() {
    if !smollm2() {
        return;
    }
    let at = folder();
    let drawn = |seed: &str| {
        let args = [
            "generate",
            "--raw",
            "--temperature",
            "1",
            "--max-tokens",
            "12",
            "--seed",
            seed,
        ];
        succeed(at.path(), &[&args[..], &["Once upon a time"]].concat()).stdout
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
}

#[test]
fn a_prompt_may_come_on_stdin() {
    let at = folder();
    let mut command = orrery(at.path(), &["generate", "--model", "random:tiny"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(b"\n")
        .expect("taken");
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("the prompt is empty"), "{}", ran.stderr);
}

#[test]
fn wrong_values_name_the_flag_and_its_limits() {
    let at = folder();
    for (args, wanted) in [
        (&["--temperature", "-1", "x"][..], "--temperature"),
        (&["--top-p", "0", "x"], "--top-p"),
        (&["--max-tokens", "0", "x"], "--max-tokens"),
        (
            &["--model", "no-such-model", "x"],
            "smollm2, qwen2.5-coder-1.5b",
        ),
    ] {
        let ran = run(at.path(), &[&["generate"], args].concat());
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(wanted), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    std::fs::write(
        at.path().join("broken.gguf"),
        b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
    )
    .expect("written");
    let ran = run(at.path(), &["generate", "--model", "broken.gguf", "x"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("broken.gguf"), "{}", ran.stderr);
}
