//! `orrery figure`: the paper's figures and ours, each a sweep and a drawing of its results.
//!
//! What: [`recipes`] lists them, [`results`] does the runs that are missing and reads them, `grid`
//! and the modules beside it draw. The drawing is SVG and PNG; the numbers in it are CSV.
//! Why: a figure that cannot be made again from one command is an anecdote.
//! Limits: intervals are Student's t over seeds, 95 %; one run is one observation.

pub mod args;
pub mod drawing;
mod grid;
mod overhead;
pub mod recipe;
pub mod recipes;
pub mod results;
pub(crate) mod spread;
pub(crate) mod timeline;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::failure::{Exit, Failure, did_you_mean, nearest};
use crate::interrupt::Interrupt;
use crate::output::data;
use crate::plot::{Drawn, Figure};
use crate::sweep::{folder, partial};
use args::{FigureArgs, RunsArgs};
use drawing::Drawing;
use recipe::{Part, Recipe, Shape};
use recipes::RECIPES;
use results::{How, Results, compute, text};

/// `orrery figure`.
///
/// # Errors
/// A [`Failure`] with its exit code: bad input, a failed run, an interruption.
pub fn command(args: &FigureArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    if args.names.iter().any(|name| name == "list") {
        return data(&list());
    }
    let recipes = chosen(&args.names)?;
    let pool = args.runs.work.pool()?;
    let how = how(&args.runs, &pool, interrupt)?;
    let parts: Vec<(&Recipe, usize)> = recipes
        .iter()
        .flat_map(|recipe| recipe.kept().map(|number| (*recipe, number)))
        .collect();
    let mut results = compute(&parts, &how)?.into_iter();
    let mut failed = BTreeSet::new();
    for recipe in recipes {
        let of_recipe: Vec<Results> = results.by_ref().take(recipe.kept().count()).collect();
        failed.extend(of_recipe.iter().flat_map(|r| r.failed.iter().cloned()));
        let made = make(recipe, of_recipe, &how)?;
        for path in write(&args.runs.out, recipe.name, &made).map_err(partial)? {
            data(&format!("{}\n", path.display()))?;
        }
    }
    if !failed.is_empty() {
        return Err(Failure {
            exit: Exit::Partial,
            error: anyhow!(
                "{} runs failed; their points are missing from the figures\nhint: `{}` says why",
                failed.len(),
                args.runs.out.join("failed").display()
            ),
        });
    }
    Ok(())
}

/// How the runs of these arguments are done.
///
/// # Errors
/// Bad input: numbers that cannot be.
pub(crate) fn how<'a>(
    args: &'a RunsArgs,
    pool: &'a rayon::ThreadPool,
    interrupt: &'a Interrupt,
) -> Result<How<'a>, Failure> {
    let count = |flag: &str, given: &Option<String>| -> Result<Option<u64>, Failure> {
        let Some(text) = given else { return Ok(None) };
        match text.parse() {
            Ok(n) if (1..=1_000_000).contains(&n) => Ok(Some(n)),
            _ => Err(Failure::bad_input(anyhow!(
                "{flag} is `{text}` (wanted: a whole number from 1 to 1000000)"
            ))),
        }
    };
    let (sessions, seeds) = if args.quick {
        (Some(60), Some(2))
    } else {
        (
            count("--sessions", &args.sessions)?,
            count("--seeds", &args.seeds)?,
        )
    };
    Ok(How {
        out: &args.out,
        sessions,
        seeds,
        quiet: args.work.quiet,
        pool,
        interrupt,
    })
}

/// A figure that is ready to be written.
#[derive(Debug)]
pub struct Made {
    /// The drawing.
    pub drawn: Drawn,
    /// Its numbers.
    pub csv: String,
}

/// Makes one figure of the results of its parts, those that keep runs.
///
/// # Errors
/// A table of a run that cannot be read, or a measurement that fails.
fn make(recipe: &Recipe, results: Vec<Results>, how: &How<'_>) -> Result<Made, Failure> {
    let mut results = results.into_iter();
    let mut all = Drawing::default();
    let mut ran = Vec::new();
    for (number, part) in recipe.parts.iter().enumerate() {
        let mut kept = || {
            results
                .next()
                .expect("results of every part that keeps runs")
        };
        let (drawing, line) = match part.shape {
            Shape::Grid(grid) => {
                let results = kept();
                let order = |column: &str| order(part, recipe, column);
                (grid::draw(&grid, &results, &order), setting(&results))
            }
            Shape::Own(draw) => {
                let results = kept();
                (draw(&results).map_err(partial)?, setting(&results))
            }
            Shape::Timed(time) => {
                let timed = time(&results::grid(recipe, number, how)?, how)?;
                (timed.drawing, timed.setting)
            }
        };
        if !ran.contains(&line) {
            ran.push(line);
        }
        all.absorb(drawing);
    }
    let csv = all.csv().map_err(partial)?;
    let figure = Figure {
        title: recipe.title.to_owned(),
        caption: ran,
        columns: recipe.columns,
        panels: all.panels,
    };
    let drawn = Drawn::of(&figure).map_err(partial)?;
    Ok(Made { drawn, csv })
}

/// Writes drawing and numbers; returns the files.
fn write(out: &Path, name: &str, made: &Made) -> anyhow::Result<Vec<PathBuf>> {
    let mut written = made.drawn.write(&out.join(format!("{name}.svg")))?;
    let path = out.join(format!("{name}.csv"));
    folder::whole(&path, |path| Ok(std::fs::write(path, &made.csv)?))?;
    written.push(path);
    Ok(written)
}

/// The values of a column as the part's sweep orders them. A policy that is a file goes by its name.
fn order(part: &Part, recipe: &Recipe, column: &str) -> Vec<String> {
    let table: Option<toml::Table> = part.sweep.parse().ok();
    let values = table.and_then(|mut table| table.remove(column));
    let names = values.map(|value| match value {
        toml::Value::Array(values) => values,
        one => vec![one],
    });
    let names = names.unwrap_or_default();
    let called = |file: &str| -> Option<String> {
        let (_, text) = recipe.policies.iter().find(|(name, _)| *name == file)?;
        let table: toml::Table = text.parse().ok()?;
        Some(table.get("name")?.as_str()?.to_owned())
    };
    names
        .iter()
        .filter_map(|name| name.as_str())
        .map(|name| match column {
            "policy" => called(name).unwrap_or_else(|| name.to_owned()),
            _ => name.to_owned(),
        })
        .collect()
}

/// What was run, for the caption.
fn setting(results: &Results) -> String {
    let all = |column: &str| results.distinct(column).join(", ");
    let seeds = results.distinct("seed").len();
    let mut text = format!(
        "{} on {}; {} tool cores; {} sessions a run, arrivals {}; {seeds} seed{}",
        all("model"),
        all("gpu"),
        all("tool_cores"),
        all("sessions"),
        all("arrivals"),
        if seeds == 1 { "" } else { "s" },
    );
    if seeds > 1 {
        let _ = write!(text, ", bars and bands: 95 % interval (Student's t)");
    }
    if let Some(row) = results.runs.rows.first() {
        let _ = write!(text, "; semantics {}", text_of(row, "config.semantics"));
    }
    text
}

fn text_of(row: &crate::sweep::table::Row, column: &str) -> String {
    let shown = text(row, column);
    if shown.is_empty() {
        crate::SEMANTICS.to_string()
    } else {
        shown
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Recipe>, Failure> {
    let mut chosen: Vec<&Recipe> = Vec::new();
    for name in names {
        let found: Vec<&Recipe> = RECIPES
            .iter()
            .filter(|recipe| match name.as_str() {
                "all" => true,
                "paper" => recipe.of_paper,
                "ours" => !recipe.of_paper,
                name => recipe.name == name,
            })
            .collect();
        if found.is_empty() {
            let known = RECIPES.iter().map(|r| r.name);
            let known = known.chain(["all", "paper", "ours", "list"]);
            return Err(Failure::bad_input(anyhow!(
                "no figure `{name}`{}\nhint: `orrery figure list` shows them",
                did_you_mean(nearest(name, known))
            )));
        }
        for recipe in found {
            if !chosen.iter().any(|c| c.name == recipe.name) {
                chosen.push(recipe);
            }
        }
    }
    Ok(chosen)
}

fn list() -> String {
    let mut table = crate::output::table(&["figure", "of", "shows"]);
    for recipe in RECIPES {
        let of = if recipe.of_paper { "paper" } else { "ours" };
        table.add_row([recipe.name, of, recipe.about]);
    }
    format!("{table}\n")
}
