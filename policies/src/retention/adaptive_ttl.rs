//! Adaptive time-to-live pins: benefit of a warm resume less the price of the memory, for comparison
//! with soft pins.
//!
//! Rule: pin until the `h` that maximises benefit less price,
//!
//! ```text
//! F(h | elapsed) * (reload + queue delay)
//!     - pi(u) * E[min(D, h) - elapsed | D > elapsed] * blocks / mean blocks missing per waiting turn
//! ```
//!
//! over the durations `h` on record; release when none is worth more than nothing. The price `pi`
//! rises from 0 at the low mark of KV pressure (or when nobody waits) to 1 at the high mark. Asked
//! again at every control tick.
//! Source: reference section 4.4, ours. An independent model found it worse than soft pins at every
//! loaded point, because its own pins raise the price.

use scheduler::policy::{Claim, Keep, PinView, Resume, Retention, Yielding};
use scheduler::{Reason, Telemetry, ToolClass};
use serde::{Deserialize, Serialize};
use units::{Blocks, Nanos, Time};

use super::record::{Record, RecordSettings};

/// Settings of [`AdaptiveTtl`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveTtlSettings {
    /// Longest pin.
    pub bound_s: f64,
    /// KV pressure up to which memory is free of charge.
    pub kv_low: f64,
    /// KV pressure from which it costs the full price.
    pub kv_high: f64,
    /// What is measured, and what stands in for it.
    #[serde(flatten)]
    pub record: RecordSettings,
}

/// Pins with an end that follows the price of memory.
#[derive(Clone, Debug)]
pub struct AdaptiveTtl {
    bound: Nanos,
    kv_low: f64,
    kv_high: f64,
    record: Record,
}

/// What one choice of `h` is about.
#[derive(Clone, Copy, Debug)]
struct Stake {
    tool: ToolClass,
    since: Time,
    blocks: Blocks,
    reload: Nanos,
}

impl AdaptiveTtl {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &AdaptiveTtlSettings) -> Result<Self, String> {
        crate::admission::check_marks(("kv_low", set.kv_low), ("kv_high", set.kv_high))?;
        Ok(Self {
            bound: crate::span("bound_s", set.bound_s)?,
            kv_low: set.kv_low,
            kv_high: set.kv_high,
            record: Record::new(&set.record)?,
        })
    }

    /// Price of memory between 0 and 1.
    fn price(&self, t: &Telemetry) -> f64 {
        if t.waiting == 0 && t.backlog == 0 {
            return 0.0;
        }
        ((t.kv_pressure() - self.kv_low) / (self.kv_high - self.kv_low)).clamp(0.0, 1.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "real-valued by definition")]
    fn choose(&self, now: Time, stake: &Stake, t: &Telemetry) -> Keep {
        let elapsed = now.since(stake.since);
        let longer = self.record.durations(stake.tool).beyond(elapsed);
        let benefit = stake.reload.as_secs() + self.record.mean_delay_s();
        let blocks = stake.blocks.get() as f64;
        // With nobody in the engine's queue there is no mean; the session's own size stands in.
        let scale = t
            .mean_missing()
            .filter(|&m| m > 0.0)
            .map_or(1.0, |m| blocks / m);
        let price = self.price(t) * scale;
        let count = longer.len() as f64;
        let already = elapsed.as_secs();

        let mut best = (0.0, None);
        let mut sum_below = 0.0; // of the durations up to and including h
        for (i, &h) in longer.iter().enumerate() {
            if h > self.bound.as_nanos() {
                break;
            }
            let h_s = Nanos::new(h).as_secs();
            sum_below += h_s;
            let done = (i + 1) as f64;
            let held = (sum_below + (count - done) * h_s) / count - already;
            let worth = done / count * benefit - price * held;
            if worth > best.0 {
                best = (worth, Some(h));
            }
        }
        match best.1 {
            Some(h) => Keep::Pin {
                until: Some(stake.since + Nanos::new(h)),
            },
            None => Keep::Release,
        }
    }
}

impl Retention for AdaptiveTtl {
    fn on_yield(&mut self, now: Time, yielding: &Yielding, telemetry: &Telemetry) -> Keep {
        let stake = Stake {
            tool: yielding.tool,
            since: now,
            blocks: yielding.blocks,
            reload: yielding.reload,
        };
        self.choose(now, &stake, telemetry)
    }

    fn reason(&self, keep: Keep) -> Reason {
        match keep {
            Keep::Pin { .. } => Reason::BenefitAbovePrice,
            Keep::Release | Keep::Offload => Reason::PriceAboveBenefit,
        }
    }

    fn reconsider(&mut self, now: Time, pin: &PinView, telemetry: &Telemetry) -> Keep {
        let stake = Stake {
            tool: pin.tool,
            since: pin.since,
            blocks: pin.blocks,
            reload: pin.reload,
        };
        self.choose(now, &stake, telemetry)
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
