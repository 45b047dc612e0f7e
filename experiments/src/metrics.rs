//! From times to the numbers of a report: means, percentiles, goodput, attainment.
//!
//! Why here and nowhere else: a figure, a table and the JSON must not disagree on a definition.
//! Limits: percentiles interpolate linearly between order statistics (rank `p * (n - 1)`), so with
//! few sessions a P99 is close to the maximum.

use serde::Serialize;
use units::Nanos;

/// Mean and percentiles in seconds; each `None` when there is nothing to describe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

impl Spread {
    /// Describes the spans; sorts them.
    pub fn of(spans: &mut [Nanos]) -> Self {
        spans.sort_unstable();
        Self {
            mean: mean(spans),
            p50: percentile(spans, 0.50),
            p90: percentile(spans, 0.90),
            p95: percentile(spans, 0.95),
            p99: percentile(spans, 0.99),
        }
    }

    /// Names and values, in the order of the JSON.
    pub fn parts(&self) -> [(&'static str, Option<f64>); 5] {
        [
            ("mean", self.mean),
            ("p50", self.p50),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p99", self.p99),
        ]
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a mean is a report, not a clock"
)]
fn mean(spans: &[Nanos]) -> Option<f64> {
    // Summed in integers: the mean does not depend on the order.
    let sum: u128 = spans.iter().map(|s| u128::from(s.as_nanos())).sum();
    (!spans.is_empty()).then(|| sum as f64 / spans.len() as f64 / 1e9)
}

/// The `share` quantile of sorted spans, in seconds: linear between the two nearest ranks.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is between 0 and n - 1, far below 2^53"
)]
pub fn percentile(sorted: &[Nanos], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = share * last as f64;
    let below = (rank.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let (low, high) = (sorted[below].as_secs(), sorted[above].as_secs());
    Some(low + (rank - below as f64) * (high - low))
}

/// A goodput factor, with the text that the user typed for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Alpha {
    /// As typed: the key in reports.
    pub text: String,
    /// Its value.
    pub value: f64,
}

impl Alpha {
    /// Whether a session of this latency is in time.
    ///
    /// Nothing meets alpha 1 exactly once another session shares the machine, so no limit from 1 up
    /// is tighter than `1 + tolerance`. Below 1 there is no tolerance (and nobody is in time).
    pub fn met(&self, latency: Nanos, ideal: Nanos, tolerance: f64) -> bool {
        let factor = if self.value >= 1.0 {
            self.value.max(1.0 + tolerance)
        } else {
            self.value
        };
        latency.as_secs() <= factor * ideal.as_secs()
    }
}

/// What becomes of one session in the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Arrival to completion.
    pub latency: Nanos,
    /// The same alone; `None` if it was not measured.
    pub ideal: Option<Nanos>,
}

/// Sessions in time at `alpha`.
pub fn in_time(sessions: &[Timed], alpha: &Alpha, tolerance: f64) -> u64 {
    let met = |s: &&Timed| {
        s.ideal
            .is_some_and(|ideal| alpha.met(s.latency, ideal, tolerance))
    };
    sessions.iter().filter(met).count() as u64
}

/// A count per second of makespan; `None` if no time passed.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn per_second(count: u64, makespan: Nanos) -> Option<f64> {
    (makespan > Nanos::ZERO).then(|| count as f64 / makespan.as_secs())
}

/// One count as a share of another; `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn share(count: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| count as f64 / of as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(values: &[f64]) -> Vec<Nanos> {
        values
            .iter()
            .map(|&s| Nanos::from_secs(s).unwrap())
            .collect()
    }

    fn alpha(text: &str) -> Alpha {
        Alpha {
            text: text.to_owned(),
            value: text.parse().unwrap(),
        }
    }

    fn close(got: Option<f64>, want: f64) {
        let got = got.expect("a number");
        assert!((got - want).abs() < 1e-9, "{got} is not {want}");
    }

    #[test]
    fn percentiles_interpolate_between_order_statistics() {
        // Sorted: 1 2 3 4. P50 has rank 1.5: 2.5. P90 has rank 2.7: 3.7. P95: 3.85. P99: 3.97.
        let spread = Spread::of(&mut secs(&[4.0, 1.0, 3.0, 2.0]));
        close(spread.mean, 2.5);
        close(spread.p50, 2.5);
        close(spread.p90, 3.7);
        close(spread.p95, 3.85);
        close(spread.p99, 3.97);
    }

    #[test]
    fn one_value_is_every_percentile_and_none_is_none() {
        let spread = Spread::of(&mut secs(&[7.0]));
        close(spread.mean, 7.0);
        close(spread.p50, 7.0);
        close(spread.p99, 7.0);
        assert_eq!(Spread::of(&mut []), Spread::default());
    }

    #[test]
    fn goodput_by_hand() {
        // Alone each takes 10 s. Latencies 10.05, 10.2, 20, 20.001, 30 s; one without T_ideal.
        let ideal = Some(Nanos::from_secs(10.0).unwrap());
        let mut sessions: Vec<Timed> = secs(&[10.05, 10.2, 20.0, 20.001, 30.0])
            .into_iter()
            .map(|latency| Timed { latency, ideal })
            .collect();
        sessions.push(Timed {
            latency: Nanos::ZERO,
            ideal: None,
        });
        // Alpha 1 within 1 %: up to 10.1 s.
        assert_eq!(in_time(&sessions, &alpha("1"), 0.01), 1);
        assert_eq!(in_time(&sessions, &alpha("1"), 0.05), 2);
        assert_eq!(in_time(&sessions, &alpha("2"), 0.01), 3);
        assert_eq!(in_time(&sessions, &alpha("3"), 0.01), 5);
        assert_eq!(in_time(&sessions, &alpha("0.5"), 0.01), 0);
        // 3 in time over 60 s, of 6 offered.
        close(per_second(3, Nanos::from_secs(60.0).unwrap()), 0.05);
        close(share(3, 6), 0.5);
    }

    #[test]
    fn nothing_is_not_zero() {
        assert_eq!(per_second(3, Nanos::ZERO), None);
        assert_eq!(share(0, 0), None);
        assert_eq!(share(0, 4), Some(0.0));
    }
}
