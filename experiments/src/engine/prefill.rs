//! Which kernel computes prefill attention on a GPU: the flag, and what is said of the choice.

use std::sync::Once;

use anyhow::anyhow;
use clap::ValueEnum;
use engine::cuda::{Decision, PrefillAttention};
use serde::Serialize;

use crate::failure::Failure;
use crate::output;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrefillKind {
    /// `wgmma` where the GPU has it and a trial against `mma`, in a process of its own, agrees; else `mma`.
    Auto,
    /// The kernel that runs on every GPU.
    Mma,
    /// The kernel for compute capability 9.0, without a trial.
    Wgmma,
}

impl PrefillKind {
    /// What an executor is asked for.
    ///
    /// # Errors
    /// Bad input: a kernel by name where no GPU computes.
    pub fn asked(self, on_gpu: bool, device_flag: &str) -> Result<PrefillAttention, Failure> {
        if self != Self::Auto && !on_gpu {
            return Err(Failure::bad_input(anyhow!(
                "`--prefill-attention` chooses between kernels of a GPU, and `{device_flag}` is not `cuda`\n\
                 hint: leave it out"
            )));
        }
        Ok(match self {
            Self::Auto => PrefillAttention::Auto,
            Self::Mma => PrefillAttention::Mma,
            Self::Wgmma => PrefillAttention::Wgmma,
        })
    }
}

/// What an executor chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrefillChoice {
    /// `mma` or `wgmma`.
    pub kernel: &'static str,
    /// Why.
    pub reason: String,
}

impl From<&Decision> for PrefillChoice {
    fn from(decision: &Decision) -> Self {
        Self {
            kernel: decision.kernel.name(),
            reason: decision.reason.clone(),
        }
    }
}

/// Says that a trial found the newer kernel wrong, or was lost: once in a process, however many executors it makes.
pub fn warn_of(decision: &Decision) {
    static WARNED: Once = Once::new();
    if decision.disagreed {
        WARNED.call_once(|| {
            let line = format!(
                "warning: prefill attention stays with `{}`: {}",
                decision.kernel.name(),
                decision.reason
            );
            output::note(false, &line);
        });
    }
}
