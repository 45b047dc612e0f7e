//! Which way the kernels take, and how a kernel gets compiled for it.

use super::Simd;
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// Instructions that kernels use. Each gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512Vnni,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// Any processor: arrays that the compiler may turn into vectors.
    Portable,
}

impl Isa {
    /// All, fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512Vnni, Self::Avx2, Self::Portable];

    /// The fastest that this processor has.
    pub fn best() -> Self {
        let found = Self::ALL.into_iter().find(|isa| isa.is_here());
        found.unwrap_or(Self::Portable)
    }

    /// Whether this processor has it.
    pub fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Avx512::find().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::find().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Vnni | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// As it stands in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Runs a kernel this way; the portable way if the processor does not have this one.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Avx512Vnni => {
                if let Some(simd) = Avx512::find() {
                    return x86::avx512(simd, kernel);
                }
            }
            Self::Avx2 => {
                if let Some(simd) = Avx2::find() {
                    return x86::avx2(simd, kernel);
                }
            }
            Self::Portable => {}
        }
        kernel.run(Portable);
    }
}

/// A computation in terms of [`Simd`]. `run` must be `#[inline(always)]`, with all that it calls:
/// only then is it compiled with the instructions of its way.
pub(crate) trait Kernel {
    fn run<S: Simd>(self, simd: S);
}

#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "calls into code compiled for features that a proof shows to be here"
)]
mod x86 {
    use super::{Avx2, Avx512, Kernel};

    pub(super) fn avx512<K: Kernel>(simd: Avx512, kernel: K) {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
        fn with<K: Kernel>(simd: Avx512, kernel: K) {
            kernel.run(simd);
        }
        // SAFETY: `simd` exists only where all these features were found (AVX-512 F implies AVX2 and
        // F16C).
        unsafe { with(simd, kernel) }
    }

    pub(super) fn avx2<K: Kernel>(simd: Avx2, kernel: K) {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn with<K: Kernel>(simd: Avx2, kernel: K) {
            kernel.run(simd);
        }
        // SAFETY: `simd` exists only where AVX2, FMA and F16C were found.
        unsafe { with(simd, kernel) }
    }
}
