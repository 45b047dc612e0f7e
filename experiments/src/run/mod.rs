//! `orrery run`: replay a workload under policies and write what happened.
//!
//! What: [`Plan`] holds everything resolved; [`execute`] simulates its runs side by side and writes
//! one directory each; [`command`] prints the reports.
//! Why: the demo and the race are the same with another plan.
//! Limits: a run's records are in memory until it ends; runs in parallel add up.

pub mod arrivals;
pub mod columns;
pub mod commands;
pub mod cost;
pub mod decisions;
pub mod directory;
pub mod ideal;
pub mod limits;
pub mod machine;
pub mod manifest;
pub mod plan;
pub mod policies;
pub mod recorder;
pub mod settings;
pub mod workload;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, anyhow};
use rayon::prelude::*;
use sim::world::{Offered, Summary, simulate};
use units::Nanos;

pub use manifest::{Case, RealRun};
pub use plan::Plan;

use crate::cli::RunArgs;
use crate::failure::{Exit, Failure};
use crate::flags::pool;
use crate::interrupt::Interrupt;
use crate::output::{data, note};
use crate::progress::Progress;
use crate::report::{self, RunReport};
use ideal::Ideals;
use policies::Row;
use recorder::Recorder;

/// A run that is done.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its numbers.
    pub report: RunReport,
    /// Where its files are, if the plan keeps them.
    pub directory: Option<PathBuf>,
    /// Sessions that were given up because a tool failed; none in a simulation.
    pub failed_sessions: u64,
}

/// `orrery run`.
///
/// # Errors
/// A [`Failure`] with its exit code: bad input, a failed run, an interruption.
pub fn command(args: &RunArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let plan = Plan::new(args)?;
    warn_of_long_contexts(&plan);
    let results = execute(&plan, interrupt)?;
    let (done, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let done: Vec<Done> = done.into_iter().filter_map(Result::ok).collect();
    if !done.is_empty() {
        let reports: Vec<RunReport> = done.iter().map(|d| d.report.clone()).collect();
        let text = report::print(&reports, plan.format, plan.tolerance);
        data(&text.map_err(Failure::bad_input)?)?;
        for directory in done.iter().filter_map(|d| d.directory.as_ref()) {
            note(plan.quiet, &format!("wrote {}", directory.display()));
        }
    }
    verdict(
        failed.into_iter().filter_map(Result::err).collect(),
        done.len(),
    )
}

/// What the shell is told when some runs failed: the gravest of their codes if all did, a bug always.
pub(crate) fn verdict(failed: Vec<Failure>, done: usize) -> Result<(), Failure> {
    let total = failed.len() + done;
    let Some(gravest) = failed.iter().map(|f| f.exit).max() else {
        return Ok(());
    };
    let exit = match gravest {
        Exit::Invariant | Exit::Interrupted => gravest,
        Exit::Partial | Exit::BadInput if done > 0 => Exit::Partial,
        other => other,
    };
    let mut failed = failed.into_iter();
    // All but the last are told here; the last is told by whoever ends the program.
    let last = failed.next_back();
    for failure in failed {
        failure.print();
    }
    match last {
        Some(last) if total > 1 => Err(Failure { exit, ..last }),
        Some(last) => Err(last),
        None => Ok(()),
    }
}

pub(crate) fn warn_of_long_contexts(plan: &Plan) {
    let longest = plan.machine.hardware.model.context_length;
    let beyond = |s: &&std::sync::Arc<traces::Session>| s.peak_tokens() > longest;
    let count = plan.workload.sessions.iter().filter(beyond).count();
    if count > 0 {
        let line = format!(
            "warning: {count} sessions of the workload grow beyond the {longest} tokens that {} \
             takes; they are replayed all the same",
            plan.machine.hardware.model.name
        );
        note(plan.quiet, &line);
    }
}

/// Simulates all runs of the plan, in the order rate, seed, policy. One that fails stops no other.
///
/// # Errors
/// What keeps every run from starting, or an interruption. A run's own failure is its result.
pub fn execute(plan: &Plan, interrupt: &Interrupt) -> Result<Vec<Result<Done, Failure>>, Failure> {
    if let Some(out) = &plan.out {
        directory::prepare(out).map_err(Failure::bad_input)?;
    }
    let pool = pool(plan.threads)?;
    let cases = cases(plan);
    let orders: Vec<Vec<u32>> = plan.seeds.iter().map(|&seed| plan.order(seed)).collect();
    let mut offered = vec![false; plan.workload.sessions.len()];
    for &index in orders.iter().flatten() {
        offered[index as usize] = true;
    }
    let distinct = offered.iter().filter(|o| **o).count();
    let total = distinct as u64 + plan.sessions as u64 * cases.len() as u64;
    let progress = Progress::new(total, plan.quiet);
    let results = pool.install(|| {
        let ideals = ideal::ideals(plan, &offered, &progress, interrupt)?;
        let run = |(case, seed): &(Case, usize)| {
            let order = &orders[*seed];
            guarded(plan, *case, || {
                one(plan, *case, order, &ideals, &progress, interrupt)
            })
        };
        Ok(cases.par_iter().map(run).collect::<Vec<_>>())
    });
    drop(progress);
    if interrupt.is_set() {
        let complete = match &results {
            Ok(results) => results.iter().filter(|r| r.is_ok()).count(),
            Err(_) => 0,
        };
        let total = cases.len();
        let error = match &plan.out {
            Some(out) => anyhow!(
                "interrupted: {complete} of {total} runs are complete in `{}`, the others left \
                 nothing",
                out.display()
            ),
            None => anyhow!("interrupted after {complete} of {total} runs; nothing is kept"),
        };
        return Err(Failure {
            exit: Exit::Interrupted,
            error,
        });
    }
    results
}

/// Every run of the plan, with the index of its seed.
pub(crate) fn cases(plan: &Plan) -> Vec<(Case, usize)> {
    let mut cases = Vec::new();
    for &rate_per_s in &plan.rates {
        for (index, &seed) in plan.seeds.iter().enumerate() {
            let case = |policy| Case {
                policy,
                rate_per_s,
                seed,
            };
            cases.extend((0..plan.policies.len()).map(|policy| (case(policy), index)));
        }
    }
    cases
}

/// Runs one case; a panic in it is a broken invariant of that run, and the others go on.
pub(crate) fn guarded(
    plan: &Plan,
    case: Case,
    run: impl FnOnce() -> Result<Done, Failure>,
) -> Result<Done, Failure> {
    let what = || format!("run `{}`", manifest::name(plan, case));
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure {
                exit: Exit::Invariant,
                error: anyhow!("it panicked: {}", said.unwrap_or("without a message")),
            })
        })
        .map_err(|failure| failure.context(what()))
}

/// Simulates one run and writes its directory, if the plan keeps them. `order` is what it offers and
/// `ideals` are those of the whole workload, both by index in the file.
pub(crate) fn one(
    plan: &Plan,
    case: Case,
    order: &[u32],
    ideals: &Ideals,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Done, Failure> {
    let policy = match &plan.policies[case.policy].row {
        Row::Policy { spec, .. } => spec,
        Row::Limit(limit) => {
            let done = limits::one(plan, case, *limit, order, ideals)?;
            progress.share().completed(plan.sessions as u64);
            return Ok(done);
        }
    };
    let sessions = &plan.workload.sessions;
    let times = plan.times(case.rate_per_s, case.seed)?;
    let offered = order.iter().zip(times).map(|(&index, arrival)| Offered {
        session: std::sync::Arc::clone(&sessions[index as usize]),
        arrival,
    });
    let latency = |&i: &u32| ideals.latency[i as usize];
    let ideals: Vec<Option<Nanos>> = order.iter().map(latency).collect();
    let mut share = progress.share();
    let mut recorder = Recorder::new(&ideals, progress.share(), interrupt);
    if plan.decisions() {
        recorder.keep_decisions();
    }
    if let Some(wanted) = plan.perfetto {
        recorder.keep_timeline(wanted);
    }
    let began = Instant::now();
    let summary = simulate(
        &plan.machine.setup,
        policy.build().map_err(Failure::bad_input)?,
        offered,
        &mut recorder,
    )
    .map_err(Failure::of_run)?;
    let sim_wall_s = began.elapsed().as_secs_f64();
    if interrupt.is_set() {
        return Err(Failure {
            exit: Exit::Interrupted,
            error: anyhow!("interrupted"),
        });
    }
    if let Some(at) = recorder.stalled() {
        return Err(Failure {
            exit: Exit::Invariant,
            error: anyhow!("at {at} the simulated clock stands still while events go on"),
        });
    }
    let report = RunReport {
        sim_wall_s: Some(sim_wall_s),
        ..RunReport::new(
            plan.which(case),
            &summary,
            recorder.timed(),
            recorder.first_tokens(),
            plan.judge(),
        )
    };
    if let Some(at) = recorder.timeline_cut() {
        let line = format!(
            "perfetto.json of `{}` is cut at {} s for its size (`--perfetto-limit`, `--perfetto-range`)",
            manifest::name(plan, case),
            at.as_secs()
        );
        note(plan.quiet, &line);
    }
    let counted = recorder.counted();
    share.completed((plan.sessions as u64).saturating_sub(counted));
    keep(plan, case, recorder, &summary, report, None)
}

/// Writes the directory of a run that is done, if the plan keeps them. `real` is what only a real run has
/// to say.
pub(crate) fn keep(
    plan: &Plan,
    case: Case,
    recorder: Recorder<'_>,
    summary: &Summary,
    report: RunReport,
    real: Option<&RealRun>,
) -> Result<Done, Failure> {
    let failed_sessions = summary.failed;
    let Some(out) = &plan.out else {
        return Ok(Done {
            report,
            directory: None,
            failed_sessions,
        });
    };
    let name = manifest::name(plan, case);
    let policy = &plan.policies[case.policy].name;
    let directory = out.join(&name);
    let write = || -> anyhow::Result<()> {
        let draft = directory::Draft::create(out, &name)?;
        let rows = recorder.write(policy, draft.path())?;
        let files = draft.written()?;
        let kept = manifest::Kept { rows, files };
        let text = manifest::manifest(plan, case, summary, &report, &kept, real)?;
        let path = draft.path().join("manifest.json");
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        draft.publish(&directory)
    };
    write().map_err(|error| Failure {
        exit: Exit::Partial,
        error,
    })?;
    Ok(Done {
        report,
        directory: Some(directory),
        failed_sessions,
    })
}
