//! Writes `data/swebench-mini.jsonl.zst` from a folder of mini-swe-agent recordings.
//!
//! ```text
//! cargo run -p traces --example make_bundled -- <folder with *.traj.json> <output file>
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "an example is a program: it opens the files"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use traces::fill::Fill;
use traces::import::{ImportReport, collect, mini_swe};
use traces::{Header, TraceWriter};
use units::Nanos;

/// Of every ten sessions in order of their id, these are taken: an even three in ten over the whole
/// list, and so over the projects, which the ids begin with.
const TAKEN_OF_TEN: [usize; 3] = [0, 3, 6];

/// Seed of the drawn tool times.
const SEED: u64 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(folder), Some(output)) = (args.next(), args.next()) else {
        return Err("usage: make_bundled <folder with *.traj.json> <output file>".into());
    };
    let mut files = BTreeMap::new();
    find(&folder, &mut files)?;
    let mut report = ImportReport::default();
    let mut imported = Vec::new();
    for (position, (name, path)) in files.iter().enumerate() {
        if !TAKEN_OF_TEN.contains(&(position % 10)) {
            continue;
        }
        let (session, counts) = mini_swe::import(&fs::read(path)?, name)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        imported.push(session);
        report.absorb(counts);
    }
    let mut sessions = collect(imported);
    // The recorded agent killed its commands after 60 s.
    let fill = Fill {
        tool_limit: Nanos::from_millis(60_000),
        ..Fill::new(SEED)
    };
    let filled = fill.sessions(&mut sessions);
    let header = Header {
        source: Some(
            "https://github.com/gruckion/mini-swe-agent commit \
             d12a71affd95403b036b2bdbd827349b77bfffb9, swebench_results/20251118_gemini-3-pro-74pct"
                .to_owned(),
        ),
        license: Some("MIT".to_owned()),
        note: Some(format!(
            "{} of {} sessions; token counts recorded, tool times drawn (seed {SEED}, limit 60 s)",
            sessions.len(),
            files.len()
        )),
    };
    let mut writer = TraceWriter::zstd(Vec::new(), &header, 19)?;
    for session in &sessions {
        writer.write(session)?;
    }
    let bytes = writer.finish()?;
    fs::write(&output, &bytes)?;
    eprintln!(
        "{report:#?}\n{filled:?}\n{} bytes to {}",
        bytes.len(),
        output.display()
    );
    Ok(())
}

/// Every trajectory under `folder`, by file name (which begins with the instance id).
fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && let Some(id) = name.strip_suffix(".traj.json")
        {
            files.insert(id.to_owned(), path.clone());
        }
    }
    Ok(())
}
