//! The roofline against measured kernel tables. Its errors are printed and must be those that
//! `sim/README.md` states, to a tenth of a percent: a change that moves them has to say so there.
//!
//! Skipped where the tables are not: they are not part of the project.

#![expect(clippy::disallowed_methods, reason = "tables are files")]

use std::path::Path;

use sim::cost::{BatchShape, Host, StepCost};
use sim::spec::{Catalog, Choice, CostChoice, Hardware};
use units::Tokens;

/// Table, GPU, model, and the stated mean absolute error in percent: prefill, decode.
const STATED: [(&str, &str, &str, f64, f64); 7] = [
    (
        "Qwen3-30B-A3B bf16 H100 vllm0.24",
        "h100-sxm",
        QWEN,
        6.7,
        5.2,
    ),
    (
        "Qwen3-30B-A3B bf16 H200 vllm0.24",
        "h200-sxm",
        QWEN,
        7.4,
        3.9,
    ),
    (
        "Qwen3-30B-A3B bf16 H200 sglang0.5.14",
        "h200-sxm",
        QWEN,
        5.8,
        5.6,
    ),
    (
        "Qwen3-30B-A3B bf16 H100 trtllm1.3.0rc20",
        "h100-sxm",
        QWEN,
        10.2,
        5.5,
    ),
    (
        "Llama-3.1-8B bf16 H100 vllm0.24",
        "h100-sxm",
        LLAMA,
        6.7,
        3.7,
    ),
    (
        "Llama-3.1-8B bf16 H200 vllm0.24",
        "h200-sxm",
        LLAMA,
        7.1,
        3.8,
    ),
    ("Llama-3.1-8B bf16 A100 vllm", "a100-sxm", LLAMA, 7.3, 19.3),
];
const QWEN: &str = "qwen3-coder-30b-a3b";
const LLAMA: &str = "llama-3.1-8b";

type Point = [f64; 3];

#[derive(serde::Deserialize)]
struct Table {
    prefill: Vec<Point>,
    decode: Vec<Point>,
}

#[test]
fn the_roofline_errs_as_stated() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/calibration/aiconfigurator_points.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED: no {}", file.display());
        return;
    };
    let tables: std::collections::BTreeMap<String, Table> =
        serde_json::from_str(&text).expect("the tables' format");
    for (name, gpu, model, prefill, decode) in STATED {
        let choice = Choice {
            gpu,
            model,
            utilisation: 0.9,
            degree: 1,
            cost: CostChoice::Roofline,
        };
        let hardware = Hardware::choose(&Catalog::builtin(), &choice).expect("ships");
        let cost = hardware.with_host(Host::NONE).cost;
        let table = &tables[name];
        let of_prefill = table.prefill.iter().map(|&[new, prefix, ms]| {
            let mut shape = BatchShape::default();
            shape.add_prefill(tokens(prefix), tokens(new));
            cost.step(&shape).as_secs() * 1e3 / ms - 1.0
        });
        let of_decode = table.decode.iter().map(|&[batch, context, ms]| {
            let mut shape = BatchShape::default();
            (0..tokens(batch).get()).for_each(|_| shape.add_decode(tokens(context)));
            cost.step(&shape).as_secs() * 1e3 / ms - 1.0
        });
        let got = (
            report(name, "prefill", of_prefill),
            report(name, "decode", of_decode),
        );
        assert!(
            (got.0 - prefill).abs() <= 0.1,
            "{name} prefill: {} %",
            got.0
        );
        assert!((got.1 - decode).abs() <= 0.1, "{name} decode: {} %", got.1);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the tables hold small whole numbers"
)]
fn tokens(value: f64) -> Tokens {
    Tokens(value as u64)
}

/// Prints mean, mean absolute and worst error in percent; gives the mean absolute one.
fn report(name: &str, phase: &str, errors: impl Iterator<Item = f64>) -> f64 {
    let errors: Vec<f64> = errors.map(|e| 100.0 * e).collect();
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let n = errors.len() as f64;
    let absolute = errors.iter().map(|e| e.abs()).sum::<f64>() / n;
    let mean = errors.iter().sum::<f64>() / n;
    let worst = errors.iter().fold(0.0_f64, |w, e| w.max(e.abs()));
    eprintln!(
        "{name:42} {phase:8} mean {mean:+5.1} %  absolute {absolute:4.1} %  worst {worst:4.1} %"
    );
    absolute
}
