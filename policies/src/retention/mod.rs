//! What becomes of a session's KV while its tools run.

mod adaptive_ttl;
mod none;
mod record;
mod soft_pins;

pub use adaptive_ttl::{AdaptiveTtl, AdaptiveTtlSettings};
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
        })
    }
}
