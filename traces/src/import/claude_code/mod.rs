//! Claude Code session transcripts (`~/.claude/projects/*/<session>.jsonl`).
//!
//! What: one file gives the session itself and, where it holds them, its sub-agents as child
//! sessions. One model call is all assistant lines with one `message.id`.
//!
//! Why the rules:
//! - `usage` is repeated on every line of a call, so a call is counted once, by its id.
//! - Without a `stop_reason`, `output_tokens` is a placeholder of the stream's start. The count is
//!   then estimated from the text: `9.06 + 46.9 * tool calls + 0.2827 * characters`, rounded down,
//!   a fit on 322 calls of claude-haiku-4-5 with true counts (agentcgroup recordings, Claude Code
//!   2.1.69; R2 0.988, median error 5.4 %).
//! - Missing cache fields stay unknown. They do not mean that nothing was cached.
//! - `reused`: the previous prompt and output, if the new prompt has room for both. If the prompt
//!   *shrinks*, the conversation was compacted or reset: the recorded cache reads are the evidence,
//!   and without them nothing is reused. If a prompt grows by less than a recorded output, something
//!   of that output was dropped: only the previous prompt is reused. A conversation in which that
//!   happens after a call with thinking runs on a server that never feeds thinking back, so there
//!   every call that follows thinking reuses only the previous prompt.
//! - The shared opening is what the first call read from a cache: no earlier call of the session can
//!   have put it there. Its group is the client's version and the model.
//!
//! Limits: Claude Code 2.0.0 hides a model call in the time of `Bash` commands outside a read-only
//! list. A tool's time includes a permission prompt. A tool call's CPU time is all that the container
//! used meanwhile: calls that overlap each count it, and a sub-agent's call counts that of the
//! sub-agent's own tools. Sub-agents that another file holds are sessions of that file.

mod chain;
mod chars;
mod cpu;
mod line;

use std::collections::BTreeMap;
use std::io::BufRead;

use units::Nanos;

use self::chain::Chain;
use self::cpu::CpuCurve;
use self::line::{Body, Head};
use super::{ImportReport, ImportResult, Imported, Importer, Skip, clock, json, lawful};
use crate::error::{Place, TraceError, shown};
use crate::lines::Lines;

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "claude-code",
    ending: ".jsonl",
    beside: Some("resources.json"),
    run: |recording| import(recording.input, recording.name, recording.beside),
};

/// Reads one transcript, and the CPU readings beside it (`resources.json`) where there are any.
///
/// The first session is the main one, if the file holds it; sub-agents follow in order of
/// appearance. `name` becomes the id where the lines have no `sessionId`. A file without model calls
/// gives no session.
///
/// # Errors
/// [`TraceError`] with the line and field, or with the path in `resources`.
pub fn import(transcript: impl BufRead, name: &str, resources: Option<&[u8]>) -> ImportResult {
    let cpu = resources.map(CpuCurve::parse).transpose()?;
    let mut file = Transcript::default();
    let mut lines = Lines::new(transcript);
    while let Some((place, line)) = lines.next_line()? {
        file.read(place, line)?;
    }
    let Transcript {
        chains,
        mut report,
        session_id,
        ..
    } = file;
    let main_id = session_id.as_deref().unwrap_or(name).to_owned();
    let mut imported = Vec::new();
    for chain in chains {
        if chain.is_empty() {
            report.skip(Skip::NoCalls);
            continue;
        }
        let place = chain.place();
        let session = lawful(chain.session(&main_id, cpu.as_ref()), place)?;
        report.count(&session);
        imported.push(Imported {
            session,
            began: chain.began(),
        });
    }
    Ok((imported, report))
}

/// A transcript while it is read: its conversations, as numbers.
#[derive(Default)]
struct Transcript {
    chains: Vec<Chain>,
    /// Index of each conversation by its key.
    by_key: BTreeMap<String, usize>,
    /// Key of the sub-agent that a line belongs to, by the line's uuid.
    side_lines: BTreeMap<String, String>,
    session_id: Option<String>,
    report: ImportReport,
}

impl Transcript {
    fn read(&mut self, place: Place, line: &[u8]) -> Result<(), TraceError> {
        let head: Head = json::parse(place, line)?;
        let key = self.key(&head, place);
        let kind = head.kind.as_deref().unwrap_or("");
        if kind != "user" && kind != "assistant" {
            self.report.skip(Skip::LineType(shown(&kind)));
            return Ok(());
        }
        if self.session_id.is_none() {
            self.session_id.clone_from(&head.session_id);
        }
        let time = timestamp(&head, place)?;
        let body: Body = json::parse(place, line)?;
        let index = match self.by_key.get(&key) {
            Some(&index) => index,
            None => self.open(key, place, &head),
        };
        let chain = &mut self.chains[index];
        match (kind, body.message) {
            ("assistant", Some(message)) => {
                chain.assistant(place, time, message, &mut self.report)?;
            }
            (_, Some(message)) => {
                let by_client = head.is_meta == Some(true) || head.is_compact_summary == Some(true);
                chain.user(time, message, by_client, &mut self.report);
            }
            (_, None) => self
                .report
                .skip(Skip::LineType(format!("{kind} without message"))),
        }
        Ok(())
    }

    /// Starts the conversation `key` and gives its index.
    fn open(&mut self, key: String, place: Place, head: &Head) -> usize {
        let sides = self.chains.iter().filter(|chain| chain.is_side()).count();
        let side = (!key.is_empty()).then(|| match &head.agent_id {
            Some(agent) => format!("agent-{agent}"),
            None => format!("side-{}", sides + 1),
        });
        self.by_key.insert(key, self.chains.len());
        self.chains
            .push(Chain::new(place, side, head.version.clone()));
        self.chains.len() - 1
    }

    /// Which conversation a line belongs to: empty for the main one.
    fn key(&mut self, head: &Head, place: Place) -> String {
        if head.is_sidechain != Some(true) {
            return String::new();
        }
        let parent = head
            .parent_uuid
            .as_ref()
            .and_then(|parent| self.side_lines.get(parent));
        let key = match (&head.agent_id, parent) {
            (Some(agent), _) => format!("agent {agent}"),
            (None, Some(key)) => key.clone(),
            (None, None) => format!("{place}"),
        };
        if let Some(uuid) = &head.uuid {
            self.side_lines.insert(uuid.clone(), key.clone());
        }
        key
    }
}

fn timestamp(head: &Head, place: Place) -> Result<Nanos, TraceError> {
    const WANTED: &str = "a time in UTC such as 2026-02-07T09:44:37.731Z";
    let Some(text) = &head.timestamp else {
        return Err(TraceError::Missing {
            place,
            field: "timestamp".to_owned(),
            wanted: WANTED.to_owned(),
        });
    };
    clock::utc(text).ok_or_else(|| TraceError::Value {
        place,
        field: "timestamp".to_owned(),
        value: shown(text),
        wanted: WANTED.to_owned(),
    })
}
