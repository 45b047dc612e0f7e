//! Points of a comparison: one workload, one rate, mars against every baseline on the same seeds.

use std::collections::BTreeMap;

use crate::estimate::Estimate;
use crate::figure::results::{Results, number, text};

/// The policies that mars is held against.
pub const BASELINES: [&str; 5] = ["fcfs", "autellix", "infercept", "continuum", "continuum-dy"];

/// One workload at one rate.
#[derive(Clone, Debug)]
pub struct Point {
    /// Name of the workload.
    pub workload: String,
    /// Sessions per second.
    pub rate: f64,
    /// Policy and seed to value.
    values: BTreeMap<(String, u64), f64>,
}

/// The points of a metric, by workload and rate.
pub fn points(results: &Results, metric: &str) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for row in &results.runs.rows {
        let (Some(rate), Some(value)) = (number(row, "rate_per_s"), number(row, metric)) else {
            continue;
        };
        let Ok(seed) = text(row, "seed").parse() else {
            continue;
        };
        let workload = text(row, "workload");
        let same = |p: &Point| p.workload == workload && p.rate.total_cmp(&rate).is_eq();
        let at = points.iter().position(same).unwrap_or_else(|| {
            points.push(Point {
                workload: workload.clone(),
                rate,
                values: BTreeMap::new(),
            });
            points.len() - 1
        });
        points[at].values.insert((text(row, "policy"), seed), value);
    }
    points.sort_by(|a, b| (a.workload.cmp(&b.workload)).then(a.rate.total_cmp(&b.rate)));
    points
}

impl Point {
    /// Over seeds.
    pub fn of(&self, policy: &str) -> Estimate {
        let values = self.values.iter().filter(|((p, _), _)| p == policy);
        Estimate::of(&values.map(|(_, v)| *v).collect::<Vec<f64>>())
    }

    /// `policy` over `base`, seed by seed: the geometric mean of the ratios with its interval. Seeds
    /// where either is missing or not above zero are left out.
    pub fn ratio(&self, policy: &str, base: &str) -> Estimate {
        let of = |name: &str, seed: u64| self.values.get(&(name.to_owned(), seed)).copied();
        let seeds = self.values.keys().filter(|(p, _)| p == base).map(|k| k.1);
        let ratios = seeds.filter_map(|seed| {
            let (a, b) = (of(policy, seed)?, of(base, seed)?);
            (a > 0.0 && b > 0.0).then_some(a / b)
        });
        Estimate::of_ratios(&ratios.collect::<Vec<f64>>())
    }

    /// The baseline with the lowest mean, chosen after the fact, which flatters it.
    pub fn lowest<'a>(&self, among: &[&'a str]) -> Option<(&'a str, f64)> {
        let means = among
            .iter()
            .filter_map(|name| Some((*name, self.of(name).mean?)));
        means.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The baseline with the highest mean.
    pub fn highest<'a>(&self, among: &[&'a str]) -> Option<(&'a str, f64)> {
        let means = among
            .iter()
            .filter_map(|name| Some((*name, self.of(name).mean?)));
        means.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Latency of the best baseline over that of mars: above 1 mars is faster.
    pub fn gain(&self, among: &[&str]) -> Option<Gain> {
        let (best, _) = self.lowest(among)?;
        let ratio = self.ratio(best, "mars");
        Some(Gain {
            workload: self.workload.clone(),
            rate: self.rate,
            best: best.to_owned(),
            ratio,
            mean: ratio.mean?,
        })
    }
}

/// How much faster mars is than the best baseline at a point.
#[derive(Clone, Debug)]
pub struct Gain {
    /// Name of the workload.
    pub workload: String,
    /// Sessions per second.
    pub rate: f64,
    /// The best baseline.
    pub best: String,
    /// Its latency over that of mars.
    pub ratio: Estimate,
    /// Mean of the ratio.
    pub mean: f64,
}

impl Gain {
    /// For a table: ratio, interval, where, against whom.
    pub fn shown(&self) -> String {
        let interval = match (self.ratio.low, self.ratio.high) {
            (Some(low), Some(high)) => format!(" [{low:.2}, {high:.2}]"),
            _ => String::new(),
        };
        format!(
            "{:.2}x{interval} ({} at {}/s, against {})",
            self.mean, self.workload, self.rate, self.best
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::sweep::table::Runs;

    /// Results of `(workload, rate, policy, seed, value of latency_s.mean)`.
    pub(in super::super) fn results(rows: &[(&str, f64, &str, u64, f64)]) -> Results {
        let row = |&(workload, rate, policy, seed, value): &(&str, f64, &str, u64, f64)| {
            BTreeMap::from([
                ("workload".to_owned(), json!(workload)),
                ("rate_per_s".to_owned(), json!(rate)),
                ("policy".to_owned(), json!(policy)),
                ("seed".to_owned(), json!(seed)),
                ("latency_s.mean".to_owned(), json!(value)),
            ])
        };
        Results {
            runs: Runs {
                columns: Vec::new(),
                rows: rows.iter().map(row).collect(),
            },
            folder: std::path::PathBuf::new(),
            failed: Vec::new(),
        }
    }

    #[test]
    fn the_gain_is_against_the_best_baseline_seed_by_seed() {
        let results = results(&[
            ("a", 0.1, "mars", 1, 10.0),
            ("a", 0.1, "mars", 2, 20.0),
            ("a", 0.1, "fcfs", 1, 40.0),
            ("a", 0.1, "fcfs", 2, 40.0),
            ("a", 0.1, "continuum", 1, 90.0),
            ("a", 0.1, "continuum", 2, 90.0),
            ("a", 0.2, "fcfs", 1, 1.0),
        ]);
        let points = points(&results, "latency_s.mean");
        assert_eq!(points.len(), 2);
        let gain = points[0].gain(&BASELINES).unwrap();
        // 40/10 and 40/20: the geometric mean is sqrt(8).
        assert_eq!(gain.best, "fcfs");
        assert!((gain.mean - 8_f64.sqrt()).abs() < 1e-12);
        assert_eq!(gain.ratio.n, 2);
        // Without mars there is no gain, not a gain of 1.
        assert!(points[1].gain(&BASELINES).is_none());
    }
}
