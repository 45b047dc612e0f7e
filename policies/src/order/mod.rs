//! Who goes first, how much at a time, and who gives way.

mod mars_mlfq;
mod mars_preview;
mod plas;
mod program_arrival;
mod request_arrival;
mod srpt_oracle;
mod turn_arrival;

pub use mars_mlfq::{MarsMlfq, MarsMlfqSettings};
pub use mars_preview::{MarsPreview, MarsPreviewSettings};
pub use plas::{Plas, PlasSettings};
pub use program_arrival::{ProgramArrival, ProgramArrivalSettings};
pub use request_arrival::RequestArrival;
pub use srpt_oracle::{SrptOrder, SrptOrderSettings};
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
    /// The released MARS code: per-turn state, fixed quanta.
    MarsPreviewMlfq(MarsPreviewSettings),
    /// Autellix: programs by least attained service.
    Plas(PlasSettings),
    /// Continuum: sessions in order of arrival, pinned ones first.
    ProgramArrival(ProgramArrivalSettings),
    /// InferCept: sessions in order of arrival, those with KV first.
    RequestArrival,
    /// An oracle: the shortest remaining work first.
    SrptOracle(SrptOrderSettings),
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
            Self::MarsPreviewMlfq(settings) => Box::new(MarsPreview::new(settings)?),
            Self::Plas(settings) => Box::new(Plas::new(settings)?),
            Self::ProgramArrival(settings) => Box::new(ProgramArrival::new(settings)),
            Self::RequestArrival => Box::new(RequestArrival),
            Self::SrptOracle(settings) => Box::new(SrptOrder::new(settings)),
        })
    }
}

/// A sequence number, a time or a count as part of a rank.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn check_levels(name: &str, levels: &[u64]) -> Result<(), String> {
    if levels.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err(format!(
            "{name} is {levels:?}, wanted each above the one before"
        ))
    }
}

fn check_quanta(quanta: &[u64]) -> Result<(), String> {
    match quanta.iter().position(|&q| q == 0) {
        Some(zero) => Err(format!("quanta[{zero}] is 0, wanted at least 1 token")),
        None => Ok(()),
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
