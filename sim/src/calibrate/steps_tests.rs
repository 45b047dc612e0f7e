//! Steps made from known coefficients give them back.

use units::Tokens;

use super::*;

const TRUE: InMillis = InMillis {
    p0: 20.0,
    p1: 0.01,
    p2: 1.2e-6,
    d0: 4.0,
    e: 15.0,
    d1: 0.03,
    d2: 3e-5,
};
const SHARE: f64 = 0.0625;

fn shapes() -> Vec<BatchShape> {
    let mut shapes = Vec::new();
    for decodes in [0_u64, 1, 2, 8, 32, 100] {
        for context in [100, 1_000, 8_000] {
            for (prefix, new) in [(0, 0), (0, 16), (0, 512), (4_000, 2_048), (9_000, 700)] {
                let mut shape = BatchShape::default();
                (0..decodes).for_each(|_| shape.add_decode(Tokens(context)));
                shape.add_prefill(Tokens(prefix), Tokens(new));
                if !shape.is_empty() {
                    shapes.push(shape);
                }
            }
        }
    }
    shapes
}

fn measured(noise: impl Fn(usize) -> f64) -> Vec<MeasuredStep> {
    let coefficients = Coefficients::from_ms(&TRUE, SHARE).expect("in range");
    let cost = ClosedForm::new(coefficients, Host::NONE).expect("in range");
    let step = |(at, shape): (usize, BatchShape)| MeasuredStep {
        shape,
        ms: cost.step(&shape).as_secs() * 1e3 * noise(at),
    };
    shapes().into_iter().enumerate().map(step).collect()
}

#[test]
fn exact_steps_give_the_coefficients_back() {
    let fit = fit_steps(&measured(|_| 1.0), SHARE, 5).expect("enough");
    let pairs = [
        (fit.ms.p0, TRUE.p0),
        (fit.ms.p1, TRUE.p1),
        (fit.ms.p2, TRUE.p2),
        (fit.ms.d0, TRUE.d0),
        (fit.ms.e, TRUE.e),
        (fit.ms.d1, TRUE.d1),
        (fit.ms.d2, TRUE.d2),
    ];
    for (got, want) in pairs {
        // Steps are rounded to the nanosecond, and the cheapest is some milliseconds.
        assert!((got / want - 1.0).abs() < 1e-3, "{fit:?}");
    }
    assert!(fit.across.all.expect("steps") < 1e-5, "{fit:?}");
}

#[test]
fn noise_is_reported_and_not_fitted() {
    // Every third step 9 % slow: the mean absolute error around the best line is about 4 %.
    let fit = fit_steps(
        &measured(|at| if at % 3 == 0 { 1.09 } else { 1.0 }),
        SHARE,
        5,
    )
    .expect("enough");
    let (inside, across) = (
        fit.inside.all.expect("steps"),
        fit.across.all.expect("steps"),
    );
    assert!((0.02..0.06).contains(&inside), "{inside}");
    assert!(across >= inside, "{across} {inside}");
}

#[test]
fn a_log_without_a_phase_is_refused() {
    let decodes: Vec<MeasuredStep> = measured(|_| 1.0)
        .into_iter()
        .filter(|s| s.kind() == Kind::Decode)
        .collect();
    let refused = fit_steps(&decodes, SHARE, 5).expect_err("no prefill");
    assert_eq!(
        refused.to_string(),
        "0 steps with prefill, too few to fit and check (wanted: at least 10)"
    );
}
