//! The recordings and the oracle's records, which live beside the project and not in it.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the recordings from disk"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use traces::{Evidence, Session};

/// The folder of recordings; `None`, and a line on stderr, in a clone that does not have it.
pub(crate) fn recordings() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces");
    if folder.is_dir() {
        return Some(folder);
    }
    // Not `eprintln!`: the test runner hides that of a test that passes.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: no recordings at ../shared/traces"
    );
    None
}

/// The oracle's records of one source, by file.
pub(crate) fn oracle(folder: &Path, source: &str) -> BTreeMap<String, Vec<Value>> {
    let path = folder.join(format!("EXPECTED/{source}.sessions.jsonl"));
    let text = std::fs::read_to_string(path).expect("the oracle's records");
    let mut files: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("a JSON record");
        files
            .entry(text_at(&record, "file"))
            .or_default()
            .push(record);
    }
    files
}

pub(crate) fn text_at(value: &Value, key: &str) -> String {
    value[key].as_str().expect("a text").to_owned()
}

/// Whether a file is a recording (and no licence or note).
fn is_recording(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| ["json", "jsonl", "traj"].iter().any(|e| end == *e))
}

/// The plain sample files of a source, by path within it.
pub(crate) fn plain_files(source: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![source.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)
            .expect("a folder")
            .map(Result::unwrap)
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_recording(&path) {
                let name = path
                    .strip_prefix(source)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Every file of the archive `all.tar.zst` of a source, by path within it.
pub(crate) fn archived_files(source: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    each_archived(source, |name, bytes| {
        files.insert(name.to_owned(), bytes.to_vec());
    });
    files
}

/// Hands over every file of the archive, one at a time: some archives are large.
pub(crate) fn each_archived(source: &Path, mut each: impl FnMut(&str, &[u8])) {
    let packed = std::fs::File::open(source.join("all.tar.zst")).expect("the archive");
    let mut decoder = zstd::stream::read::Decoder::new(packed).unwrap();
    decoder.window_log_max(27).unwrap();
    let mut bytes = Vec::new();
    for entry in tar::Archive::new(decoder).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        // The archive holds one folder with the source's name.
        let Some((_, name)) = path.split_once('/') else {
            continue;
        };
        if is_recording(Path::new(name)) {
            bytes.clear();
            entry.read_to_end(&mut bytes).unwrap();
            each(name, &bytes);
        }
    }
}

/// One file of the recordings.
pub(crate) fn file(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).expect("a recording")
}

/// The JSON lines of a recording that was printed for people, with separators between its records.
pub(crate) fn expanded(text: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(text).expect("UTF-8");
    let mut lines = Vec::new();
    for record in text.split("\n===== record ").skip(1) {
        let (_, json) = record.split_once("=====\n").expect("a separator");
        let value: Value = serde_json::from_str(json).expect("a JSON record");
        writeln!(lines, "{value}").expect("memory");
    }
    lines
}

/// What importer and oracle have to agree on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    turns: usize,
    prompt: u64,
    output: u64,
    estimated_outputs: usize,
    /// Sum, and how many turns know it.
    cached: (u64, usize),
    /// (name, milliseconds) of every tool call, in order.
    tools: Vec<(String, Option<u64>)>,
    /// Milliseconds of every model call.
    llm_ms: Vec<Option<u64>>,
}

impl Sums {
    pub(crate) fn of_session(session: &Session) -> Self {
        let cached: Vec<u64> = session
            .turns
            .iter()
            .filter_map(|t| t.cached)
            .map(|c| c.0)
            .collect();
        let tools = session.turns.iter().flat_map(|turn| &turn.tools);
        let estimated = |e: Evidence| usize::from(e == Evidence::Estimated);
        Self {
            turns: session.turns.len(),
            prompt: session.prompt_tokens().0,
            output: session.output_tokens().0,
            estimated_outputs: session
                .turns
                .iter()
                .map(|t| estimated(t.output.evidence))
                .sum(),
            cached: (cached.iter().sum(), cached.len()),
            tools: tools
                .map(|tool| {
                    let ns = tool.wall.map(|wall| wall.value.as_nanos());
                    assert!(
                        ns.is_none_or(|ns| ns % 1_000_000 == 0),
                        "exact milliseconds"
                    );
                    (tool.name.to_string(), ns.map(|ns| ns / 1_000_000))
                })
                .collect(),
            llm_ms: session
                .turns
                .iter()
                .map(|t| t.llm.map(|l| l.as_nanos() / 1_000_000))
                .collect(),
        }
    }

    pub(crate) fn of_oracle(record: &Value) -> Self {
        let turns = record["turns"].as_array().unwrap();
        let sum = |key: &str| turns.iter().map(|t| t[key].as_u64().unwrap()).sum();
        let cached: Vec<u64> = turns.iter().filter_map(|t| t["cached"].as_u64()).collect();
        let tools = turns
            .iter()
            .flat_map(|turn| turn["tools"].as_array().unwrap());
        let estimated = turns.iter().filter(|t| t["output_src"] == "estimated");
        Self {
            turns: turns.len(),
            prompt: sum("prompt"),
            output: sum("output"),
            estimated_outputs: estimated.count(),
            cached: (cached.iter().sum(), cached.len()),
            tools: tools
                .map(|tool| (text_at(tool, "name"), ms(&tool["dur_s"])))
                .collect(),
            llm_ms: turns.iter().map(|turn| ms(&turn["llm_s"])).collect(),
        }
    }

    pub(crate) fn turns(&self) -> usize {
        self.turns
    }

    pub(crate) fn tool_calls(&self) -> usize {
        self.tools.len()
    }

    /// Everything but the tools, for a source whose oracle does not look at what ran.
    pub(crate) fn without_tools(mut self) -> Self {
        self.tools.clear();
        self
    }
}

/// The oracle writes seconds with three digits; the nearest millisecond is what it meant.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small and positive"
)]
fn ms(seconds: &Value) -> Option<u64> {
    seconds.as_f64().map(|s| (s * 1000.0).round() as u64)
}
