//! Two 256-bit registers a vector. The byte dot product widens to 16 bits, so it cannot saturate.

#![allow(
    unsafe_code,
    reason = "intrinsics; the type proves that the processor has them"
)]

use std::arch::x86_64::*;

use super::{LANES, Simd};

/// Proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, if the processor has it.
    pub(crate) fn find() -> Option<Self> {
        (is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c"))
        .then_some(Self(()))
    }
}

type F = [__m256; 2];
type I = [__m256i; 2];

/// Applies an intrinsic to both halves.
macro_rules! both {
    ($op:ident($($arg:ident),+)) => {
        // SAFETY: see at the implementation.
        unsafe { [$op($($arg[0]),+), $op($($arg[1]),+)] }
    };
}

// SAFETY, for every block below: `self` exists only where `find` saw AVX2, FMA and F16C; the pointers of
// loads and stores come from references to arrays of just that length (the second half starts
// eight lanes in), and no load or store here asks for alignment.
impl Simd for Avx2 {
    type F = F;
    type I = I;
    const ROWS: usize = 3;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        // SAFETY: see above.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> F {
        let at = from.as_ptr();
        // SAFETY: see above.
        unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))] }
    }

    #[inline(always)]
    fn store(self, x: F, to: &mut [f32; LANES]) {
        let at = to.as_mut_ptr();
        // SAFETY: see above.
        unsafe {
            _mm256_storeu_ps(at, x[0]);
            _mm256_storeu_ps(at.add(8), x[1]);
        }
    }

    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> F {
        let at = from.as_ptr();
        // SAFETY: see above.
        unsafe {
            let halves = [
                _mm_loadu_si128(at.cast()),
                _mm_loadu_si128(at.add(8).cast()),
            ];
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves[0]))),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves[1]))),
            ]
        }
    }

    #[inline(always)]
    fn load_bf16_pair(self, from: &[u16; 2 * LANES]) -> [F; 2] {
        let at = from.as_ptr();
        // SAFETY: see above; sixteen 16-bit values are one register.
        unsafe {
            let bits = [
                _mm256_loadu_si256(at.cast()),
                _mm256_loadu_si256(at.add(16).cast()),
            ];
            let high = _mm256_set1_epi32(-0x1_0000);
            [
                [
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits[0])),
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits[1])),
                ],
                [
                    _mm256_castsi256_ps(_mm256_and_si256(bits[0], high)),
                    _mm256_castsi256_ps(_mm256_and_si256(bits[1], high)),
                ],
            ]
        }
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> F {
        let at = from.as_ptr();
        // SAFETY: see above.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(at.add(8).cast())),
            ]
        }
    }

    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        both!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        both!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        both!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        both!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        both!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        both!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn round(self, a: F) -> F {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: see above.
        unsafe {
            [
                _mm256_round_ps::<NEAREST>(a[0]),
                _mm256_round_ps::<NEAREST>(a[1]),
            ]
        }
    }

    #[inline(always)]
    fn exp2(self, n: F) -> F {
        let whole = self.to_int(n);
        // SAFETY: see above.
        unsafe {
            let bias = _mm256_set1_epi32(127);
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(whole[0], bias))),
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(whole[1], bias))),
            ]
        }
    }

    #[inline(always)]
    fn max_lanes(self, a: F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(a, &mut lanes);
        let larger = |most: f32, x: f32| if x > most { x } else { most };
        lanes.into_iter().fold(f32::NEG_INFINITY, larger)
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "at most 16"
    )]
    fn first(self, n: usize, a: F, b: F) -> F {
        let n = n.min(LANES) as i32;
        // SAFETY: see above.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let low = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes));
            let high = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8), lanes));
            [
                _mm256_blendv_ps(b[0], a[0], low),
                _mm256_blendv_ps(b[1], a[1], high),
            ]
        }
    }

    #[inline(always)]
    fn splat_i(self, x: i32) -> I {
        // SAFETY: see above.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }

    #[inline(always)]
    fn to_int(self, a: F) -> I {
        both!(_mm256_cvtps_epi32(a))
    }

    #[inline(always)]
    fn to_float(self, a: I) -> F {
        both!(_mm256_cvtepi32_ps(a))
    }

    #[inline(always)]
    fn magnitude(self, a: F) -> I {
        // SAFETY: see above.
        unsafe {
            let all_but_sign = _mm256_set1_epi32(i32::MAX);
            [
                _mm256_and_si256(_mm256_castps_si256(a[0]), all_but_sign),
                _mm256_and_si256(_mm256_castps_si256(a[1]), all_but_sign),
            ]
        }
    }

    #[inline(always)]
    fn max_i(self, a: I, b: I) -> I {
        both!(_mm256_max_epi32(a, b))
    }

    #[inline(always)]
    fn max_lanes_i(self, a: I) -> i32 {
        let mut lanes = [0_i32; 8];
        // SAFETY: see above; `lanes` is one register long.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), _mm256_max_epi32(a[0], a[1])) }
        lanes.into_iter().fold(i32::MIN, i32::max)
    }

    #[inline(always)]
    fn sum_i(self, a: I) -> i32 {
        let mut lanes = [0_i32; 8];
        // SAFETY: see above; `lanes` is one register long.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), _mm256_add_epi32(a[0], a[1])) }
        lanes.iter().fold(0, |sum, x| sum.wrapping_add(*x))
    }

    #[inline(always)]
    fn add_i(self, a: I, b: I) -> I {
        both!(_mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn pack(self, a: I) -> [i32; 4] {
        let mut lanes = [0_i32; LANES];
        // SAFETY: see above; `lanes` is two registers long.
        unsafe {
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), a[0]);
            _mm256_storeu_si256(lanes.as_mut_ptr().add(8).cast(), a[1]);
        }
        std::array::from_fn(|word| {
            i32::from_le_bytes(std::array::from_fn(|i| {
                lanes[4 * word + i].to_le_bytes()[0]
            }))
        })
    }

    #[inline(always)]
    fn dot(self, to: I, w: &[u8; 4 * LANES], x: i32) -> I {
        // SAFETY: see above; 64 bytes are two registers.
        unsafe {
            let low = _mm256_set1_epi16(0xff);
            let x = _mm256_set1_epi32(x);
            let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(x));
            let odd = _mm256_srai_epi16::<8>(x);
            let mut out = to;
            for (half, sum) in out.iter_mut().enumerate() {
                let w = _mm256_loadu_si256(w.as_ptr().add(32 * half).cast());
                let evens = _mm256_madd_epi16(_mm256_and_si256(w, low), even);
                let odds = _mm256_madd_epi16(_mm256_srli_epi16::<8>(w), odd);
                *sum = _mm256_add_epi32(*sum, _mm256_add_epi32(evens, odds));
            }
            out
        }
    }
}
