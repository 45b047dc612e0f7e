//! A distribution with its limits and with what values of one session have in common.
//!
//! A value is, in this order: the session's and the call's scores mixed (`session_correlation`), cut
//! to the range `truncate`, turned into a value, shifted by `plus`, multiplied by the session's factor
//! (`session_factor`), and moved to the nearest end of `clip`.

use rand_core::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::dist::{Dist, score_of, share_of};

/// How one quantity of a description is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// The distribution.
    pub dist: Dist,
    /// Shares below the ends of the range that values are cut to, as if those outside were drawn
    /// again.
    pub within: Option<(f64, f64)>,
    /// Added to every value.
    pub plus: f64,
    /// Values outside take the nearest end.
    pub clip: (f64, f64),
    /// Standard deviation of the logarithm of a factor that all values of a session share.
    pub session_factor: f64,
    /// Correlation of the scores of any two values of a session, 0 to 1.
    pub session_correlation: f64,
}

impl Draw {
    /// Always `value`.
    pub const fn constant(value: f64) -> Self {
        Self {
            dist: Dist::Constant(value),
            within: None,
            plus: 0.0,
            clip: (f64::NEG_INFINITY, f64::INFINITY),
            session_factor: 0.0,
            session_correlation: 0.0,
        }
    }

    /// One value of a session whose own score is `of_session`. Takes one normal draw, whatever the
    /// distribution.
    pub fn value(&self, of_session: f64, rng: &mut impl Rng) -> f64 {
        let of_call: f64 = StandardNormal.sample(rng);
        let r = self.session_correlation;
        let mut score = libm::sqrt(r) * of_session + libm::sqrt(1.0 - r) * of_call;
        if let Some((low, high)) = self.within {
            score = score_of(low + share_of(score) * (high - low));
        }
        let mut value = self.dist.at_score(score) + self.plus;
        if self.session_factor > 0.0 {
            value *= libm::exp(self.session_factor * of_session);
        }
        value.clamp(self.clip.0, self.clip.1)
    }
}

/// The score that all values of one quantity in a session share.
pub(super) fn of_session(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}
