//! Claims about latency over load: figures 7, 8, 10.

use super::Claim;
use super::point::{BASELINES, Gain, Point, points};
use super::verdict::{of_count, of_fact, of_most, of_range};
use crate::figure::results::Results;

const MEAN: &str = "latency_s.mean";
const P90: &str = "latency_s.p90";
const P95: &str = "latency_s.p95";

/// What the paper says of one figure.
struct Figure {
    number: &'static str,
    baselines: &'static [&'static str],
    /// Smallest and largest gain in the mean.
    mean: (f64, f64),
}

fn gains(points: &[Point], baselines: &[&str]) -> Vec<Gain> {
    points.iter().filter_map(|p| p.gain(baselines)).collect()
}

fn least(gains: &[Gain]) -> Option<&Gain> {
    gains.iter().min_by(|a, b| a.mean.total_cmp(&b.mean))
}

fn most(gains: &[Gain]) -> Option<&Gain> {
    gains.iter().max_by(|a, b| a.mean.total_cmp(&b.mean))
}

/// Points at which mars is behind, for the reader.
fn behind(gains: &[Gain]) -> String {
    let behind: Vec<String> = gains
        .iter()
        .filter(|g| g.mean < 1.0)
        .map(|g| {
            format!(
                "{} at {}/s ({:.2}x, {})",
                g.workload, g.rate, g.mean, g.best
            )
        })
        .collect();
    if behind.is_empty() {
        "mars is behind nowhere".to_owned()
    } else {
        format!("mars is behind at {}", behind.join(", "))
    }
}

fn range(figure: &Figure, results: &Results) -> Claim {
    let id = format!("{}.mean-range", figure.number);
    let claim = "mean latency against the best baseline of each point, smallest and largest gain";
    let paper = format!("{:.2}x to {:.2}x", figure.mean.0, figure.mean.1);
    let gains = gains(&points(results, MEAN), figure.baselines);
    let (Some(low), Some(high)) = (least(&gains), most(&gains)) else {
        return Claim::not_tested(&id, claim, &paper, "no point has mars and a baseline");
    };
    Claim {
        id,
        claim: claim.to_owned(),
        paper,
        ours: format!("{} to {}", low.shown(), high.shown()),
        verdict: of_range((low.mean, high.mean), figure.mean),
        why: format!(
            "holds if both ends reach the claim's, weaker if mars is ahead everywhere; {}",
            behind(&gains)
        ),
    }
}

fn count(
    id: &str,
    quantity: &str,
    metric: &str,
    paper: (usize, usize),
    results: &Results,
    baselines: &[&str],
) -> Claim {
    let gains = gains(&points(results, metric), baselines);
    let ahead = gains.iter().filter(|g| g.mean > 1.0).count();
    let surely = gains
        .iter()
        .filter(|g| g.ratio.low.is_some_and(|low| low > 1.0))
        .count();
    Claim {
        id: id.to_owned(),
        claim: format!("points at which mars has the lowest {quantity} latency"),
        paper: format!("{} of {}", paper.0, paper.1),
        ours: format!(
            "{ahead} of {} ({surely} with the whole interval above 1)",
            gains.len()
        ),
        verdict: of_count((ahead, gains.len()), paper),
        why: format!(
            "holds if our share of points reaches the paper's, weaker from one half; {}",
            behind(&gains)
        ),
    }
}

fn largest(
    id: &str,
    quantity: &str,
    metric: &str,
    paper: f64,
    results: &Results,
    baselines: &[&str],
) -> Claim {
    let claim = format!("largest gain in {quantity} latency");
    let shown = format!("up to {paper:.2}x");
    let gains = gains(&points(results, metric), baselines);
    let Some(best) = most(&gains) else {
        return Claim::not_tested(id, &claim, &shown, "no point has mars and a baseline");
    };
    Claim {
        id: id.to_owned(),
        claim,
        paper: shown,
        ours: best.shown(),
        verdict: of_most(best.mean, paper),
        why: "holds if ours reaches the paper's, weaker if it is above 1".to_owned(),
    }
}

/// Figure 7.
pub(super) fn h100(results: &Results) -> Vec<Claim> {
    let figure = Figure {
        number: "7",
        baselines: &BASELINES,
        mean: (1.44, 5.80),
    };
    let mut claims = vec![
        range(&figure, results),
        count("7.mean-points", "mean", MEAN, (20, 20), results, &BASELINES),
        count("7.p90-points", "P90", P90, (17, 20), results, &BASELINES),
        largest("7.p90-most", "P90", P90, 3.37, results, &BASELINES),
        count("7.p95-points", "P95", P95, (15, 20), results, &BASELINES),
        largest("7.p95-most", "P95", P95, 1.29, results, &BASELINES),
    ];
    claims.extend(where_gains_lie(results));
    claims
}

fn where_gains_lie(results: &Results) -> Vec<Claim> {
    let gains = gains(&points(results, MEAN), &BASELINES);
    let (Some(low), Some(high)) = (least(&gains), most(&gains)) else {
        return Vec::new();
    };
    let lightest = gains.iter().map(|g| g.rate).fold(f64::INFINITY, f64::min);
    let at_onset =
        ["ilr-2", "ilr-3"].contains(&high.workload.as_str()) && (0.2..=0.33).contains(&high.rate);
    vec![
        Claim {
            id: "7.largest-at-onset".to_owned(),
            claim: "the largest gains come at the onset of saturation: ILR-2 and ILR-3".to_owned(),
            paper: "0.2 to 0.33 sessions/s".to_owned(),
            ours: high.shown(),
            verdict: of_fact(at_onset),
            why: "holds if our largest gain lies in those regimes and rates; where the onset lies \
                  depends on step costs and on how much KV a session holds"
                .to_owned(),
        },
        Claim {
            id: "7.smallest-at-lightest".to_owned(),
            claim: "the smallest gains come at the lightest load".to_owned(),
            paper: "the lowest rate".to_owned(),
            ours: low.shown(),
            verdict: of_fact(low.rate.total_cmp(&lightest).is_eq()),
            why: format!("holds if our smallest gain is at {lightest}/s"),
        },
    ]
}

/// Figure 8.
pub(super) fn second_model(results: &Results) -> Vec<Claim> {
    let figure = Figure {
        number: "8",
        baselines: &["continuum", "continuum-dy"],
        mean: (1.59, 7.56),
    };
    vec![range(&figure, results)]
}

/// Figure 10.
pub(super) fn h200(results: &Results) -> Vec<Claim> {
    let figure = Figure {
        number: "10",
        baselines: &BASELINES,
        mean: (1.90, 5.94),
    };
    let tail = gains(&points(results, P95), &BASELINES);
    let lightest = tail.iter().map(|g| g.rate).fold(f64::INFINITY, f64::min);
    let lost: Vec<&Gain> = tail.iter().filter(|g| g.mean < 1.0).collect();
    let at_lightest = lost.iter().all(|g| g.rate.total_cmp(&lightest).is_eq());
    vec![
        range(&figure, results),
        count(
            "10.mean-points",
            "mean",
            MEAN,
            (28, 28),
            results,
            &BASELINES,
        ),
        count("10.p95-points", "P95", P95, (20, 28), results, &BASELINES),
        largest("10.p95-most", "P95", P95, 1.34, results, &BASELINES),
        Claim {
            id: "10.losses-at-lightest".to_owned(),
            claim: "where P95 is worse, the load is the lightest".to_owned(),
            paper: "the lowest rate".to_owned(),
            ours: format!("{} losses; {}", lost.len(), behind(&tail)),
            verdict: of_fact(at_lightest),
            why: format!("holds if every loss in P95 is at {lightest}/s"),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::point::tests::results;
    use super::super::verdict::Verdict;
    use super::*;

    #[test]
    fn a_range_is_judged_by_both_ends() {
        let figure = Figure {
            number: "7",
            baselines: &BASELINES,
            mean: (1.44, 5.80),
        };
        let of = |light: f64, heavy: f64| {
            let rows = [
                ("ilr-2", 0.1, "mars", 1, 10.0),
                ("ilr-2", 0.1, "fcfs", 1, 10.0 * light),
                ("ilr-2", 0.2, "mars", 1, 10.0),
                ("ilr-2", 0.2, "fcfs", 1, 10.0 * heavy),
            ];
            range(&figure, &results(&rows))
        };
        assert_eq!(of(1.5, 6.0).verdict, Verdict::Holds);
        assert_eq!(of(1.5, 3.0).verdict, Verdict::Weaker);
        let differs = of(0.9, 6.0);
        assert_eq!(differs.verdict, Verdict::Differs);
        assert!(
            differs
                .why
                .ends_with("mars is behind at ilr-2 at 0.1/s (0.90x, fcfs)"),
            "{differs:?}"
        );
        assert_eq!(range(&figure, &results(&[])).verdict, Verdict::NotTested);
    }

    #[test]
    fn points_are_counted_and_the_sure_ones_named() {
        let rows = [
            ("a", 0.1, "mars", 1, 10.0),
            ("a", 0.1, "mars", 2, 10.0),
            ("a", 0.1, "fcfs", 1, 20.0),
            ("a", 0.1, "fcfs", 2, 20.0),
            ("b", 0.1, "mars", 1, 10.0),
            ("b", 0.1, "mars", 2, 30.0),
            ("b", 0.1, "fcfs", 1, 20.0),
            ("b", 0.1, "fcfs", 2, 20.0),
        ];
        let claim = count("x", "mean", MEAN, (2, 2), &results(&rows), &BASELINES);
        // At b: sqrt(2 * 2/3) is 1.15, with a wide interval.
        assert_eq!(claim.ours, "2 of 2 (1 with the whole interval above 1)");
        assert_eq!(claim.verdict, Verdict::Holds);
    }
}
