//! `orrery engine bench`: what it refuses, and what its report says of the kernels.

use crate::support::{folder, run, succeed, trace, two_turns};

const BENCH: [&str; 4] = ["engine", "bench", "--model", "random:tiny"];

#[test]
fn a_kernel_of_a_gpu_is_refused_where_no_gpu_computes() {
    let at = folder();
    for kernel in ["mma", "wgmma"] {
        let ran = run(
            at.path(),
            &[&BENCH[..], &["--prefill-attention", kernel]].concat(),
        );
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        for word in [
            "`--prefill-attention`",
            "`--device` is not `cuda`",
            "hint: ",
        ] {
            assert!(ran.stderr.contains(word), "{}", ran.stderr);
        }
    }
    let ran = run(
        at.path(),
        &[&BENCH[..], &["--prefill-attention", "tma"]].concat(),
    );
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("auto, mma, wgmma"), "{}", ran.stderr);
}

#[test]
fn runs_and_validation_refuse_it_too() {
    let at = folder();
    trace(at.path(), "w.jsonl", &[two_turns("a")]);
    let commands: [&[&str]; 2] = [
        &[
            "engine",
            "run",
            "--model",
            "random:tiny",
            "--workload",
            "w.jsonl",
        ],
        &[
            "validate",
            "--engine",
            "--weights",
            "random:tiny",
            "--workload",
            "w.jsonl",
        ],
    ];
    for command in commands {
        let ran = run(
            at.path(),
            &[command, &["--prefill-attention", "wgmma", "--out", "out"]].concat(),
        );
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("`--executor` is not `cuda`"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_report_without_a_gpu_names_no_kernel() {
    let at = folder();
    let more = [
        "--batches",
        "1",
        "--contexts",
        "16",
        "--prompts",
        "32",
        "--repeats",
        "1",
        "--kv-gib",
        "0.01",
        "--format",
        "json",
    ];
    let report = succeed(at.path(), &[&BENCH[..], &more].concat()).json();
    assert!(report["prefill_attention"].is_null(), "{report}");
    assert_eq!(report["rows"][0]["what"], "decode");
}
