//! MARS's adaptive retention: pins that are priced when somebody needs the memory (paper §4.3).
//!
//! Rule: at a yield the session's blocks become a live pin. It goes stale after a bound, or when the
//! tool has outlived everything on its record. Live pins give way only to a running turn that is
//! short of blocks, or to a waiting turn when nothing runs; stale ones to anyone. The least valuable
//! goes first: `V = P(D <= bound | D > elapsed) * (reload + queue delay) / blocks`.
//! Source: the intent is arXiv 2604.26963 §4.3 (keep only where a warm resume pays, bound it,
//! reclaim before preempting); the paper prints no formula, this one is ours.

use scheduler::policy::{Claim, Keep, PinView, Resume, Retention, Yielding};
use scheduler::{Reason, Telemetry, ToolClass};
use serde::{Deserialize, Serialize};
use units::{Nanos, Time};

use super::record::{Record, RecordSettings};

/// Settings of [`SoftPins`]; defaults are in `presets/mars.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoftPinsSettings {
    /// Age at which a pin goes stale.
    pub bound_s: f64,
    /// What is measured, and what stands in for it.
    #[serde(flatten)]
    pub record: RecordSettings,
}

/// Soft pins.
#[derive(Clone, Debug)]
pub struct SoftPins {
    bound: Nanos,
    record: Record,
}

impl SoftPins {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &SoftPinsSettings) -> Result<Self, String> {
        Ok(Self {
            bound: crate::span("bound_s", set.bound_s)?,
            record: Record::new(&set.record)?,
        })
    }
}

impl Retention for SoftPins {
    fn on_yield(&mut self, _now: Time, _yielding: &Yielding, _telemetry: &Telemetry) -> Keep {
        Keep::Pin { until: None }
    }

    fn reason(&self, keep: Keep) -> Reason {
        let _ = keep;
        Reason::SoftPin
    }

    fn stale_from(&self, pin: &PinView) -> Option<Time> {
        // Past the bound means after it, not at it.
        let bound = pin.since + self.bound + Nanos::new(1);
        let longest = self.record.durations(pin.tool).longest();
        Some(longest.map_or(bound, |d| bound.min(pin.since + d)))
    }

    fn yields_to(&self, claim: Claim) -> bool {
        match claim {
            Claim::Running { .. } | Claim::WaitingIdle => true,
            Claim::Waiting => false,
        }
    }

    fn value(&self, now: Time, pin: &PinView) -> f64 {
        self.record.value_per_block(self.bound, now, pin)
    }

    fn tool_phase(&mut self, tool: ToolClass, wall: Nanos) {
        self.record.tool_phase(tool, wall);
    }

    fn cold_resume(&mut self, resume: Resume) {
        self.record.cold_resume(resume.queued);
    }

    fn version(&self) -> u64 {
        self.record.version()
    }
}
