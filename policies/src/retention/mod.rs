//! What becomes of a session's KV while its tools run.

mod adaptive_ttl;
mod belady;
mod dynamic_ttl;
mod fixed_ttl;
mod min_waste;
mod none;
mod record;
mod soft_pins;

pub use adaptive_ttl::{AdaptiveTtl, AdaptiveTtlSettings};
pub use belady::Belady;
pub use dynamic_ttl::{DynamicTtl, DynamicTtlSettings};
pub use fixed_ttl::{FixedTtl, FixedTtlSettings};
pub use min_waste::{MinWaste, MinWasteSettings, WasteForm};
pub use none::NoRetention;
pub use record::{Delays, Durations, Record, RecordSettings};
pub use soft_pins::{SoftPins, SoftPinsSettings};

use scheduler::policy::Retention;
use serde::{Deserialize, Serialize};

/// A retention part with its settings, as written in a preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RetentionSpec {
    /// Release at once; the LRU cache may still be hit.
    None,
    /// MARS: pins that yield to running turns, least valuable first.
    SoftPins(SoftPinsSettings),
    /// For comparison: pin for the time that maximises benefit less price.
    AdaptiveTtl(AdaptiveTtlSettings),
    /// Continuum: a fixed time for tools that are usually quick.
    FixedTtl(FixedTtlSettings),
    /// Continuum-Dy: the time that pays on average.
    DynamicTtl(DynamicTtlSettings),
    /// InferCept: until keeping has cost more than recomputing.
    MinWaste(MinWasteSettings),
    /// An oracle: pins that yield, the farthest next use first.
    Belady,
}

impl RetentionSpec {
    /// The part, ready to decide.
    ///
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn build(&self) -> Result<Box<dyn Retention>, String> {
        Ok(match self {
            Self::None => Box::new(NoRetention),
            Self::SoftPins(settings) => Box::new(SoftPins::new(settings)?),
            Self::AdaptiveTtl(settings) => Box::new(AdaptiveTtl::new(settings)?),
            Self::FixedTtl(settings) => Box::new(FixedTtl::new(settings)?),
            Self::DynamicTtl(settings) => Box::new(DynamicTtl::new(settings)?),
            Self::MinWaste(settings) => Box::new(MinWaste::new(settings)?),
            Self::Belady => Box::new(Belady),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use scheduler::Telemetry;
    use units::{Blocks, Tokens};

    /// A machine with nothing to do.
    pub(crate) fn idle() -> Telemetry {
        Telemetry {
            usable: Blocks(1000),
            free: Blocks(1000),
            pinned: Blocks::ZERO,
            stale: Blocks::ZERO,
            owed: Blocks::ZERO,
            owed_waiting: Blocks::ZERO,
            in_flight: 0,
            waiting: 0,
            running: 0,
            backlog: 0,
            tools_in_flight: 0,
            tool_cores: 8,
            tool_wait_s: 0.0,
            running_context: Tokens::ZERO,
            mean_output: 0.0,
            offload: None,
            host_used: Blocks::ZERO,
            copying_out: Blocks::ZERO,
            capacity: Tokens(16_000),
            prompt: Tokens::ZERO,
            hit: Tokens::ZERO,
        }
    }
}
