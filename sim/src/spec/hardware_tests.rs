//! The specs that ship, against figures computed by hand and measured values.

use units::Nanos;

use super::*;
use crate::cost::{BatchShape, StepCost};

const QWEN: &str = "qwen3-coder-30b-a3b";
const LLAMA: &str = "llama-3.1-8b";

fn on(gpu: &str, model: &str) -> Hardware {
    Hardware::new(&Catalog::builtin(), gpu, model, 0.90).expect("ships")
}

fn coefficients(hardware: &Hardware) -> &Coefficients {
    hardware
        .cost
        .closed_form()
        .expect("was fitted")
        .coefficients()
}

fn choose(gpu: &str, model: &str, degree: u32, cost: CostChoice) -> Result<Hardware, SpecError> {
    let choice = Choice {
        gpu,
        model,
        utilisation: 0.90,
        degree,
        cost,
    };
    Hardware::choose(&Catalog::builtin(), &choice)
}

#[test]
fn windowed_layers_keep_their_window_per_turn_and_nothing_per_token() {
    let gpt = on("h100-sxm", "gpt-oss-120b");
    // 18 of 36 layers * 2 * 8 * 64 * 2 B, and 18 layers * 128 tokens * 2,048 B.
    assert_eq!(gpt.model.kv_per_token(), Bytes(36_864));
    assert_eq!(gpt.model.kv_of_windows(), Bytes(4_718_592));
    // (0.9 * 81559 - 60.8 * 1024 - 3584) MiB - 128 * 4.5 MiB = 6,983.9 MiB, 1024/36 tokens in each.
    assert_eq!(gpt.kv_tokens, Tokens(198_653));
}

#[test]
fn tensor_parallelism_adds_memory_and_takes_the_roofline() {
    let two = choose("h100-sxm", "llama-3.1-70b", 2, CostChoice::Auto).expect("fits twice");
    assert_eq!((two.basis, two.cost.name()), (Basis::Roofline, "roofline"));
    // (0.9 * 163118 - 131.4 * 1024 - 7168) MiB = 5,084.6 MiB, at 320 KiB per token.
    assert_eq!(two.kv_tokens, Tokens(16_270));
    let odd = choose("h100-sxm", "llama-3.1-70b", 3, CostChoice::Auto).expect_err("64 heads");
    assert_eq!(
        odd.to_string(),
        "`llama-3.1-70b` cannot be split over 3 GPUs (wanted: 1 to 64, dividing its 64 query heads)"
    );
    let fit = choose("h100-sxm", LLAMA, 2, CostChoice::ClosedForm).expect_err("no fit for two");
    assert!(fit.to_string().starts_with("no cost for"), "{fit}");
}

#[test]
fn kv_per_token_follows_from_the_shape() {
    // 2 * 48 * 4 * 128 * 2 and 2 * 32 * 8 * 128 * 2.
    assert_eq!(on("h100-sxm", QWEN).model.kv_per_token(), Bytes(98_304));
    assert_eq!(on("h100-sxm", LLAMA).model.kv_per_token(), Bytes(131_072));
}

#[test]
fn pools_are_what_memory_leaves() {
    // (0.9 * 95830 - (56.3 + 3.5) * 1024) MiB / 96 KiB = 25011.8 * 1024 / 96 = 266,792.5
    // (0.9 * 143771 - 61235.2) * 1024 / 96 = 727,026.1
    // (0.9 * 81559 - 61235.2) * 1024 / 96 = 129,790.9;  Llama: (73403.1 - 18944) * 8 = 435,672.8
    let cases = [
        ("h100-nvl", QWEN, 266_792),
        ("h100-sxm", QWEN, 129_790),
        ("h200-sxm", QWEN, 727_026),
        ("h200-nvl", QWEN, 727_026),
        ("h100-sxm", LLAMA, 435_672),
    ];
    for (gpu, model, tokens) in cases {
        let hardware = on(gpu, model);
        assert_eq!(hardware.kv_tokens, Tokens(tokens), "{model} on {gpu}");
    }
    let nvl = on("h100-nvl", QWEN);
    assert_eq!(nvl.blocks(BlockSize::default()), Blocks(16_674));
    assert_eq!(nvl.usable_blocks(BlockSize::default()), Blocks(16_673));
}

#[test]
fn every_pair_that_ships_has_a_cost() {
    let catalog = Catalog::builtin();
    for gpu in catalog.gpus() {
        for model in catalog.models() {
            assert!(!gpu.sources.is_empty() && !model.sources.is_empty());
            match Hardware::new(&catalog, &gpu.name, &model.name, 0.90) {
                Ok(hardware) => {
                    let word = match hardware.basis {
                        Basis::Fitted | Basis::Scaled => "fitted",
                        other => other.as_str(),
                    };
                    assert!(hardware.evidence.starts_with(word), "{}", hardware.evidence);
                }
                Err(SpecError::DoesNotFit { .. }) => {}
                Err(e) => panic!("{} on {}: {e}", model.name, gpu.name),
            }
        }
    }
}

/// Coefficients in picoseconds: p0, p1, p2, d0, e, d1, d2.
#[rustfmt::skip]
const FITS: [(&str, &str, [u64; 7], f64); 6] = [
    ("h100-sxm", QWEN, [22_800_000_000, 10_780_000, 1_199, 3_800_000_000, 15_220_000_000, 31_000_000, 32_200], 0.0625),
    ("h200-sxm", QWEN, [18_000_000_000, 9_770_000, 1_199, 3_420_000_000, 11_170_000_000, 25_000_000, 22_700], 0.0625),
    ("a100-sxm", QWEN, [46_000_000_000, 35_160_000, 4_538, 5_370_000_000, 25_310_000_000, 96_000_000, 63_700], 0.0625),
    ("h100-sxm", LLAMA, [2_940_000_000, 19_260_000, 772, 6_430_000_000, 0, 10_400_000, 42_200], 1.0),
    ("h200-sxm", LLAMA, [1_820_000_000, 19_730_000, 780, 4_980_000_000, 0, 11_000_000, 29_800], 1.0),
    ("a100-sxm", LLAMA, [8_050_000_000, 54_560_000, 2_934, 11_640_000_000, 0, 28_700_000, 83_200], 1.0),
];

#[test]
fn fits_are_loaded_to_the_picosecond() {
    for (gpu, model, [p0, p1, p2, d0, e, d1, d2], active_share) in FITS {
        let want = Coefficients {
            p0,
            p1,
            p2,
            d0,
            e,
            d1,
            d2,
            active_share,
        };
        assert_eq!(*coefficients(&on(gpu, model)), want, "{model} on {gpu}");
    }
}

#[test]
fn a_gpu_like_another_scales_what_memory_bounds() {
    let (sxm, nvl) = (on("h100-sxm", QWEN), on("h100-nvl", QWEN));
    // Times 3350/3938: p0 19,395,632,300.66; d0 3,232,605,383.44; e 12,947,435,246.32; d2 27,392.08.
    let want = Coefficients {
        p0: 19_395_632_301,
        d0: 3_232_605_383,
        e: 12_947_435_246,
        d2: 27_392,
        ..*coefficients(&sxm)
    };
    assert_eq!(*coefficients(&nvl), want);
    assert_eq!(
        nvl.evidence,
        "fitted to AIConfigurator kernel tables of Qwen3-30B-A3B bf16, vLLM 0.24, H100 SXM; for \
         h100-nvl: memory-bound terms (p0, d0, e, d2) scaled by bandwidth 3350/3938 GB/s, \
         arithmetic (p1, p2) and d1 as on h100-sxm"
    );
}

/// Mean over cases of the relative error, in percent.
fn mean_error(cases: &[(Nanos, f64)]) -> f64 {
    let errors: Vec<f64> = cases
        .iter()
        .map(|&(ours, measured_ms)| (ours.as_secs() * 1e3 / measured_ms - 1.0).abs())
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a handful of cases")]
    let n = errors.len() as f64;
    100.0 * errors.iter().sum::<f64>() / n
}

/// The fit's stated accuracy on pure phases, mean absolute error in percent.
const STATED: f64 = 4.0;

#[test]
fn prefill_meets_the_stated_accuracy() {
    // AIConfigurator, Qwen3-30B bf16 on H100 SXM: new tokens, thousand tokens per second.
    let measured = [(512, 17.8), (2_048, 44.5), (8_192, 53.5), (32_768, 31.3)];
    let cost = on("h100-sxm", QWEN).with_host(Host::NONE).cost;
    let cases = measured.map(|(new, per_ms)| {
        let mut shape = BatchShape::default();
        shape.add_prefill(Tokens::ZERO, Tokens(new));
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let ms = new as f64 / per_ms;
        (cost.step(&shape), ms)
    });
    let error = mean_error(&cases);
    assert!(error <= STATED, "mean error {error} %: {cases:?}");
}

#[test]
fn decode_meets_the_stated_accuracy() {
    // AIConfigurator, Qwen3-30B bf16 on H100 SXM, context 2,048 each: batch, milliseconds.
    let measured = [
        (1, 4.7),
        (8, 10.6),
        (32, 21.9),
        (64, 26.2),
        (128, 32.3),
        (256, 42.4),
    ];
    let cost = on("h100-sxm", QWEN).with_host(Host::NONE).cost;
    let cases = measured.map(|(batch, ms)| {
        let mut shape = BatchShape::default();
        (0..batch).for_each(|_| shape.add_decode(Tokens(2_048)));
        (cost.step(&shape), ms)
    });
    let error = mean_error(&cases);
    assert!(error <= STATED, "mean error {error} %: {cases:?}");
}

#[test]
fn reloading_a_context_costs_what_its_chunks_cost() {
    // 32,768 tokens in 16 chunks of 2,048, no host:
    // 16 * 22.8 + 0.01078 * 32768 + 1.199e-6 * 32768^2 / 2 = 1361.746808... ms
    let cost = on("h100-sxm", QWEN).with_host(Host::NONE).cost;
    let budget = std::num::NonZeroU64::new(2_048).expect("not zero");
    let reload = cost.prefill_alone(Tokens::ZERO, Tokens(32_768), budget);
    // 364,800,000 + 353,239,040 + 643,708,223.488 ns; each chunk's share of the last is rounded.
    let exact_half_ps: u128 = 2 * (364_800_000_000 + 353_239_040_000) + 1_199 * 32_768 * 32_768;
    let ours = u128::from(reload.as_nanos()) * 2_000;
    assert!(ours.abs_diff(exact_half_ps) <= 16 * 1_000, "{reload}");
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_its_numbers() {
    let refused = Hardware::new(&Catalog::builtin(), "h100-sxm", QWEN, 0.70);
    let message = refused.expect_err("56.3 GiB in 55.8 GiB").to_string();
    assert_eq!(
        message,
        "`qwen3-coder-30b-a3b` does not fit `h100-sxm`: 55.75 of 79.65 GiB may be used, weights \
         take 56.30 GiB and activations 3.50 GiB; at least 3145728 bytes for KV must remain\n\
         hint: it fits on: `h100-nvl`, `h200-nvl`, `h200-sxm`, `rtx-pro-6000`, `xeon-8480`"
    );
}

#[test]
fn utilisation_is_a_share() {
    for value in [0.0, -0.5, 1.01, f64::NAN] {
        let refused = Hardware::new(&Catalog::builtin(), "h100-sxm", LLAMA, value);
        assert!(
            matches!(refused, Err(SpecError::Utilisation { .. })),
            "{value}"
        );
    }
}
