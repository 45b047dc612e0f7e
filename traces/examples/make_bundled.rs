//! Writes a bundled workload from a folder of recordings.
//!
//! ```text
//! cargo run -p traces --example make_bundled -- swebench-mini <folder with *.traj.json> <output file>
//! cargo run -p traces --example make_bundled -- weka-long <folder with trace_*.json> <output file>
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "an example is a program: it opens the files"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rand_core::Rng;
use traces::fill::Fill;
use traces::import::{ImportReport, Openings, Recording, collect, mini_swe, weka};
use traces::{Header, Session, TraceWriter, rng};
use units::{Nanos, Tokens};

type Files = BTreeMap<String, PathBuf>;

/// A workload with what is to be said of it.
type Made = Result<(Header, Vec<Session>), Box<dyn Error>>;

/// Seed of the drawn tool times, and of the sample of `weka-long`.
const SEED: u64 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(name), Some(folder), Some(output)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: make_bundled swebench-mini|weka-long <folder> <output file>".into());
    };
    let mut files = Files::new();
    let (header, sessions) = match name.to_str() {
        Some("swebench-mini") => {
            find(Path::new(&folder), ".traj.json", &mut files)?;
            swebench_mini(&files)?
        }
        Some("weka-long") => {
            find(Path::new(&folder), ".json", &mut files)?;
            weka_long(&files)?
        }
        _ => return Err("there is `swebench-mini`, and there is `weka-long`".into()),
    };
    let mut writer = TraceWriter::zstd(Vec::new(), &header, 19)?;
    for session in &sessions {
        writer.write(session)?;
    }
    let bytes = writer.finish()?;
    fs::write(&output, &bytes)?;
    eprintln!("{} sessions, {} bytes", sessions.len(), bytes.len());
    Ok(())
}

/// Of every ten sessions in order of their id, these are taken: an even three in ten over the whole
/// list, and so over the projects, which the ids begin with.
const TAKEN_OF_TEN: [usize; 3] = [0, 3, 6];

fn swebench_mini(files: &Files) -> Made {
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
    eprintln!("{report:#?}\n{:?}", fill.sessions(&mut sessions));
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
        commands: false,
    };
    Ok((header, sessions))
}

/// Sessions of `weka-long`.
const LONG_SESSIONS: usize = 200;

/// Longest context of `weka-long`, so that one session fits the memory of one large GPU.
const LONGEST: Tokens = Tokens(262_144);

/// Longest tool call or pause of `weka-long`.
const LONGEST_GAP: Nanos = Nanos::from_millis(3_600_000);

fn weka_long(files: &Files) -> Made {
    let mut report = ImportReport::default();
    let mut openings = Openings::new();
    let mut eligible = Vec::new();
    for path in files.values() {
        let bytes = fs::read(path)?;
        let mut input = &bytes[..];
        let (sessions, counts) = weka::IMPORTER
            .read(Recording::new("", &mut input))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        report.absorb(counts);
        for session in sessions.into_iter().map(|imported| imported.session) {
            let whole = session.parent.is_none() && session.peak_tokens() <= LONGEST;
            if whole && !openings.repeats(&session) {
                eligible.push(session);
            }
        }
    }
    let of = eligible.len();
    // A draw for each; the smallest ones are taken, in the order of the files.
    let draw = |at: u64| (rng::stream(SEED, "weka-long", at).next_u64(), at);
    let mut draws: Vec<_> = (0..of as u64).map(draw).collect();
    draws.sort_unstable();
    draws.truncate(LONG_SESSIONS);
    let taken: Vec<u64> = draws.into_iter().map(|(_, at)| at).collect();
    let mut sessions: Vec<Session> = (0..)
        .zip(eligible)
        .filter_map(|(at, session)| taken.contains(&at).then_some(session))
        .collect();
    let mut cut = 0;
    for turn in sessions.iter_mut().flat_map(|session| &mut session.turns) {
        let walls = turn.tools.iter_mut().filter_map(|tool| tool.wall.as_mut());
        for span in walls.map(|wall| &mut wall.value).chain(&mut turn.think) {
            cut += u32::from(*span > LONGEST_GAP);
            *span = (*span).min(LONGEST_GAP);
        }
    }
    eprintln!(
        "{report:#?}\n{cut} gaps cut\n{:?}",
        Fill::new(SEED).sessions(&mut sessions)
    );
    let header = Header {
        source: Some(
            "https://github.com/callanjfox/kv-cache-tester commit \
             94f6046dfd9c0c8bc0cdb24a5aa6579bac8669bf, traces"
                .to_owned(),
        ),
        license: Some("Apache-2.0".to_owned()),
        note: Some(format!(
            "{} of {of} sessions up to {LONGEST} tokens (seed {SEED}); token counts recorded; tool times \
             are upper bounds (permission prompts are in them), cut at 1 h; CPU drawn",
            sessions.len(),
        )),
        commands: false,
    };
    Ok((header, sessions))
}

/// Every recording under `folder`, by file name without its ending.
fn find(folder: &Path, ending: &str, files: &mut Files) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, ending, files)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && let Some(id) = name.strip_suffix(ending)
        {
            files.insert(id.to_owned(), path.clone());
        }
    }
    Ok(())
}
