//! Reading a run directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use polars::prelude::{DataFrame, ParquetReader, SerReader};
use serde_json::Value;

use super::paired::SessionRow;
use crate::run::limits::Limit;

/// A complete run, of which only the manifest has been read.
#[derive(Clone, Debug)]
pub struct Run {
    path: PathBuf,
    manifest: Value,
    policy: String,
    workload: String,
    name: String,
    seed: u64,
    rate_per_s: f64,
}

impl Run {
    /// Reads the manifest.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not a run's manifest.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = path.join("manifest.json");
        let cannot = || format!("cannot use `{}` as a run's manifest", file.display());
        let text = fs::read_to_string(&file).with_context(cannot)?;
        let manifest: Value = serde_json::from_str(&text).with_context(cannot)?;
        if manifest["orrery_manifest"] != 1 {
            return Err(anyhow!("`orrery_manifest` is not 1")).with_context(cannot);
        }
        let config = &manifest["config"];
        let text = |value: &Value, key: &str| -> anyhow::Result<String> {
            let found = value[key].as_str().map(str::to_owned);
            found
                .ok_or_else(|| anyhow!("it has no `{key}`"))
                .with_context(cannot)
        };
        let no_number = |key: &str| anyhow!("it has no `config.{key}`");
        let seed = config["seed"].as_u64();
        let rate = config["rate_per_s"].as_f64();
        Ok(Self {
            policy: text(config, "policy")?,
            workload: text(&manifest["workload"], "name")?,
            name: text(&manifest, "name")?,
            seed: seed.ok_or_else(|| no_number("seed")).with_context(cannot)?,
            rate_per_s: rate
                .ok_or_else(|| no_number("rate_per_s"))
                .with_context(cannot)?,
            path: path.to_owned(),
            manifest,
        })
    }

    /// Where it is, as the user said.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name: policy, rate, seed, digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of its policy.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The workload, as its user named it.
    pub fn workload(&self) -> &str {
        &self.workload
    }

    /// Seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Sessions per second.
    pub fn rate_per_s(&self) -> f64 {
        self.rate_per_s
    }

    /// Its resolved configuration.
    pub fn config(&self) -> &Value {
        &self.manifest["config"]
    }

    /// Its totals.
    pub fn totals(&self) -> &Value {
        &self.manifest["totals"]
    }

    /// Whether it wrote its decisions down.
    pub fn has_decisions(&self) -> bool {
        self.path.join("decisions.parquet").is_file()
    }

    /// Whether the other is the same run but for the decision log and the timeline.
    pub fn is_twin_of(&self, other: &Self) -> bool {
        let but_for_the_log = |run: &Self| {
            let mut config = run.config().clone();
            if let Some(config) = config.as_object_mut() {
                config.remove("decisions");
                config.remove("perfetto");
            }
            config
        };
        but_for_the_log(self) == but_for_the_log(other)
    }

    /// The decision log, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn decisions(&self) -> anyhow::Result<Option<DataFrame>> {
        self.has_decisions()
            .then(|| read(&self.path.join("decisions.parquet")))
            .transpose()
    }

    /// The limit that it is, if it is no run of a policy.
    pub fn limit(&self) -> Option<&str> {
        self.config()["limit"].as_str()
    }

    /// Its sessions, by arrival.
    ///
    /// # Errors
    /// A file that cannot be read, or that lacks a column; a limit without sessions.
    pub fn sessions(&self) -> anyhow::Result<Vec<SessionRow>> {
        if self.limit() == Some(Limit::Bound.name()) {
            bail!(
                "`{}` is the limit `bound`: one mean of the whole load, without sessions to compare \
                 (wanted: runs of policies, or `isolated`)\nhint: the mean is in its `manifest.json`, \
                 and `orrery run --policy ...,bound` prints it beside the policies",
                self.path.display()
            );
        }
        let path = self.path.join("sessions.parquet");
        let frame = read(&path)?;
        session_rows(&frame).with_context(|| format!("cannot use `{}`", path.display()))
    }
}

fn read(path: &Path) -> anyhow::Result<DataFrame> {
    let cannot = || format!("cannot read `{}`", path.display());
    let file = File::open(path).with_context(cannot)?;
    ParquetReader::new(file).finish().with_context(cannot)
}

fn session_rows(frame: &DataFrame) -> anyhow::Result<Vec<SessionRow>> {
    let session = frame.column("session")?.u32()?;
    let trace = frame.column("trace_id")?.str()?;
    let arrival = frame.column("arrival_ns")?.u64()?;
    let finished = frame.column("finished_ns")?.u64()?;
    let prompt = frame.column("prompt_tokens")?.u64()?;
    let output = frame.column("output_tokens")?.u64()?;
    let mut rows = Vec::with_capacity(frame.height());
    for i in 0..frame.height() {
        let (Some(session), Some(trace), Some(arrival), Some(prompt), Some(output)) = (
            session.get(i),
            trace.get(i),
            arrival.get(i),
            prompt.get(i),
            output.get(i),
        ) else {
            bail!("row {i} has a null where none may be");
        };
        let latency = finished.get(i).map(|finished| {
            finished
                .checked_sub(arrival)
                .ok_or_else(|| anyhow!("row {i} finishes before it arrives"))
        });
        rows.push(SessionRow {
            session,
            trace: trace.to_owned(),
            latency_ns: latency.transpose()?,
            tokens: prompt + output,
        });
    }
    Ok(rows)
}
