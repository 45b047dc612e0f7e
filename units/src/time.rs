//! Integer time: an instant and a span, which never mix by accident.
//!
//! A float becomes time in one place only ([`Nanos::from_secs`]), so order is total.

use std::fmt;
use std::ops::{Add, AddAssign, Mul, Sub};

/// An instant: nanoseconds since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// A span of time in nanoseconds. Never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(u64);

/// A number of seconds that is no span: negative, NaN, infinite, or past 2^64 ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotASpan(
    /// The offending number, in seconds.
    pub f64,
);

impl fmt::Display for NotASpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} s is not a span of time (wanted: finite, not negative, below 584 years)",
            self.0
        )
    }
}

impl std::error::Error for NotASpan {}

impl Time {
    /// The start of the run.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens; the "never" of a key's validity.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant `ns` nanoseconds after the run began.
    #[inline]
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the run began.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the run began, for reports. Exact below 104 days (2^53 ns).
    #[expect(
        clippy::cast_precision_loss,
        reason = "for reports only; the doc says the limit"
    )]
    pub fn as_secs(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The span from `earlier` to here; zero if `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `ns` nanoseconds.
    #[inline]
    pub const fn new(ns: u64) -> Self {
        Self(ns)
    }

    /// A span of `ms` milliseconds.
    ///
    /// # Panics
    /// Past 2^64 ns.
    pub const fn from_millis(ms: u64) -> Self {
        match ms.checked_mul(1_000_000) {
            Some(ns) => Self(ns),
            None => panic!("a span passed 2^64 ns"),
        }
    }

    /// The span nearest to `s` seconds.
    ///
    /// # Errors
    /// [`NotASpan`] if `s` is negative, NaN, infinite or beyond 2^64 ns.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked first"
    )]
    pub fn from_secs(s: f64) -> Result<Self, NotASpan> {
        if !s.is_finite() || s < 0.0 || s * 1e9 >= 18_446_744_073_709_549_568.0 {
            return Err(NotASpan(s));
        }
        Ok(Self((s * 1e9).round() as u64))
    }

    /// Length in nanoseconds.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Length in seconds, for reports and for formulas that are real-valued by definition.
    #[expect(clippy::cast_precision_loss, reason = "exact below 104 days")]
    pub fn as_secs(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// This span less `other`; zero if `other` is longer.
    #[inline]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

// No `Time + Time`: adding two instants must not compile.
impl Add<Nanos> for Time {
    type Output = Self;
    #[inline]
    fn add(self, span: Nanos) -> Self {
        Self(
            self.0
                .checked_add(span.0)
                .expect("the clock passed 2^64 ns"),
        )
    }
}

impl AddAssign<Nanos> for Time {
    #[inline]
    fn add_assign(&mut self, span: Nanos) {
        *self = *self + span;
    }
}

impl Add for Nanos {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0.checked_add(other.0).expect("a span passed 2^64 ns"))
    }
}

impl AddAssign for Nanos {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0.checked_sub(other.0).expect("a span went below zero"))
    }
}

impl Mul<u64> for Nanos {
    type Output = Self;
    #[inline]
    fn mul(self, times: u64) -> Self {
        Self(self.0.checked_mul(times).expect("a span passed 2^64 ns"))
    }
}

impl std::iter::Sum for Nanos {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.as_secs())
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_the_nearest_nanosecond() {
        assert_eq!(Nanos::from_secs(0.000_000_001_4), Ok(Nanos::new(1)));
        assert_eq!(Nanos::from_secs(1.5), Ok(Nanos::new(1_500_000_000)));
    }

    #[test]
    fn what_is_no_span_is_refused_with_its_value() {
        for s in [-0.001, f64::INFINITY, 1.9e10] {
            assert_eq!(Nanos::from_secs(s), Err(NotASpan(s)));
        }
        assert!(Nanos::from_secs(f64::NAN).is_err());
    }

    #[test]
    #[should_panic(expected = "the clock passed 2^64 ns")]
    fn the_clock_does_not_wrap() {
        let _ = Time::from_nanos(u64::MAX) + Nanos::new(1);
    }
}
