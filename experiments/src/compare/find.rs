//! From arguments to pairs of runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::run::Run;

/// The runs to hold against each other: one pair per seed, at least one.
///
/// # Errors
/// Folders without runs, or with runs that do not make pairs.
pub fn pairs(a: &Path, b: Option<&Path>, anyway: bool) -> anyhow::Result<Vec<(Run, Run)>> {
    let (a_runs, b_runs) = match b {
        Some(b) => (runs(a)?, runs(b)?),
        None => two_sides(a)?,
    };
    if let ([_], [_]) = (&a_runs[..], &b_runs[..]) {
        return Ok(a_runs.into_iter().zip(b_runs).collect());
    }
    let a_by_seed = by_seed(a_runs, a)?;
    let mut b_by_seed = by_seed(b_runs, b.unwrap_or(a))?;
    let seeds = |runs: &BTreeMap<u64, Run>| runs.keys().copied().collect::<BTreeSet<u64>>();
    let (in_a, in_b) = (seeds(&a_by_seed), seeds(&b_by_seed));
    if in_a.is_disjoint(&in_b) {
        bail!(
            "no seed has a run on both sides: A has {}, B has {}",
            list(&in_a),
            list(&in_b)
        );
    }
    if in_a != in_b && !anyway {
        bail!(
            "the seeds differ: A has {}, B has {}\nhint: `--anyway` compares those that both have",
            list(&in_a),
            list(&in_b)
        );
    }
    let both = |(seed, a)| b_by_seed.remove(&seed).map(|b| (a, b));
    Ok(a_by_seed.into_iter().filter_map(both).collect())
}

/// The two sides that one folder holds: two runs, or the runs of two policies.
fn two_sides(folder: &Path) -> anyhow::Result<(Vec<Run>, Vec<Run>)> {
    if is_run(folder) {
        bail!(
            "`{}` is one run (wanted: two)\nhint: `orrery compare RUN_A RUN_B`",
            folder.display()
        );
    }
    let mut all = runs(folder)?;
    if all.len() == 2 {
        let second = all.split_off(1);
        return Ok((all, second));
    }
    let policies: BTreeSet<String> = all.iter().map(|r| r.policy().to_owned()).collect();
    if policies.len() != 2 {
        bail!(
            "`{}` holds {} of {} (wanted: two runs, or the runs of two policies)\nhint: name the \
             two, `orrery compare RUN_A RUN_B`",
            folder.display(),
            counted(all.len(), "run"),
            list(&policies),
        );
    }
    let first = policies.into_iter().next();
    let is_first = |run: &Run| Some(run.policy()) == first.as_deref();
    Ok(all.into_iter().partition(is_first))
}

fn is_run(path: &Path) -> bool {
    path.join("manifest.json").is_file()
}

/// The run at `path`, or the runs in it by name. Of two runs that differ only in whether decisions
/// were logged, the one with the log.
fn runs(path: &Path) -> anyhow::Result<Vec<Run>> {
    if is_run(path) {
        return Ok(vec![Run::open(path)?]);
    }
    let entries = fs::read_dir(path)
        .with_context(|| format!("cannot open run directory `{}`", path.display()))?;
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let below = entry
            .with_context(|| format!("cannot read `{}`", path.display()))?
            .path();
        // A run that is being written is hidden.
        let hidden = below
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && is_run(&below) {
            folders.push(below);
        }
    }
    if folders.is_empty() {
        bail!(
            "`{}` is not a run directory, and no folder in it is: there is no `manifest.json`\nhint: \
             `orrery run` writes run directories, and tells where",
            path.display()
        );
    }
    folders.sort();
    let mut runs: Vec<Run> = Vec::new();
    for folder in folders {
        let run = Run::open(&folder)?;
        match runs.iter_mut().find(|other| other.is_twin_of(&run)) {
            Some(other) if run.has_decisions() => *other = run,
            Some(_) => {}
            None => runs.push(run),
        }
    }
    Ok(runs)
}

fn by_seed(runs: Vec<Run>, folder: &Path) -> anyhow::Result<BTreeMap<u64, Run>> {
    let mut by_seed: BTreeMap<u64, Run> = BTreeMap::new();
    for run in runs {
        if let Some(other) = by_seed.get(&run.seed()) {
            bail!(
                "`{}` holds several runs of one seed: `{}`, `{}` (wanted: one policy, one run per \
                 seed)\nhint: name two run directories",
                folder.display(),
                other.name(),
                run.name()
            );
        }
        by_seed.insert(run.seed(), run);
    }
    Ok(by_seed)
}

fn counted(n: usize, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{s}")
}

fn list<T: std::fmt::Display>(items: &BTreeSet<T>) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}
