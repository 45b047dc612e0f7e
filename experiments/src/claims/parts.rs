//! The ablation (figure 13), and what needs machines or loads that are not here.

use super::Claim;
use super::point::{Point, points};
use super::verdict::{of_fact, of_range};
use crate::figure::results::Results;

/// What the paper measures on a live agent framework.
pub(super) fn not_here() -> Vec<Claim> {
    let why = "needs OpenHands agents with a live model on an H200; a replay fixes what an agent does, so \
               whether it completes its task cannot change";
    vec![
        Claim::not_tested(
            "11.mean",
            "OpenHands, mean task completion time",
            "1.20x to 1.87x",
            why,
        ),
        Claim::not_tested(
            "11.p90",
            "OpenHands, P90 task completion time",
            "up to 1.34x",
            why,
        ),
        Claim::not_tested(
            "11.p95",
            "OpenHands, P95 task completion time",
            "up to 1.28x",
            why,
        ),
        Claim::not_tested(
            "12",
            "OpenHands, completion rate",
            "comparable to the baselines",
            why,
        ),
    ]
}

/// `policy` over mars at each point that has both.
fn costs(points: &[Point], policy: &str) -> Vec<(String, f64, f64)> {
    let cost = |p: &Point| Some((p.workload.clone(), p.rate, p.ratio(policy, "mars").mean?));
    points.iter().filter_map(cost).collect()
}

fn claim(
    id: &str,
    words: &str,
    policy: &str,
    paper: (f64, f64),
    costs: &[(String, f64, f64)],
) -> Claim {
    let shown = format!("{}x to {}x worse", paper.0, paper.1);
    let least = costs.iter().min_by(|a, b| a.2.total_cmp(&b.2));
    let most = costs.iter().max_by(|a, b| a.2.total_cmp(&b.2));
    let (Some(least), Some(most)) = (least, most) else {
        return Claim::not_tested(id, words, &shown, "no point has both");
    };
    let place = |c: &(String, f64, f64)| format!("{:.2}x ({} at {}/s)", c.2, c.0, c.1);
    Claim {
        id: id.to_owned(),
        claim: format!("{words} (`{policy}`)"),
        paper: shown,
        ours: format!("{} to {}", place(least), place(most)),
        verdict: of_range((least.2, most.2), paper),
        why: "mean latency over that of mars; holds if both ends reach the claim's, weaker if it is worse \
              everywhere; the paper does not define its three parts beyond their names"
            .to_owned(),
    }
}

/// Figure 13.
pub(super) fn ablation(results: &Results) -> Vec<Claim> {
    let points = points(results, "latency_s.mean");
    let of = |policy: &str| costs(&points, policy);
    let co_scheduler = of("mars-no-coscheduler");
    let high: Vec<_> = co_scheduler
        .iter()
        .filter(|c| ["ilr-3", "ilr-4"].contains(&c.0.as_str()))
        .cloned()
        .collect();
    let mut claims = vec![
        claim(
            "13.coordinator",
            "without the coordinator, which is the queue here",
            "mars-no-mlfq",
            (2.0, 5.0),
            &of("mars-no-mlfq"),
        ),
        claim(
            "13.control-plane",
            "without the control plane",
            "mars-no-admission",
            (1.5, 3.0),
            &of("mars-no-admission"),
        ),
        claim(
            "13.co-scheduler",
            "without the co-scheduler, at ILR-3 and ILR-4",
            "mars-no-coscheduler",
            (1.5, 2.0),
            &high,
        ),
    ];
    let better = co_scheduler
        .iter()
        .find(|c| c.0 == "ilr-1" && (c.1 - 0.5).abs() < 1e-9);
    if let Some((_, rate, ratio)) = better {
        claims.push(Claim {
            id: "13.co-scheduler-ilr-1".to_owned(),
            claim: format!("without the co-scheduler slightly better at ILR-1, {rate} sessions/s"),
            paper: "slightly below 1x".to_owned(),
            ours: format!("{ratio:.2}x"),
            verdict: of_fact((0.8..1.0).contains(ratio)),
            why: "holds from 0.8x to 1x of mars' mean latency".to_owned(),
        });
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::super::point::tests::results;
    use super::super::verdict::Verdict;
    use super::*;

    #[test]
    fn an_ablation_is_judged_against_mars_itself() {
        let rows = [
            ("ilr-1", 0.5, "mars", 1, 10.0),
            ("ilr-1", 0.5, "mars-no-coscheduler", 1, 9.0),
            ("ilr-3", 0.5, "mars", 1, 10.0),
            ("ilr-3", 0.5, "mars-no-coscheduler", 1, 16.0),
            ("ilr-4", 0.5, "mars", 1, 10.0),
            ("ilr-4", 0.5, "mars-no-coscheduler", 1, 21.0),
        ];
        let claims = ablation(&results(&rows));
        let verdicts: Vec<(&str, Verdict)> = claims.iter().map(|c| (&*c.id, c.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("13.coordinator", Verdict::NotTested),
                ("13.control-plane", Verdict::NotTested),
                ("13.co-scheduler", Verdict::Holds),
                ("13.co-scheduler-ilr-1", Verdict::Holds),
            ]
        );
    }

    #[test]
    fn nothing_that_cannot_be_measured_has_a_number() {
        assert!(
            not_here()
                .iter()
                .all(|c| c.ours == "n/a" && c.verdict == Verdict::NotTested)
        );
    }
}
