//! What was measured so far: how long tools take, how long cold resumes wait.
//!
//! The empirical distribution of each tool's wall time over a sliding window, with the distribution
//! over all tools and then a prior standing in while a record is short. Only the past is in here.
//! Source: reference section 4.4.

use std::collections::{BTreeMap, VecDeque};

use scheduler::ToolClass;
use scheduler::policy::PinView;
use serde::{Deserialize, Serialize};
use units::{Nanos, Time};

/// Standard normal quantiles at (i + 1/2) / 32 for i = 16 .. 31; the lower half mirrors them.
/// Check: `Phi(z)` of each is its level (tested by numeric integration).
const UPPER_MID_QUANTILES: [f64; 16] = [
    0.039_176_085_503_097_64,
    0.117_769_874_579_095_3,
    0.197_099_084_294_312_3,
    0.277_690_439_821_576_76,
    0.360_129_891_789_569_4,
    0.445_096_524_985_516_33,
    0.533_409_706_241_280_5,
    0.626_099_012_346_421_3,
    0.724_514_383_492_365_3,
    0.830_510_878_205_399_2,
    0.946_781_756_301_045_6,
    1.077_515_567_040_280_3,
    1.229_858_759_216_589,
    1.417_797_137_996_267_3,
    1.675_939_722_773_443_6,
    2.153_874_694_061_455_5,
];

/// Settings of [`Record`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordSettings {
    /// Durations remembered per tool and over all tools.
    pub tool_window: usize,
    /// Durations a tool (and the record over all tools) needs before it is used.
    pub tool_min: usize,
    /// The prior before any record: mean of the logarithm of seconds.
    pub prior_mu: f64,
    /// Standard deviation of that logarithm.
    pub prior_sigma: f64,
    /// Resume delays remembered.
    pub delay_window: usize,
}

/// The last durations of one kind, in order of time and in order of size.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    recent: VecDeque<u64>,
    sorted: Vec<u64>,
}

impl Durations {
    /// Takes in one duration; beyond `window` the oldest is forgotten.
    pub fn observe(&mut self, duration: Nanos, window: usize) {
        if self.recent.len() == window
            && let Some(oldest) = self.recent.pop_front()
        {
            let at = self.sorted.partition_point(|&d| d < oldest);
            self.sorted.remove(at);
        }
        let ns = duration.as_nanos();
        self.recent.push_back(ns);
        let at = self.sorted.partition_point(|&d| d < ns);
        self.sorted.insert(at, ns);
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The longest remembered.
    pub fn longest(&self) -> Option<Nanos> {
        self.sorted.last().map(|&ns| Nanos::new(ns))
    }

    /// All of them, by rising length.
    pub fn sorted(&self) -> &[u64] {
        &self.sorted
    }

    /// Those longer than `elapsed`, by rising length.
    pub fn beyond(&self, elapsed: Nanos) -> &[u64] {
        let from = self.sorted.partition_point(|&d| d <= elapsed.as_nanos());
        &self.sorted[from..]
    }

    /// Share of those longer than `elapsed` that are at most `within`; 0 when none is longer. Time
    /// already spent is sunk: it only conditions.
    #[expect(clippy::cast_precision_loss, reason = "window sizes are small")]
    pub fn share_within(&self, within: Nanos, elapsed: Nanos) -> f64 {
        let rest = self.beyond(elapsed);
        if rest.is_empty() {
            return 0.0;
        }
        let done = rest.partition_point(|&d| d <= within.as_nanos());
        done as f64 / rest.len() as f64
    }
}

/// The mean of the last so many delays.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    recent: VecDeque<u64>,
    sum: u128,
}

impl Delays {
    fn observe(&mut self, delay: Nanos, window: usize) {
        if self.recent.len() == window
            && let Some(oldest) = self.recent.pop_front()
        {
            self.sum -= u128::from(oldest);
        }
        self.recent.push_back(delay.as_nanos());
        self.sum += u128::from(delay.as_nanos());
    }

    /// Mean in seconds; 0 before the first.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a mean, for a real-valued formula"
    )]
    pub fn mean_s(&self) -> f64 {
        if self.recent.is_empty() {
            return 0.0;
        }
        self.sum as f64 / self.recent.len() as f64 / 1e9
    }
}

/// Everything a retention part has measured.
#[derive(Clone, Debug)]
pub struct Record {
    set: RecordSettings,
    by_tool: BTreeMap<ToolClass, Durations>,
    all: Durations,
    prior: Durations,
    delays: Delays,
    version: u64,
}

impl Record {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &RecordSettings) -> Result<Self, String> {
        for (name, window) in [
            ("tool_window", set.tool_window),
            ("delay_window", set.delay_window),
        ] {
            if window == 0 {
                return Err(format!("{name} is 0, wanted at least 1"));
            }
        }
        let (mu, sigma) = (set.prior_mu, set.prior_sigma);
        let of_prior = |what: &str| {
            format!("prior_mu is {mu}, prior_sigma {sigma}, wanted numbers, sigma 0 or more{what}")
        };
        if !(mu.is_finite() && sigma.is_finite() && sigma >= 0.0) {
            return Err(of_prior(""));
        }
        let mut prior = Durations::default();
        for z in UPPER_MID_QUANTILES.into_iter().flat_map(|z| [-z, z]) {
            let seconds = (mu + sigma * z).exp();
            let duration = Nanos::from_secs(seconds)
                .map_err(|e| of_prior(&format!(", whose quantiles are times: {e}")))?;
            prior.observe(duration, usize::MAX);
        }
        Ok(Self {
            set: set.clone(),
            by_tool: BTreeMap::new(),
            all: Durations::default(),
            prior,
            delays: Delays::default(),
            version: 0,
        })
    }

    /// A tool phase of this class took `wall`.
    pub fn tool_phase(&mut self, tool: ToolClass, wall: Nanos) {
        let window = self.set.tool_window;
        self.by_tool.entry(tool).or_default().observe(wall, window);
        self.all.observe(wall, window);
        self.version += 1;
    }

    /// A turn without its KV waited `delay` from ready to start.
    pub fn cold_resume(&mut self, delay: Nanos) {
        self.delays.observe(delay, self.set.delay_window);
    }

    /// The distribution to use for a tool: its own, else all tools', else the prior.
    pub fn durations(&self, tool: ToolClass) -> &Durations {
        match self.by_tool.get(&tool) {
            Some(own) if own.len() >= self.set.tool_min => own,
            _ if self.all.len() >= self.set.tool_min => &self.all,
            _ => &self.prior,
        }
    }

    /// Mean delay of cold resumes, seconds.
    pub fn mean_delay_s(&self) -> f64 {
        self.delays.mean_s()
    }

    /// Worth of a pin per block, in seconds: the chance that a warm resume comes within `bound`, given
    /// how long the tool has run, times what it saves. Certain once the session's next turn waits.
    #[expect(
        clippy::cast_precision_loss,
        reason = "block counts are far below 2^53"
    )]
    pub fn value_per_block(&self, bound: Nanos, now: Time, pin: &PinView) -> f64 {
        let chance = if pin.next_turn_waits {
            1.0
        } else {
            self.durations(pin.tool)
                .share_within(bound, now.since(pin.since))
        };
        chance * (pin.reload.as_secs() + self.mean_delay_s()) / pin.blocks.get().max(1) as f64
    }

    /// Grows with every tool phase.
    pub fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduler::policy::Keep;
    use units::{Blocks, SessionId, Tokens};

    fn secs(s: u64) -> Nanos {
        Nanos::from_millis(s * 1000)
    }

    /// Phi by Simpson's rule on the density from 0; exact to 1e-12 over this range.
    fn phi(z: f64) -> f64 {
        let steps = 2000;
        let h = z / f64::from(steps);
        let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let inner: f64 = (1..steps)
            .map(|i| density(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 })
            .sum();
        0.5 + (density(0.0) + inner + density(z)) * h / 3.0
    }

    #[test]
    fn the_mid_quantiles_are_those_of_the_normal() {
        for (i, z) in UPPER_MID_QUANTILES.into_iter().enumerate() {
            let level = (f64::from(u32::try_from(i).unwrap()) + 16.5) / 32.0;
            assert!(
                (phi(z) - level).abs() < 1e-10,
                "{i}: Phi({z}) is {}",
                phi(z)
            );
        }
    }

    /// Reload 3 s, no delay on record, 4 blocks. On record: 1, 2, 3 and 9 s. After 1 s, of {2, 3, 9} two
    /// come within a bound of 5 s: 2/3 * 3 / 4. After 20 s nothing longer is on record: worth nothing,
    /// unless the next turn is there already: 3 / 4.
    #[test]
    fn the_worth_of_a_pin_is_certain_once_its_turn_waits() {
        let mut record = Record::new(&RecordSettings {
            tool_window: 256,
            tool_min: 4,
            prior_mu: 0.0,
            prior_sigma: 0.0,
            delay_window: 200,
        })
        .unwrap();
        for s in [1, 2, 3, 9] {
            record.tool_phase(ToolClass(0), secs(s));
        }
        let pin = |next_turn_waits| PinView {
            session: SessionId(0),
            tool: ToolClass(0),
            since: Time::ZERO,
            context: Tokens(64),
            blocks: Blocks(4),
            reload: secs(3),
            next_turn_waits,
            keep: Keep::Pin { until: None },
            next_use: None,
        };
        for (after, waits, worth) in [
            (1, false, 0.5),
            (20, false, 0.0),
            (1, true, 0.75),
            (20, true, 0.75),
        ] {
            let now = Time::ZERO + secs(after);
            let got = record.value_per_block(secs(5), now, &pin(waits));
            assert!((got - worth).abs() < 1e-12, "{after} s, {waits}: {got}");
        }
    }

    #[test]
    fn sunk_time_only_conditions() {
        let mut d = Durations::default();
        for s in [1, 2, 3, 4] {
            d.observe(secs(s), 256);
        }
        // After 2 s, of {3, 4} one is within 3 s.
        assert!((d.share_within(secs(3), secs(2)) - 0.5).abs() < f64::EPSILON);
        // Nothing was ever longer than 4 s: outlived.
        assert!(d.share_within(secs(9), secs(4)).abs() < f64::EPSILON);
    }

    #[test]
    fn the_window_forgets_the_oldest() {
        let mut d = Durations::default();
        for s in [9, 1, 2] {
            d.observe(secs(s), 2);
        }
        assert_eq!((d.len(), d.longest()), (2, Some(secs(2))));
    }

    #[test]
    fn a_short_record_is_stood_in_for() {
        let set = RecordSettings {
            tool_window: 256,
            tool_min: 3,
            prior_mu: 0.0,
            prior_sigma: 0.0,
            delay_window: 200,
        };
        let mut record = Record::new(&set).unwrap();
        let (a, b) = (ToolClass(0), ToolClass(1));
        assert_eq!(record.durations(a).len(), 32);
        record.tool_phase(a, secs(5));
        record.tool_phase(b, secs(6));
        assert_eq!(record.durations(a).len(), 32, "two are too few for anybody");
        record.tool_phase(b, secs(7));
        assert_eq!(
            record.durations(a).longest(),
            Some(secs(7)),
            "all tools stand in"
        );
        record.tool_phase(a, secs(5));
        record.tool_phase(a, secs(5));
        assert_eq!(record.durations(a).longest(), Some(secs(5)), "now its own");
    }
}
