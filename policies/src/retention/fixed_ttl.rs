//! Continuum's fixed time-to-live: keep KV for a while if the tool is usually quick.
//!
//! Rule: pin for `ttl_s` when the tool's mean past duration is at most `max_mean_s` (an unknown tool
//! counts as 0), else not at all. Pins give way only when at most one turn runs, the longest
//! remaining first.
//! Source: Continuum, arXiv 2511.02230, as in the baseline of the MARS evaluation.

use std::collections::BTreeMap;

use scheduler::policy::{Claim, Keep, PinView, Retention, Yielding};
use scheduler::{Reason, Telemetry, ToolClass};
use serde::{Deserialize, Serialize};
use units::{Nanos, Time};

/// Settings of [`FixedTtl`]; defaults are in `presets/continuum.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedTtlSettings {
    /// How long a pin lives.
    pub ttl_s: f64,
    /// Mean past duration up to which a tool's sessions are pinned.
    pub max_mean_s: f64,
}

/// Fixed time-to-live.
#[derive(Clone, Debug)]
pub struct FixedTtl {
    ttl: Nanos,
    max_mean: Nanos,
    /// Sum and count of each tool's durations.
    past: BTreeMap<ToolClass, (u128, u128)>,
}

impl FixedTtl {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &FixedTtlSettings) -> Result<Self, String> {
        Ok(Self {
            ttl: crate::span("ttl_s", set.ttl_s)?,
            max_mean: crate::span("max_mean_s", set.max_mean_s)?,
            past: BTreeMap::new(),
        })
    }
}

/// Pins go under pressure only when at most one turn runs.
pub(super) fn yields_when_alone(claim: Claim) -> bool {
    match claim {
        Claim::Running { running } => running <= 1,
        Claim::WaitingIdle => true,
        Claim::Waiting => false,
    }
}

/// Reclaim order by remaining life: the longest remaining is worth least.
pub(super) fn less_the_longer_it_lives(now: Time, pin: &PinView) -> f64 {
    match pin.keep {
        Keep::Pin { until: Some(until) } => -until.since(now).as_secs(),
        Keep::Pin { until: None } => f64::MIN,
        Keep::Release | Keep::Offload => 0.0,
    }
}

impl Retention for FixedTtl {
    fn on_yield(&mut self, now: Time, yielding: &Yielding, _telemetry: &Telemetry) -> Keep {
        let (sum, count) = self.past.get(&yielding.tool).copied().unwrap_or((0, 1));
        if sum > u128::from(self.max_mean.as_nanos()) * count {
            return Keep::Release;
        }
        Keep::Pin {
            until: Some(now + self.ttl),
        }
    }

    fn reason(&self, keep: Keep) -> Reason {
        match keep {
            Keep::Pin { .. } => Reason::ToolUsuallyQuick,
            Keep::Release | Keep::Offload => Reason::ToolUsuallySlow,
        }
    }

    fn yields_to(&self, claim: Claim) -> bool {
        yields_when_alone(claim)
    }

    fn value(&self, now: Time, pin: &PinView) -> f64 {
        less_the_longer_it_lives(now, pin)
    }

    fn tool_phase(&mut self, tool: ToolClass, wall: Nanos) {
        let (sum, count) = self.past.entry(tool).or_default();
        *sum += u128::from(wall.as_nanos());
        *count += 1;
    }
}
