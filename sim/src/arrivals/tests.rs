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
        assert_eq!(refused.err(), Some(ArrivalError::Rate { rate_per_s }));
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

/// Mean and variance of `n` values, as (mean, variance).
fn moments(values: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "small samples")]
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|v| (v - mean).powi(2));
    (mean, squares.sum::<f64>() / (n - 1.0))
}

/// Holds a sample of mean 1 against the variance `cv^2` and the fourth central moment, by 4 standard
/// errors: of the mean `cv / sqrt(n)`, of the variance `sqrt((m4 - cv^4) / n)`.
#[track_caller]
fn has_spread(values: &[f64], cv: f64, m4: f64) {
    #[expect(clippy::cast_precision_loss, reason = "small samples")]
    let n = values.len() as f64;
    let (mean, variance) = moments(values);
    let error = cv / n.sqrt();
    assert!((mean - 1.0).abs() <= 4.0 * error, "mean {mean}, {error}");
    let error = ((m4 - cv.powi(4)) / n).sqrt();
    let off = (variance - cv * cv).abs();
    assert!(off <= 4.0 * error, "variance {variance}, {error}");
}

/// Fourth central moment of a gamma distribution with mean 1: `cv^4 (3 + 6 cv^2)`.
fn gamma_m4(cv: f64) -> f64 {
    cv.powi(4) * (3.0 + 6.0 * cv * cv)
}

#[test]
fn gamma_gaps_have_the_mean_and_the_spread_asked_for() {
    for cv in [0.2, 1.0, 1.2, 5.0] {
        let arrivals = Arrivals::Gamma {
            rate_per_s: 0.25,
            cv,
        };
        let times = arrivals.times(3).expect("a rate").take(200_000);
        let gaps: Vec<f64> = gaps(times).iter().map(|g| g.as_secs() * 0.25).collect();
        has_spread(&gaps, cv, gamma_m4(cv));
    }
}

#[test]
fn a_rate_stretches_the_same_gamma_draws() {
    let times = |rate_per_s| {
        let arrivals = Arrivals::Gamma {
            rate_per_s,
            cv: 2.0,
        };
        gaps(arrivals.times(5).expect("a rate").take(1_000))
    };
    for (short, long) in times(1.0).into_iter().zip(times(0.5)) {
        assert!(long.as_nanos().abs_diff(2 * short.as_nanos()) <= 1);
    }
}

#[test]
fn a_gap_tells_nothing_about_another() {
    // Correlation of n independent pairs has a standard error of about 1 / sqrt(n); gaps of cv 1.
    let of = |seed, rate_per_s| -> Vec<f64> {
        let arrivals = Arrivals::Gamma {
            rate_per_s,
            cv: 1.0,
        };
        let times = arrivals.times(seed).expect("a rate").take(40_001);
        gaps(times).iter().map(|g| g.as_secs() - 1.0).collect()
    };
    let correlation = |a: &[f64], b: &[f64]| {
        let products = a.iter().zip(b).map(|(x, y)| x * y);
        products.sum::<f64>() / 40_000.0
    };
    let (one, two) = (of(1, 1.0), of(2, 1.0));
    let poisson: Vec<f64> = gaps(poisson(1.0, 1).take(40_000))
        .iter()
        .map(|g| g.as_secs() - 1.0)
        .collect();
    assert!(correlation(&one, &one[1..]).abs() < 4.0 / 200.0);
    assert!(correlation(&one, &two).abs() < 4.0 / 200.0);
    assert!(correlation(&poisson, &poisson[1..]).abs() < 4.0 / 200.0);
}

#[test]
fn bursts_come_together_and_keep_the_rate() {
    let arrivals = Arrivals::Burst {
        rate_per_s: 0.3,
        size: NonZeroU32::new(3).unwrap(),
    };
    let secs: Vec<f64> = arrivals
        .times(1)
        .unwrap()
        .take(7)
        .map(Time::as_secs)
        .collect();
    assert_eq!(secs, [0.0, 0.0, 0.0, 10.0, 10.0, 10.0, 20.0]);
    // Bursts of one are a fixed rate.
    let one = Arrivals::Burst {
        rate_per_s: 0.7,
        size: NonZeroU32::MIN,
    };
    assert!(one.times(1).unwrap().take(99).eq(fixed(0.7).take(99)));
}

#[test]
fn recorded_arrivals_are_kept_or_scaled() {
    let at = |secs: &[u64]| -> Vec<Option<Nanos>> {
        let nanos = secs.iter().map(|s| Some(Nanos::from_millis(s * 1000)));
        nanos.collect()
    };
    let recorded = Recorded::new(&at(&[50, 10, 20, 20])).unwrap();
    assert_eq!(recorded.order(), [1, 2, 3, 0]);
    let secs = |rate_per_s| -> Vec<f64> {
        let recorded = recorded.clone();
        let arrivals = Arrivals::Recorded {
            recorded,
            rate_per_s,
        };
        arrivals.times(9).unwrap().map(Time::as_secs).collect()
    };
    assert_eq!(secs(None), [0.0, 10.0, 10.0, 40.0]);
    // 3 gaps in 40 s; at 0.3 a second they take 10 s.
    assert_eq!(secs(Some(0.3)), [0.0, 2.5, 2.5, 10.0]);

    let missing = Recorded::new(&[Some(Nanos::ZERO), None]).unwrap_err();
    assert_eq!(missing, ArrivalError::NotRecorded { index: 1, count: 2 });
    let arrivals = Arrivals::Recorded {
        recorded: Recorded::new(&at(&[7, 7])).unwrap(),
        rate_per_s: Some(1.0),
    };
    assert!(matches!(
        arrivals.clone().times(1),
        Err(ArrivalError::NoSpan { count: 2, .. })
    ));
    let as_is = Arrivals::Recorded {
        recorded: Recorded::new(&at(&[7, 7])).unwrap(),
        rate_per_s: None,
    };
    assert_eq!(as_is.times(1).unwrap().count(), 2);
}

#[test]
fn a_spread_that_no_gaps_have_is_refused() {
    for cv in [0.0, -1.0, 1001.0, f64::NAN] {
        let arrivals = Arrivals::Gamma {
            rate_per_s: 1.0,
            cv,
        };
        assert!(matches!(arrivals.times(1), Err(ArrivalError::Cv { .. })));
    }
}

mod laws {
    use super::*;

    fn sample(n: u64, mut draw: impl FnMut(&mut rand_pcg::Pcg64) -> f64) -> Vec<f64> {
        let mut rng = stream(11, "test", 0);
        (0..n).map(|_| draw(&mut rng)).collect()
    }

    #[test]
    fn weibull_gaps_have_the_mean_and_the_spread_asked_for() {
        // Shape k = 1 is exponential (cv 1). k = 1/2 is the square of an exponential over 2: with
        // mean 1 its raw moments are (2r)! / 2^r, so cv^2 = 5 and
        // m4 = 8!/16 - 4 * 6!/8 + 6 * 4!/4 - 3 = 2193.
        for (cv, m4) in [(1.0, 9.0), (5.0_f64.sqrt(), 2193.0)] {
            let law = GapLaw::new(GapKind::Weibull, cv).unwrap();
            has_spread(&sample(200_000, |rng| law.gap(rng)), cv, m4);
        }
    }

    #[test]
    fn the_next_arrival_from_any_instant_is_as_far_as_theory_says() {
        // Mean (1 + cv^2) / 2; second moment E[gap^3] / 3, with E[gap^3] of a gamma
        // (1 + cv^2)(1 + 2 cv^2), and of the Weibull of shape 1/2: 6!/8 = 90.
        for (kind, cv, third) in [
            (GapKind::Gamma, 0.5_f64, 1.25 * 1.5),
            (GapKind::Gamma, 3.0, 10.0 * 19.0),
            (GapKind::Weibull, 5.0_f64.sqrt(), 90.0),
        ] {
            let law = GapLaw::new(kind, cv).unwrap();
            let (mean, _) = moments(&sample(200_000, |rng| law.recurrence(rng)));
            let wanted = f64::midpoint(1.0, cv * cv);
            let error = ((third / 3.0 - wanted * wanted) / 200_000.0).sqrt();
            assert!((mean - wanted).abs() <= 4.0 * error, "{kind:?} {mean}");
        }
    }

    #[test]
    fn extremes_of_the_spread_are_numbers() {
        for kind in [GapKind::Gamma, GapKind::Weibull] {
            for cv in [0.01, 1000.0] {
                let law = GapLaw::new(kind, cv).unwrap();
                for value in sample(1000, |rng| law.gap(rng) + law.recurrence(rng)) {
                    assert!(value.is_finite() && value >= 0.0, "{law:?} {value}");
                }
            }
        }
    }
}
