//! Which kernel computes prefill attention.
//!
//! What: two kernels take the same inputs and give the same results but for rounding. [`PrefillKernel::Mma`]
//! runs on every GPU and sums in one order; [`PrefillKernel::Wgmma`] uses instructions of compute capability
//! 9.0 alone. [`decide`] says which one a model on a device gets.
//! Why: the second one has only run in emulation, so a device has to show once that both agree before it is
//! used (`trial.rs`).
//! Limits: heads of 64 and 128 values for `Wgmma`; not where results must be invariant.

use super::{launch::Heads, op::Limits};

/// A kernel of prefill attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PrefillKernel {
    /// `prefill.cu`: products by warps (`mma.sync`).
    #[default]
    Mma,
    /// `prefill_wgmma.cu`: products by warpgroups (`wgmma.mma_async`).
    Wgmma,
}

impl PrefillKernel {
    /// Packed queries (tokens times query heads of a KV head) of a tile.
    pub fn tile(self) -> u32 {
        match self {
            Self::Mma => 64,
            Self::Wgmma => 128,
        }
    }

    /// The name by which it is asked for and told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mma => "mma",
            Self::Wgmma => "wgmma",
        }
    }

    /// Why it cannot run such heads on such a device, if it cannot.
    pub fn obstacle(self, heads: Heads, limits: Limits) -> Option<String> {
        if self == Self::Mma {
            return None;
        }
        if !limits.wgmma {
            return Some("the device is not of compute capability 9.0".into());
        }
        (![64, 128].contains(&heads.width)).then(|| {
            format!(
                "it takes heads of 64 or 128 values, the model has {}",
                heads.width
            )
        })
    }
}

/// What an executor is asked to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrefillAttention {
    /// `Wgmma` where it can run and a trial against `Mma` agrees, else `Mma`. The trial runs in this very
    /// process, when the executor is made, and survives wrong results alone: a kernel that reads where it
    /// must not or is an illegal instruction ends the device's context, so that no executor is made and the
    /// process has to start again with `Mma`; one that never ends hangs the process. A program that wants to
    /// survive those does [`super::try_wgmma`] in a process of its own and asks for a kernel by name.
    #[default]
    Auto,
    /// `Mma`, without a trial.
    Mma,
    /// `Wgmma`, or an error where it cannot run; without a trial.
    Wgmma,
}

/// The most that a query's result of one kernel may be away from that of the other, relative to its length.
/// Both round probabilities and results to brain floats (2^-9 of a value each, at most), and a score that is
/// another in its last bits may round its probability to the other side: four roundings of 2^-8.
pub const AGREEMENT: f64 = 4.0 / 256.0;

/// How far the two kernels are apart on the trial's problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trial {
    /// The largest relative distance of a query's result.
    Apart(f64),
    /// A result was not a number.
    NotANumber,
}

impl Trial {
    /// Compares results of `width` values each: `found` by the kernel on trial, `expected` by the other.
    ///
    /// # Panics
    /// If they are not of one length, a multiple of `width`.
    pub fn compare(found: &[f32], expected: &[f32], width: usize) -> Self {
        assert_eq!(found.len(), expected.len(), "results of one problem");
        assert!(found.len().is_multiple_of(width), "whole results");
        let mut worst = 0.0_f64;
        for (f, e) in found.chunks(width).zip(expected.chunks(width)) {
            let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
            let apart = length(&mut f.iter().zip(e).map(|(f, e)| f64::from(*f) - f64::from(*e)));
            let whole = length(&mut e.iter().map(|e| f64::from(*e)));
            if !(apart.is_finite() && whole.is_finite()) {
                return Self::NotANumber;
            }
            // Two zeros agree; anything is infinitely far from a zero.
            let relative = if apart > 0.0 {
                (apart / whole).sqrt()
            } else {
                0.0
            };
            worst = worst.max(relative);
        }
        Self::Apart(worst)
    }
}

/// What is used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The kernel.
    pub kernel: PrefillKernel,
    /// In words, for logs.
    pub reason: String,
    /// Whether a trial found the kernel wrong, or did not get to an end: something to warn of.
    pub disagreed: bool,
}

impl Decision {
    fn of(kernel: PrefillKernel, reason: impl Into<String>) -> Self {
        Self {
            kernel,
            reason: reason.into(),
            disagreed: false,
        }
    }

    /// What a trial that came to its end means: `Wgmma` if both kernels agree.
    pub fn after(trial: Trial) -> Self {
        let reason = match trial {
            Trial::Apart(by) if by <= AGREEMENT => {
                let reason =
                    format!("within {by:.5} of mma on a trial, where {AGREEMENT:.5} is allowed");
                return Self::of(PrefillKernel::Wgmma, reason);
            }
            Trial::Apart(by) => {
                format!("wgmma is {by:.5} off on a trial, where {AGREEMENT:.5} is allowed")
            }
            Trial::NotANumber => "wgmma gave not-a-number on a trial".into(),
        };
        Self {
            kernel: PrefillKernel::Mma,
            reason,
            disagreed: true,
        }
    }
}

/// Chooses, asking for the trial only where its result matters.
///
/// # Errors
/// `Wgmma` was asked for by name and cannot be: `Ok(Err(why))`; the trial's own error as it is.
pub fn decide<E>(
    asked: PrefillAttention,
    invariant: bool,
    obstacle: Option<String>,
    trial: impl FnOnce() -> Result<Trial, E>,
) -> Result<Result<Decision, String>, E> {
    let obstacle = if invariant {
        Some("results must not depend on what else is in a step".to_owned())
    } else {
        obstacle
    };
    Ok(Ok(match (asked, obstacle) {
        (PrefillAttention::Mma, _) => Decision::of(PrefillKernel::Mma, "as told"),
        (PrefillAttention::Wgmma, None) => Decision::of(PrefillKernel::Wgmma, "as told"),
        (PrefillAttention::Wgmma, Some(why)) => return Ok(Err(why)),
        (PrefillAttention::Auto, Some(why)) => Decision::of(PrefillKernel::Mma, why),
        (PrefillAttention::Auto, None) => Decision::after(trial()?),
    }))
}
