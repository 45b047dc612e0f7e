//! From a sweep file to runs: every combination, each resolved and named by its hash, each once.
//!
//! How: policies, rates and seeds of one combination of the other keys are one [`Plan`], so that a
//! thousand runs over ten workloads read ten workloads.
//! Limits: a policy without a key of `[set]` ignores it, as with `orrery run --set`; its combinations
//! are then the same run and are done once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::anyhow;

use super::cell::{Cell, arguments, blame};
use super::file::{Axis, Key, SweepFile};
use crate::failure::Failure;
use crate::run::workload::{Loading, Workload};
use crate::run::{Case, Plan, manifest};

/// More runs than this are a mistake.
const RUNS_LIMIT: usize = 1_000_000;

/// Flags whose values are one list of a [`Plan`]; the others make a plan per combination.
const LISTS: [&str; 4] = ["policy", "rate", "seed", "alpha"];

/// All runs of a sweep.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Combinations of all keys but policy, rate and seed.
    pub plans: Vec<Plan>,
    /// The runs, in the file's order.
    pub jobs: Vec<Job>,
    /// Combinations that are the same run as an earlier one.
    pub repeated: usize,
    /// Combinations that `[[skip]]` leaves out.
    pub skipped: usize,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Index of its plan.
    pub plan: usize,
    /// Which run of the plan.
    pub case: Case,
    /// Name of its directory.
    pub name: String,
    /// Hash of all that can change it.
    pub digest: blake3::Hash,
}

impl Grid {
    /// The runs of several grids, each once: what they share is in the first that has it.
    pub fn join(grids: &[Self]) -> Self {
        let mut joined = Self {
            plans: Vec::new(),
            jobs: Vec::new(),
            repeated: 0,
            skipped: 0,
        };
        let mut seen = BTreeSet::new();
        for grid in grids {
            let before = joined.plans.len();
            joined.plans.extend(grid.plans.iter().cloned());
            joined.repeated += grid.repeated;
            joined.skipped += grid.skipped;
            for job in &grid.jobs {
                if seen.insert(*job.digest.as_bytes()) {
                    joined.jobs.push(Job {
                        plan: before + job.plan,
                        ..job.clone()
                    });
                } else {
                    joined.repeated += 1;
                }
            }
        }
        joined
    }
}

/// All runs of the file.
///
/// # Errors
/// Bad input, with the line where one line is to blame.
pub fn grid(file: &SweepFile) -> Result<Grid, Failure> {
    let cells = cells(file)?;
    let lists: Vec<&Axis> = file.axes.iter().filter(|axis| is_list(axis)).collect();
    let in_lists: usize = lists
        .iter()
        .filter(|axis| !axis.key.is("alpha"))
        .map(|axis| axis.values.len())
        .product();
    if cells.len().saturating_mul(in_lists) > RUNS_LIMIT {
        return Err(Failure::bad_input(anyhow!(
            "`{}` has {} combinations (wanted: at most {RUNS_LIMIT})",
            file.path.display(),
            cells.len() as u128 * in_lists as u128
        )));
    }
    let mut workloads: Workloads = BTreeMap::new();
    let mut grid = Grid {
        plans: Vec::new(),
        jobs: Vec::new(),
        repeated: 0,
        skipped: 0,
    };
    let mut seen = BTreeSet::new();
    for cell in &cells {
        let plan = plan(file, &lists, cell, &mut workloads)?;
        let before = grid.jobs.len();
        for (case, chosen) in cases(&plan) {
            if is_skipped(file, &lists, cell, chosen) {
                grid.skipped += 1;
                continue;
            }
            let digest = manifest::digest(&plan, case);
            if !seen.insert(*digest.as_bytes()) {
                grid.repeated += 1;
                continue;
            }
            grid.jobs.push(Job {
                plan: grid.plans.len(),
                case,
                name: manifest::name(&plan, case),
                digest,
            });
        }
        if grid.jobs.len() > before {
            grid.plans.push(plan);
        }
    }
    if grid.jobs.is_empty() {
        return Err(Failure::bad_input(anyhow!(
            "`{}` leaves no run: `[[skip]]` takes all {}",
            file.path.display(),
            grid.skipped
        )));
    }
    Ok(grid)
}

fn is_list(axis: &Axis) -> bool {
    LISTS.iter().any(|flag| axis.key.is(flag))
}

/// Every combination of the keys that are no lists, the last key fastest.
fn cells(file: &SweepFile) -> Result<Vec<Cell<'_>>, Failure> {
    let mut cells: Vec<Cell<'_>> = vec![Vec::new()];
    for axis in file.axes.iter().filter(|axis| !is_list(axis)) {
        if cells.len().saturating_mul(axis.values.len()) > RUNS_LIMIT {
            let message = format!(
                "with `{}` there are more than {RUNS_LIMIT} combinations",
                axis.key.shown()
            );
            return Err(Failure::bad_input(file.wrong(axis.line, &message)));
        }
        cells = cells
            .iter()
            .flat_map(|cell| {
                axis.values.iter().map(|item| {
                    let mut longer = cell.clone();
                    longer.push((axis, item));
                    longer
                })
            })
            .collect();
    }
    Ok(cells)
}

/// Index of policy, rate and seed in their lists.
type Chosen = [usize; 3];

fn cases(plan: &Plan) -> Vec<(Case, Chosen)> {
    let mut cases = Vec::new();
    for (r, &rate_per_s) in plan.rates.iter().enumerate() {
        for (s, &seed) in plan.seeds.iter().enumerate() {
            for policy in 0..plan.policies.len() {
                let case = Case {
                    policy,
                    rate_per_s,
                    seed,
                };
                cases.push((case, [policy, r, s]));
            }
        }
    }
    cases
}

fn is_skipped(file: &SweepFile, lists: &[&Axis], cell: &Cell<'_>, chosen: Chosen) -> bool {
    let value = |key: &Key| {
        let listed = ["policy", "rate", "seed"].iter().zip(chosen);
        let listed = listed
            .filter(|(flag, _)| key.is(flag))
            .find_map(|(flag, at)| {
                let axis = lists.iter().find(|axis| axis.key.is(flag))?;
                axis.values.get(at)
            });
        let in_cell = || cell.iter().find(|(axis, _)| axis.key == *key);
        listed.or_else(|| in_cell().map(|(_, item)| *item))
    };
    let holds = |axis: &Axis| {
        value(&axis.key).is_some_and(|item| axis.values.iter().any(|v| v.text == item.text))
    };
    file.skips.iter().any(|skip| skip.iter().all(holds))
}

/// The plan of one combination.
fn plan(
    file: &SweepFile,
    lists: &[&Axis],
    cell: &Cell<'_>,
    workloads: &mut Workloads,
) -> Result<Plan, Failure> {
    let args = arguments(file, lists, cell)?;
    let mut loading = false;
    let load = |name: &str, how: Loading| {
        let recorded = (name.to_owned(), None);
        let made = (name.to_owned(), Some(how));
        if let Some(known) = workloads.get(&recorded).or_else(|| workloads.get(&made)) {
            return Ok(Arc::clone(known));
        }
        loading = true;
        let loaded = Arc::new(load(file, name, how)?);
        // What was dropped depends on how it was loaded, too.
        let whole = !loaded.made && loaded.dropped.count == 0;
        let key = if whole { recorded } else { made };
        workloads.insert(key, Arc::clone(&loaded));
        loading = false;
        Ok(loaded)
    };
    let plan = Plan::with(&args, load);
    plan.map_err(|failure| {
        let workload = cell.iter().find(|(axis, _)| axis.key.is("workload"));
        match workload.filter(|_| loading) {
            Some((axis, item)) => failure.context(file.refused(axis, item)),
            None => blame(file, lists, cell, &args.policy, failure),
        }
    })
}

/// Workloads by name; those made from a description by how many sessions and which seed, too.
type Workloads = BTreeMap<(String, Option<Loading>), Arc<Workload>>;

fn load(file: &SweepFile, name: &str, loading: Loading) -> Result<Workload, Failure> {
    if name == "-" {
        return Err(Failure::bad_input(anyhow!(
            "stdin is no workload of a sweep, which may be started again\nhint: write it to a file"
        )));
    }
    let path = file.beside(name);
    let mut workload = Workload::load(&path.to_string_lossy(), loading)?;
    // As it was written: the same wherever the sweep runs.
    name.clone_into(&mut workload.name);
    Ok(workload)
}
