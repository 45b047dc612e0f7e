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
//! - `reused`: the previous prompt and output, if the new prompt has room for both. If the
//!   conversation was compacted, or its prompt *shrinks*, the recorded cache reads are the evidence,
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
//! sub-agent's own tools. Sub-agents that another file holds (`agent-*.jsonl`, beside the session or in
//! a folder of its own) are sessions of that file, and name this one as their parent. The call that
//! writes the summary of a compacted conversation is in such a file, or in none. `summary` lines are
//! titles of other sessions.

mod chain;
mod chars;
mod cpu;
mod line;

use std::collections::BTreeMap;
use std::io::BufRead;

use self::chain::Chain;
use self::cpu::CpuCurve;
use self::line::{Body, Head};
use super::recording::{Out, beside, within};
use super::{
    Head as FileHead, ImportReport, ImportResult, Imported, Importer, OnBadSession, Recording,
    Sink, Skip, clock, json,
};
use crate::error::{Place, TraceError, shown};
use crate::lines::Lines;

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "claude-code",
    looks: "JSON lines with `type`, `sessionId` and, on some, `message`",
    recognises,
    beside: &[RESOURCES],
    run,
};

/// The CPU readings that some recordings have beside them.
const RESOURCES: &str = "resources.json";

fn recognises(head: &FileHead<'_>) -> bool {
    head.any(|line| {
        let of_type = |kinds: &[&str]| line.text("type").is_some_and(|kind| kinds.contains(&kind));
        (of_type(&["user", "assistant"]) && line.has_all(&["message", "sessionId"]))
            || (of_type(&["summary"]) && line.has("leafUuid"))
            || (of_type(&["file-history-snapshot"]) && line.has("messageId"))
            || line.has_all(&["type", "sessionId"])
    })
}

/// Reads one transcript, and the CPU readings beside it (`resources.json`) where there are any.
///
/// The first session is the main one, if the file holds it; sub-agents follow in order of
/// appearance. `name` becomes the id where the lines have no `sessionId`. A file without model calls
/// gives no session.
///
/// # Errors
/// [`TraceError`] with the line and field, or with the path in `resources`.
pub fn import(mut transcript: impl BufRead, name: &str, resources: Option<&[u8]>) -> ImportResult {
    let mut folder = BTreeMap::new();
    if let Some(resources) = resources {
        folder.insert(RESOURCES.to_owned(), resources.to_vec());
    }
    IMPORTER.read(Recording::new(name, &mut transcript).with_folder(&mut folder))
}

/// A line that cannot be assigned to a conversation costs the file, any other fault its conversation.
fn run(mut recording: Recording<'_>, sink: Sink<'_>) -> Result<ImportReport, TraceError> {
    let mut out = Out::new(&recording, sink);
    let name = recording.name;
    let (cpu, transcript) = match read(&mut recording) {
        Ok(parts) => parts,
        Err(error) => {
            out.fault(error)?;
            return Ok(out.finish());
        }
    };
    out.report().absorb(transcript.report);
    let main_id = transcript.session_id.as_deref().unwrap_or(name);
    for (chain, fault) in transcript.chains {
        let place = chain.place();
        if let Some(fault) = fault {
            out.fault(fault)?;
        } else if chain.is_empty() {
            out.report().skip(Skip::NoCalls);
        } else {
            let imported = Imported {
                session: chain.session(main_id, cpu.as_ref()),
                began: chain.began(),
            };
            out.put(place, Ok((imported, ImportReport::default())))?;
        }
    }
    Ok(out.finish())
}

fn read(recording: &mut Recording<'_>) -> Result<(Option<CpuCurve>, Transcript), TraceError> {
    let cpu = match beside(&mut recording.folder, RESOURCES)? {
        Some(bytes) => Some(CpuCurve::parse(&bytes).map_err(|error| within(RESOURCES, error))?),
        None => None,
    };
    let mut file = Transcript {
        keep_going: recording.on_bad == OnBadSession::Skip,
        ..Transcript::default()
    };
    let mut lines = Lines::new(&mut recording.input);
    while let Some((place, line)) = lines.next_line()? {
        file.read(place, line)?;
    }
    Ok((cpu, file))
}

/// A transcript while it is read: its conversations, as numbers.
#[derive(Default)]
struct Transcript {
    /// Each with its first fault, after which it is not read on.
    chains: Vec<(Chain, Option<TraceError>)>,
    /// Whether a fault of one conversation spares the others.
    keep_going: bool,
    /// How many of them are sub-agents.
    sides: usize,
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
        if head.subtype.as_deref() == Some("compact_boundary")
            && let Some(&index) = self.by_key.get(&key)
        {
            self.chains[index].0.compact();
        }
        if kind != "user" && kind != "assistant" {
            self.report.skip(Skip::LineType(shown(&kind)));
            return Ok(());
        }
        if self.session_id.is_none() {
            self.session_id.clone_from(&head.session_id);
        }
        let index = match self.by_key.get(&key) {
            Some(&index) => index,
            None => self.open(key, place, &head),
        };
        if self.chains[index].1.is_some() {
            return Ok(());
        }
        match self.take(index, place, kind, &head, line) {
            Err(fault) if self.keep_going => {
                self.chains[index].1 = Some(fault);
                Ok(())
            }
            other => other,
        }
    }

    /// Takes a line of the conversation `index`.
    fn take(
        &mut self,
        index: usize,
        place: Place,
        kind: &str,
        head: &Head,
        line: &[u8],
    ) -> Result<(), TraceError> {
        let time = clock::utc_field(place, "timestamp", head.timestamp.as_deref())?;
        let body: Body = json::parse(place, line)?;
        let chain = &mut self.chains[index].0;
        match (kind, body.message) {
            ("assistant", Some(message)) => {
                chain.assistant(place, time, message, &mut self.report)?;
            }
            (_, Some(message)) => {
                if head.is_compact_summary == Some(true) {
                    chain.compact();
                }
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
        let side = (!key.is_empty()).then(|| match &head.agent_id {
            Some(agent) => format!("agent-{agent}"),
            None => format!("side-{}", self.sides + 1),
        });
        self.sides += usize::from(side.is_some());
        self.by_key.insert(key, self.chains.len());
        self.chains
            .push((Chain::new(place, side, head.version.clone()), None));
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
