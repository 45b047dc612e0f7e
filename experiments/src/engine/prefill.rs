//! Which kernel computes prefill attention on a GPU: the flag, and what is said of the choice.

use std::sync::Once;

use clap::ValueEnum;
use engine::cuda::{Decision, PrefillAttention};
use serde::Serialize;

use crate::output;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrefillKind {
    /// `wgmma` where the GPU has it and a trial against `mma` agrees, else `mma`.
    Auto,
    /// The kernel that runs on every GPU.
    Mma,
    /// The kernel for compute capability 9.0, without a trial.
    Wgmma,
}

impl From<PrefillKind> for PrefillAttention {
    fn from(kind: PrefillKind) -> Self {
        match kind {
            PrefillKind::Auto => Self::Auto,
            PrefillKind::Mma => Self::Mma,
            PrefillKind::Wgmma => Self::Wgmma,
        }
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

/// Says that a trial found the newer kernel wrong: once in a process, however many executors it makes.
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
