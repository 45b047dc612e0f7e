//! CONCUR's congestion control over agents: grow while KV is idle, halve when it thrashes.
//!
//! Rule, once per interval: below `use_low` of the pool held the window grows by a step; above
//! `use_high` with a prefix hit rate lower than in the interval before it shrinks by a factor;
//! otherwise it holds. Sessions enter in order of arrival.
//! Source: CONCUR, arXiv 2601.22705, single-GPU rule. Its step, start and interval are settings here.

use scheduler::policy::{Admission, Backlog, Candidate, Choice, InFlight, Trigger};
use scheduler::{Reason, Telemetry, Window};
use serde::{Deserialize, Serialize};
use units::{Nanos, Time};

/// Settings of [`Concur`]; defaults are in `presets/concur.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConcurSettings {
    /// Sessions at the start.
    pub window_init: u64,
    /// Fewest sessions.
    pub window_min: u64,
    /// Most sessions.
    pub window_max: u64,
    /// Sessions added per interval while KV is idle.
    pub increase: u64,
    /// Share of the window that is left after a cut, percent, rounded down.
    pub decrease_percent: u64,
    /// Share of the pool held below which the window grows.
    pub use_low: f64,
    /// Share above which a falling hit rate cuts it.
    pub use_high: f64,
    /// Time between updates.
    pub interval_s: f64,
}

/// CONCUR.
#[derive(Clone, Debug)]
pub struct Concur {
    set: ConcurSettings,
    interval: Nanos,
    window: u64,
    updated: Option<Time>,
    /// Prompt tokens and hits at the last update, and the hit rate of the interval before it.
    seen: (u64, u64),
    hit_rate: Option<f64>,
}

impl Concur {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: ConcurSettings) -> Result<Self, String> {
        super::check_windows(set.window_min, set.window_init, set.window_max)?;
        super::check_marks(("use_low", set.use_low), ("use_high", set.use_high))?;
        if set.decrease_percent > 100 {
            return Err(format!(
                "decrease_percent is {}, wanted 0 to 100",
                set.decrease_percent
            ));
        }
        Ok(Self {
            interval: crate::positive_span("interval_s", set.interval_s)?,
            window: set.window_init,
            updated: None,
            seen: (0, 0),
            hit_rate: None,
            set,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "shares of counts below 2^53")]
    fn update(&mut self, t: &Telemetry) -> Reason {
        let held = t.usable.saturating_sub(t.free).get() as f64 / t.usable.get() as f64;
        let (prompt, hit) = (t.prompt.get() - self.seen.0, t.hit.get() - self.seen.1);
        self.seen = (t.prompt.get(), t.hit.get());
        // An interval without a start says nothing about hits.
        let rate = (prompt > 0).then(|| hit as f64 / prompt as f64);
        let falls = match (self.hit_rate, rate) {
            (Some(before), Some(now)) => now < before,
            _ => false,
        };
        self.hit_rate = rate.or(self.hit_rate);
        if held < self.set.use_low {
            self.window = (self.window + self.set.increase).min(self.set.window_max);
            Reason::KvIdle
        } else if held > self.set.use_high && falls {
            let cut = self.window * self.set.decrease_percent / 100;
            self.window = cut.max(self.set.window_min);
            Reason::HitRateFalls
        } else {
            Reason::BetweenMarks
        }
    }
}

impl Admission for Concur {
    fn admit(
        &mut self,
        now: Time,
        _why: Trigger,
        telemetry: &Telemetry,
        backlog: &Backlog,
        _in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window> {
        let due = self.updated.is_none_or(|at| now.since(at) >= self.interval);
        let update = due.then(|| {
            self.updated = Some(now);
            self.update(telemetry)
        });
        let slots = self.window.saturating_sub(telemetry.in_flight as u64);
        let slots = usize::try_from(slots).unwrap_or(usize::MAX);
        let choice = |c: &Candidate| Choice::new(c.session, Reason::WindowHasRoom);
        admit.extend(backlog.by_arrival().take(slots).map(choice));
        update.map(|reason| Window {
            size: self.window,
            cpu_cap: self.set.window_max,
            kv_cap: self.set.window_max,
            kv_pressure: telemetry.kv_pressure(),
            cpu_backlog: telemetry.cpu_backlog(),
            tool_wait_s: telemetry.tool_wait_s,
            overloaded: false,
            reason,
        })
    }

    fn tick(&self) -> Option<Nanos> {
        Some(self.interval)
    }
}
