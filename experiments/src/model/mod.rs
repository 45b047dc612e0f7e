//! `orrery model`: real model files by name, fetched once and checked.
//!
//! What: `list` says which there are and which are here; `fetch` downloads one and prints its path.
//! Limits: the names are those of [`engine::fetch::CATALOG`]; any other file is given as a path.

pub mod args;

use anyhow::anyhow;
use engine::fetch::{self, CATALOG, FetchError, Stage};
use serde_json::json;

use crate::cli::Format;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{data, note, table};
use args::{ModelArgs, ModelWhat};

/// `orrery model`.
///
/// # Errors
/// A [`Failure`]: an unknown name, a download that fails, a file that is not the listed one.
pub fn command(args: &ModelArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    match &args.what {
        ModelWhat::List { format } => data(&list(format.format)?),
        ModelWhat::Fetch { name, quiet } => get(name, *quiet, interrupt),
    }
}

fn list(format: Format) -> Result<String, Failure> {
    let cache = fetch::cache_dir().map_err(failure)?;
    let rows = CATALOG.iter().map(|model| {
        let path = model.path(&cache);
        let here = path.is_file();
        (model, path, here)
    });
    Ok(match format {
        Format::Table => {
            let mut out = table(&["model", "size (MB)", "here", "licence", "what"]);
            for (model, _, here) in rows {
                out.add_row([
                    model.name.to_owned(),
                    (model.bytes / 1_000_000).to_string(),
                    if here { "yes" } else { "no" }.to_owned(),
                    model.licence.to_owned(),
                    model.what.to_owned(),
                ]);
            }
            format!("{out}\n\nThey are kept in {}.\n", cache.display())
        }
        Format::Json => {
            let models: Vec<_> = rows
                .map(|(model, path, here)| {
                    json!({
                        "name": model.name,
                        "what": model.what,
                        "bytes": model.bytes,
                        "sha256": model.sha256,
                        "licence": model.licence,
                        "path": path,
                        "here": here,
                    })
                })
                .collect();
            format!("{:#}\n", json!({ "models": models }))
        }
        Format::Csv => {
            let mut out = csv::Writer::from_writer(Vec::new());
            let write = |out: &mut csv::Writer<Vec<u8>>| -> anyhow::Result<()> {
                out.write_record(["name", "bytes", "here", "licence", "sha256", "path"])?;
                for (model, path, here) in rows {
                    out.write_record([
                        model.name,
                        &model.bytes.to_string(),
                        if here { "true" } else { "false" },
                        model.licence,
                        model.sha256,
                        &path.display().to_string(),
                    ])?;
                }
                Ok(())
            };
            write(&mut out).map_err(Failure::bad_input)?;
            let bytes = out
                .into_inner()
                .map_err(|e| Failure::bad_input(anyhow!("{e}")))?;
            String::from_utf8(bytes).map_err(Failure::bad_input)?
        }
    })
}

fn get(name: &str, quiet: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let model = fetch::published(name).map_err(failure)?;
    let cache = fetch::cache_dir().map_err(failure)?;
    let path = fetch::fetch(model, &cache, |stage| {
        match stage {
            Stage::Download { part, parts } => note(
                quiet,
                &format!("{name}: downloading {}", part_of(part, parts, model.bytes)),
            ),
            Stage::Check => note(quiet, &format!("{name}: checking its SHA-256")),
        }
        !interrupt.is_set()
    });
    data(&format!("{}\n", path.map_err(failure)?.display()))
}

fn part_of(part: usize, parts: usize, bytes: u64) -> String {
    let megabytes = bytes / 1_000_000;
    if parts == 1 {
        format!("{megabytes} MB")
    } else {
        format!("part {part} of {parts}, {megabytes} MB in all")
    }
}

/// A wrong name is bad input; a download that fails is not.
fn failure(error: FetchError) -> Failure {
    let exit = match error {
        FetchError::Unknown { .. } | FetchError::NotFetched { .. } | FetchError::NoCache => {
            Exit::BadInput
        }
        FetchError::Stopped => Exit::Interrupted,
        _ => Exit::Partial,
    };
    Failure {
        exit,
        error: error.into(),
    }
}
