//! Timestamps of recordings: ISO 8601 in UTC.

use units::Nanos;

use crate::error::{Place, TraceError, shown};

/// Milliseconds since 1970 end here: in the year 2500, as the years do.
pub(super) const MILLIS_LIMIT: u64 = 16_725_225_600_000;

/// [`utc`] of a field that has to be there.
pub(super) fn utc_field(
    place: Place,
    field: &str,
    text: Option<&str>,
) -> Result<Nanos, TraceError> {
    const WANTED: &str = "a time in UTC such as 2026-02-07T09:44:37.731Z";
    let Some(text) = text else {
        return Err(TraceError::Missing {
            place,
            field: field.to_owned(),
            wanted: WANTED.to_owned(),
        });
    };
    utc(text).ok_or_else(|| TraceError::Value {
        place,
        field: field.to_owned(),
        value: shown(&text),
        wanted: WANTED.to_owned(),
    })
}

/// An instant by the host's clock, from 1970-01-01T00:00:00 there: [`utc`] without its `Z`, or with one.
pub(super) fn local(text: &str) -> Option<Nanos> {
    let zone = text
        .strip_suffix('Z')
        .or_else(|| text.strip_suffix("+00:00"));
    utc(&format!("{}Z", zone.unwrap_or(text)))
}

/// The instant that `text` (`2026-02-07T09:44:37.731Z`) names, from 1970-01-01T00:00:00Z.
///
/// `None` unless it is exactly that form, with 0 to 9 digits of fraction and a `Z` for UTC: a time
/// without a zone is some machine's local time, and guessing one shifts a session by hours.
pub(super) fn utc(text: &str) -> Option<Nanos> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [year, month, day] = parts(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = parts(time, ':', [2, 2, 2])?;
    let in_range = (1970..2500).contains(&year)
        && (1..=12).contains(&month)
        && (1..=month_days(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        // 60 is a leap second; it counts as the first of the next minute.
        && second <= 60;
    if !in_range || fraction.len() > 9 {
        return None;
    }
    let fraction = if fraction.is_empty() {
        0
    } else {
        number(&format!("{fraction:0<9}"))?
    };
    let seconds = days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Nanos::new(seconds * 1_000_000_000 + fraction))
}

fn parts(text: &str, separator: char, widths: [usize; 3]) -> Option<[u64; 3]> {
    let mut items = text.split(separator);
    let mut numbers = [0; 3];
    for (slot, width) in numbers.iter_mut().zip(widths) {
        let item = items.next().filter(|item| item.len() == width)?;
        *slot = number(item)?;
    }
    items.next().is_none().then_some(numbers)
}

fn number(text: &str) -> Option<u64> {
    // `parse` alone would take a sign.
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this day.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let years: u64 = (1970..year)
        .map(|year| if is_leap(year) { 366 } else { 365 })
        .sum();
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        let at = |text| utc(text).map(Nanos::as_nanos);
        assert_eq!(at("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(
            at("2026-02-07T02:22:08.809Z"),
            Some(1_770_430_928_809_000_000)
        );
        assert_eq!(
            at("2499-12-31T23:59:59.999Z"),
            Some((MILLIS_LIMIT - 1) * 1_000_000)
        );
        assert_eq!(at("2000-03-01T00:00:00.5Z"), Some(951_868_800_500_000_000));
    }

    #[test]
    fn a_local_time_is_read_as_it_stands() {
        let at = utc("2026-02-07T02:22:08.809Z");
        for text in ["2026-02-07T02:22:08.809", "2026-02-07T02:22:08.809+00:00"] {
            assert_eq!((local(text), local(&format!("{text}+01:00"))), (at, None));
        }
    }

    #[test]
    fn what_is_not_utc_or_no_date_is_refused() {
        for text in [
            "",
            "Z",
            "2026-02-07T09:44:37.731",
            "2026-02-07 09:44:37Z",
            "2026-02-30T00:00:00Z",
            "2026-02-07T24:00:00Z",
            "2026-02-07T09:44:37+01:00",
            "+026-02-07T00:00:00Z",
            "2026-2-7T00:00:00Z",
            "2026-02-07T09:44:37.0000000001Z",
            "2026-02-07T09:44:37.-5Z",
        ] {
            assert_eq!(utc(text), None, "{text}");
        }
    }
}
