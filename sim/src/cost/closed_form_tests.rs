//! Laws of the closed forms, with numbers worked by hand.

use std::num::NonZeroU64;

use units::Tokens;

use super::*;
use crate::cost::InMillis;

fn model(ms: InMillis, share: f64, host: Host) -> ClosedForm {
    let coefficients = Coefficients::from_ms(&ms, share).expect("in range");
    ClosedForm::new(coefficients, host).expect("in range")
}

/// Decodes by their context after the step; chunks as (prefix, new).
fn shape(decodes: &[u64], chunks: &[(u64, u64)]) -> BatchShape {
    let mut shape = BatchShape::default();
    for &context in decodes {
        shape.add_decode(Tokens(context));
    }
    for &(prefix, new) in chunks {
        shape.add_prefill(Tokens(prefix), Tokens(new));
    }
    shape
}

/// p0 10, p1 0.01, d0 5, e 4, d1 0.5 ms, half of the experts per token.
fn mixing() -> ClosedForm {
    let ms = InMillis {
        p0: 10.0,
        p1: 0.01,
        d0: 5.0,
        e: 4.0,
        d1: 0.5,
        ..InMillis::default()
    };
    model(ms, 0.5, Host::NONE)
}

#[test]
fn five_steps_that_mix_prefill_and_decode() {
    let steps = [
        // 10 + 0.01 * 2048
        (shape(&[], &[(0, 32), (0, 2_016)]), 30_480_000),
        // max(5 + 4, 10 + 0.01 * (2047 + 1))
        (shape(&[33], &[(2_016, 2_047)]), 30_480_000),
        // max(9, 10 + 0.01 * 938)
        (shape(&[34], &[(4_063, 937)]), 19_380_000),
        // 5 + 4 * (1 - 1/4) + 0.5 * 2
        (shape(&[35, 5_001], &[]), 9_000_000),
        // 5 + 4 * (1 - 1/2) + 0.5
        (shape(&[36], &[]), 7_500_000),
    ];
    let mut end = Nanos::ZERO;
    for (shape, ns) in steps {
        assert_eq!(mixing().step(&shape), Nanos::new(ns), "{shape:?}");
        end += Nanos::new(ns);
    }
    assert_eq!(end, Nanos::new(96_840_000));
}

#[test]
fn a_tiny_chunk_beside_decodes_reads_all_experts() {
    // p0 is small here, so the decode floor d0 + e = 9 ms is the larger reading of the weights.
    let ms = InMillis {
        p0: 1.0,
        p1: 0.01,
        d0: 5.0,
        e: 4.0,
        ..InMillis::default()
    };
    let step = model(ms, 0.5, Host::NONE).step(&shape(&[100], &[(0, 16)]));
    assert_eq!(step, Nanos::from_millis(9));
}

#[test]
fn attention_is_paid_per_chunk_and_the_fixed_part_per_step() {
    // p2 = 2 ps per pair; chunks of 10 behind 100 and of 3 behind 0:
    // 2 * (10 * 105 + 3 * 1.5) = 2,109 ps, and 10 us once.
    let ms = InMillis {
        p0: 0.01,
        p2: 2e-9,
        ..InMillis::default()
    };
    let step = model(ms, 1.0, Host::NONE).step(&shape(&[], &[(100, 10), (0, 3)]));
    assert_eq!(step, Nanos::new(10_002));
}

#[test]
fn a_step_is_rounded_once_and_halves_go_up() {
    // d1 = 400 ps and d2 = 50 ps: 400 + 50 * 2 = 500 ps is 1 ns; 400 + 50 = 450 ps is 0 ns.
    // Rounding each term would give 0 for both.
    let ms = InMillis {
        d1: 4e-7,
        d2: 5e-8,
        ..InMillis::default()
    };
    let model = model(ms, 1.0, Host::NONE);
    assert_eq!(model.step(&shape(&[2], &[])), Nanos::new(1));
    assert_eq!(model.step(&shape(&[1], &[])), Nanos::new(0));
}

#[test]
fn half_a_picosecond_decides_a_tie() {
    // p1 = 499 ps and p2 = 1 ps on one lone token: 499 + 1 * 1/2 = 499.5 ps, below half a ns.
    // On two lone chunks of one token: 998 + 1 = 999 ps.
    let ms = InMillis {
        p1: 4.99e-7,
        p2: 1e-9,
        ..InMillis::default()
    };
    let model = model(ms, 1.0, Host::NONE);
    assert_eq!(model.step(&shape(&[], &[(0, 1)])), Nanos::new(0));
    assert_eq!(model.step(&shape(&[], &[(0, 1), (0, 1)])), Nanos::new(1));
    // One token behind one: 499 + 1 * (1 + 1/2) = 500.5 ps.
    assert_eq!(model.step(&shape(&[], &[(1, 1)])), Nanos::new(1));
}

#[test]
fn an_empty_step_costs_nothing_not_even_on_the_host() {
    let model = model(InMillis::default(), 1.0, Host::TYPICAL);
    assert_eq!(model.step(&BatchShape::default()), Nanos::ZERO);
}

#[test]
fn the_host_adds_its_part_per_step_and_per_turn() {
    let model = model(InMillis::default(), 1.0, Host::TYPICAL);
    // Two decodes and two chunks: 0.8 ms + 4 * 4 us.
    let step = model.step(&shape(&[5, 6], &[(0, 9), (0, 4)]));
    assert_eq!(step, Nanos::new(816_000));
}

#[test]
fn prefill_alone_pays_the_fixed_part_per_chunk() {
    let budget = NonZeroU64::new(2_048).expect("not zero");
    let model = mixing();
    // 5,000 = 2,048 + 2,048 + 904 tokens: 3 * 10 + 0.01 * 5,000 ms.
    let alone = model.prefill_alone(Tokens(100), Tokens(5_000), budget);
    assert_eq!(alone, Nanos::from_millis(80));
    assert_eq!(
        model.prefill_alone(Tokens(100), Tokens::ZERO, budget),
        Nanos::ZERO
    );
}

#[test]
fn prefill_alone_attends_to_what_came_before() {
    // p2 = 1 us per pair. 4 tokens behind 10: pairs 4 * 10 + 4 * 4 / 2 = 48, however chunked.
    let ms = InMillis {
        p2: 0.001,
        ..InMillis::default()
    };
    let model = model(ms, 1.0, Host::NONE);
    for budget in 1..=5 {
        let budget = NonZeroU64::new(budget).expect("not zero");
        let alone = model.prefill_alone(Tokens(10), Tokens(4), budget);
        assert_eq!(alone, Nanos::new(48_000), "budget {budget}");
    }
}

#[test]
fn the_largest_coefficients_and_counts_do_not_overflow_the_sum() {
    let most = Coefficients::MAX_PS;
    let coefficients = Coefficients {
        p0: most,
        p1: most,
        p2: most,
        d0: most,
        e: most,
        d1: most,
        d2: most,
        active_share: 1.0,
    };
    let model = ClosedForm::new(coefficients, Host::NONE).expect("at the limit");
    let shape = BatchShape {
        decode_context_max: 0,
        decodes: u64::MAX,
        decode_context: u64::MAX,
        prefill_chunks: 1,
        prefill_tokens: u64::MAX,
        prefill_work: u64::MAX,
    };
    // 2 * (p0 + p1 * 2 * max + d2 * max) + p2 * max, with every coefficient 1e15.
    let want = 1_000_000_000_000_000 * (2 + 7 * u128::from(u64::MAX));
    assert_eq!(model.half_picos(&shape), want);
}
