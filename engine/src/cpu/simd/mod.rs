//! Sixteen lanes of arithmetic, in three ways that give the same bits.
//!
//! What: [`Simd`] is what kernels are written in; [`Avx512`], [`Avx2`] and [`Portable`] do it. [`Isa`]
//! names a way, finds the best one, and runs a [`Kernel`] with it.
//! Why: a kernel is written once. Every way has sixteen lanes, fuses multiply and add, and reduces
//! lanes in one order, so a result does not depend on the machine, and the fast ways are tested
//! against the plain one bit by bit.
//! Limits: a value of a fast way is a proof that the processor has it, so only [`Isa`] makes one.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
mod math;
mod portable;

pub use isa::Isa;
pub(crate) use isa::Kernel;
pub(crate) use math::{exp, silu, sum};

/// Lanes of a vector.
pub(crate) const LANES: usize = 16;

/// Sixteen lanes. Methods are plain arithmetic; loads and stores take arrays of the right length.
pub(crate) trait Simd: Copy {
    /// Sixteen `f32`.
    type F: Copy;
    /// Sixteen `i32`.
    type I: Copy;
    /// Rows of a register tile that is two vectors wide: as many accumulators as stay in registers.
    const ROWS: usize;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, from: &[f32; LANES]) -> Self::F;
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    /// Brain floats by their bits.
    fn load_bf16(self, from: &[u16; LANES]) -> Self::F;
    /// 32 brain floats that [`interleave`] laid out: the first sixteen and the last.
    fn load_bf16_pair(self, from: &[u16; 2 * LANES]) -> [Self::F; 2];
    /// Half floats by their bits.
    fn load_f16(self, from: &[u16; LANES]) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a > b ? a : b`, so not-a-number in `a` is dropped and in `b` is kept.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// To the nearest whole number, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// `2^n` for whole `n` in -126 to 127.
    fn exp2(self, n: Self::F) -> Self::F;
    /// Largest lane, if none is not-a-number.
    fn max_lanes(self, a: Self::F) -> f32;
    /// The first `n` lanes of `a`, the others of `b`.
    fn first(self, n: usize, a: Self::F, b: Self::F) -> Self::F;

    fn splat_i(self, x: i32) -> Self::I;
    /// To the nearest whole number, ties to even. For magnitudes below 2^31.
    fn to_int(self, a: Self::F) -> Self::I;
    fn to_float(self, a: Self::I) -> Self::F;
    /// Bits of the lanes without their sign: ordered as magnitudes are, not-a-number above all.
    fn magnitude(self, a: Self::F) -> Self::I;
    fn max_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn max_lanes_i(self, a: Self::I) -> i32;
    /// Sum of the lanes, wrapping.
    fn sum_i(self, a: Self::I) -> i32;
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// Lanes of -128 to 127 as bytes, four a word, the first lane lowest.
    fn pack(self, a: Self::I) -> [i32; 4];
    /// Adds to lane `i` the products of the unsigned bytes `w[4i..4i + 4]` with the signed bytes of `x`.
    fn dot(self, to: Self::I, w: &[u8; 4 * LANES], x: i32) -> Self::I;
}

/// Lays 32 values out for [`Simd::load_bf16_pair`]: value `i` at `2i`, value `16 + i` at `2i + 1`.
pub(crate) fn interleave(values: &[u16; 2 * LANES]) -> [u16; 2 * LANES] {
    let mut out = [0; 2 * LANES];
    for i in 0..LANES {
        out[2 * i] = values[i];
        out[2 * i + 1] = values[LANES + i];
    }
    out
}

#[cfg(test)]
mod tests;
