//! Gaps between arrivals, with mean 1 and a given spread.
//!
//! Also the *forward recurrence*: the time from any instant, at which one does not look because
//! something arrived, to the next arrival. With it a renewal process can begin anywhere without the
//! surplus of arrivals that a first full gap brings: `(cv^2 - 1) / 2` of them, 12 at a cv of 5.
//!
//! Source: Cox, Renewal Theory (1962), chapter 5: that time is a uniform share of a gap whose length
//! is weighted by itself. A gamma gap of shape k weighted so is gamma of shape k + 1; a Weibull gap
//! `s * E^(1/k)` weighted so is `s * G^(1/k)` with G gamma of shape 1 + 1/k.

use rand_core::Rng;
use rand_distr::{Distribution, Exp1, Gamma, Open01};

use super::ArrivalError;

/// Families of gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapKind {
    /// Gamma.
    Gamma,
    /// Weibull.
    Weibull,
}

/// A distribution of gaps with mean 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GapLaw {
    kind: GapKind,
    cv: f64,
    /// The shape parameter that gives this coefficient of variation.
    shape: f64,
}

impl GapLaw {
    /// Gaps of this family with this coefficient of variation (standard deviation / mean).
    ///
    /// # Errors
    /// [`ArrivalError::Cv`] if it is not in 0.01 to 1000.
    pub fn new(kind: GapKind, cv: f64) -> Result<Self, ArrivalError> {
        if !(0.01..=1000.0).contains(&cv) {
            return Err(ArrivalError::Cv { cv });
        }
        let shape = match kind {
            GapKind::Gamma => 1.0 / (cv * cv),
            GapKind::Weibull => weibull_shape(cv),
        };
        Ok(Self { kind, cv, shape })
    }

    /// The family.
    pub const fn kind(self) -> GapKind {
        self.kind
    }

    /// The coefficient of variation.
    pub const fn cv(self) -> f64 {
        self.cv
    }

    /// A gap.
    pub fn gap(self, rng: &mut impl Rng) -> f64 {
        match self.kind {
            GapKind::Gamma => gamma(self.shape, rng) / self.shape,
            GapKind::Weibull => {
                let e: f64 = Exp1.sample(rng);
                self.weibull_scale() * libm::pow(e, 1.0 / self.shape)
            }
        }
    }

    /// The time from an arbitrary instant to the next arrival.
    pub fn recurrence(self, rng: &mut impl Rng) -> f64 {
        let share: f64 = Open01.sample(rng);
        let weighted = match self.kind {
            GapKind::Gamma => gamma(self.shape + 1.0, rng) / self.shape,
            GapKind::Weibull => {
                let g = gamma(1.0 + 1.0 / self.shape, rng);
                self.weibull_scale() * libm::pow(g, 1.0 / self.shape)
            }
        };
        share * weighted
    }

    /// The scale of a Weibull distribution with mean 1.
    fn weibull_scale(self) -> f64 {
        libm::exp(-libm::lgamma(1.0 + 1.0 / self.shape))
    }
}

fn gamma(shape: f64, rng: &mut impl Rng) -> f64 {
    Gamma::new(shape, 1.0)
        .expect("a positive shape")
        .sample(rng)
}

/// The shape k of a Weibull distribution: `1 + cv^2 = gamma(1 + 2/k) / gamma(1 + 1/k)^2`.
///
/// By bisection over its logarithm: the right side falls in k.
fn weibull_shape(cv: f64) -> f64 {
    let wanted = libm::log1p(cv * cv);
    let spread = |k: f64| libm::lgamma(1.0 + 2.0 / k) - 2.0 * libm::lgamma(1.0 + 1.0 / k);
    let (mut low, mut high) = (-4.0_f64, 6.0_f64);
    for _ in 0..60 {
        let middle = low.midpoint(high);
        if spread(libm::exp(middle)) > wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    libm::exp(low.midpoint(high))
}
