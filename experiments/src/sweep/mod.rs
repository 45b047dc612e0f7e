//! `orrery sweep`: a grid of runs from one file, done side by side, and done again from where it was
//! stopped.
//!
//! What: [`mod@file`] reads the grid, [`grid`] makes runs of it (with `cell`), [`shard`] picks a part, [`folder`]
//! knows what is finished, [`mod@ideals`] keeps `T_ideal`, [`mod@go`] does the rest, [`table`] makes one
//! row of each run, [`summary`] and [`dry`] print.
//! Why: the results are a function of the file: not of threads, shards or interruptions.
//! Limits: every plan of the grid is in memory, and so are its workloads.

pub mod args;
mod cell;
pub mod dry;
pub mod file;
pub mod folder;
pub mod go;
pub mod grid;
pub mod ideals;
mod queue;
pub mod shard;
pub mod summary;
pub mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{data, note};
use args::SweepArgs;
use file::SweepFile;
use folder::Folder;
use grid::{Grid, Job};
use shard::Shard;
use summary::Counts;
use table::Runs;

/// `orrery sweep`.
///
/// # Errors
/// A [`Failure`] with its exit code: bad input, a failed run, an interruption.
pub fn command(args: &SweepArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let shard = args.shard.as_deref().map(Shard::parse).transpose()?;
    let pool = args.work.pool()?;
    let file = SweepFile::read(&args.file)?;
    let mut grid = grid::grid(&file)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| default_out(&file, shard));
    for plan in &mut grid.plans {
        plan.out = Some(out.join("runs"));
    }
    let jobs: Vec<&Job> = grid.jobs.iter().collect();
    let jobs: Vec<&Job> = match shard {
        Some(shard) => jobs.into_iter().filter(|j| shard.has(&j.digest)).collect(),
        None => jobs,
    };
    if args.dry_run {
        let how = (pool.current_num_threads(), args.shown.format);
        return data(&dry::print(&file.name, &grid, &jobs, &out, how, interrupt)?);
    }
    let folder = Folder::open(&out)?;
    let record = record(&file, &jobs, shard);
    folder
        .write(Path::new("sweep.json"), &record)
        .map_err(partial)?;
    let pending = pool.install(|| go::pending(&grid, &jobs, &folder.runs()));
    for (name, why) in &pending.broken {
        note(args.work.quiet, &format!("`{name}` is done again: {why:#}"));
    }
    note(
        args.work.quiet,
        &begins(&file, &grid, &jobs, &pending, shard),
    );
    let outcome = go::go(&grid, &pending, &folder, &pool, args.work.quiet, interrupt)?;
    let manifests = pool.install(|| manifests(&folder.runs(), jobs.iter().map(|j| &*j.name)));
    let (manifests, _missing) = manifests;
    let runs = Runs::of(&manifests);
    write_tables(&folder, &runs).map_err(partial)?;
    let counts = Counts {
        planned: jobs.len(),
        done: outcome.done,
        before: outcome.before,
        failed: outcome.failed.len(),
    };
    data(&summary::print(&runs, &counts, args.shown.format).map_err(partial)?)?;
    note(
        args.work.quiet,
        &format!(
            "{} runs done, {} before, {} failed; a row each in `{}`",
            counts.done,
            counts.before,
            counts.failed,
            out.join("runs.csv").display()
        ),
    );
    verdict(outcome.failed, jobs.len(), &out)
}

/// A failure after something was done.
pub(crate) fn partial(error: anyhow::Error) -> Failure {
    Failure {
        exit: Exit::Partial,
        error,
    }
}

fn default_out(file: &SweepFile, shard: Option<Shard>) -> PathBuf {
    let name = crate::run::directory::plain_name(&file.name);
    Path::new("runs").join(match shard {
        Some(Shard { index, of }) => format!("{name}.shard-{index}-of-{of}"),
        None => name,
    })
}

/// `sweep.json`: what the sweep, or its shard, is made of.
fn record(file: &SweepFile, jobs: &[&Job], shard: Option<Shard>) -> String {
    let mut names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    names.sort_unstable();
    let axes: Vec<Value> = file
        .axes
        .iter()
        .map(|axis| {
            let values: Vec<&str> = axis.values.iter().map(|item| item.text.as_str()).collect();
            json!({"key": axis.key.shown(), "values": values})
        })
        .collect();
    let record = json!({
        "orrery_sweep": 1,
        "name": file.name,
        "semantics": crate::SEMANTICS,
        "axes": axes,
        "shard": shard.map(|shard| format!("{}/{}", shard.index, shard.of)),
        "runs": names,
    });
    format!("{record:#}\n")
}

fn begins(
    file: &SweepFile,
    grid: &Grid,
    jobs: &[&Job],
    pending: &go::Pending<'_>,
    shard: Option<Shard>,
) -> String {
    let of = match shard {
        Some(shard) => format!(
            "{} of {} runs (shard {}/{})",
            jobs.len(),
            grid.jobs.len(),
            shard.index,
            shard.of
        ),
        None => format!("{} runs", jobs.len()),
    };
    format!(
        "sweep {}: {of}, {} finished before, {} to do; {} combinations are the same run as another, \
         {} are skipped",
        file.name,
        pending.before,
        pending.jobs.len(),
        grid.repeated,
        grid.skipped
    )
}

/// What `sweep.json` of the folder says, and the runs that it plans.
///
/// # Errors
/// A folder that is no sweep's.
pub(crate) fn planned(folder: &Path) -> anyhow::Result<(Value, Vec<String>)> {
    let path = folder.join("sweep.json");
    let cannot = || format!("`{}` is no folder of a sweep", folder.display());
    let text = std::fs::read_to_string(&path).with_context(cannot)?;
    let record: Value = serde_json::from_str(&text)
        .with_context(|| format!("cannot read `{}`", path.display()))
        .with_context(cannot)?;
    let names = record["runs"]
        .as_array()
        .filter(|_| record["orrery_sweep"] == 1);
    let names: Option<Vec<String>> = names.and_then(|names| {
        let plain = |name: &Value| {
            let name = name.as_str()?;
            // A name with a slash would lead out of the folder.
            (Path::new(name).components().count() == 1).then(|| name.to_owned())
        };
        names.iter().map(plain).collect()
    });
    match names {
        Some(names) => Ok((record, names)),
        None => Err(anyhow!("`{}` lists no runs", path.display())).with_context(cannot),
    }
}

/// The manifests of the named runs that are whole, and the names of the others with what is wrong.
pub(crate) fn manifests<'a>(
    runs: &Path,
    names: impl Iterator<Item = &'a str>,
) -> (Vec<Value>, Vec<(String, anyhow::Error)>) {
    let names: Vec<&str> = names.collect();
    let read: Vec<_> = names
        .par_iter()
        .map(|name| (*name, folder::finished(&runs.join(name))))
        .collect();
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for (name, manifest) in read {
        match manifest {
            Ok(manifest) => found.push(manifest),
            Err(error) => missing.push((name.to_owned(), error)),
        }
    }
    (found, missing)
}

/// `runs.csv` and `runs.parquet`.
pub(crate) fn write_tables(folder: &Folder, runs: &Runs) -> anyhow::Result<()> {
    folder.write(Path::new("runs.csv"), &runs.csv()?)?;
    let path = folder.root().join("runs.parquet");
    folder::whole(&path, |path| runs.parquet(path)).context("cannot write the table of runs")
}

fn verdict(failed: Vec<(String, Failure)>, planned: usize, out: &Path) -> Result<(), Failure> {
    let total = failed.len();
    let invariant = failed.iter().any(|(_, f)| f.exit == Exit::Invariant);
    let Some((_, first)) = failed.into_iter().next() else {
        return Ok(());
    };
    let error = first.error.context(format!(
        "{total} of {planned} runs failed; the first\nhint: `{}` says why, run by run; the same \
         command tries them again",
        out.join("failed").display()
    ));
    // A bug is told as one, whatever else went well.
    let exit = if invariant {
        Exit::Invariant
    } else {
        Exit::Partial
    };
    Err(Failure { exit, error })
}
