//! A mixture of lognormals, made to be drawn from by its quantiles.
//!
//! Why: a quantile of a mixture has no closed form. Those at a row of scores are found once, with
//! their slopes; every other lies on a cubic between two of them, one or two of Newton's steps away.

use super::dist::{MOST_SCORE, share_of};

/// Steps between the scores whose quantiles are known, per standard deviation.
const STEPS: f64 = 8.0;

/// Several lognormals, one of which a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// `(weight, mu, sigma)`; the weights sum to 1.
    parts: Vec<(f64, f64, f64)>,
    /// Logarithms of the quantiles at scores from `-MOST_SCORE` on, `1 / STEPS` apart, and their
    /// slopes: by how much they rise from one such score to the next, at that slope.
    knots: Vec<(f64, f64)>,
    /// Newton's last step is at most this long: what is left is its square or so.
    close: f64,
}

impl Mixture {
    /// A mixture of lognormals `(weight, mu, sigma)`: positive weights, which are scaled to sum to 1,
    /// and mean and standard deviation (above 0) of the natural logarithm.
    pub fn new(mut parts: Vec<(f64, f64, f64)>) -> Self {
        let sum: f64 = parts.iter().map(|(weight, _, _)| weight).sum();
        for (weight, _, _) in &mut parts {
            *weight /= sum;
        }
        let narrowest = parts.iter().map(|(_, _, sigma)| *sigma);
        let mut mixture = Self {
            close: 1e-6 * narrowest.fold(1.0, f64::min),
            parts,
            knots: Vec::new(),
        };
        let scores = (0..).map(|i| f64::from(i) / STEPS - MOST_SCORE);
        mixture.knots = scores
            .take_while(|z| *z < MOST_SCORE + 1.0 / STEPS)
            .map(|z| {
                let (low, high) = mixture.bracket(z);
                let ln = mixture.solve(z, low, high, low.midpoint(high));
                let bell = libm::exp(-0.5 * z * z) / libm::sqrt(std::f64::consts::TAU);
                (ln, bell / mixture.density_ln(ln) / STEPS)
            })
            .collect();
        mixture
    }

    /// The parts, with weights that sum to 1.
    pub fn parts(&self) -> &[(f64, f64, f64)] {
        &self.parts
    }

    /// Share of the values whose logarithm is at most `ln`.
    pub(super) fn share_below_ln(&self, ln: f64) -> f64 {
        let parts = self.parts.iter();
        parts
            .map(|(weight, mu, sigma)| weight * share_of((ln - mu) / sigma))
            .sum()
    }

    /// Logarithm of the quantile at a score within `-MOST_SCORE..=MOST_SCORE`.
    pub(super) fn ln_at(&self, z: f64) -> f64 {
        let steps = (z + MOST_SCORE) * STEPS;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 132"
        )]
        let before = steps as usize;
        let ends = (self.knots.get(before), self.knots.get(before + 1));
        if let (Some(&(low, rise)), Some(&(high, end_rise))) = ends {
            let start = cubic(steps.fract(), (low, rise), (high, end_rise));
            // Where hardly any values lie the slopes are huge, and the cubic overshoots.
            let start = if start >= low && start <= high {
                start
            } else {
                low.midpoint(high)
            };
            return self.solve(z, low, high, start);
        }
        let (low, high) = self.bracket(z);
        self.solve(z, low, high, low.midpoint(high))
    }

    /// A mixture's quantile lies between its parts' quantiles at the same score.
    fn bracket(&self, z: f64) -> (f64, f64) {
        let ends = self.parts.iter().map(|(_, mu, sigma)| mu + sigma * z);
        ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        })
    }

    /// Newton's steps from `at`, and halving where one would leave the bracket.
    fn solve(&self, z: f64, mut low: f64, mut high: f64, mut at: f64) -> f64 {
        let target = share_of(z);
        for _ in 0..100 {
            let over = self.share_below_ln(at) - target;
            if over > 0.0 {
                high = at;
            } else {
                low = at;
            }
            let newton = at - over / self.density_ln(at);
            // Halving leaves an error as long as its step, Newton's one as long as the square of it.
            let (next, close) = if newton > low && newton < high {
                (newton, self.close)
            } else {
                (low.midpoint(high), 1e-12)
            };
            if (next - at).abs() < close {
                return next;
            }
            at = next;
        }
        at
    }

    /// Density of the logarithm.
    fn density_ln(&self, ln: f64) -> f64 {
        let densities = self.parts.iter().map(|(weight, mu, sigma)| {
            let z = (ln - mu) / sigma;
            weight * libm::exp(-0.5 * z * z) / sigma
        });
        densities.sum::<f64>() / libm::sqrt(std::f64::consts::TAU)
    }
}

/// The cubic at `t` from 0 to 1 that has these values and slopes at the ends (Hermite).
fn cubic(t: f64, (low, rise): (f64, f64), (high, end_rise): (f64, f64)) -> f64 {
    let u = 1.0 - t;
    let line = low * u + high * t;
    let (bend, end_bend) = (rise - (high - low), (high - low) - end_rise);
    line + t * u * (bend * u + end_bend * t)
}
