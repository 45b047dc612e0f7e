//! Who goes first, how much at a time, and who gives way.

mod mars_mlfq;
mod turn_arrival;

pub use mars_mlfq::{MarsMlfq, MarsMlfqSettings};
pub use turn_arrival::TurnArrival;

use scheduler::policy::{Order, Shrink, StartRule};
use serde::{Deserialize, Serialize};

/// An ordering part with its settings, as written in a preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OrderSpec {
    /// vLLM: turns in order of arrival, preempted ones first, the last one started gives way.
    TurnArrival,
    /// MARS: a windowed multi-level feedback queue over sessions.
    MarsMlfq(MarsMlfqSettings),
}

impl OrderSpec {
    /// The part, ready to decide.
    ///
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn build(&self) -> Result<Box<dyn Order>, String> {
        Ok(match self {
            Self::TurnArrival => Box::new(TurnArrival),
            Self::MarsMlfq(settings) => Box::new(MarsMlfq::new(settings)?),
        })
    }
}

/// [`Shrink`] as a word in a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShrinkSetting {
    /// Evict at once.
    Never,
    /// Halve down to one block; after an eviction try the whole chunk again.
    ThenRetryWhole,
    /// Halve down to one block and stay there.
    AndStay,
}

impl From<ShrinkSetting> for Shrink {
    fn from(setting: ShrinkSetting) -> Self {
        match setting {
            ShrinkSetting::Never => Self::Never,
            ShrinkSetting::ThenRetryWhole => Self::ThenRetryWhole,
            ShrinkSetting::AndStay => Self::AndStay,
        }
    }
}

/// [`StartRule`] as a word in a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartSetting {
    /// The first chunk must fit.
    FirstChunk,
    /// The whole uncached prompt plus the mean output must fit.
    WholePromptAndMeanOutput,
}

impl From<StartSetting> for StartRule {
    fn from(setting: StartSetting) -> Self {
        match setting {
            StartSetting::FirstChunk => Self::FirstChunk,
            StartSetting::WholePromptAndMeanOutput => Self::WholePromptAndMeanOutput,
        }
    }
}
