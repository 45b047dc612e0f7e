//! Plain arithmetic on arrays: the meaning of every operation, and the way of any processor.

use half::f16;

use super::{LANES, Simd};

/// Arrays of sixteen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

type F = [f32; LANES];
type I = [i32; LANES];

#[inline(always)]
fn zip(a: F, b: F, f: impl Fn(f32, f32) -> f32) -> F {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type F = F;
    type I = I;
    const ROWS: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> F {
        *from
    }

    #[inline(always)]
    fn store(self, x: F, to: &mut [f32; LANES]) {
        *to = x;
    }

    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> F {
        from.map(|x| f32::from_bits(u32::from(x) << 16))
    }

    #[inline(always)]
    fn load_bf16_pair(self, from: &[u16; 2 * LANES]) -> [F; 2] {
        [0, 1].map(|half| {
            std::array::from_fn(|i| f32::from_bits(u32::from(from[2 * i + half]) << 16))
        })
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> F {
        from.map(|x| f16::from_bits(x).to_f32())
    }

    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn round(self, a: F) -> F {
        a.map(f32::round_ties_even)
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole numbers within the exponent's range"
    )]
    fn exp2(self, n: F) -> F {
        n.map(|n| f32::from_bits(((n as i32 + 127) << 23) as u32))
    }

    #[inline(always)]
    fn max_lanes(self, a: F) -> f32 {
        a.into_iter()
            .fold(f32::NEG_INFINITY, |most, x| if x > most { x } else { most })
    }

    #[inline(always)]
    fn first(self, n: usize, a: F, b: F) -> F {
        std::array::from_fn(|i| if i < n { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn splat_i(self, x: i32) -> I {
        [x; LANES]
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "below 2^31 by contract")]
    fn to_int(self, a: F) -> I {
        a.map(|x| x.round_ties_even() as i32)
    }

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "rounds as the processor does")]
    fn to_float(self, a: I) -> F {
        a.map(|x| x as f32)
    }

    #[inline(always)]
    fn magnitude(self, a: F) -> I {
        a.map(|x| x.abs().to_bits().cast_signed())
    }

    #[inline(always)]
    fn max_i(self, a: I, b: I) -> I {
        std::array::from_fn(|i| a[i].max(b[i]))
    }

    #[inline(always)]
    fn max_lanes_i(self, a: I) -> i32 {
        a.into_iter().fold(i32::MIN, i32::max)
    }

    #[inline(always)]
    fn sum_i(self, a: I) -> i32 {
        a.iter().fold(0, |sum, x| sum.wrapping_add(*x))
    }

    #[inline(always)]
    fn add_i(self, a: I, b: I) -> I {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn pack(self, a: I) -> [i32; 4] {
        std::array::from_fn(|word| {
            i32::from_le_bytes(std::array::from_fn(|i| a[4 * word + i].to_le_bytes()[0]))
        })
    }

    #[inline(always)]
    fn dot(self, to: I, w: &[u8; 4 * LANES], x: i32) -> I {
        let x = x.to_le_bytes().map(|x| i32::from(x.cast_signed()));
        std::array::from_fn(|i| {
            let products = (0..4).map(|j| i32::from(w[4 * i + j]) * x[j]);
            products.fold(to[i], i32::wrapping_add)
        })
    }
}
