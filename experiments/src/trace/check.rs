//! `orrery trace check`: every line, and what would keep or trouble a run.
//!
//! Limits: at most [`SHOWN`] errors are shown; all are counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::anyhow;
use serde::Serialize;
use sim::spec::{Catalog, Hardware};
use traces::Session;
use traces::stats::oddities;
use traces::validate::Ids;
use units::{BlockSize, Nanos, Tokens};

use super::args::{CheckArgs, CheckFormat};
use super::input::Input;
use crate::failure::{Exit, Failure};
use crate::output::data;
use crate::run::plan::{number, one};

/// So many errors are shown.
const SHOWN: usize = 20;

/// Everything that was found; the keys are a stable interface.
#[derive(Debug, Default, Serialize)]
struct Findings {
    trace: String,
    sessions: u64,
    turns: u64,
    tool_calls: u64,
    /// Lines that cannot be read.
    errors: u64,
    /// The first of them.
    first_errors: Vec<String>,
    /// What a run would refuse or distort.
    warnings: Vec<Finding>,
    /// What is lawful and odd.
    notes: Vec<Finding>,
}

/// One kind of finding over the whole trace.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    /// What is the matter.
    what: String,
    /// How often, over all sessions.
    count: u64,
    /// In how many sessions.
    sessions: u64,
    /// The first of them.
    first: String,
    /// What it means.
    meaning: String,
}

/// Findings while sessions stream by, in the order of their kinds.
#[derive(Default)]
struct Found {
    warnings: BTreeMap<(u8, String), Finding>,
    notes: BTreeMap<(u8, String), Finding>,
}

/// What sessions should fit.
struct Room {
    machine: String,
    pool: Tokens,
    context: Tokens,
}

/// Checks the trace.
///
/// # Errors
/// Bad input if there is no such trace or a line of it cannot be read (exit 2); a trace with
/// warnings (exit 1). The findings are on stdout either way.
pub(super) fn command(args: &CheckArgs) -> Result<(), Failure> {
    let room = room(args)?;
    let mut input = Input::open(&args.trace)?;
    let mut findings = Findings {
        trace: args.trace.clone(),
        ..Findings::default()
    };
    let mut found = Found::default();
    let mut order = Order::default();
    for session in &mut input {
        match session {
            Ok(session) => {
                findings.sessions += 1;
                findings.turns += session.turns.len() as u64;
                let tools = session.turns.iter().map(|turn| turn.tools.len() as u64);
                findings.tool_calls += tools.sum::<u64>();
                found.session(&session, &room);
                order.session(&session, &mut found);
            }
            Err(bad) => {
                findings.errors += 1;
                if findings.first_errors.len() < SHOWN {
                    findings.first_errors.push(bad.to_string());
                }
            }
        }
    }
    order.end(findings.sessions, &mut found);
    findings.warnings = found.warnings.into_values().collect();
    findings.notes = found.notes.into_values().collect();
    data(&match args.format {
        CheckFormat::Table => table(&findings, &room),
        CheckFormat::Json => {
            let text = serde_json::to_string_pretty(&findings).map_err(Failure::bad_input)?;
            format!("{text}\n")
        }
    })?;
    verdict(&findings)
}

fn verdict(findings: &Findings) -> Result<(), Failure> {
    let name = &findings.trace;
    if findings.errors > 0 {
        return Err(Failure::bad_input(anyhow!(
            "`{name}` has {} that cannot be read",
            counted(findings.errors, "session")
        )));
    }
    if findings.warnings.is_empty() {
        return Ok(());
    }
    Err(Failure {
        exit: Exit::Partial,
        error: anyhow!(
            "`{name}` is a lawful trace with {}",
            counted(findings.warnings.len() as u64, "warning")
        ),
    })
}

fn room(args: &CheckArgs) -> Result<Room, Failure> {
    let utilisation = one(
        "--utilisation",
        &args.utilisation,
        "above 0, at most 1",
        |t| number(t).filter(|u| *u > 0.0 && *u <= 1.0),
    )?;
    let (gpu, model) = (args.gpu.trim(), args.model.trim());
    let hardware =
        Hardware::new(&Catalog::builtin(), gpu, model, utilisation).map_err(Failure::bad_input)?;
    let block_size = BlockSize::default();
    Ok(Room {
        machine: format!("{gpu} with {model}"),
        pool: block_size.capacity(hardware.usable_blocks(block_size)),
        context: hardware.model.context_length,
    })
}

impl Found {
    fn session(&mut self, session: &Session, room: &Room) {
        for oddity in oddities(session) {
            let (what, meaning) = (oddity.to_string(), oddity.meaning());
            let finds = if oddity.hinders() {
                &mut self.warnings
            } else {
                &mut self.notes
            };
            find(finds, 0, what, oddity.count(), session, meaning.to_owned());
        }
        let peak = session.peak_tokens();
        if peak > room.pool {
            let what = format!("larger than the KV pool of {} tokens", room.pool);
            let meaning = format!("{} rejects it; see `orrery hardware list`", room.machine);
            find(&mut self.warnings, 1, what, 1, session, meaning);
        } else if peak > room.context {
            let what = format!("beyond the {} tokens that the model takes", room.context);
            let meaning = "a run replays it all the same; a real engine would not".to_owned();
            find(&mut self.warnings, 2, what, 1, session, meaning);
        }
    }
}

fn find(
    finds: &mut BTreeMap<(u8, String), Finding>,
    rank: u8,
    what: String,
    count: u64,
    session: &Session,
    meaning: String,
) {
    let finding = finds
        .entry((rank, what.clone()))
        .or_insert_with(|| Finding {
            what,
            count: 0,
            sessions: 0,
            first: session.id.to_string(),
            meaning,
        });
    finding.count += count;
    finding.sessions += 1;
}

/// What only the whole file shows.
#[derive(Default)]
struct Order {
    latest: Option<Nanos>,
    without: u64,
    first_without: Option<Session>,
    ids: Ids,
}

impl Order {
    fn session(&mut self, session: &Session, found: &mut Found) {
        self.ids.insert(&session.id);
        match session.arrival {
            None => {
                self.without += 1;
                if self.first_without.is_none() {
                    // Without its turns: only the name is wanted.
                    self.first_without = Some(Session {
                        turns: Vec::new(),
                        ..session.clone()
                    });
                }
            }
            Some(arrival) => {
                if self.latest.is_some_and(|latest| arrival < latest) {
                    let what = "arrives before the session above it".to_owned();
                    let meaning = "recorded arrivals are replayed in order of time";
                    find(&mut found.notes, 3, what, 1, session, meaning.to_owned());
                }
                self.latest = self.latest.max(Some(arrival));
            }
        }
        if let Some(parent) = &session.parent {
            // A parent stands before its sub-agents in all that this program writes.
            if self.ids.insert(parent) {
                let what = "parents that are not above their sub-agents".to_owned();
                let meaning = "it may lie outside the file; a run does not need it";
                find(&mut found.notes, 4, what, 1, session, meaning.to_owned());
            }
        }
    }

    fn end(self, sessions: u64, found: &mut Found) {
        let Some(first) = self.first_without else {
            return;
        };
        let (what, meaning) = if self.without == sessions {
            (
                "no session has an arrival",
                "arrivals come from `--arrivals` and `--rate`",
            )
        } else {
            (
                "sessions without an arrival, among others with one",
                "they cannot be replayed at recorded times",
            )
        };
        let finding = Finding {
            what: what.to_owned(),
            count: self.without,
            sessions: self.without,
            first: first.id.to_string(),
            meaning: meaning.to_owned(),
        };
        found.notes.insert((5, what.to_owned()), finding);
    }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

fn table(findings: &Findings, room: &Room) -> String {
    let mut text = format!(
        "{}: {}, {}, {}; checked against {}\n",
        findings.trace,
        counted(findings.sessions, "session"),
        counted(findings.turns, "turn"),
        counted(findings.tool_calls, "tool call"),
        room.machine
    );
    for error in &findings.first_errors {
        let _ = writeln!(text, "error    {error}");
    }
    let more = findings.errors - findings.first_errors.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "error    and {more} more");
    }
    for (label, finds) in [("warning", &findings.warnings), ("note", &findings.notes)] {
        for find in finds {
            let _ = writeln!(
                text,
                "{label:<8} {}: {} in {}, first `{}`\n         {}",
                find.what,
                find.count,
                counted(find.sessions, "session"),
                find.first,
                find.meaning
            );
        }
    }
    if findings.errors == 0 && findings.warnings.is_empty() {
        text.push_str("ok: every session can be replayed\n");
    }
    text
}
