//! Workloads that come with the program, so that a first run needs no download.
//!
//! Numbers only: token counts and times, no text. Source, commit, licence and the rule by which the
//! sessions were chosen are in `data/README.md`, and in each trace's header.

use crate::error::TraceError;
use crate::format::{Header, TraceReader};
use crate::model::Session;

/// Names of the bundled workloads, for a command line.
pub const NAMES: &[&str] = &["swebench-mini", "weka-long"];

/// The file behind [`swebench_mini`], as it can be written to disk.
pub const SWEBENCH_MINI: &[u8] = include_bytes!("../data/swebench-mini.jsonl.zst");

/// 101 SWE-bench Verified sessions of mini-swe-agent with Gemini 3 Pro: recorded token counts, drawn
/// tool times.
///
/// # Panics
/// Never: the file is part of the program, and a test reads it.
pub fn swebench_mini() -> (Header, Vec<Session>) {
    read(SWEBENCH_MINI).expect("a test reads every bundled workload")
}

/// The file behind [`weka_long`], as it can be written to disk.
pub const WEKA_LONG: &[u8] = include_bytes!("../data/weka-long.jsonl.zst");

/// 200 interactive Claude Code sessions recorded at WEKA, contexts up to 262,144 tokens: recorded token
/// counts; tool times that hold permission prompts too, and so are upper bounds; no arrivals.
///
/// # Panics
/// Never: the file is part of the program, and a test reads it.
pub fn weka_long() -> (Header, Vec<Session>) {
    read(WEKA_LONG).expect("a test reads every bundled workload")
}

/// The workload called `name`, one of [`NAMES`].
pub fn by_name(name: &str) -> Option<(Header, Vec<Session>)> {
    match name {
        "swebench-mini" => Some(swebench_mini()),
        "weka-long" => Some(weka_long()),
        _ => None,
    }
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<Session>), TraceError> {
    let reader = TraceReader::open(bytes)?;
    let header = reader.header().clone();
    Ok((header, reader.collect::<Result<_, _>>()?))
}
