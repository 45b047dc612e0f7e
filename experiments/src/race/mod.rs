//! `orrery race`: every policy over several rates and seeds, with the uncertainty of what comes out.
//!
//! What: the runs of one [`Plan`], grouped by rate and policy into [`Estimate`]s, and each policy's
//! latency over that of `mars` on the same draws.
//! Why: near saturation one run differs from the next by a third, so a single one proves nothing.
//! Limits: the best baseline of a rate is picked from the same runs that its ratio is of, which
//! flatters it; the interval does not know.

mod limits;
mod print;

pub use crate::estimate::Estimate;

use policies::PRESETS;
use serde::Serialize;

use crate::cli::{RaceArgs, RunArgs};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{data, note};
use crate::report::{Cell, RunReport, flat};
use crate::run::{self, Done, Plan};

/// The policy that the others are compared with.
const REFERENCE: &str = "mars";

/// The preset that knows the future: no baseline.
const ORACLE: &str = "srpt-oracle";

/// What is estimated of every run, by its name in reports; a name that ends with a dot is a family.
const ESTIMATED: [&str; 5] = [
    "latency_s.mean",
    "latency_s.p90",
    "latency_s.p95",
    "goodput_per_s.",
    "prefix_hit_rate",
];

/// One arrival rate of a race.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateReport {
    /// Arrival rate.
    pub rate_per_s: f64,
    /// In the order in which they were named.
    pub policies: Vec<PolicyReport>,
    /// Mean latency of the sessions when each has the machine to itself, seconds.
    pub isolated_s: Estimate,
    /// Mean latency that no policy can go below on this load, seconds.
    pub bound_s: Estimate,
    /// The preset outside the mars family, and no oracle, with the lowest mean latency; null without one, or without
    /// mars beside it.
    pub best_baseline: Option<Best>,
}

/// One policy at one rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyReport {
    /// Name of the policy.
    pub policy: String,
    /// Seeds whose runs failed; they are in no number.
    pub failed_seeds: usize,
    /// Sessions offered over all other seeds.
    pub offered: u64,
    /// Of these, completed; null for a limit that runs none. Latencies are of the completed ones.
    pub completed: Option<u64>,
    /// By name of the value in `orrery run --format csv`.
    pub estimates: Vec<Named>,
    /// Its mean latency over that of mars, paired by seed.
    pub mean_over_mars: Estimate,
}

/// An estimate with the name of what it is of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// As in `orrery run --format csv`.
    pub name: String,
    /// Over the seeds.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// The best baseline of a rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Best {
    /// Its name.
    pub policy: String,
    /// Its mean latency over that of mars, paired by seed.
    pub mean_over_mars: Estimate,
}

/// `orrery race`.
///
/// # Errors
/// A [`Failure`] with its exit code, as of `orrery run`.
pub fn command(args: &RaceArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let plan = Plan {
        out: args.out.clone(),
        ..Plan::new(&run_args(args))?
    };
    run::warn_of_long_contexts(&plan);
    let intro = format!(
        "race: {} policies, {} rates, {} seeds, {} sessions a run",
        plan.policies.len(),
        plan.rates.len(),
        plan.seeds.len(),
        plan.sessions
    );
    note(plan.quiet, &intro);
    let results = run::execute(&plan, interrupt)?;
    let limits = limits::limits(&plan)?;
    let rates = rates(&plan, &results, &limits);
    let (done, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    if !done.is_empty() {
        let text = print::print(&rates, &plan).map_err(|error| Failure {
            exit: Exit::Partial,
            error,
        })?;
        data(&text)?;
        if let Some(out) = &plan.out {
            note(
                plan.quiet,
                &format!("wrote {} runs to {}", done.len(), out.display()),
            );
        }
    }
    run::verdict(
        failed.into_iter().filter_map(Result::err).collect(),
        done.len(),
    )
}

/// The race as the runs that it is made of.
fn run_args(args: &RaceArgs) -> RunArgs {
    let every = || {
        let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        names.join(",")
    };
    RunArgs {
        policy: args.policy.clone().unwrap_or_else(every),
        rate: args.rate.clone(),
        arrivals: args.arrivals,
        sessions: args.sessions.clone(),
        seed: args.seed.clone(),
        out: args.out.clone().unwrap_or_default(),
        perfetto: crate::perfetto::args::PerfettoArgs::default(),
        common: args.common.clone(),
    }
}

/// Results come in the order rate, seed, policy.
fn rates(
    plan: &Plan,
    results: &[Result<Done, Failure>],
    limits: &[limits::Limits],
) -> Vec<RateReport> {
    let policies = plan.policies.len();
    let of_rate = results.chunks(policies * plan.seeds.len());
    let rates = plan.rates.iter().zip(limits).zip(of_rate);
    rates
        .map(|((&rate_per_s, limits), results)| {
            let reports: Vec<Vec<Option<&RunReport>>> = (0..policies)
                .map(|policy| {
                    let of_policy = results.iter().skip(policy).step_by(policies);
                    of_policy
                        .map(|r| r.as_ref().ok().map(|done| &done.report))
                        .collect()
                })
                .collect();
            let names: Vec<&str> = plan.policies.iter().map(|p| p.name.as_str()).collect();
            rate_report(rate_per_s, limits, &names, &reports)
        })
        .collect()
}

/// `reports` by policy, then by seed; `None` for a run that failed.
fn rate_report(
    rate_per_s: f64,
    limits: &limits::Limits,
    names: &[&str],
    reports: &[Vec<Option<&RunReport>>],
) -> RateReport {
    let mars = names.iter().position(|name| *name == REFERENCE);
    let mars = mars.map(|at| reports[at].as_slice());
    let policies: Vec<PolicyReport> = names
        .iter()
        .zip(reports)
        .map(|(name, seeds)| policy_report(name, seeds, mars))
        .collect();
    let is_baseline = |p: &&PolicyReport| {
        let preset = PRESETS.iter().any(|(name, _)| *name == p.policy);
        preset && !p.policy.starts_with(REFERENCE) && p.policy != ORACLE
    };
    let mean = |p: &PolicyReport| p.estimates.first().and_then(|e| e.estimate.mean);
    let baselines = policies.iter().filter(is_baseline);
    let best = baselines
        .filter_map(|p| Some((mean(p)?, p)))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    let best_baseline = best
        .filter(|(_, p)| p.mean_over_mars.n > 0)
        .map(|(_, p)| Best {
            policy: p.policy.clone(),
            mean_over_mars: p.mean_over_mars,
        });
    RateReport {
        rate_per_s,
        policies,
        isolated_s: limits.isolated_s,
        bound_s: limits.bound_s,
        best_baseline,
    }
}

fn policy_report(
    name: &str,
    seeds: &[Option<&RunReport>],
    mars: Option<&[Option<&RunReport>]>,
) -> PolicyReport {
    let done: Vec<&RunReport> = seeds.iter().copied().flatten().collect();
    let flat: Vec<Vec<(String, Cell)>> = done.iter().map(|r| flat(r)).collect();
    let wanted = |name: &str| {
        let is = |w: &&str| name == *w || (w.ends_with('.') && name.starts_with(w));
        ESTIMATED.iter().any(is)
    };
    let names = flat.first().map_or(&[][..], Vec::as_slice);
    let estimates = names
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| wanted(name))
        .map(|(at, (name, _))| {
            let values = flat.iter().filter_map(|cells| match &cells[at].1 {
                Cell::Number(number) => *number,
                Cell::Text(_) | Cell::Count(_) => None,
            });
            Named {
                name: name.clone(),
                estimate: Estimate::of(&values.collect::<Vec<f64>>()),
            }
        })
        .collect();
    let ratio = |(own, mars): (Option<&RunReport>, Option<&RunReport>)| {
        Some(own?.latency_s.mean? / mars?.latency_s.mean?)
    };
    let ratios = mars.map_or_else(Vec::new, |mars| {
        let pairs = seeds.iter().copied().zip(mars.iter().copied());
        pairs.filter_map(ratio).collect()
    });
    PolicyReport {
        policy: name.to_owned(),
        failed_seeds: seeds.len() - done.len(),
        offered: done.iter().map(|r| r.offered).sum(),
        completed: done.iter().map(|r| r.completed).sum(),
        estimates,
        mean_over_mars: Estimate::of_ratios(&ratios),
    }
}
