//! The folder of a sweep: what is finished, what failed, what is left of a process that was killed.
//!
//! ```text
//! runs/NAME/       finished runs; NAME ends with a hash of all that can change the run
//! failed/NAME.json runs that failed, with the error
//! ideals/HASH.json T_ideal of a machine and a workload
//! log.jsonl        how long each run took, a line as it ends; the one file that differs every time
//! sweep.json       what was planned
//! runs.csv, runs.parquet   a row per run
//! ```
//! Why: everything but the log is a function of the sweep, so it does not matter how often it was
//! stopped and by what.
//! Limits: the lock is the file system's; where there is none, two processes on one folder are not
//! found out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure, render};
use crate::run::directory::{self, Written};

/// A sweep's folder that this process alone writes to.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Held until the end of the process.
    _lock: File,
}

/// How long a run took: a line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Took {
    /// Name of the run.
    pub run: String,
    /// Sessions that it offered.
    pub sessions: usize,
    /// Seconds that simulating it took, on one thread; `None` of a limit, which is not simulated.
    pub sim_wall_s: Option<f64>,
}

impl Folder {
    /// Opens the folder, and clears away what a process left half done.
    ///
    /// # Errors
    /// A folder that cannot be written to, or that another process works in.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        directory::prepare(root).map_err(Failure::bad_input)?;
        let path = root.join(".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot write `{}`", path.display()))
            .map_err(Failure::bad_input)?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(Failure::bad_input(anyhow!(
                "another process works in `{}`\nhint: shards want a folder each",
                root.display()
            )));
        }
        let folder = Self {
            root: root.to_owned(),
            _lock: lock,
        };
        for part in ["runs", "failed", "ideals"] {
            let path = folder.root.join(part);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create `{}`", path.display()))
                .map_err(Failure::bad_input)?;
        }
        folder.clear().map_err(Failure::bad_input)?;
        Ok(folder)
    }

    /// Removes what was being written when a process ended.
    fn clear(&self) -> anyhow::Result<()> {
        let below = ["runs", "failed", "ideals"].map(|part| self.root.join(part));
        for folder in below.iter().chain([&self.root]) {
            let cannot = || format!("cannot clear `{}`", folder.display());
            for entry in fs::read_dir(folder).with_context(cannot)? {
                let entry = entry.with_context(cannot)?;
                let path = entry.path();
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                let left = path.extension().is_some_and(|e| e == "tmp" || e == "old");
                if !(hidden && left) {
                    continue;
                }
                let removed = if entry.file_type().with_context(cannot)?.is_dir() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                };
                removed.with_context(cannot)?;
            }
        }
        Ok(())
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where run directories are.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    fn failed(&self, name: &str) -> PathBuf {
        self.root.join("failed").join(format!("{name}.json"))
    }

    /// Writes down why a run failed.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn record_failure(&self, name: &str, failure: &Failure) -> anyhow::Result<()> {
        let record = json!({
            "run": name,
            "exit": failure.exit as u8,
            "invariant_broke": failure.exit == Exit::Invariant,
            "error": render(&failure.error).trim_end(),
        });
        self.write(
            &PathBuf::from("failed").join(format!("{name}.json")),
            &format!("{record:#}\n"),
        )
    }

    /// Forgets an earlier failure of a run that is done now.
    pub fn forget_failure(&self, name: &str) {
        // There usually is none.
        let _ = fs::remove_file(self.failed(name));
    }

    /// Adds a line to the log. Lines are short, so a process that is killed loses at most one.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn log(&self, took: &Took) -> anyhow::Result<()> {
        let path = self.root.join("log.jsonl");
        let cannot = || format!("cannot write `{}`", path.display());
        let line = format!("{}\n", serde_json::to_string(took)?);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(cannot)?;
        file.write_all(line.as_bytes()).with_context(cannot)
    }

    /// Writes a file so that it is there as a whole or not at all.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn write(&self, name: &Path, text: &str) -> anyhow::Result<()> {
        whole(&self.root.join(name), |path| {
            fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
        })
    }
}

/// Lets `write` write beside `path`, and renames what it wrote.
///
/// # Errors
/// What `write` says, or the system.
pub fn whole(path: &Path, write: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = write(&temporary).and_then(|()| {
        fs::rename(&temporary, path).with_context(|| format!("cannot write `{}`", path.display()))
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// What the log of a sweep's folder says; lines that were cut short are left out.
pub fn logged(root: &Path) -> Vec<Took> {
    let text = fs::read_to_string(root.join("log.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The manifest of a finished run, if every file is what the manifest says.
///
/// # Errors
/// What is broken, for people.
pub fn finished(run: &Path) -> anyhow::Result<Value> {
    let path = run.join("manifest.json");
    let cannot = || format!("`{}` is not a finished run", run.display());
    let text = fs::read_to_string(&path).with_context(cannot)?;
    let manifest: Value = serde_json::from_str(&text).with_context(cannot)?;
    let files: Vec<Written> = serde_json::from_value(manifest["files"].clone())
        .context("the manifest lists no files")
        .with_context(cannot)?;
    for file in &files {
        // A name with a slash would lead out of the folder.
        let plain = Path::new(&file.name).components().count() == 1;
        if !plain || Written::of(run, &file.name).with_context(cannot)? != *file {
            return Err(anyhow!("`{}` is not what was written", file.name)).with_context(cannot);
        }
    }
    Ok(manifest)
}
