//! Doing the runs of a sweep that are not done yet.
//!
//! How: threads take the next run, the slowest policy's first (`queue`); a run that fails is written down and stops no
//! other. A full disk stops the sweep, since every later run would fail the same way.
//! Limits: an interrupted run starts from its beginning the next time.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, anyhow};
use rayon::prelude::*;

use super::folder::{Folder, Took, finished};
use super::grid::{Grid, Job};
use super::ideals::{self, Subject};
use super::queue::{self, Queue};
use crate::failure::{Exit, Failure, render};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::run::ideal::Ideals;
use crate::run::limits::Limit;
use crate::run::{self, manifest};

/// What came of the runs.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Done now.
    pub done: usize,
    /// Done before.
    pub before: usize,
    /// Directories that were there and broken, done again.
    pub broken: usize,
    /// Names of those that failed, with why, by name.
    pub failed: Vec<(String, Failure)>,
}

/// What of the plan is finished, and what is not.
#[derive(Debug)]
pub struct Pending<'a> {
    /// Still to do, in the file's order.
    pub jobs: Vec<&'a Job>,
    /// Finished.
    pub before: usize,
    /// There, and not whole or of another configuration: names, and why.
    pub broken: Vec<(String, anyhow::Error)>,
}

/// Looks what is finished in `runs`.
pub fn pending<'a>(grid: &Grid, jobs: &[&'a Job], runs: &std::path::Path) -> Pending<'a> {
    let state = |job: &&'a Job| {
        let path = runs.join(&job.name);
        if !path.exists() {
            return (*job, None);
        }
        let config = manifest::config(&grid.plans[job.plan], job.case);
        let whole = finished(&path).and_then(|manifest| {
            (manifest["config"] == config)
                .then_some(())
                .ok_or_else(|| anyhow!("`{}` is of another configuration", path.display()))
        });
        (*job, Some(whole))
    };
    let states: Vec<_> = jobs.par_iter().map(state).collect();
    let mut found = Pending {
        jobs: Vec::new(),
        before: 0,
        broken: Vec::new(),
    };
    for (job, state) in states {
        match state {
            Some(Ok(())) => found.before += 1,
            Some(Err(error)) => {
                found.broken.push((job.name.clone(), error));
                found.jobs.push(job);
            }
            None => found.jobs.push(job),
        }
    }
    found
}

/// Does `pending`, whose plans write to the folder's runs.
///
/// # Errors
/// An interruption, or a disk that takes no more. A run's own failure is in the outcome.
pub fn go(
    grid: &Grid,
    pending: &Pending<'_>,
    folder: &Folder,
    pool: &rayon::ThreadPool,
    quiet: bool,
    interrupt: &Interrupt,
) -> Result<Outcome, Failure> {
    for (name, _) in &pending.broken {
        let path = folder.runs().join(name);
        fs::remove_dir_all(&path)
            .with_context(|| format!("cannot remove `{}`", path.display()))
            .map_err(Failure::bad_input)?;
    }
    let sessions = |job: &&Job| grid.plans[job.plan].sessions as u64;
    let total: u64 = pending.jobs.iter().map(sessions).sum();
    let subjects = subjects(grid, &pending.jobs);
    let alone = |wanted: &Wanted| wanted.offered.iter().filter(|o| **o).count() as u64;
    let alone: u64 = subjects.values().map(alone).sum();
    let runs = pending.jobs.len() as u64;
    let progress = Progress::of_runs(total + alone, Some(runs), quiet);
    let mut ideals: BTreeMap<&Subject, Result<Ideals, Failure>> = BTreeMap::new();
    for (subject, wanted) in &subjects {
        let measured = pool.install(|| {
            let plan = &grid.plans[wanted.plan];
            let (offered, isolated) = (&wanted.offered, wanted.isolated);
            ideals::ideals(plan, offered, isolated, folder, &progress, interrupt)
        });
        match measured {
            Err(failure) if failure.exit == Exit::Interrupted || is_storage(&failure) => {
                return Err(failure);
            }
            other => ideals.insert(subject, other),
        };
    }
    let state = State {
        grid,
        folder,
        ideals: &ideals,
        progress: &progress,
        interrupt,
        stop: AtomicBool::new(false),
        queue: Mutex::new(Queue::of(grid, &pending.jobs)),
        outcome: Mutex::new(Outcome {
            before: pending.before,
            broken: pending.broken.len(),
            ..Outcome::default()
        }),
        stopped_by: Mutex::new(None),
    };
    pool.broadcast(|_| {
        while let Some(job) = state.next() {
            if interrupt.is_set() || state.stop.load(Ordering::Relaxed) {
                break;
            }
            state.job(job);
        }
    });
    let State {
        outcome,
        stopped_by,
        ..
    } = state;
    let stopped_by = stopped_by
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let mut outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    drop(progress);
    let complete = outcome.done + outcome.before;
    let all = pending.before + pending.jobs.len();
    let so_far = || {
        format!(
            "{complete} of {all} runs are complete in `{}`\nhint: the same command goes on from there",
            folder.root().display()
        )
    };
    if let Some(failure) = stopped_by {
        return Err(failure.context(format!("the sweep cannot go on; {}", so_far())));
    }
    if interrupt.is_set() && complete + outcome.failed.len() < all {
        return Err(Failure {
            exit: Exit::Interrupted,
            error: anyhow!("interrupted; {}", so_far()),
        });
    }
    outcome.failed.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(outcome)
}

/// What is to be measured alone.
struct Wanted {
    /// Index of a plan with this machine and workload; with a row `isolated` if any has one to do.
    plan: usize,
    /// The sessions that its jobs offer.
    offered: Vec<bool>,
    /// Whether a row `isolated` is to do.
    isolated: bool,
}

fn subjects(grid: &Grid, jobs: &[&Job]) -> BTreeMap<Subject, Wanted> {
    let mut by_plan: BTreeMap<usize, Vec<&Job>> = BTreeMap::new();
    for job in jobs {
        by_plan.entry(job.plan).or_default().push(job);
    }
    let mut subjects = BTreeMap::new();
    for (index, jobs) in by_plan {
        let plan = &grid.plans[index];
        let is_isolated =
            |job: &&Job| plan.policies[job.case.policy].limit() == Some(Limit::Isolated);
        let isolated = jobs.iter().any(is_isolated);
        let offered = ideals::offered(plan, jobs);
        let wanted = subjects.entry(Subject::of(plan)).or_insert_with(|| Wanted {
            plan: index,
            offered: vec![false; offered.len()],
            isolated,
        });
        if isolated && !wanted.isolated {
            (wanted.plan, wanted.isolated) = (index, true);
        }
        for (all, one) in wanted.offered.iter_mut().zip(offered) {
            *all |= one;
        }
    }
    subjects
}

struct State<'a> {
    grid: &'a Grid,
    folder: &'a Folder,
    ideals: &'a BTreeMap<&'a Subject, Result<Ideals, Failure>>,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
    stop: AtomicBool,
    queue: Mutex<Queue<'a>>,
    outcome: Mutex<Outcome>,
    stopped_by: Mutex<Option<Failure>>,
}

impl<'a> State<'a> {
    fn next(&self) -> Option<&'a Job> {
        let queue = self.queue.lock();
        queue.unwrap_or_else(PoisonError::into_inner).next()
    }

    fn job(&self, job: &Job) {
        let result = self.run(job);
        if self.interrupt.is_set() && result.is_err() {
            return;
        }
        let written = match &result {
            Ok(took) => {
                self.folder.forget_failure(&job.name);
                self.folder.log(took)
            }
            Err(failure) if is_storage(failure) => Err(anyhow!("{}", render(&failure.error))),
            Err(failure) => self.folder.record_failure(&job.name, failure),
        };
        if let Err(error) = written {
            self.stop(Failure {
                exit: Exit::Partial,
                error: result.err().map_or(error, |failure| failure.error),
            });
            return;
        }
        if let Ok(Took {
            sim_wall_s: Some(seconds),
            ..
        }) = &result
        {
            let queue = self.queue.lock();
            let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
            queue.took(queue::policy(self.grid, job), *seconds);
        }
        self.progress.run_done();
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => outcome.done += 1,
            Err(failure) => outcome.failed.push((job.name.clone(), failure)),
        }
    }

    fn stop(&self, failure: Failure) {
        self.stop.store(true, Ordering::Relaxed);
        let mut stopped_by = self
            .stopped_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        stopped_by.get_or_insert(failure);
    }

    fn run(&self, job: &Job) -> Result<Took, Failure> {
        let plan = &self.grid.plans[job.plan];
        let ideals = match &self.ideals[&Subject::of(plan)] {
            Ok(ideals) => ideals,
            Err(failure) => {
                return Err(Failure {
                    exit: failure.exit,
                    error: anyhow!("{}", render(&failure.error).trim_end())
                        .context("cannot measure T_ideal"),
                });
            }
        };
        let order = plan.order(job.case.seed);
        let done = run::guarded(plan, job.case, || {
            run::one(
                plan,
                job.case,
                &order,
                ideals,
                self.progress,
                self.interrupt,
            )
        })?;
        Ok(Took {
            run: job.name.clone(),
            sessions: plan.sessions,
            sim_wall_s: done.report.sim_wall_s,
        })
    }
}

/// Whether the disk takes no more: no fault of the run.
fn is_storage(failure: &Failure) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind)
    };
    failure.error.chain().filter_map(kind).any(|kind| {
        matches!(
            kind,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
        )
    })
}
