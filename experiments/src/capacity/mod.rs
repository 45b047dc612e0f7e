//! `orrery capacity`: how much load a machine takes, or how little machine a load needs.
//!
//! What: [`candidates`] are the values to choose from, [`mod@search`] says which to try, this module tries
//! them on every seed, `print` and `figure` show what came out.
//! Why: "which policy serves how much within its target" is what a fleet is planned with.
//! Limits: one GPU; the answer is as fine as the candidates are, and as sure as the seeds are many.

pub mod args;
pub mod candidates;
mod figure;
pub mod print;
pub mod search;

use std::collections::BTreeMap;

use anyhow::anyhow;
use clap::Parser;
use rayon::prelude::*;
use serde::Serialize;

use crate::cli::{Cli, Command, RunArgs};
use crate::estimate::Estimate;
use crate::failure::{Exit, Failure};
use crate::flags::pool;
use crate::interrupt::Interrupt;
use crate::output::{data, note};
use crate::plot::Drawn;
use crate::progress::Progress;
use crate::report::RunReport;
use crate::run::ideal::{self, Ideals};
use crate::run::plan::FlagError;
use crate::run::{self, Case, Plan};
use args::{CapacityArgs, Knob};
use candidates::Candidates;
use search::search;

/// The capacities of every policy at every alpha. The JSON has exactly these keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capacities {
    /// What was searched for: `rate`, `tool-cores` or `kv-blocks`.
    pub knob: &'static str,
    /// Of its values.
    pub unit: &'static str,
    /// Attainment to keep.
    pub target: f64,
    /// `mean` or `low`: what of the attainment over seeds is held against the target.
    pub judged_by: &'static str,
    /// Seeds of every candidate.
    pub seeds: Vec<u64>,
    /// Sessions offered per run.
    pub sessions: usize,
    /// Candidates there were.
    pub candidates: usize,
    /// By policy, then by alpha.
    pub capacities: Vec<Capacity>,
}

/// The capacity of one policy at one alpha.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capacity {
    /// Name of the policy.
    pub policy: String,
    /// The alpha, as typed.
    pub alpha: String,
    /// The hardest candidate that meets the target, as do all easier ones that were tried; null if none
    /// does.
    pub capacity: Option<f64>,
    /// The next candidate, which misses it; null if even the hardest meets it.
    pub next: Option<f64>,
    /// Harder candidates than `next` that meet it all the same: attainment is not monotone here.
    pub beyond: Vec<f64>,
    /// Everything that was tried, by value.
    pub points: Vec<Point>,
}

/// One candidate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// In the knob's unit.
    pub value: f64,
    /// Whether it meets the target.
    pub meets: bool,
    /// Over the seeds.
    pub attainment: Estimate,
    /// Sessions in time per second of makespan, over the seeds.
    pub goodput_per_s: Estimate,
    /// Mean latency over the seeds, seconds.
    pub latency_mean_s: Estimate,
}

/// `orrery capacity`.
///
/// # Errors
/// A [`Failure`] with its exit code: bad input, a run that failed, an interruption.
pub fn command(args: &CapacityArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let target = number("--target", &args.target, "above 0, at most 1", |x: &f64| {
        *x > 0.0 && *x <= 1.0
    })?;
    let check: usize = number("--check", &args.check, "0 to 1000", |n| *n <= 1000)?;
    let (candidates, plan) = Candidates::new(args)?;
    if let Some(limit) = plan.policies.iter().find(|p| p.limit().is_some()) {
        return Err(Failure::bad_input(anyhow!(
            "`{}` is a limit, and only policies have a capacity",
            limit.name
        )));
    }
    run::warn_of_long_contexts(&plan);
    let pool = pool(plan.threads)?;
    let ideals = pool.install(|| ideals(&plan, interrupt))?;
    let mut trial = Trial {
        candidates: &candidates,
        ideals: &ideals,
        pool: &pool,
        interrupt,
        tried: BTreeMap::new(),
    };
    let mut found = Capacities {
        knob: args.knob.name(),
        unit: args.knob.unit(),
        target,
        judged_by: if args.sure { "low" } else { "mean" },
        seeds: plan.seeds.clone(),
        sessions: plan.sessions,
        candidates: candidates.count(),
        capacities: Vec::new(),
    };
    let check = if args.scan { candidates.count() } else { check };
    for policy in 0..plan.policies.len() {
        for alpha in 0..plan.alphas.len() {
            let how = How {
                target,
                sure: args.sure,
                check,
            };
            found
                .capacities
                .push(trial.capacity(&plan, policy, alpha, how)?);
        }
    }
    if let Some(path) = &args.svg {
        let figure = figure::figure(&found, args.knob == Knob::Rate);
        let written = Drawn::of(&figure).and_then(|drawn| drawn.write(path));
        for path in written.map_err(Failure::bad_input)? {
            note(plan.quiet, &format!("wrote {}", path.display()));
        }
    }
    data(&print::print(&found, plan.format).map_err(Failure::bad_input)?)
}

/// The flags of an `orrery run` without flags, for those that a capacity does not have.
fn default_run_args() -> RunArgs {
    let Ok(Cli {
        command: Some(Command::Run(run)),
    }) = Cli::try_parse_from(["orrery", "run"])
    else {
        unreachable!("`orrery run` needs no flags; a test searches a capacity");
    };
    *run
}

fn number<T: std::str::FromStr>(
    flag: &str,
    text: &str,
    wanted: &str,
    fits: impl Fn(&T) -> bool,
) -> Result<T, Failure> {
    let parsed = text.trim().parse::<T>().ok().filter(fits);
    parsed.ok_or_else(|| {
        Failure::bad_input(FlagError {
            flag: flag.to_owned(),
            value: text.to_owned(),
            wanted: wanted.to_owned(),
        })
    })
}

/// `T_ideal` on the machine of the easiest candidate.
fn ideals(plan: &Plan, interrupt: &Interrupt) -> Result<Ideals, Failure> {
    let mut offered = vec![false; plan.workload.sessions.len()];
    for &seed in &plan.seeds {
        for index in plan.order(seed) {
            offered[index as usize] = true;
        }
    }
    ideal::ideals(plan, &offered, &Progress::new(0, true), interrupt)
}

#[derive(Clone, Copy, Debug)]
struct How {
    target: f64,
    sure: bool,
    check: usize,
}

/// The runs of a search; a candidate is run once for all alphas.
struct Trial<'a> {
    candidates: &'a Candidates,
    ideals: &'a Ideals,
    pool: &'a rayon::ThreadPool,
    interrupt: &'a Interrupt,
    /// By policy and candidate: a report per seed.
    tried: BTreeMap<(usize, usize), Vec<RunReport>>,
}

impl Trial<'_> {
    fn capacity(
        &mut self,
        plan: &Plan,
        policy: usize,
        alpha: usize,
        how: How,
    ) -> Result<Capacity, Failure> {
        let count = self.candidates.count();
        let found = search(count, how.check, |at| {
            let is_new = !self.tried.contains_key(&(policy, at));
            self.run(policy, at)?;
            let point = self.point(policy, at, alpha, how);
            if is_new {
                note(
                    plan.quiet,
                    &print::tried(plan, policy, alpha, &point, self.candidates),
                );
            }
            Ok::<bool, Failure>(point.meets)
        })?;
        let value = |at: usize| self.candidates.value(at);
        let of_policy = self.tried.range((policy, 0)..(policy + 1, 0));
        let mut points: Vec<Point> = of_policy
            .map(|((_, at), _)| self.point(policy, *at, alpha, how))
            .collect();
        points.sort_by(|a, b| a.value.total_cmp(&b.value));
        Ok(Capacity {
            policy: plan.policies[policy].name.clone(),
            alpha: plan.alphas[alpha].text.clone(),
            capacity: found.last.map(value),
            next: found.next.map(value),
            beyond: found.beyond.into_iter().map(value).collect(),
            points,
        })
    }

    /// Runs the candidate on every seed, if it was not.
    fn run(&mut self, policy: usize, at: usize) -> Result<(), Failure> {
        if self.tried.contains_key(&(policy, at)) {
            return Ok(());
        }
        let plan = self.candidates.plan(at)?;
        let quiet = Progress::new(0, true);
        let one = |&seed: &u64| {
            let case = Case {
                policy,
                rate_per_s: plan.rates[0],
                seed,
            };
            let order = plan.order(seed);
            run::guarded(&plan, case, || {
                run::one(&plan, case, &order, self.ideals, &quiet, self.interrupt)
            })
        };
        let done: Vec<_> = self
            .pool
            .install(|| plan.seeds.par_iter().map(one).collect());
        if self.interrupt.is_set() {
            return Err(Failure {
                exit: Exit::Interrupted,
                error: anyhow!("interrupted; a search keeps nothing"),
            });
        }
        let done: Result<Vec<_>, Failure> = done.into_iter().collect();
        let reports = done?.into_iter().map(|done| done.report).collect();
        self.tried.insert((policy, at), reports);
        Ok(())
    }

    /// A candidate that was run, at one alpha.
    fn point(&self, policy: usize, at: usize, alpha: usize, how: How) -> Point {
        let reports = &self.tried[&(policy, at)];
        let over = |value: &dyn Fn(&RunReport) -> Option<f64>| {
            Estimate::of(&reports.iter().filter_map(value).collect::<Vec<f64>>())
        };
        let attainment = over(&|r| r.attainment.0[alpha].1);
        let judged = if how.sure {
            attainment.low
        } else {
            attainment.mean
        };
        Point {
            value: self.candidates.value(at),
            // A mean of equal shares may miss them by a rounding.
            meets: judged.is_some_and(|share| share >= how.target - 1e-12),
            attainment,
            goodput_per_s: over(&|r| r.goodput_per_s.0[alpha].1),
            latency_mean_s: over(&|r| r.latency_s.mean),
        }
    }
}
