//! Which cost model a machine gets: names, folders and files from the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::{Value, json};
use sim::cost::CostModel;
use sim::spec::{Catalog, CostChoice, Hardware, ProfileFiles};

use super::settings::Settings;
use crate::failure::Failure;

/// Flags that choose the cost model.
#[derive(Clone, Debug, Default, Args)]
pub struct CostArgs {
    /// What a step costs: `auto` (closed form where there is a fit, otherwise roofline), `closed-form`,
    /// `roofline`, `profile:DIR` (measured kernel tables), or a TOML file from `orrery calibrate`.
    #[arg(long, value_name = "MODEL|FILE")]
    pub cost: Option<String>,

    /// TOML files or folders of them with further GPUs, models and fits, separated by commas; the format
    /// is that of sim/specs.
    #[arg(long, value_name = "PATH,...")]
    pub hardware_file: Option<String>,
}

impl CostArgs {
    /// Puts what was given into the settings.
    pub fn apply(&self, settings: &mut Settings) {
        if let Some(cost) = &self.cost {
            cost.trim().clone_into(&mut settings.cost);
        }
        if let Some(files) = &self.hardware_file {
            files.trim().clone_into(&mut settings.specs);
        }
    }
}

/// The specs that ship and those in these files and folders.
///
/// # Errors
/// Bad input: a file that cannot be read or is no spec, with its line.
pub fn catalog(paths: &str) -> Result<Catalog, Failure> {
    let mut catalog = Catalog::builtin();
    for path in paths.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        for file in spec_files(Path::new(path))? {
            let text = read(&file)?;
            let origin = file.display().to_string();
            catalog.add(&origin, &text).map_err(Failure::bad_input)?;
        }
    }
    Ok(catalog)
}

fn spec_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let listed = std::fs::read_dir(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot list `{}`", path.display()))
        .map_err(Failure::bad_input)?;
    let mut files: Vec<PathBuf> = listed
        .into_iter()
        .map(|entry| entry.path())
        .filter(|file| file.extension().is_some_and(|e| e == "toml"))
        .collect();
    if files.is_empty() {
        return Err(Failure::bad_input(anyhow!(
            "no .toml file in `{}`",
            path.display()
        )));
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))
        .map_err(Failure::bad_input)
}

/// The cost model that the settings name.
///
/// # Errors
/// Bad input: an unknown name, or files that cannot be read.
pub fn choice(settings: &Settings) -> Result<CostChoice, Failure> {
    let text = settings.cost.as_str();
    match text {
        "auto" => return Ok(CostChoice::Auto),
        "closed-form" => return Ok(CostChoice::ClosedForm),
        "roofline" => return Ok(CostChoice::Roofline),
        _ => {}
    }
    if let Some(folder) = text.strip_prefix("profile:") {
        let mut files = profile(Path::new(folder), settings.tensor_parallel)?;
        files.graphs.clone_from(&settings.graphs);
        return Ok(CostChoice::Profile(Box::new(files)));
    }
    if Path::new(text).extension().is_some_and(|e| e == "toml") {
        let mut own = Catalog::default();
        own.add(text, &read(Path::new(text))?)
            .map_err(Failure::bad_input)?;
        return Ok(CostChoice::Fitted(Box::new(own)));
    }
    Err(Failure::bad_input(anyhow!(
        "`--cost` is `{text}` (wanted: auto, closed-form, roofline, profile:DIR, or a .toml file)"
    )))
}

/// The tables in a folder: `DIR/tpN/*.csv` with `DIR/meta.yaml`, or the CSV files themselves.
///
/// # Errors
/// Bad input: a table that is not there.
pub fn profile(folder: &Path, degree: u32) -> Result<ProfileFiles, Failure> {
    let inner = folder.join(format!("tp{degree}"));
    let (tables, meta) = if inner.is_dir() {
        (inner, folder.join("meta.yaml"))
    } else if folder.join("dense.csv").is_file() {
        let above = folder.parent().unwrap_or(folder).join("meta.yaml");
        (folder.to_owned(), above)
    } else {
        return Err(Failure::bad_input(anyhow!(
            "no kernel tables in `{}`\nhint: wanted is a folder with tp{degree}/dense.csv, attention.csv, \
             per_sequence.csv (and moe.csv for mixtures)",
            folder.display()
        )));
    };
    let moe = tables.join("moe.csv");
    Ok(ProfileFiles {
        origin: tables.display().to_string(),
        dense: read(&tables.join("dense.csv"))?,
        attention: read(&tables.join("attention.csv"))?,
        per_sequence: read(&tables.join("per_sequence.csv"))?,
        moe: moe.is_file().then(|| read(&moe)).transpose()?,
        meta: meta.is_file().then(|| read(&meta)).transpose()?,
        graphs: None,
    })
}

/// Everything about the cost model that can change a result.
pub fn config(hardware: &Hardware) -> Value {
    let host = hardware.cost.host();
    let mut config = match &hardware.cost {
        CostModel::ClosedForm(cost) => {
            let c = cost.coefficients();
            json!({
                "p0_ps": c.p0, "p1_ps": c.p1, "p2_ps": c.p2, "d0_ps": c.d0, "e_ps": c.e,
                "d1_ps": c.d1, "d2_ps": c.d2, "active_share": c.active_share,
            })
        }
        // Tables and data sheets are too many numbers to print: their digest tells two apart.
        other => json!({
            "model": other.name(),
            "gpus": hardware.degree,
            "digest": blake3::hash(format!("{other:?}").as_bytes()).to_hex()[..16],
        }),
    };
    config["host_per_step_ns"] = json!(host.per_step.as_nanos());
    config["host_per_running_ns"] = json!(host.per_running.as_nanos());
    if host.overlapped {
        config["host_overlapped"] = json!(true);
    }
    config
}
