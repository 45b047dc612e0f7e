//! Laws of the distributions, against tables and against the crate's other implementation.

use units::Nanos;

use super::super::draw::Draw;
use super::*;
use crate::fit;
use crate::rng::stream;

fn all() -> Vec<Dist> {
    vec![
        Dist::Lognormal {
            mu: 4.7,
            sigma: 1.2,
        },
        Dist::Mixture(Mixture::new(vec![(0.3, -2.0, 0.2), (0.7, 1.5, 1.0)])),
        Dist::Mixture(Mixture::new(vec![(0.999, -6.0, 0.1), (0.001, 8.0, 0.5)])),
        gamma_of(0.2, 3.0),
        gamma_of(1.0, 3.0),
        gamma_of(5.0, 0.1),
        Dist::Normal {
            mean: 10.0,
            sd: 3.0,
        },
        Dist::Uniform {
            low: 2.0,
            high: 6.0,
        },
        Dist::Quantiles(vec![(0.0, 1.0), (0.25, 10.0), (0.9, 11.0), (1.0, 500.0)]),
    ]
}

fn gamma_of(cv: f64, mean: f64) -> Dist {
    let shape = 1.0 / (cv * cv);
    Dist::Gamma {
        shape,
        rate: shape / mean,
    }
}

#[test]
fn shares_and_scores_are_inverse() {
    for tenth in -60..=60 {
        let z = f64::from(tenth) / 10.0;
        // A share near 1 has 53 bits left of it.
        let error = (score_of(share_of(z)) - z).abs();
        let allowed = 1e-9_f64.max(1e-15 / (1.0 - share_of(z)).max(1e-16));
        assert!(error <= allowed, "{z} {error}");
        let series = fit::normal_share_below(z);
        assert!((share_of(z) - series).abs() < 2e-15, "{z}");
    }
    assert_eq!(score_of(0.0), -MOST_SCORE);
    assert_eq!(score_of(1.0), MOST_SCORE);
}

#[test]
fn the_share_below_a_quantile_is_its_share() {
    for dist in all() {
        for tenth in -30..=30 {
            let z = f64::from(tenth) / 10.0;
            let x = dist.at_score(z);
            let share = dist.share_below(x);
            assert!(
                (share - share_of(z)).abs() < 1e-8,
                "{dist:?} {z}: {x} {share}"
            );
        }
        assert!(dist.at_score(f64::INFINITY).is_finite());
        assert!(dist.at_score(-40.0) <= dist.at_score(-3.0));
    }
}

#[test]
fn gamma_quantiles_are_those_of_the_tables() {
    // Chi-squared with 5 and with 2 degrees of freedom, and its 95 % points: 11.0705, 5.9915.
    for (shape, wanted) in [(2.5, 11.070_497_693_5), (1.0, 5.991_464_547_1)] {
        let dist = Dist::Gamma { shape, rate: 0.5 };
        assert!(
            (dist.at_score(score_of(0.95)) - wanted).abs() < 1e-8,
            "{shape}"
        );
    }
    // A lot of nothing and a long tail are numbers, too.
    let spiky = gamma_of(10.0, 1.0);
    assert!(spiky.at_score(0.0) < 1e-20 && spiky.at_score(2.5) > 1.0);
}

#[test]
fn mixtures_agree_with_the_fits() {
    let shell = shell();
    let limit = Nanos::from_millis(120_000);
    let below = fit::SHELL.share_below(limit);
    for percent in 1..100 {
        let u = f64::from(percent) / 100.0;
        let fitted = fit::SHELL.quantile(u, limit).as_secs();
        let ours = shell.at_score(score_of(u * below));
        // The fits are cut to whole microseconds.
        assert!(
            ours >= fitted && ours - fitted < 1.1e-6,
            "{u}: {ours} {fitted}"
        );
    }
}

fn shell() -> Dist {
    Dist::Mixture(Mixture::new(fit::SHELL.0.to_vec()))
}

#[test]
fn every_listed_value_is_as_likely_as_any_other() {
    let dist = Dist::Empirical(vec![5.0, 6.0, 8.0, 8.0]);
    let mut counts = [0; 9];
    let mut rng = stream(1, "test", 0);
    let draw = Draw {
        dist,
        ..Draw::constant(0.0)
    };
    for _ in 0..40_000 {
        let value = draw.value(0.0, &mut rng);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "5 to 8"
        )]
        let at = value as usize;
        counts[at] += 1;
    }
    // Binomial with p = 1/4: standard deviation 87. Four of them.
    for (value, wanted) in [(5, 10_000), (6, 10_000), (7, 0), (8, 20_000)] {
        let off: i32 = counts[value] - wanted;
        assert!(off.abs() < 400, "{value}: {}", counts[value]);
    }
}

fn sample(draw: &Draw, n: u64) -> Vec<f64> {
    let mut rng = stream(2, "test", 0);
    (0..n).map(|_| draw.value(0.0, &mut rng)).collect()
}

#[test]
fn truncation_redraws_and_clipping_piles_up() {
    let normal = Dist::Normal {
        mean: 10.0,
        sd: 3.0,
    };
    let shares = (normal.share_below(9.0), normal.share_below(14.0));
    let truncated = Draw {
        dist: normal.clone(),
        within: Some(shares),
        ..Draw::constant(0.0)
    };
    let values = sample(&truncated, 40_000);
    assert!(values.iter().all(|x| (9.0..=14.0).contains(x)));
    // Share below 10 of what is left: (0.5 - 0.36944) / (0.90879 - 0.36944). Four deviations.
    let below = values.iter().filter(|x| **x < 10.0).count();
    let wanted = 40_000.0 * (0.5 - 0.369_441_34) / (0.908_788_78 - 0.369_441_34);
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let off = below as f64 - wanted;
    assert!(
        off.abs() < 4.0 * (40_000.0 * 0.242 * 0.758_f64).sqrt(),
        "{off}"
    );

    let clipped = Draw {
        dist: normal,
        clip: (9.0, 14.0),
        ..Draw::constant(0.0)
    };
    let values = sample(&clipped, 40_000);
    let at_foot = values.iter().filter(|x| **x <= 9.0).count();
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let off = at_foot as f64 - 40_000.0 * 0.369_441_34;
    assert!(
        off.abs() < 4.0 * (40_000.0 * 0.369 * 0.631_f64).sqrt(),
        "{off}"
    );
    assert!(values.iter().all(|x| (9.0..=14.0).contains(x)));
}

#[test]
fn values_of_a_session_are_alike_and_each_alone_is_as_described() {
    let correlated = Draw {
        dist: shell(),
        session_correlation: 0.3,
        ..Draw::constant(0.0)
    };
    // Two values of each of 20,000 sessions, as scores.
    let mut products = 0.0;
    let mut below_median = 0;
    let median = correlated.dist.at_score(0.0);
    for session in 0..20_000 {
        let mut rng = stream(3, "test", session);
        let of_session = super::super::draw::of_session(&mut rng);
        let mut score = || {
            let value = correlated.value(of_session, &mut rng);
            below_median += i32::from(value <= median);
            score_of(correlated.dist.share_below(value))
        };
        products += score() * score();
    }
    // Variance of a product of two standard normals with correlation r: 1 + r^2. The values below
    // the median: the two of a session agree a little, so their variance is at most doubled.
    let correlation = products / 20_000.0;
    let deviation = ((1.0 + 0.09) / 20_000.0_f64).sqrt();
    assert!((correlation - 0.3).abs() < 4.0 * deviation, "{correlation}");
    assert!((below_median - 20_000).abs() < 4 * 142, "{below_median}");
}

#[test]
fn a_factor_is_shared_by_the_whole_session() {
    let draw = Draw {
        session_factor: 0.66,
        ..Draw::constant(10.0)
    };
    let mut squares = 0.0;
    for session in 0..20_000 {
        let mut rng = stream(4, "test", session);
        let of_session = super::super::draw::of_session(&mut rng);
        let first = draw.value(of_session, &mut rng);
        assert_eq!(first, draw.value(of_session, &mut rng));
        squares += (first / 10.0).ln().powi(2);
    }
    // Variance of the logarithm 0.66^2, with a standard error of sqrt(2 / n) of it.
    let variance = squares / 20_000.0 / (0.66 * 0.66);
    assert!(
        (variance - 1.0).abs() < 4.0 * (2.0 / 20_000.0_f64).sqrt(),
        "{variance}"
    );
}
