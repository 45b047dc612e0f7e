//! Laws of the arrival processes.

use super::*;

fn fixed(rate_per_s: f64) -> Times {
    Arrivals::Fixed { rate_per_s }.times(0).expect("a rate")
}

fn poisson(rate_per_s: f64, seed: u64) -> Times {
    Arrivals::Poisson { rate_per_s }
        .times(seed)
        .expect("a rate")
}

fn gaps(times: impl Iterator<Item = Time>) -> Vec<Nanos> {
    let mut last = Time::ZERO;
    times
        .map(|time| {
            let gap = time.since(last);
            last = time;
            gap
        })
        .collect()
}

#[test]
fn a_fixed_rate_rounds_each_time_from_the_exact_quotient() {
    // Thirds of a second, and of three per nanosecond.
    let ns: Vec<u64> = fixed(3.0).take(5).map(Time::as_nanos).collect();
    assert_eq!(
        ns,
        [0, 333_333_333, 666_666_667, 1_000_000_000, 1_333_333_333]
    );
}

#[test]
fn a_fixed_rate_does_not_drift() {
    // Session 3,000,000 at 0.05/s arrives after 60,000,000 s exactly. The f64 nearest to 0.05 is
    // 5.6e-17 above it in relative terms, so dividing by that one exactly would be 3 ns early.
    let late = fixed(0.05).nth(3_000_000).expect("within the clock");
    assert_eq!(late, Time::from_nanos(60_000_000_000_000_000));
    let late = fixed(0.7).nth(7_000_007).expect("within the clock");
    assert_eq!(late, Time::from_nanos(10_000_010_000_000_000));
}

#[test]
fn the_extremes_of_the_range_work() {
    let fast: Vec<u64> = fixed(1e9).take(3).map(Time::as_nanos).collect();
    assert_eq!(fast, [0, 1, 2]);
    // A period of 1e18 ns: 18 of them fit the clock (1.8e19 < 2^64), the 19th does not.
    assert_eq!(fixed(1e-9).count(), 19);
    assert_eq!(fixed(1.234_567_890_123_456_7e-9).count(), 23);
}

#[test]
fn what_is_no_rate_is_refused_with_its_value() {
    for rate_per_s in [0.0, -1.0, f64::INFINITY, 1e-10, 1e10] {
        let refused = Arrivals::Poisson { rate_per_s }.times(1);
        assert_eq!(refused.err(), Some(ArrivalError { rate_per_s }));
    }
    let nan = Arrivals::Fixed {
        rate_per_s: f64::NAN,
    };
    assert!(nan.times(1).is_err());
}

#[test]
fn poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() {
    // n = 40,000 gaps of mean 1 s. Standard error of the mean: 1/200 s. Of the variance, whose
    // fourth central moment is 9: sqrt((9 - 1) / n) = 0.01414. Bands of 4 standard errors.
    let gaps = gaps(poisson(1.0, 7).take(40_000));
    let n = 40_000.0;
    let mean = gaps.iter().map(|gap| gap.as_secs()).sum::<f64>() / n;
    let variance = gaps
        .iter()
        .map(|gap| (gap.as_secs() - mean).powi(2))
        .sum::<f64>()
        / n;
    assert!((mean - 1.0).abs() <= 4.0 / 200.0, "{mean}");
    assert!(
        (variance - 1.0).abs() <= 4.0 * (8.0_f64 / n).sqrt(),
        "{variance}"
    );
}

#[test]
fn poisson_counts_are_as_spread_as_their_mean() {
    // Sessions in each of 2,000 windows of 10 s at 1/s. The index of dispersion of Poisson counts
    // is 1 with a standard error of about sqrt(2 / windows) = 0.0316; a band of 4 of them.
    let mut windows = vec![0.0_f64; 2_000];
    for time in poisson(1.0, 11) {
        let window = usize::try_from(time.as_nanos() / 10_000_000_000).expect("small");
        match windows.get_mut(window) {
            Some(count) => *count += 1.0,
            None => break,
        }
    }
    let mean = windows.iter().sum::<f64>() / 2_000.0;
    let variance = windows.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 1_999.0;
    assert!((variance / mean - 1.0).abs() <= 4.0 * (2.0_f64 / 2_000.0).sqrt());
}

#[test]
fn the_same_seed_gives_the_same_times_and_another_does_not() {
    let times = |seed| poisson(0.5, seed).take(100).collect::<Vec<_>>();
    assert_eq!(times(3), times(3));
    assert_ne!(times(3), times(4));
}

#[test]
fn another_rate_stretches_the_same_draws() {
    // Halving is exact in f64, so a gap at 0.5/s is twice the unrounded gap at 1/s: rounding moves
    // the doubled one by at most 1 ns and the other by half of one.
    let (one, half) = (poisson(1.0, 5), poisson(0.5, 5));
    for (short, long) in gaps(one.take(1_000))
        .into_iter()
        .zip(gaps(half.take(1_000)))
    {
        assert!(long.as_nanos().abs_diff(2 * short.as_nanos()) <= 1);
    }
}

#[test]
fn times_never_go_back() {
    let times: Vec<Time> = poisson(1e9, 2).take(10_000).collect();
    assert!(times.is_sorted());
}

#[test]
fn a_seed_gives_these_times_for_ever() {
    let ns: Vec<u64> = poisson(1.0, 1).take(3).map(Time::as_nanos).collect();
    assert_eq!(ns, [22_009_528, 674_042_687, 1_170_578_791]);
}
