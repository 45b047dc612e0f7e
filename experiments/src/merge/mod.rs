//! `orrery merge`: the parts of a sweep joined into one folder.
//!
//! How: every run that a part planned and finished is checked against its manifest and linked into
//! the whole; the tables are made of all manifests, so they are those of a sweep in one go.
//! Limits: where the file system has no hard links, files are copied.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{data, note};
use crate::run::directory::Draft;
use crate::sweep::args::MergeArgs;
use crate::sweep::folder::{Folder, finished};
use crate::sweep::summary::{self, Counts};
use crate::sweep::table::Runs;
use crate::sweep::{manifests, partial, planned, write_tables};

/// One part: what it planned.
struct Part {
    folder: PathBuf,
    record: Value,
    runs: Vec<String>,
}

/// `orrery merge`.
///
/// # Errors
/// A [`Failure`] with its exit code: folders that are no sweeps, runs that are missing.
pub fn command(args: &MergeArgs) -> Result<(), Failure> {
    let mut parts = Vec::new();
    for folder in &args.folders {
        parts.push(part(folder).map_err(Failure::bad_input)?);
    }
    let grids: BTreeSet<String> = parts
        .iter()
        .map(|p| format!("{} {}", p.record["name"], p.record["axes"]))
        .collect();
    if grids.len() > 1 {
        note(
            args.quiet,
            &format!(
                "the folders are of {} different sweeps; all their runs are joined",
                grids.len()
            ),
        );
    }
    let folder = Folder::open(&args.out)?;
    let mut wanted: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for part in &parts {
        for run in &part.runs {
            wanted.entry(run).or_default().push(&part.folder);
        }
    }
    let mut missing: Vec<String> = Vec::new();
    for (run, folders) in &wanted {
        if let Err(error) = bring(run, folders, &folder) {
            missing.push(format!("{error:#}"));
        }
    }
    let record = record(&parts, wanted.keys().copied());
    folder
        .write(Path::new("sweep.json"), &record)
        .map_err(partial)?;
    let (manifests, _) = manifests(&folder.runs(), wanted.keys().copied());
    let runs = Runs::of(&manifests);
    write_tables(&folder, &runs).map_err(partial)?;
    let counts = Counts {
        planned: wanted.len(),
        done: runs.rows.len(),
        before: 0,
        failed: missing.len(),
    };
    data(&summary::print(&runs, &counts, args.shown.format).map_err(partial)?)?;
    note(
        args.quiet,
        &format!(
            "{} of {} runs of {} folders in `{}`",
            counts.done,
            counts.planned,
            parts.len(),
            args.out.display()
        ),
    );
    if missing.is_empty() {
        return Ok(());
    }
    for line in missing.iter().take(20) {
        note(args.quiet, line);
    }
    Err(partial(anyhow!(
        "{} of {} planned runs are missing\nhint: start the sweep of each shard again; what is \
         finished is skipped",
        missing.len(),
        wanted.len()
    )))
}

fn part(folder: &Path) -> anyhow::Result<Part> {
    let (record, runs) = planned(folder)?;
    Ok(Part {
        folder: folder.to_owned(),
        record,
        runs,
    })
}

/// Links a run from one of the folders into the whole.
fn bring(run: &str, folders: &[&Path], whole: &Folder) -> anyhow::Result<()> {
    let target = whole.runs().join(run);
    if finished(&target).is_ok() {
        return Ok(());
    }
    let mut why = None;
    for folder in folders {
        let source = folder.join("runs").join(run);
        match finished(&source) {
            Err(error) => why = Some(error),
            Ok(manifest) => {
                let draft = Draft::create(&whole.runs(), run)?;
                let files = manifest["files"].as_array().cloned().unwrap_or_default();
                let names = files.iter().filter_map(|file| file["name"].as_str());
                for name in names.chain(["manifest.json"]) {
                    link(&source.join(name), &draft.path().join(name))?;
                }
                return draft.publish(&target);
            }
        }
    }
    match why {
        Some(why) => Err(why),
        None => bail!("nobody has `{run}`"),
    }
}

fn link(source: &Path, target: &Path) -> anyhow::Result<()> {
    if fs::hard_link(source, target).is_err() {
        fs::copy(source, target).with_context(|| format!("cannot copy `{}`", source.display()))?;
    }
    Ok(())
}

/// `sweep.json` of the whole: as the sweep in one go would have written it.
fn record<'a>(parts: &[Part], runs: impl Iterator<Item = &'a str>) -> String {
    let first = &parts[0].record;
    let record = json!({
        "orrery_sweep": 1,
        "name": first["name"],
        "semantics": first["semantics"],
        "axes": first["axes"],
        "shard": Value::Null,
        "runs": runs.collect::<Vec<&str>>(),
    });
    format!("{record:#}\n")
}
