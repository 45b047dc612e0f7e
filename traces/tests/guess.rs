//! Every recording is taken by its own importer and by no other, wherever its head is cut.

mod common;

use common::{plain_files, recordings};
use traces::import::{HEAD_BYTES, IMPORTERS, Recording, by_name, collect, guess};
use traces::{Header, Session, TraceError, TraceReader, TraceWriter};

/// Which importer each folder of recordings is for, by the end of the files' names.
const FOLDERS: &[(&str, &str, &str)] = &[
    ("agentcgroup-claude-code", "trace.jsonl", "claude-code"),
    ("agtrace-samples", "claude_agent.jsonl", "claude-code"),
    ("agtrace-samples", "spawns.jsonl", "codex"),
    ("agtrace-samples", "019b88e0.jsonl", "codex"),
    ("agtrace-samples", "019b88e5.jsonl", "codex"),
    ("mini-swe-agent-gemini3pro", ".traj.json", "mini-swe-agent"),
    ("openhands-v0", ".jsonl", "openhands"),
    ("pi-coding-agent", ".jsonl", "pi"),
    ("swe-agent", ".traj", "swe-agent"),
    ("weka-claude-code", ".json", "weka"),
    ("mooncake-fast25", "_trace.jsonl", "mooncake"),
];

#[test]
fn every_recording_is_recognised() {
    let Some(folder) = recordings() else { return };
    for (source, ending, importer) in FOLDERS {
        let files = plain_files(&folder.join(source));
        let mut seen = 0;
        for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(ending)) {
            let head = &bytes[..bytes.len().min(HEAD_BYTES)];
            let guessed = guess(name, head).map(|importer| importer.name);
            assert_eq!(guessed.as_ref(), Ok(importer), "{name}");
            seen += 1;
        }
        assert!(seen > 0, "{source} has files");
    }
}

/// Import, write, read: nothing is lost or changed on the way through our own format.
#[test]
fn every_recording_survives_our_own_format() {
    let Some(folder) = recordings() else { return };
    for (source, ending, importer) in FOLDERS {
        let files = plain_files(&folder.join(source));
        let mut imported = Vec::new();
        for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(ending)) {
            let mut input = &bytes[..];
            let (sessions, _) = by_name(importer)
                .unwrap()
                .read(Recording::new(name, &mut input))
                .expect(name);
            imported.extend(sessions);
        }
        let sessions = collect(imported);
        let mut writer = TraceWriter::zstd(Vec::new(), &Header::default(), 1).unwrap();
        for session in &sessions {
            writer.write(session).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let again: Result<Vec<Session>, TraceError> = if sessions.is_empty() {
            Ok(Vec::new())
        } else {
            TraceReader::open(&bytes[..]).and_then(Iterator::collect)
        };
        assert_eq!(again.expect(source), sessions, "{source}");
    }
}

/// Files that lie beside recordings, and are none.
#[test]
fn what_is_no_recording_is_not_taken_for_one() {
    for (name, head) in [
        ("a.jsonl", &b""[..]),
        ("a.jsonl", b"{\"a\":1}"),
        (
            "tool_calls.json",
            b"[{\"timestamp\":\"2026\",\"tool\":\"Bash\",\"id\":\"x\"}]",
        ),
        (
            "resources.json",
            b"{\"samples\":[{\"epoch\":1.0}],\"summary\":{}}",
        ),
        (
            "README.md",
            b"# mini-swe-agent-1 messages trajectory_format",
        ),
        ("x.traj.json", b"\xFF\xFE{\x00\"\x00"),
    ] {
        let unrecognised = guess(name, head).unwrap_err();
        assert!(unrecognised.taken_by.is_empty(), "{name}: {unrecognised}");
        let text = unrecognised.to_string();
        for importer in IMPORTERS {
            assert!(text.contains(&format!("{}: wanted {}", importer.name, importer.looks)));
        }
    }
}

#[test]
fn names_are_unique_and_found() {
    for importer in IMPORTERS {
        assert_eq!(by_name(importer.name).unwrap().looks, importer.looks);
    }
    assert!(by_name("claude").is_none());
}
