//! Recorded against simulated times.

use super::Timing;

/// Errors of one figure. Relative ones are simulated over recorded, less 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Requests that have the figure on both sides.
    pub requests: usize,
    /// Recorded mean, seconds.
    pub real_mean: f64,
    /// Simulated mean, seconds.
    pub sim_mean: f64,
    /// Error of the mean.
    pub mean: f64,
    /// Error of the median.
    pub p50: f64,
    /// Error of the 95th percentile.
    pub p95: f64,
    /// Mean over requests of the absolute relative error.
    pub per_request: f64,
    /// Mean absolute difference over the recorded mean: what no single short request can dominate.
    pub weighted: f64,
}

impl Errors {
    /// `None` without a request, or if some recorded figure is zero.
    fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        if pairs.is_empty() || pairs.iter().any(|(real, _)| *real <= 0.0) {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
        let n = pairs.len() as f64;
        let mean = |value: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(value).sum::<f64>() / n;
        let (real_mean, sim_mean) = (mean(&|p| p.0), mean(&|p| p.1));
        let at = |q: f64| {
            let real = percentile(pairs.iter().map(|p| p.0), q);
            percentile(pairs.iter().map(|p| p.1), q) / real - 1.0
        };
        Some(Self {
            requests: pairs.len(),
            real_mean,
            sim_mean,
            mean: sim_mean / real_mean - 1.0,
            p50: at(0.5),
            p95: at(0.95),
            per_request: mean(&|p| (p.1 / p.0 - 1.0).abs()),
            weighted: mean(&|p| (p.1 - p.0).abs()) / real_mean,
        })
    }
}

/// Linear between order statistics, as numpy's default.
fn percentile(values: impl Iterator<Item = f64>, q: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let place = q * (values.len() - 1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of requests"
    )]
    let below = place.floor() as usize;
    let above = (below + 1).min(values.len() - 1);
    values[below] + (values[above] - values[below]) * (place - place.floor())
}

/// How good a replay is, in a letter.
///
/// A: every mean (TTFT, TPOT, latency) within 1 % and every mean absolute error per request within 5 %.
/// B: within 3 % and 10 %. C: within 10 % and 25 %. D: beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the type's doc defines them")]
pub enum Grade {
    A,
    B,
    C,
    D,
}

impl Grade {
    /// The letter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }
}

/// A replay against its recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Time to first token.
    pub ttft: Errors,
    /// Time per output token after the first; `None` if no request has two.
    pub tpot: Option<Errors>,
    /// Queued to last token.
    pub latency: Errors,
}

impl Comparison {
    /// Request by request, recorded first. `None` without requests, or if a recorded time is zero.
    pub fn new(pairs: &[(Timing, Timing)]) -> Option<Self> {
        let of = |figure: fn(&Timing) -> Option<f64>| {
            let both = pairs
                .iter()
                .filter_map(|(r, s)| Some((figure(r)?, figure(s)?)));
            Errors::of(&both.collect::<Vec<_>>())
        };
        Some(Self {
            ttft: of(|t| Some(t.ttft))?,
            tpot: of(|t| t.tpot),
            latency: of(|t| Some(t.latency))?,
        })
    }

    /// Its grade.
    pub fn grade(&self) -> Grade {
        let all = [Some(self.ttft), self.tpot, Some(self.latency)];
        let worst = |figure: fn(&Errors) -> f64| {
            let values = all.iter().flatten().map(figure);
            values.fold(0.0_f64, |worst, e| worst.max(e.abs()))
        };
        let (mean, each) = (worst(|e| e.mean), worst(|e| e.per_request));
        let limits = [
            (0.01, 0.05, Grade::A),
            (0.03, 0.10, Grade::B),
            (0.10, 0.25, Grade::C),
        ];
        let fits = |(m, e, _): &(f64, f64, Grade)| mean <= *m && each <= *e;
        limits.into_iter().find(fits).map_or(Grade::D, |l| l.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(ttft: f64, tpot: f64, latency: f64) -> Timing {
        Timing {
            ttft,
            tpot: Some(tpot),
            latency,
        }
    }

    #[test]
    fn errors_are_those_computed_by_hand() {
        // TTFT 1 -> 1.1 and 3 -> 2.7; TPOT equal; latency 10 -> 10.1 and 20 -> 20.2.
        let pairs = [
            (timing(1.0, 0.5, 10.0), timing(1.1, 0.5, 10.1)),
            (timing(3.0, 0.5, 20.0), timing(2.7, 0.5, 20.2)),
        ];
        let c = Comparison::new(&pairs).expect("two requests");
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(c.ttft.mean, 3.8 / 4.0 - 1.0);
        close(c.ttft.per_request, 0.1);
        close(c.ttft.weighted, 0.2 / 2.0);
        close(c.ttft.p50, 1.9 / 2.0 - 1.0);
        close(c.ttft.p95, (1.1 + 0.95 * 1.6) / (1.0 + 0.95 * 2.0) - 1.0);
        close(c.tpot.expect("two tokens").per_request, 0.0);
        close(c.latency.mean, 0.01);
        assert_eq!(c.grade(), Grade::C);
    }

    #[test]
    fn grades_take_the_worst_figure() {
        let graded = |ttft: f64, tpot: f64| {
            let pairs = [(timing(1.0, 1.0, 1.0), timing(ttft, tpot, 1.0))];
            Comparison::new(&pairs).expect("a request").grade()
        };
        assert_eq!(graded(1.009, 0.991), Grade::A);
        assert_eq!(graded(1.0, 0.98), Grade::B);
        assert_eq!(graded(1.09, 1.0), Grade::C);
        assert_eq!(graded(1.0, 1.2), Grade::D);
    }

    #[test]
    fn nothing_to_compare_is_no_number() {
        assert_eq!(Comparison::new(&[]), None);
        let zero = (timing(0.0, 1.0, 1.0), timing(1.0, 1.0, 1.0));
        assert_eq!(Comparison::new(&[zero]), None);
        let one_token = Timing {
            tpot: None,
            ..timing(1.0, 1.0, 1.0)
        };
        let c = Comparison::new(&[(one_token, one_token)]).expect("a request");
        assert_eq!((c.tpot, c.grade()), (None, Grade::A));
    }
}
