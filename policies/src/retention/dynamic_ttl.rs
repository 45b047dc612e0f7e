//! Continuum's dynamic time-to-live: the longest wait for the tool that still pays on average.
//!
//! Rule: pin for `argmax over tau in {0} and the recorded durations of
//! P(D <= tau) * (T * eta + reload) - tau`. P is the tool's own record once it has more than
//! `record_min` entries, else that of all tools; with no more than that many in all, `default_s`.
//! T is the mean of the last delays between letting KV go and resuming; eta is minus the correlation
//! of turns served with turns left over finished sessions, 1 below two points.
//! Source: Continuum, arXiv 2511.02230. The preview code takes 2e-4 s per token for `reload`, far
//! above what an H100 needs for a model with 3B active parameters: `reload_s_per_token` brings it
//! back, 0 asks the cost model.

use std::collections::{BTreeMap, VecDeque};

use scheduler::policy::{Claim, Keep, PinView, Resume, Retention, Yielding};
use scheduler::{Reason, Telemetry, ToolClass};
use serde::{Deserialize, Serialize};
use units::{Nanos, Time};

use super::fixed_ttl::{less_the_longer_it_lives, yields_when_alone};
use super::record::Durations;

/// Settings of [`DynamicTtl`]; defaults are in `presets/continuum-dy.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamicTtlSettings {
    /// Life of a pin while the record is short.
    pub default_s: f64,
    /// Entries that a record needs more than, before it is used.
    pub record_min: usize,
    /// Durations remembered per tool and over all tools.
    pub record_window: usize,
    /// Resume delays remembered.
    pub delay_window: usize,
    /// Seconds per token of recomputation; 0 asks the cost model.
    pub reload_s_per_token: f64,
}

/// Dynamic time-to-live.
#[derive(Clone, Debug)]
pub struct DynamicTtl {
    set: DynamicTtlSettings,
    default: Nanos,
    by_tool: BTreeMap<ToolClass, Durations>,
    all: Durations,
    delays: VecDeque<f64>,
    eta: Correlation,
}

/// Correlation of turns served and turns left over finished sessions, from running sums.
#[derive(Clone, Copy, Debug, Default)]
struct Correlation {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Correlation {
    fn finished(&mut self, turns: u32) {
        for served in 1..=turns {
            let (x, y) = (f64::from(served), f64::from(turns - served));
            self.n += 1.0;
            self.x += x;
            self.y += y;
            self.xx += x * x;
            self.yy += y * y;
            self.xy += x * y;
        }
    }

    /// Minus the correlation; 1 below two points or without spread.
    fn eta(&self) -> f64 {
        let spread_x = self.n * self.xx - self.x * self.x;
        let spread_y = self.n * self.yy - self.y * self.y;
        if self.n < 2.0 || spread_x <= 0.0 || spread_y <= 0.0 {
            return 1.0;
        }
        -(self.n * self.xy - self.x * self.y) / (spread_x * spread_y).sqrt()
    }
}

impl DynamicTtl {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &DynamicTtlSettings) -> Result<Self, String> {
        for (name, window) in [
            ("record_window", set.record_window),
            ("delay_window", set.delay_window),
        ] {
            if window == 0 {
                return Err(format!("{name} is 0, wanted at least 1"));
            }
        }
        if !(set.reload_s_per_token.is_finite() && set.reload_s_per_token >= 0.0) {
            return Err(format!(
                "reload_s_per_token is {}, wanted 0 (the cost model) or more",
                set.reload_s_per_token
            ));
        }
        Ok(Self {
            default: crate::span("default_s", set.default_s)?,
            set: set.clone(),
            by_tool: BTreeMap::new(),
            all: Durations::default(),
            delays: VecDeque::new(),
            eta: Correlation::default(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn mean_delay_s(&self) -> f64 {
        if self.delays.is_empty() {
            return 0.0;
        }
        self.delays.iter().sum::<f64>() / self.delays.len() as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "real-valued by definition")]
    fn ttl(&self, yielding: &Yielding) -> Nanos {
        let own = self.by_tool.get(&yielding.tool);
        let record = match own {
            Some(own) if own.len() > self.set.record_min => own,
            _ if self.all.len() > self.set.record_min => &self.all,
            _ => return self.default,
        };
        let reload_s = if self.set.reload_s_per_token > 0.0 {
            self.set.reload_s_per_token * yielding.context.get() as f64
        } else {
            yielding.reload.as_secs()
        };
        let benefit = self.mean_delay_s() * self.eta.eta() + reload_s;
        let sorted = record.sorted();
        let count = sorted.len() as f64;
        let mut best = (0.0, Nanos::ZERO);
        for (i, &ns) in sorted.iter().enumerate() {
            let tau = Nanos::new(ns);
            let worth = (i + 1) as f64 / count * benefit - tau.as_secs();
            if worth > best.0 {
                best = (worth, tau);
            }
        }
        best.1
    }
}

impl Retention for DynamicTtl {
    fn on_yield(&mut self, now: Time, yielding: &Yielding, _telemetry: &Telemetry) -> Keep {
        match self.ttl(yielding) {
            Nanos::ZERO => Keep::Release,
            ttl => Keep::Pin {
                until: Some(now + ttl),
            },
        }
    }

    fn reason(&self, keep: Keep) -> Reason {
        match keep {
            Keep::Pin { .. } => Reason::LifePays,
            Keep::Release | Keep::Offload => Reason::NoLifePays,
        }
    }

    fn yields_to(&self, claim: Claim) -> bool {
        yields_when_alone(claim)
    }

    fn value(&self, now: Time, pin: &PinView) -> f64 {
        less_the_longer_it_lives(now, pin)
    }

    fn tool_phase(&mut self, tool: ToolClass, wall: Nanos) {
        let window = self.set.record_window;
        self.by_tool.entry(tool).or_default().observe(wall, window);
        self.all.observe(wall, window);
    }

    fn cold_resume(&mut self, resume: Resume) {
        if self.delays.len() == self.set.delay_window {
            self.delays.pop_front();
        }
        self.delays.push_back(resume.since_release.as_secs());
    }

    fn session_ended(&mut self, turns: u32) {
        self.eta.finished(turns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduler::policy::Keep;
    use units::{Blocks, SessionId, Tokens};

    fn yielding(reload_ms: u64) -> Yielding {
        Yielding {
            session: SessionId(0),
            tool: ToolClass(0),
            context: Tokens(1000),
            blocks: Blocks(63),
            reload: Nanos::from_millis(reload_ms),
            next_use: None,
        }
    }

    fn ttl(min: usize) -> DynamicTtl {
        DynamicTtl::new(&DynamicTtlSettings {
            default_s: 2.0,
            record_min: min,
            record_window: 1000,
            delay_window: 200,
            reload_s_per_token: 0.0,
        })
        .unwrap()
    }

    /// Durations 1, 2, 10 s. Benefit b: worth of 1 s is b/3 - 1, of 2 s 2b/3 - 2, of 10 s b - 10.
    /// b = 3.6: 0.2, 0.4, -6.4 -> 2 s. b = 2.7: -0.1, -0.2 -> release. b = 30: 9, 18, 20 -> 10 s.
    #[test]
    fn the_life_of_a_pin_maximises_what_it_is_worth() {
        let mut policy = ttl(2);
        for s in [2, 10, 1] {
            policy.tool_phase(ToolClass(0), Nanos::from_millis(s * 1000));
        }
        assert_eq!(policy.ttl(&yielding(3_600)), Nanos::from_millis(2_000));
        assert_eq!(policy.ttl(&yielding(2_700)), Nanos::ZERO);
        assert_eq!(policy.ttl(&yielding(30_000)), Nanos::from_millis(10_000));
    }

    #[test]
    fn a_short_record_gives_the_default_life() {
        let mut policy = ttl(2);
        policy.tool_phase(ToolClass(0), Nanos::from_millis(9_000));
        policy.tool_phase(ToolClass(1), Nanos::from_millis(9_000));
        assert_eq!(policy.ttl(&yielding(0)), Nanos::from_millis(2_000));
    }

    /// One session of 3 turns: points (1,2), (2,1), (3,0), correlation -1. With one of 1 turn more,
    /// (1,0): n 4, sums x 7, y 3, xx 15, yy 5, xy 4; (16 - 21) / sqrt((60-49) * (20-9)) = -5/11.
    #[test]
    fn eta_is_minus_the_correlation() {
        let mut eta = Correlation::default();
        assert!((eta.eta() - 1.0).abs() < 1e-12);
        eta.finished(3);
        assert!((eta.eta() - 1.0).abs() < 1e-12);
        eta.finished(1);
        assert!((eta.eta() - 5.0 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn a_worthless_pin_is_a_release() {
        let mut policy = ttl(0);
        policy.tool_phase(ToolClass(0), Nanos::from_millis(60_000));
        let telemetry = crate::retention::tests::idle();
        let keep = policy.on_yield(Time::ZERO, &yielding(100), &telemetry);
        assert_eq!(keep, Keep::Release);
    }
}
