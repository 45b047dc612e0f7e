//! Mooncake request traces: one JSON object a line, prompts as ids of their blocks.
//!
//! What: `{timestamp (ms), input_length, output_length, hash_ids}`, each line a session of one turn.
//! Source: the traces beside the FAST 2025 paper (github.com/kvcache-ai/Mooncake, `FAST25-release`).
//! NVIDIA's Dynamo adds `session_id` (lines that share it are the turns of one session, in order) and
//! `delay` (ms from the end of one call to the next), and other names for the fields
//! (the Rust crate `dynamo-data-gen` 1.6, `mooncake.rs`); both are read here.
//! The traps, and the rules that answer them:
//! - Ids hold for the whole file, and equal ones at the head of two prompts mean equal tokens. What
//!   first prompts have in common becomes their shared openings, which needs all of them: the file is
//!   held as numbers, at most [`BLOCKS_LIMIT`] blocks.
//! - The size of a block is not in the file. It is 512 tokens, unless the counts of ids say otherwise.
//! - The last id of a prompt stands for a block that may be part full.
//! - Arrivals come in batches some 3 s apart. A batch is spread evenly until the next one, the last as
//!   wide as the one before it. `mooncake-exact` keeps the times of the file.
//! - Without `delay`, a session's next turn comes as long after the one before as the file says; the
//!   call is in that time, and it is counted as an estimated pause.
//! - What a later turn shares with other sessions is not kept.
//!
//! Limits: nothing tells tools from pauses: a `delay` is a pause, which needs no CPU.

pub mod agentic;

mod block_size;
mod rows;
mod trie;

use std::num::NonZeroU64;
use std::sync::Arc;

use units::{Nanos, Tokens};

use self::rows::{Row, Rows};
use super::recording::Out;
use super::{Head, ImportReport, Imported, Importer, Recording, Sink};
use crate::error::{Place, TraceError};
use crate::model::{Session, Turn};

/// Most blocks that one file may have: 2^26.
pub const BLOCKS_LIMIT: usize = 1 << 26;

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "mooncake",
    looks: "JSON lines with `input_length`, `output_length` and `hash_ids`",
    recognises,
    beside: &[],
    run: |mut recording, sink| import(&mut recording, sink, Batches::Spread),
};

/// The same with the arrivals that the file has.
pub const EXACT: Importer = Importer {
    name: "mooncake-exact",
    looks: "what `mooncake` reads, if named: batches of arrivals stay batches",
    recognises: |_| false,
    beside: &[],
    run: |mut recording, sink| import(&mut recording, sink, Batches::Keep),
};

fn recognises(head: &Head<'_>) -> bool {
    head.first().is_some_and(|row| {
        let (prompt, output) = (
            ["input_length", "input_tokens"],
            ["output_length", "output_tokens"],
        );
        let any = |names: [&str; 2]| names.iter().any(|name| row.has(name));
        any(prompt) && any(output) && !row.has("play_id")
    })
}

/// What becomes of arrivals at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batches {
    Spread,
    Keep,
}

fn import(
    recording: &mut Recording<'_>,
    sink: Sink<'_>,
    batches: Batches,
) -> Result<ImportReport, TraceError> {
    let mut out = Out::new(recording, sink);
    let mut rows = Rows::read(recording.input, &mut out)?;
    if batches == Batches::Spread {
        rows.spread();
    }
    let block = rows.sizes.choose();
    for session in &rows.sessions {
        let first = &session.rows[0];
        let read = rows.session(recording.name, session, block);
        out.put(Place::Line(first.line), read)?;
    }
    Ok(out.finish())
}

impl Rows {
    fn session(
        &self,
        name: &str,
        session_of: &rows::Rowed,
        block: NonZeroU64,
    ) -> Result<(Imported, ImportReport), TraceError> {
        let mut report = ImportReport::default();
        let mut turns: Vec<Turn> = Vec::with_capacity(session_of.rows.len());
        let mut previous: Option<&Row> = None;
        for row in &session_of.rows {
            let mut turn = Turn {
                prompt: row.prompt,
                reused: Tokens::ZERO,
                output: row.output,
                cached: None,
                llm: None,
                tools: Vec::new(),
                think: None,
            };
            if let (Some(before), Some(last)) = (previous, turns.last_mut()) {
                let equal = row.path.iter().zip(&before.path);
                let equal = equal.take_while(|(a, b)| a == b).count() as u64;
                let common = Tokens(equal.saturating_mul(block.get())).min(before.prompt);
                turn.reused = common.min(turn.reusable_after(last));
                last.think = pause(before, row, &mut report)?;
            }
            turns.push(turn);
            previous = Some(row);
        }
        let first = &session_of.rows[0];
        let id: Arc<str> = match &session_of.id {
            Some(id) => Arc::clone(id),
            None => format!("{name}/{}", first.line).into(),
        };
        let session = Session {
            id,
            model: None,
            arrival: None,
            shared: self.trie.shared(&first.path, (block, first.prompt), name),
            parent: None,
            turns,
        };
        let began = session_of.began;
        Ok((Imported { session, began }, report))
    }
}

/// Between two turns of a session.
fn pause(before: &Row, row: &Row, report: &mut ImportReport) -> Result<Option<Nanos>, TraceError> {
    if let Some(delay) = row.delay {
        return Ok(Some(delay).filter(|delay| *delay > Nanos::ZERO));
    }
    let (Some(from), Some(to)) = (before.at, row.at) else {
        return Ok(None);
    };
    if to < from {
        return Err(TraceError::Value {
            place: Place::Line(row.line),
            field: "timestamp".to_owned(),
            value: to.to_string(),
            wanted: format!("at least {from}, when the session's turn before came"),
        });
    }
    report.estimated_pauses += 1;
    Ok(Some(to - from))
}
