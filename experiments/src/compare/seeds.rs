//! Differences over seeds: the mean, and Student's 95 % interval, in which each seed is one
//! observation.
//!
//! Why over seeds: the sessions of one run wait for each other, so a thousand of them are not a
//! thousand observations.
//! Limits: the interval takes differences to be normally distributed, and with few seeds it is wide.

use serde::Serialize;

use super::Pair;
use super::totals::Named;

/// One difference over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OverSeeds {
    /// Seeds for which it was measured.
    pub seeds: usize,
    /// Their mean; null if there are none.
    pub mean: Option<f64>,
    /// Half the width of the 95 % interval; null below two seeds.
    pub ci95: Option<f64>,
}

/// Every difference of the pairs, over seeds.
pub fn over(pairs: &[Pair]) -> Named<OverSeeds> {
    let of = |value: &dyn Fn(&Pair) -> Option<f64>| {
        let values: Vec<f64> = pairs.iter().filter_map(value).collect();
        summed_up(&values)
    };
    let mut all = vec![
        (
            "paired_latency_mean_s".to_owned(),
            of(&|p| p.sessions.mean_s),
        ),
        (
            "paired_latency_median_s".to_owned(),
            of(&|p| p.sessions.median_s),
        ),
        ("sooner_in_b".to_owned(), of(&|p| p.sessions.sooner_in_b)),
        ("later_in_b".to_owned(), of(&|p| p.sessions.later_in_b)),
    ];
    let names = pairs.first().map(|p| p.totals.0.as_slice());
    for (name, _) in names.unwrap_or_default() {
        let difference = |p: &Pair| {
            let found = p.totals.0.iter().find(|(n, _)| n == name);
            found.and_then(|(_, total)| total.difference.as_f64())
        };
        all.push((name.clone(), of(&difference)));
    }
    Named(all)
}

#[expect(clippy::cast_precision_loss, reason = "a number of seeds")]
fn summed_up(values: &[f64]) -> OverSeeds {
    let n = values.len() as f64;
    let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / n);
    let ci95 = mean.filter(|_| values.len() > 1).map(|mean| {
        let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
        t_975(values.len() - 1) * (squares / (n - 1.0) / n).sqrt()
    });
    OverSeeds {
        seeds: values.len(),
        mean,
        ci95,
    }
}

/// The 97.5 % quantile of Student's t: a table up to 30 degrees of freedom, beyond it the
/// expansion around the normal quantile up to the second power, exact to 0.001.
#[expect(clippy::cast_precision_loss, reason = "degrees of freedom are few")]
fn t_975(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    const NORMAL: f64 = 1.959_964;
    let listed = degrees.checked_sub(1).and_then(|i| TABLE.get(i));
    listed.copied().unwrap_or_else(|| {
        let (z, n) = (NORMAL, degrees as f64);
        let (z3, z5) = (z.powi(3), z.powi(5));
        z + (z3 + z) / (4.0 * n) + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * n * n)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // Mean 2, standard deviation 1, n = 3: 4.303 / sqrt(3).
        let found = summed_up(&[1.0, 2.0, 3.0]);
        assert_eq!((found.seeds, found.mean), (3, Some(2.0)));
        assert!((found.ci95.unwrap() - 4.303 / 3.0_f64.sqrt()).abs() < 1e-9);
        assert!((t_975(31) - 2.0395).abs() < 1e-3);
        assert!((t_975(1000) - 1.9623).abs() < 1e-3);
    }

    #[test]
    fn one_seed_has_no_interval() {
        assert_eq!(summed_up(&[5.0]).ci95, None);
        assert_eq!(summed_up(&[]).mean, None);
    }
}
