//! When sessions arrive.
//!
//! What: the arrival times of session 0, 1, 2, ... at a fixed rate or as a Poisson process.
//! Why: policies are compared on the same arrivals, and rates on the same draws, so every gap has a
//! random stream of its own that depends on the seed and the session alone.
//! Limits: unbounded; the caller takes as many as it has sessions. A Poisson arrival sums gaps of
//! whole nanoseconds, each rounded once. The exponential draw uses the platform's `ln` and `exp` in
//! about 1 % of draws, the rest is table arithmetic.

use rand_distr::{Distribution, Exp1};
use traces::rng::stream;
use units::{Nanos, Time};

/// How sessions arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Session i arrives at exactly i / rate; the first at time 0.
    Fixed {
        /// Sessions per second.
        rate_per_s: f64,
    },
    /// Gaps are exponential with mean 1 / rate, and one lies before the first session too.
    Poisson {
        /// Sessions per second.
        rate_per_s: f64,
    },
}

/// A rate at which nothing sensible arrives.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("arrival rate is {rate_per_s} sessions per second (wanted: 1e-9 to 1e9)")]
pub struct ArrivalError {
    /// The offending rate.
    pub rate_per_s: f64,
}

impl Arrivals {
    /// The arrival times, in order. The same arguments give the same times.
    ///
    /// A fixed rate ignores the seed.
    ///
    /// # Errors
    /// [`ArrivalError`] if the rate is not in 1e-9 to 1e9 sessions per second.
    pub fn times(self, seed: u64) -> Result<Times, ArrivalError> {
        let (Self::Fixed { rate_per_s } | Self::Poisson { rate_per_s }) = self;
        if !(1e-9..=1e9).contains(&rate_per_s) {
            return Err(ArrivalError { rate_per_s });
        }
        let process = match self {
            Self::Fixed { .. } => Process::Fixed(Period::of(rate_per_s)),
            Self::Poisson { .. } => Process::Poisson {
                seed,
                rate_per_s,
                last: Time::ZERO,
            },
        };
        Ok(Times { process, next: 0 })
    }
}

/// Arrival times, one per session. Ends only where the clock does, at 2^64 ns.
#[derive(Clone, Debug)]
pub struct Times {
    process: Process,
    next: u64,
}

#[derive(Clone, Debug)]
enum Process {
    Fixed(Period),
    Poisson {
        seed: u64,
        rate_per_s: f64,
        last: Time,
    },
}

impl Iterator for Times {
    type Item = Time;

    fn next(&mut self) -> Option<Time> {
        let session = self.next;
        let time = match &mut self.process {
            Process::Fixed(period) => period.times(session)?,
            Process::Poisson {
                seed,
                rate_per_s,
                last,
            } => {
                let unit: f64 = Exp1.sample(&mut stream(*seed, "arrival", session));
                // No gap is longer than the clock: the end of the iterator, not an error.
                let gap = Nanos::from_secs(unit / *rate_per_s).ok()?;
                let ns = last.as_nanos().checked_add(gap.as_nanos())?;
                *last = Time::from_nanos(ns);
                *last
            }
        };
        self.next = session.checked_add(1)?;
        Some(time)
    }
}

/// 1 / rate in nanoseconds, as a fraction: `whole + rest / of`.
#[derive(Clone, Copy, Debug)]
struct Period {
    whole: u128,
    rest: u128,
    of: u128,
}

impl Period {
    /// The period of a rate in 1e-9..=1e9, read as the decimal that a person writes for it.
    ///
    /// The f64 nearest to 0.05 is not 1/20: by its binary value the millionth session is 1 ns early.
    fn of(rate_per_s: f64) -> Self {
        let decimal = format!("{rate_per_s:e}");
        let (mantissa, exponent) = decimal.split_once('e').expect("`{:e}` writes an exponent");
        let (units, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: u128 = format!("{units}{decimals}")
            .parse()
            .expect("at most 17 digits");
        let exponent: i32 = exponent.parse().expect("`{:e}` writes a whole exponent");
        let places = i32::try_from(decimals.len()).expect("at most 16 decimals");
        // rate = digits * 10^shift, so a period is 10^(9 - shift) / digits ns. In the range of rates
        // shift is -25..=9, so the numerator is at most 10^34 and fits 128 bits.
        let shift = exponent - places;
        let power = u32::try_from(9 - shift).expect("a rate of at most 1e9");
        let numerator = 10_u128.pow(power);
        Self {
            whole: numerator / digits,
            rest: numerator % digits,
            of: digits,
        }
    }

    /// `count` periods, to the nearest nanosecond with halves up; `None` past the clock.
    fn times(self, count: u64) -> Option<Time> {
        let count = u128::from(count);
        // rest < of < 10^17, so the product is below 2^121.
        let part = (2 * self.rest * count + self.of) / (2 * self.of);
        let ns = self.whole.checked_mul(count)?.checked_add(part)?;
        Some(Time::from_nanos(u64::try_from(ns).ok()?))
    }
}

#[cfg(test)]
#[path = "arrivals_tests.rs"]
mod tests;
