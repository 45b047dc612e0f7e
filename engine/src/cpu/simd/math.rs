//! Functions made of the operations: sums over lanes, the exponential, `SiLU`.

use super::{LANES, Simd};

/// Sum of the lanes as a tree of halves: one order, whatever the processor.
#[inline(always)]
pub(crate) fn sum<S: Simd>(s: S, x: S::F) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(x, &mut lanes);
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `e^x` within two units in the last place for `x` of -87 to 88, and `e^-87` below; `exp(0)` is just 1.
///
/// `x = n ln 2 + f` with `ln 2` in two parts, then the Taylor series of `e^f` to the seventh power:
/// `|f| <= 0.35`, so what is left out is below 6e-9.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // Nine and a half bits are cut off the first part, so that `n` times it is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const FACTORS: [f32; 7] = [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    // In this order, not-a-number stays what it is.
    let x = s.max(s.splat(-87.0), x);
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let f = s.fma(n, s.splat(-LN2_HIGH), x);
    let f = s.fma(n, s.splat(-LN2_LOW), f);
    let mut p = s.splat(1.0 / 5040.0);
    let mut i = 0;
    while i < FACTORS.len() {
        p = s.fma(p, f, s.splat(FACTORS[i]));
        i += 1;
    }
    s.mul(p, s.exp2(n))
}

/// `x / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    // Below -87 the quotient is next to 0 anyway, and the exponential must not overflow.
    let minus = s.sub(s.splat(0.0), s.max(s.splat(-87.0), x));
    s.div(x, s.add(s.splat(1.0), exp(s, minus)))
}
