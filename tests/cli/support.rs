//! Starting the program in a folder of its own, and small traces.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder to run in; gone when dropped.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The program, to be started in `folder`.
pub(crate) fn orrery(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orrery"));
    command.current_dir(folder).args(args).stdin(Stdio::null());
    command
}

/// What the program did.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }

    /// The JSON on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}{}", self.stdout, self.stderr))
    }

    /// The runs in the JSON on stdout.
    pub(crate) fn runs(&self) -> Vec<Value> {
        self.json()["runs"].as_array().expect("a list").clone()
    }
}

/// Runs the program to its end.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(orrery(folder, args).output().expect("the program starts"))
}

/// Runs it and insists on success.
pub(crate) fn succeed(folder: &Path, args: &[&str]) -> Ran {
    let ran = run(folder, args);
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
    ran
}

/// Line 1 of a trace.
pub(crate) const HEADER: &str = r#"{"orrery_trace":1,"license":"CC0-1.0"}"#;

/// A session of two turns with a tool between them: 1600 prompt tokens, one token out, 250 ms of
/// tool, then 2000 prompt tokens, 1600 of which are old, and one token out.
pub(crate) fn two_turns(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","turns":[{{"prompt":1600,"output":1,"tools":[{{"name":"bash","wall_s":0.25,"cpu_s":0.1}}]}},{{"prompt":2000,"reused":1600,"output":1}}]}}"#
    )
}

/// Writes a trace of these lines after the header.
pub(crate) fn trace(folder: &Path, name: &str, lines: &[String]) {
    let mut text = format!("{HEADER}\n");
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    std::fs::write(folder.join(name), text).expect("a trace");
}

/// Names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}
