//! Multiples of one over a rate, exact for the decimal that a person writes.

use units::Time;

/// 1 / rate in nanoseconds, as a fraction: `whole + rest / of`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    whole: u128,
    rest: u128,
    of: u128,
}

impl Period {
    /// The period of a rate in 1e-9..=1e9, read as the decimal that a person writes for it.
    ///
    /// The f64 nearest to 0.05 is not 1/20: by its binary value the millionth session is 1 ns early.
    pub(super) fn of(rate_per_s: f64) -> Self {
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
    pub(super) fn times(self, count: u64) -> Option<Time> {
        let count = u128::from(count);
        // rest < of < 10^17, so the product is below 2^121.
        let part = (2 * self.rest * count + self.of) / (2 * self.of);
        let ns = self.whole.checked_mul(count)?.checked_add(part)?;
        Some(Time::from_nanos(u64::try_from(ns).ok()?))
    }
}
