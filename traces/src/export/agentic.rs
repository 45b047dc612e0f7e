//! Agentic Mooncake traces, version 2; see the importer of that name.
//!
//! A session and its sub-agents are one play, as far as parents come before their children. Each turn
//! waits for the one before and the gap; a sub-agent is dispatched with its parent's first call and the
//! time between the two arrivals. Blocks have 64 tokens. A model that is not known is called `unknown`.

use std::io::Write;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;
use serde_json::Number;
use units::Nanos;

use super::blocks::BlockIds;
use super::gap::Gap;
use super::mooncake::millis;
use super::report::{ExportReport, Lost};
use super::{Export, Exporter, put_line};
use crate::error::TraceError;
use crate::import::mooncake::agentic::{SCHEMA, UNKNOWN_MODEL, VERSION};
use crate::model::Session;

/// Tokens a block.
const BLOCK: u64 = 64;

/// This exporter, for [`super::EXPORTERS`].
pub(super) const EXPORTER: Exporter = Exporter {
    name: "agentic-mooncake",
    holds: "token counts, models, call times, arrivals, sub-agents, reuse in blocks of 64 tokens, \
            openings shared with sub-agents, gaps between turns",
    start: |output| {
        Box::new(Agentic {
            output,
            blocks: BlockIds::new(BLOCK),
            plays: FxHashMap::default(),
            begun: false,
            report: ExportReport::default(),
        })
    },
};

struct Agentic<'a> {
    output: &'a mut dyn Write,
    blocks: BlockIds,
    /// Play and arrival of each session so far.
    plays: FxHashMap<Arc<str>, (Arc<str>, Option<Nanos>)>,
    begun: bool,
    report: ExportReport,
}

#[derive(Serialize)]
struct Header {
    schema: &'static str,
    version: u64,
    block_size: u64,
    hash_id_scope: &'static str,
    source: Source,
}

#[derive(Serialize)]
struct Source {
    format: &'static str,
    digest: &'static str,
}

#[derive(Serialize)]
struct Row<'a> {
    request_id: String,
    play_id: &'a str,
    session_id: &'a str,
    model: &'a str,
    input_length: u64,
    output_length: u64,
    hash_ids: Vec<u64>,
    not_before_ms: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_api_time_ms: Option<Number>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Dependency {
    request_id: String,
    trigger: &'static str,
    delay_ms: Number,
    relation: &'static str,
}

impl Agentic<'_> {
    fn header(&mut self) -> Result<(), TraceError> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        put_line(
            self.output,
            &Header {
                schema: SCHEMA,
                version: VERSION,
                block_size: BLOCK,
                hash_id_scope: "local",
                // Readers want some word; nothing is known of the workload before its end.
                source: Source {
                    format: "orrery",
                    digest: "none",
                },
            },
        )
    }

    /// The play of a session, and what its first call waits for.
    fn place(&mut self, session: &Session) -> (Arc<str>, Vec<Dependency>) {
        let parent = session.parent.as_ref();
        let known = parent.and_then(|parent| Some((parent, self.plays.get(parent)?)));
        let Some((parent, (play, began))) = known else {
            self.report.lose(Lost::Parent, u64::from(parent.is_some()));
            return (Arc::clone(&session.id), Vec::new());
        };
        let after = session.arrival.zip(*began);
        let delay = after.map_or(Nanos::ZERO, |(at, parent)| at.saturating_sub(parent));
        let spawn = Dependency {
            request_id: request(parent, 0),
            trigger: "dispatch",
            delay_ms: millis(delay),
            relation: "spawn",
        };
        (Arc::clone(play), vec![spawn])
    }
}

fn request(session: &str, turn: usize) -> String {
    format!("{session}#{turn}")
}

impl Export for Agentic<'_> {
    fn put(&mut self, session: &Session) -> Result<(), TraceError> {
        self.header()?;
        self.report.begin(session)?;
        let openings = u64::from(!session.shared.is_empty());
        self.report.lose(Lost::Opening, openings);
        let unknown = u64::from(session.arrival.is_none());
        self.report.lose(Lost::UnknownArrival, unknown);
        let (play, mut dependencies) = self.place(session);
        self.plays.insert(
            Arc::clone(&session.id),
            (Arc::clone(&play), session.arrival),
        );
        let prompts = self.blocks.prompts(&play, session, &mut self.report);
        for (at, (turn, hash_ids)) in session.turns.iter().zip(prompts).enumerate() {
            put_line(
                self.output,
                &Row {
                    request_id: request(&session.id, at),
                    play_id: &play,
                    session_id: &session.id,
                    model: session.model.as_deref().unwrap_or(UNKNOWN_MODEL),
                    input_length: turn.prompt.get(),
                    output_length: turn.output.value.get(),
                    hash_ids,
                    not_before_ms: millis(session.arrival.unwrap_or(Nanos::ZERO)),
                    recorded_api_time_ms: turn.llm.map(millis),
                    dependencies: std::mem::take(&mut dependencies),
                },
            )?;
            if at + 1 < session.turns.len() {
                let gap = Gap::after(session, at, EXPORTER.name, &mut self.report)?;
                self.report.lose(Lost::ToolName, turn.tools.len() as u64);
                self.report.lose(Lost::Cause, u64::from(gap.human));
                dependencies.push(Dependency {
                    request_id: request(&session.id, at),
                    trigger: "completion",
                    delay_ms: millis(gap.span),
                    relation: "sequence",
                });
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<ExportReport, TraceError> {
        self.header()?;
        self.output
            .flush()
            .map_err(|source| TraceError::Write { source })?;
        Ok(self.report)
    }
}
