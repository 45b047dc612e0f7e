//! Differences over seeds: the mean, and Student's 95 % interval, in which each seed is one
//! observation.
//!
//! Why over seeds: the sessions of one run wait for each other, so a thousand of them are not a
//! thousand observations.
//! Limits: the interval takes differences to be normally distributed, and with few seeds it is wide.

use serde::Serialize;

use super::Pair;
use super::totals::Named;
use crate::estimate::Estimate;

/// One difference over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OverSeeds {
    /// Seeds for which it was measured.
    pub seeds: usize,
    /// Their mean; null if there are none.
    pub mean: Option<f64>,
    /// Half the width of the 95 % interval; null below two seeds.
    pub ci95: Option<f64>,
    /// Seeds in which it is below zero: of a latency, seeds that B wins.
    pub below_zero: usize,
    /// Seeds in which it is above zero.
    pub above_zero: usize,
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
    // The quarters of a seed are its own: the smallest sessions of that run.
    for quarter in 0..4 {
        let part = |p: &Pair| p.by_size.get(quarter).cloned();
        let name = |value: &str| format!("by_size.{}.{value}", quarter + 1);
        all.push((name("mean_s"), of(&|p| part(p)?.mean_s)));
        all.push((name("sooner_in_b"), of(&|p| part(p)?.sooner_in_b)));
        all.push((name("later_in_b"), of(&|p| part(p)?.later_in_b)));
    }
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

fn summed_up(values: &[f64]) -> OverSeeds {
    let estimate = Estimate::of(values);
    OverSeeds {
        seeds: estimate.n,
        mean: estimate.mean,
        ci95: estimate.half(),
        below_zero: values.iter().filter(|x| **x < 0.0).count(),
        above_zero: values.iter().filter(|x| **x > 0.0).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // Mean 2, standard deviation 1, n = 3: 4.302653 / sqrt(3).
        let found = summed_up(&[1.0, 2.0, 3.0]);
        assert_eq!((found.seeds, found.mean), (3, Some(2.0)));
        assert!((found.ci95.unwrap() - 4.302_652_730 / 3.0_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn wins_are_counted_and_a_draw_is_none() {
        let found = summed_up(&[-2.0, 0.0, 3.0, -1.0]);
        assert_eq!((found.below_zero, found.above_zero), (2, 1));
    }

    #[test]
    fn one_seed_has_no_interval() {
        assert_eq!(summed_up(&[5.0]).ci95, None);
        assert_eq!(summed_up(&[]).mean, None);
    }
}
