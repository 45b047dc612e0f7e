//! Mooncake request traces with Dynamo's `session_id` and `delay`; see the importer of that name.
//!
//! Blocks have 512 tokens, as in Mooncake's own traces. A session of unknown arrival has no
//! `timestamp`. A reader that knows nothing of sessions sees each turn as a request of its own.

use std::io::Write;

use serde::Serialize;
use serde_json::Number;
use units::Nanos;

use super::blocks::BlockIds;
use super::gap::Gap;
use super::report::{ExportReport, Lost};
use super::{Export, Exporter, put_line};
use crate::error::TraceError;
use crate::model::Session;
use crate::seconds::to_millis;

/// Tokens a block.
const BLOCK: u64 = 512;

/// This exporter, for [`super::EXPORTERS`].
pub(super) const EXPORTER: Exporter = Exporter {
    name: "mooncake",
    holds: "token counts, arrivals, reuse and shared openings in blocks of 512 tokens, gaps between \
            the turns of a session",
    start: |output| {
        Box::new(Mooncake {
            output,
            blocks: BlockIds::new(BLOCK),
            report: ExportReport::default(),
        })
    },
};

struct Mooncake<'a> {
    output: &'a mut dyn Write,
    blocks: BlockIds,
    report: ExportReport,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Number>,
    input_length: u64,
    output_length: u64,
    hash_ids: Vec<u64>,
    session_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<Number>,
}

impl Export for Mooncake<'_> {
    fn put(&mut self, session: &Session) -> Result<(), TraceError> {
        self.report.begin(session)?;
        self.report.lose_surroundings(session);
        self.report.lose_call_times(session);
        let prompts = self.blocks.prompts("", session, &mut self.report);
        let mut delay = None;
        for (at, (turn, hash_ids)) in session.turns.iter().zip(prompts).enumerate() {
            let timestamp = session.arrival.filter(|_| at == 0);
            put_line(
                self.output,
                &Row {
                    timestamp: timestamp.map(millis),
                    input_length: turn.prompt.get(),
                    output_length: turn.output.value.get(),
                    hash_ids,
                    session_id: &session.id,
                    delay: delay.take(),
                },
            )?;
            if at + 1 < session.turns.len() {
                let gap = Gap::after(session, at, EXPORTER.name, &mut self.report)?;
                self.report.lose(Lost::ToolName, turn.tools.len() as u64);
                self.report.lose(Lost::Cause, u64::from(gap.tools));
                delay = Some(millis(gap.span));
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ExportReport, TraceError> {
        self.output
            .flush()
            .map_err(|source| TraceError::Write { source })?;
        Ok(self.report)
    }
}

/// Milliseconds, without a point where they are whole.
pub(super) fn millis(span: Nanos) -> Number {
    let ns = span.as_nanos();
    if ns.is_multiple_of(1_000_000) {
        return Number::from(ns / 1_000_000);
    }
    Number::from_f64(to_millis(span)).expect("a span is finite")
}
