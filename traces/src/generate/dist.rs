//! Distributions, each as its quantile at a standard normal score.
//!
//! Why scores: one draw is one normal number, whatever the distribution. Changing a distribution then
//! moves no other draw, and values of one session can be made alike by mixing their scores (a
//! Gaussian copula) without changing the distribution of any of them.
//!
//! Limits: functions of real numbers come from `libm` and `statrs`, not from the platform, so the
//! values are the same on every machine. A score beyond 8.2 standard deviations counts as 8.2.

use statrs::distribution::{Continuous, ContinuousCDF, Gamma};
use statrs::function::erf::erfc_inv;

use super::mixture::Mixture;

/// A distribution of real numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Dist {
    /// Always this.
    Constant(f64),
    /// `exp(N(mu, sigma))`.
    Lognormal {
        /// Mean of the natural logarithm.
        mu: f64,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
    },
    /// One of several lognormals.
    Mixture(Mixture),
    /// A gamma distribution.
    Gamma {
        /// Shape: `1 / cv^2`.
        shape: f64,
        /// Rate: `shape / mean`.
        rate: f64,
    },
    /// A normal distribution.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        sd: f64,
    },
    /// Evenly between the two.
    Uniform {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// One of these values, each as likely as any other; in rising order.
    Empirical(Vec<f64>),
    /// Straight lines between points `(share, value)`: both rise, shares from 0 to 1.
    Quantiles(Vec<(f64, f64)>),
}

/// Scores are cut here, where the share above is 1e-16.
pub(super) const MOST_SCORE: f64 = 8.2;

/// Share of a standard normal distribution below `z`.
pub(super) fn share_of(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// The score below which a share `u` of a standard normal distribution lies.
pub(super) fn score_of(u: f64) -> f64 {
    let z = -std::f64::consts::SQRT_2 * erfc_inv(2.0 * u);
    z.clamp(-MOST_SCORE, MOST_SCORE)
}

impl Dist {
    /// The value at a standard normal score: its quantile at the share that lies below the score.
    pub fn at_score(&self, score: f64) -> f64 {
        let z = score.clamp(-MOST_SCORE, MOST_SCORE);
        match self {
            Self::Constant(value) => *value,
            Self::Lognormal { mu, sigma } => libm::exp(mu + sigma * z),
            Self::Normal { mean, sd } => mean + sd * z,
            Self::Uniform { low, high } => low + (high - low) * share_of(z),
            Self::Gamma { shape, rate } => gamma_at(*shape, *rate, z),
            Self::Mixture(mixture) => libm::exp(mixture.ln_at(z)),
            Self::Empirical(values) => {
                let at = index(share_of(z), values.len());
                values[at]
            }
            Self::Quantiles(points) => between(points, share_of(z)),
        }
    }

    /// Share of the values that are at most `x`.
    pub fn share_below(&self, x: f64) -> f64 {
        match self {
            Self::Constant(value) => f64::from(*value <= x),
            Self::Lognormal { .. } | Self::Mixture(_) if x <= 0.0 => 0.0,
            Self::Lognormal { mu, sigma } => share_of((libm::log(x) - mu) / sigma),
            Self::Mixture(mixture) => mixture.share_below_ln(libm::log(x)),
            Self::Normal { mean, sd } => share_of((x - mean) / sd),
            Self::Uniform { low, high } => ((x - low) / (high - low)).clamp(0.0, 1.0),
            Self::Gamma { shape, rate } => gamma(*shape, *rate).cdf(x.max(0.0)),
            #[expect(clippy::cast_precision_loss, reason = "lists are short")]
            Self::Empirical(values) => {
                values.partition_point(|v| *v <= x) as f64 / values.len() as f64
            }
            Self::Quantiles(points) => {
                let swapped: Vec<(f64, f64)> = points.iter().map(|(p, v)| (*v, *p)).collect();
                between(&swapped, x)
            }
        }
    }
}

/// Index of the item that a share of a list of `len` falls on.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "lists are short, shares lie in 0..=1"
)]
pub(super) fn index(share: f64, len: usize) -> usize {
    ((share * len as f64) as usize).min(len - 1)
}

/// The ordinate at `x` of the broken line through `points`, which rise in both.
fn between(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|(at, _)| *at <= x);
    match (points.get(after.wrapping_sub(1)), points.get(after)) {
        (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * ((x - x0) / (x1 - x0)),
        (Some((_, y)), None) | (None, Some((_, y))) => *y,
        (None, None) => 0.0,
    }
}

fn gamma(shape: f64, rate: f64) -> Gamma {
    Gamma::new(shape, rate).expect("a description is checked when it is read")
}

/// Quantile of a gamma distribution: a bracketed Newton search in the logarithm.
fn gamma_at(shape: f64, rate: f64, z: f64) -> f64 {
    let target = share_of(z);
    let gamma = gamma(shape, rate);
    // Below the bracket's foot lies a share of less than 1e-300, unless the shape is tiny.
    let (mut low, mut high) = (-700.0_f64, libm::log((shape + 10.0) * 60.0 / rate));
    let mut at = libm::log(shape / rate);
    for _ in 0..80 {
        let x = libm::exp(at);
        let over = gamma.cdf(x) - target;
        if over > 0.0 {
            high = at;
        } else {
            low = at;
        }
        // d cdf / d ln x = x * pdf
        let newton = at - over / (x * gamma.pdf(x));
        let next = if newton > low && newton < high {
            newton
        } else {
            low.midpoint(high)
        };
        if (next - at).abs() < 1e-13 {
            break;
        }
        at = next;
    }
    libm::exp(at)
}

#[cfg(test)]
#[path = "dist_tests.rs"]
#[expect(clippy::float_cmp, reason = "what must be the very same number")]
mod tests;
