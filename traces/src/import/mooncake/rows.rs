//! The lines of a Mooncake trace, as numbers, by session.

use std::io::BufRead;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use units::{Nanos, Tokens};

use super::BLOCKS_LIMIT;
use super::block_size::BlockSizes;
use super::trie::Trie;
use crate::error::{Place, TraceError};
use crate::import::json;
use crate::import::recording::Out;
use crate::lines::Lines;
use crate::model::Known;
use crate::validate::ARRIVAL_LIMIT;

/// One line as it stands in the file.
#[derive(Deserialize)]
struct Line {
    session_id: Option<String>,
    #[serde(alias = "input_tokens")]
    input_length: Option<u64>,
    #[serde(alias = "output_tokens")]
    output_length: Option<u64>,
    hash_ids: Option<Vec<u64>>,
    #[serde(alias = "created_time")]
    timestamp: Option<f64>,
    #[serde(alias = "delay_ms")]
    delay: Option<f64>,
}

/// One call.
#[derive(Debug)]
pub(super) struct Row {
    /// Where it stands, from 1.
    pub(super) line: u64,
    pub(super) prompt: Tokens,
    pub(super) output: Known<Tokens>,
    /// The prompt's blocks.
    pub(super) path: Vec<u32>,
    /// When it came.
    pub(super) at: Option<Nanos>,
    /// From the end of the call before.
    pub(super) delay: Option<Nanos>,
}

/// The calls of one session, at least one.
#[derive(Debug)]
pub(super) struct Rowed {
    pub(super) id: Option<Arc<str>>,
    /// When the first one came, or was made to come.
    pub(super) began: Option<Nanos>,
    pub(super) rows: Vec<Row>,
}

/// A whole file.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) sessions: Vec<Rowed>,
    pub(super) trie: Trie,
    pub(super) sizes: BlockSizes,
}

impl Rows {
    pub(super) fn read(input: &mut dyn BufRead, out: &mut Out<'_>) -> Result<Self, TraceError> {
        let mut all = Self {
            sessions: Vec::new(),
            trie: Trie::default(),
            sizes: BlockSizes::any(),
        };
        let root = all.trie.root();
        let mut by_id: FxHashMap<Arc<str>, usize> = FxHashMap::default();
        let mut lines = Lines::new(input);
        let mut blocks = 0;
        while let Some((place, text)) = lines.next_line()? {
            let Place::Line(number) = place else { continue };
            let read = json::parse::<Line>(place, text).and_then(|line| {
                let known = line.session_id.as_deref().and_then(|id| by_id.get(id));
                let row = all.row(root, (place, number), &line, known.is_none())?;
                Ok((line.session_id, known.copied(), row))
            });
            let (id, known, row) = match read {
                Ok(read) => read,
                Err(error) => {
                    out.fault(error)?;
                    continue;
                }
            };
            blocks += row.path.len();
            within_limit(place, blocks)?;
            if let Some(session) = known {
                all.sessions[session].rows.push(row);
                continue;
            }
            all.trie.count_opening(&row.path);
            let id: Option<Arc<str>> = id.map(Arc::from);
            if let Some(id) = &id {
                by_id.insert(Arc::clone(id), all.sessions.len());
            }
            all.sessions.push(Rowed {
                id,
                began: row.at,
                rows: vec![row],
            });
        }
        Ok(all)
    }

    fn row(
        &mut self,
        root: u32,
        (place, number): (Place, u64),
        line: &Line,
        first: bool,
    ) -> Result<Row, TraceError> {
        let tokens = |name: &str, value| json::need_tokens(place, || name.to_owned(), value);
        let time = |name: &str, value: Option<f64>| {
            let read = |value| json::millis(place, || name.to_owned(), value);
            value.map(read).transpose()
        };
        let bad = |field: &str, value: String, wanted: String| TraceError::Value {
            place,
            field: field.to_owned(),
            value,
            wanted,
        };
        let prompt = tokens("input_length", line.input_length)?;
        if prompt == Tokens::ZERO {
            let wanted = "at least 1 token".to_owned();
            return Err(bad("input_length", "0".to_owned(), wanted));
        }
        let output = match tokens("output_length", line.output_length)? {
            // A model stops by a token.
            Tokens::ZERO => Known::estimated(Tokens(1)),
            output => Known::recorded(output),
        };
        let delay = time("delay", line.delay)?;
        if first && delay.is_some_and(|delay| delay > Nanos::ZERO) {
            let wanted = "none, no call of the session comes before".to_owned();
            return Err(bad("delay", delay.unwrap_or_default().to_string(), wanted));
        }
        let at = time("timestamp", line.timestamp)?;
        let ids = line.hash_ids.as_deref().unwrap_or_default();
        if !ids.is_empty() {
            let narrowed = self.sizes.narrow(prompt.get(), ids.len() as u64);
            narrowed.map_err(|sizes| {
                let value = format!("{} ids for {prompt} tokens", ids.len());
                let wanted = format!(
                    "one for each block of {sizes} tokens, which is the size in the lines before"
                );
                bad("hash_ids", value, wanted)
            })?;
        }
        Ok(Row {
            line: number,
            prompt,
            output,
            path: self.trie.path(root, ids),
            at,
            delay,
        })
    }

    /// Spreads sessions that begin at one instant until the next ones begin.
    pub(super) fn spread(&mut self) {
        let mut order: Vec<(Nanos, usize)> = self
            .sessions
            .iter()
            .enumerate()
            .filter_map(|(at, session)| Some((session.began?, at)))
            .collect();
        // Those of one instant keep the order of the file.
        order.sort_unstable();
        let mut rest = &order[..];
        let mut width = Nanos::ZERO;
        while let Some(&(begin, _)) = rest.first() {
            let batch = rest.iter().take_while(|(at, _)| *at == begin).count();
            if let Some(&(next, _)) = rest.get(batch) {
                width = next - begin;
            }
            for (nth, &(_, session)) in (0_u128..).zip(&rest[..batch]) {
                let part = u128::from(width.as_nanos()) * nth / batch as u128;
                let part = Nanos::new(u64::try_from(part).expect("below the width"));
                self.sessions[session].began = Some((begin + part).min(ARRIVAL_LIMIT));
            }
            rest = &rest[batch..];
        }
    }
}

/// Checks a count of blocks that are held at once.
pub(super) fn within_limit(place: Place, blocks: usize) -> Result<(), TraceError> {
    if blocks <= BLOCKS_LIMIT {
        return Ok(());
    }
    Err(TraceError::Value {
        place,
        field: "hash_ids".to_owned(),
        value: format!("block {blocks} of the file"),
        wanted: format!("at most {BLOCKS_LIMIT} blocks in one file"),
    })
}
