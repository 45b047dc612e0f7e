//! Who may enter.

mod concur;
mod kv_budget;
mod mars_window;
mod open;
mod srpt_oracle;
mod thunder_agent;

pub use concur::{Concur, ConcurSettings};
pub use kv_budget::{First, KvBudget, KvBudgetSettings};
pub use mars_window::{MarsWindow, MarsWindowSettings, Runs, Tail};
pub use open::Open;
pub use srpt_oracle::{SrptAdmission, SrptAdmissionSettings};
pub use thunder_agent::{ThunderAgent, ThunderAgentSettings};

use scheduler::policy::Admission;
use serde::{Deserialize, Serialize};

/// An admission part with its settings, as written in a preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AdmissionSpec {
    /// Everybody, at once.
    Open,
    /// MARS: an AIMD window over sessions with caps from KV and tool CPUs.
    MarsWindow(MarsWindowSettings),
    /// CONCUR: congestion control on KV use and hit rate.
    Concur(ConcurSettings),
    /// ThunderAgent: pausing and resuming programs.
    ThunderAgent(ThunderAgentSettings),
    /// No window: whoever fits the free KV, smallest or oldest first.
    KvBudget(KvBudgetSettings),
    /// An oracle: the shortest remaining work that fits.
    SrptOracle(SrptAdmissionSettings),
}

impl AdmissionSpec {
    /// The part, ready to decide.
    ///
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn build(&self) -> Result<Box<dyn Admission>, String> {
        Ok(match self {
            Self::Open => Box::new(Open),
            Self::MarsWindow(settings) => Box::new(MarsWindow::new(settings.clone())?),
            Self::Concur(settings) => Box::new(Concur::new(settings.clone())?),
            Self::ThunderAgent(settings) => Box::new(ThunderAgent::new(settings)?),
            Self::KvBudget(settings) => Box::new(KvBudget::new(settings.clone())?),
            Self::SrptOracle(settings) => Box::new(SrptAdmission::new(settings.clone())?),
        })
    }
}

fn check_windows(min: u64, init: u64, max: u64) -> Result<(), String> {
    if 1 <= min && min <= init && init <= max {
        return Ok(());
    }
    Err(format!(
        "window_min is {min}, window_init {init}, window_max {max}, wanted 1 <= window_min <= \
         window_init <= window_max"
    ))
}

/// Two marks with their names: the lower first.
pub(crate) fn check_marks(
    (low_name, low): (&str, f64),
    (high_name, high): (&str, f64),
) -> Result<(), String> {
    if low.is_finite() && high.is_finite() && 0.0 <= low && low < high {
        return Ok(());
    }
    Err(format!(
        "{low_name} is {low}, {high_name} {high}, wanted 0 <= {low_name} < {high_name}"
    ))
}
