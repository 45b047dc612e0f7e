//! Where there is no GPU, or none that the program may see: what is said, and what computes instead. In a
//! program with the feature `cuda` and in one without.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Ran, folder, names, orrery, trace};

/// Whether this program was built with the GPU's executor.
const BUILT: bool = cfg!(feature = "cuda");

/// Runs the program with every GPU hidden from it.
fn blind(folder: &Path, args: &[&str]) -> Ran {
    let mut command = orrery(folder, args);
    Ran::of(
        command
            .env("CUDA_VISIBLE_DEVICES", "")
            .output()
            .expect("it starts"),
    )
}

fn has_driver() -> bool {
    #[cfg(feature = "cuda")]
    let there = ::engine::cuda::gpu::driver_is_present();
    #[cfg(not(feature = "cuda"))]
    let there = false;
    there
}

/// What the program calls the first thing that is missing.
fn missing() -> &'static str {
    match (BUILT, has_driver()) {
        (false, _) => "this program is built without it",
        (true, false) => "libcuda",
        // Hidden: which words the driver has for that, or which library is missing, is not known.
        (true, true) => "",
    }
}

#[test]
fn doctor_says_what_is_there_and_ends_well_without_a_gpu() {
    let at = folder();
    let ran = blind(at.path(), &["doctor", "--format", "json"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    let found = ran.json();
    let cuda = &found["cuda"];
    assert_eq!(cuda["built"], BUILT);
    assert_eq!(cuda["devices"], Value::Array(Vec::new()));
    let executors = found["executors"].as_array().expect("a list");
    let row = |name: &str| executors.iter().find(|e| e["name"] == name).expect(name);
    assert_eq!(row("candle")["runs"], true);
    assert_eq!(row("cpu")["runs"], true);
    assert_eq!(row("cuda")["runs"], false);
    let note = row("cuda")["note"].as_str().expect("words");
    assert!(!note.is_empty() && note.contains(missing()), "{note}");

    let libraries = cuda["libraries"].as_array().expect("a list");
    let named: Vec<_> = libraries.iter().map(|l| l["name"].clone()).collect();
    if !BUILT {
        assert!(note.contains("--features cuda"), "{note}");
        assert_eq!(named, Vec::<Value>::new(), "it looks for nothing");
    } else if has_driver() {
        eprintln!("SKIPPED: a driver that is not found: there is one");
    } else {
        assert_eq!(named, ["libcuda", "libnvrtc", "libcublasLt"]);
        assert_eq!(libraries[0]["found"], false);
        assert!(note.contains("install the NVIDIA driver"), "{note}");
        let problem = cuda["problem"].as_str().expect("words");
        assert!(
            problem.contains("libcuda.so.1") && problem.contains("not found"),
            "{problem}"
        );
    }
}

#[test]
fn doctor_tells_people_the_same_as_programs() {
    let at = folder();
    let table = blind(at.path(), &["doctor"]);
    let csv = blind(at.path(), &["doctor", "--format", "csv"]);
    assert_eq!((table.code, csv.code), (Some(0), Some(0)));
    let row = |text: &str, name: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("no {name}: {text}"))
            .to_owned()
    };
    assert!(row(&table.stdout, "executor cpu").contains("runs: "));
    let cuda = row(&table.stdout, "executor cuda");
    assert!(
        cuda.contains("does not run: ") && cuda.contains(missing()),
        "{cuda}"
    );
    assert!(row(&csv.stdout, "executor cuda").contains("does not run: "));
    if BUILT && !has_driver() {
        let driver = row(&table.stdout, "libcuda ");
        assert!(driver.trim_end().ends_with("not found"), "{driver}");
    }
    let refused = blind(at.path(), &["doctor", "--format", "yaml"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
}

const SESSION: &str = r#"{"id":"a","turns":[{"prompt":40,"output":2}]}"#;

fn on_cuda<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = [
        &[
            "engine",
            "run",
            "--workload",
            "w.jsonl",
            "--executor",
            "cuda",
        ][..],
        &[
            "--policy",
            "fcfs",
            "--sessions",
            "1",
            "--no-ideals",
            "--out",
            "out",
        ],
        &["--model", model],
        more,
    ];
    args.concat()
}

#[test]
fn without_a_gpu_it_says_so_once_and_the_manifest_names_what_computed() {
    falls_back(&on_cuda("random:tiny", &["--kv-mib", "8"]));
}

/// As the benchmark calls it.
#[test]
fn an_executor_may_be_called_a_device() {
    let mut args = on_cuda("random:tiny", &["--kv-mib", "8"]);
    let flag = args.iter_mut().find(|arg| **arg == "--executor");
    *flag.expect("it is given") = "--device";
    falls_back(&args);
}

fn falls_back(args: &[&str]) {
    let at = folder();
    trace(at.path(), "w.jsonl", &[SESSION.to_owned()]);
    let ran = blind(at.path(), args);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let warnings: Vec<_> = ran
        .stderr
        .lines()
        .filter(|l| l.contains("no GPU"))
        .collect();
    let [warning] = warnings[..] else {
        panic!("{}", ran.stderr);
    };
    assert!(
        warning.starts_with("warning: no GPU (")
            && warning.contains(missing())
            && warning.ends_with("); `cpu` computes instead"),
        "{warning}"
    );
    let out = at.path().join("out");
    let [run] = &names(&out)[..] else {
        panic!("{:?}", names(&out));
    };
    let text = fs::read_to_string(out.join(run).join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(manifest["config"]["machine"]["executor"], "cpu");
}

#[test]
fn a_bench_of_a_gpu_that_is_not_there_is_refused() {
    let at = folder();
    let ran = blind(at.path(), &["engine", "bench", "--device", "cuda"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
    let says = if BUILT {
        missing()
    } else {
        "built without the `cuda` executor"
    };
    assert!(
        ran.stderr.contains(says) && ran.stderr.contains("--device cpu"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_trial_of_a_kernel_says_why_it_cannot_be_and_what_it_takes() {
    let at = folder();
    let ran = blind(at.path(), &["prefill-trial", "32", "8", "128", "16"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
    let says = if BUILT {
        missing()
    } else {
        "built without the `cuda` executor"
    };
    assert!(
        ran.stderr.starts_with("error: ") && ran.stderr.contains(says),
        "{}",
        ran.stderr
    );
    for args in [
        &["prefill-trial"][..],
        &["prefill-trial", "32", "8", "wide", "16"],
    ] {
        let ran = blind(at.path(), args);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""));
        assert!(
            ran.stderr.contains("(wanted: query heads, KV heads, "),
            "{}",
            ran.stderr
        );
    }
}

/// 16 TiB of KV are beyond any machine: were anything made first, this would take minutes.
#[test]
fn a_model_beyond_memory_is_refused_before_anything_is_made() {
    let at = folder();
    trace(at.path(), "w.jsonl", &[SESSION.to_owned()]);
    for kind in ["cuda", "cpu", "candle"] {
        let more = ["--kv-mib", "16777216", "--executor", kind];
        let ran = blind(at.path(), &on_cuda("random:llama-3.1-8b", &more));
        assert_eq!(ran.code, Some(2), "{kind}: {}", ran.stderr);
        for says in [
            "model `random:llama-3.1-8b` on the processor needs 16",
            "(weights 14.9 GiB, the executor's copy of them ",
            "KV 16384.0 GiB)",
            "GiB can be had",
            "hint: a smaller shape or a smaller KV pool",
        ] {
            assert!(ran.stderr.contains(says), "{kind}: {}", ran.stderr);
        }
        assert_eq!(ran.stdout, "");
    }
}
