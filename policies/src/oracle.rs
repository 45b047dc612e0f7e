//! What the oracle's parts share: which remaining work they go by.

use scheduler::Foresight;
use serde::{Deserialize, Serialize};
use units::Nanos;

/// A measure of what a session has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remaining {
    /// Its time alone on the machine, tools and pauses included.
    IdealTime,
    /// Its GPU work alone.
    GpuWork,
}

impl Remaining {
    /// Of a session with this future. Where nobody knows the future everybody is last, so that order of
    /// arrival is left.
    pub(crate) fn of(self, foresight: Option<Foresight>) -> Nanos {
        foresight.map_or(Nanos::new(u64::MAX), |ahead| match self {
            Self::IdealTime => ahead.remaining,
            Self::GpuWork => ahead.gpu_work,
        })
    }
}
