//! Seconds in a file, nanoseconds in memory, without loss between them.
//!
//! A file says `wall_s: 0.035`, which people read. JSON numbers pass through a 64-bit float, and
//! `seconds * 1e9` is off by nanoseconds from 26 days on. The shortest decimal that names a float is
//! exact much longer, so times go through their decimal digits.
//!
//! Limits: any whole nanosecond up to 2^23 s (97 days), any whole millisecond up to
//! [`crate::validate::ARRIVAL_LIMIT`].

use units::{Nanos, NotASpan};

const NANOS_PER_SEC: u64 = 1_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// The float whose shortest decimal is exactly this span in seconds.
pub(crate) fn to_seconds(span: Nanos) -> f64 {
    let (whole, part) = (
        span.as_nanos() / NANOS_PER_SEC,
        span.as_nanos() % NANOS_PER_SEC,
    );
    format!("{whole}.{part:09}")
        .parse()
        .unwrap_or_else(|_| span.as_secs()) // digits and one point always parse
}

/// The span whose decimal digits `seconds` shows; digits past the ninth are rounded.
pub(crate) fn from_seconds(seconds: f64) -> Result<Nanos, NotASpan> {
    // Also refuses what is no span at all.
    let nearest = Nanos::from_secs(seconds)?;
    Ok(by_digits(seconds, NANOS_PER_SEC, 9).unwrap_or(nearest))
}

/// The float whose shortest decimal is exactly this span in milliseconds.
pub(crate) fn to_millis(span: Nanos) -> f64 {
    let (whole, part) = (
        span.as_nanos() / NANOS_PER_MILLI,
        span.as_nanos() % NANOS_PER_MILLI,
    );
    format!("{whole}.{part:06}")
        .parse()
        .unwrap_or_else(|_| span.as_secs() * 1e3) // digits and one point always parse
}

/// The span whose decimal digits `millis` shows; digits past the sixth are rounded.
pub(crate) fn from_millis(millis: f64) -> Result<Nanos, NotASpan> {
    let nearest = Nanos::from_secs(millis / 1e3)?;
    Ok(by_digits(millis, NANOS_PER_MILLI, 6).unwrap_or(nearest))
}

/// The span of a float's decimal digits in a unit of `nanos`, which has so many digits; `None` where
/// there are more of them.
fn by_digits(value: f64, nanos: u64, unit_digits: usize) -> Option<Nanos> {
    let text = value.to_string(); // never in exponent form
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    if part.len() > unit_digits {
        return None;
    }
    let digits = |text: &str| text.parse::<u64>().ok();
    let whole = digits(whole)?.checked_mul(nanos)?;
    let part = digits(&format!("{part:0<unit_digits$}"))?;
    whole.checked_add(part).map(Nanos::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimal_digits_survive() {
        assert_eq!(from_seconds(0.035), Ok(Nanos::from_millis(35)));
        assert_eq!(
            from_seconds(15_000_000.123),
            Ok(Nanos::from_millis(15_000_000_123))
        );
        assert_eq!(from_seconds(1e-9), Ok(Nanos::new(1)));
        assert_eq!(from_seconds(0.1 + 0.2), Ok(Nanos::from_millis(300)));
        assert!(from_seconds(-0.1).is_err());
    }

    proptest! {
        /// A span survives the way through a file.
        #[test]
        fn spans_return(ns in 0..(1_u64 << 23) * NANOS_PER_SEC, ms in 0..1_000_000_000_000_u64) {
            for span in [Nanos::new(ns), Nanos::from_millis(ms)] {
                let text = serde_json::to_string(&to_seconds(span)).unwrap();
                prop_assert_eq!(from_seconds(text.parse().unwrap()), Ok(span));
                let text = serde_json::to_string(&to_millis(span)).unwrap();
                prop_assert_eq!(from_millis(text.parse().unwrap()), Ok(span));
            }
        }
    }
}
