//! Runs of a figure's sweep: done if they are not there yet, then read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use polars::prelude::{DataFrame, DataType, ParquetReader, SerReader};
use serde_json::Value;

use super::recipe::Recipe;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::note;
use crate::sweep::file::{Axis, Item, SweepFile};
use crate::sweep::folder::Folder;
use crate::sweep::grid::{self, Grid};
use crate::sweep::table::{Row, Runs};
use crate::sweep::{go, manifests, partial};

/// How figures are made.
#[derive(Debug)]
pub struct How<'a> {
    /// Folder of runs, sweeps, drawings.
    pub out: &'a Path,
    /// Sessions per run, instead of the recipe's.
    pub sessions: Option<u64>,
    /// Seeds, 1 to this, instead of the recipe's.
    pub seeds: Option<u64>,
    /// No progress.
    pub quiet: bool,
    /// Where runs go.
    pub pool: &'a rayon::ThreadPool,
    /// Ctrl-C.
    pub interrupt: &'a Interrupt,
}

/// The runs of one part.
#[derive(Debug)]
pub struct Results {
    /// A row per run.
    pub runs: Runs,
    /// Where their directories are.
    pub folder: PathBuf,
    /// Names of the runs that failed; why was told when they did.
    pub failed: Vec<String>,
}

/// Does what is missing of these parts, and reads it all: results in the order of the parts. Runs that
/// parts share are done once, and no part waits for the last run of another.
///
/// # Errors
/// Bad input, an interruption, a disk that takes no more. A run's own failure is in the results.
pub fn compute(parts: &[(&Recipe, usize)], how: &How<'_>) -> Result<Vec<Results>, Failure> {
    let folder = Folder::open(how.out)?;
    let mut grids = Vec::new();
    for &(recipe, number) in parts {
        let mut grid = grid(recipe, number, how)?;
        for plan in &mut grid.plans {
            plan.out = Some(folder.runs());
        }
        grids.push(grid);
    }
    let all = Grid::join(&grids);
    let jobs: Vec<_> = all.jobs.iter().collect();
    let pending = how
        .pool
        .install(|| go::pending(&all, &jobs, &folder.runs()));
    let to_do: BTreeSet<&str> = pending.jobs.iter().map(|job| &*job.name).collect();
    for (&(recipe, number), grid) in parts.iter().zip(&grids) {
        let before = grid.jobs.iter().filter(|j| !to_do.contains(&*j.name));
        let line = format!(
            "figure {}: {} runs, {} finished before",
            part_name(recipe, number),
            grid.jobs.len(),
            before.count()
        );
        note(how.quiet, &line);
    }
    let outcome = go::go(&all, &pending, &folder, how.pool, how.quiet, how.interrupt)?;
    for (name, failure) in &outcome.failed {
        note(false, &format!("run `{name}` failed: {:#}", failure.error));
    }
    let results = grids.iter().map(|grid| {
        let names = || grid.jobs.iter().map(|job| &*job.name);
        let (manifests, _) = how.pool.install(|| manifests(&folder.runs(), names()));
        let is_failed = |name: &&str| outcome.failed.iter().any(|(failed, _)| failed == name);
        Results {
            runs: Runs::of(&manifests),
            folder: folder.runs(),
            failed: names().filter(is_failed).map(str::to_owned).collect(),
        }
    });
    Ok(results.collect())
}

/// The runs of one part.
///
/// # Errors
/// Bad input: a sweep that cannot be.
pub fn grid(recipe: &Recipe, number: usize, how: &How<'_>) -> Result<Grid, Failure> {
    grid::grid(&sweep_file(recipe, number, how)?)
}

/// What the part's sweep is called.
fn part_name(recipe: &Recipe, number: usize) -> String {
    match recipe.parts.len() {
        1 => recipe.name.to_owned(),
        _ => format!("{}-{}", recipe.name, number + 1),
    }
}

/// The sweep as a file that its reader can change, and with the numbers asked for.
fn sweep_file(recipe: &Recipe, number: usize, how: &How<'_>) -> Result<SweepFile, Failure> {
    let folder = how.out.join("sweeps");
    let write = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
        let path = folder.join(name);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    };
    for (name, text) in recipe.policies {
        write(name, text).map_err(partial)?;
    }
    let name = format!("{}.toml", part_name(recipe, number));
    let path = write(&name, recipe.parts[number].sweep).map_err(partial)?;
    let mut file = SweepFile::read(&path)?;
    let seeds = how.seeds.map(|n| (1..=n).map(|seed| seed.to_string()));
    // A figure of one run, or of none, has no use for more seeds.
    let of_many = |axis: &&mut Axis| axis.key.is("seed") && axis.values.len() > 1;
    let axis = file.axes.iter_mut().find(of_many);
    set(axis, seeds.map(Iterator::collect));
    let axis = file.axes.iter_mut().find(|axis| axis.key.is("sessions"));
    set(axis, how.sessions.map(|n| vec![n.to_string()]));
    Ok(file)
}

fn set(axis: Option<&mut Axis>, values: Option<Vec<String>>) {
    if let (Some(axis), Some(values)) = (axis, values) {
        let line = axis.line;
        axis.values = values.into_iter().map(|text| Item { text, line }).collect();
    }
}

impl Results {
    /// Distinct texts of a column, in the order of its first rows; a recipe's order of policies is the
    /// caller's.
    pub fn distinct(&self, column: &str) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        for row in &self.runs.rows {
            let text = text(row, column);
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        seen
    }

    /// Columns of a table of one run, as numbers; null stays `None`.
    ///
    /// # Errors
    /// A file that cannot be read, or lacks a column.
    pub fn columns<const N: usize>(
        &self,
        row: &Row,
        table: &str,
        names: [&str; N],
    ) -> anyhow::Result<[Vec<Option<f64>>; N]> {
        let path = self.folder.join(text(row, "run")).join(table);
        let read = || -> anyhow::Result<[Vec<Option<f64>>; N]> {
            let frame = ParquetReader::new(fs::File::open(&path)?).finish()?;
            let mut columns: [Vec<Option<f64>>; N] = std::array::from_fn(|_| Vec::new());
            for (name, column) in names.iter().zip(&mut columns) {
                *column = numbers(&frame, name)?;
            }
            Ok(columns)
        };
        read().with_context(|| format!("cannot read `{}`", path.display()))
    }
}

fn numbers(frame: &DataFrame, name: &str) -> anyhow::Result<Vec<Option<f64>>> {
    let column = frame.column(name)?.cast(&DataType::Float64)?;
    Ok(column.f64()?.iter().collect())
}

/// A cell as text, empty where it is null.
pub fn text(row: &Row, column: &str) -> String {
    match row.get(column) {
        None | Some(Value::Null) => String::new(),
        Some(value) => crate::sweep::table::text(value),
    }
}

/// A cell as a number.
pub fn number(row: &Row, column: &str) -> Option<f64> {
    row.get(column).and_then(Value::as_f64)
}
