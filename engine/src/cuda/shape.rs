//! The shape of a step: all that the list of operations depends on.
//!
//! What stands in the arrays may change while the shape stays, so a recorded list of a shape is run
//! again with other arrays. Steps that only decode are padded to few shapes for that.

use crate::batch::Batch;

use super::work::Work;

/// Most rows of a step that is padded and recorded.
pub const GRAPH_ROWS: usize = 256;

/// How long every array of a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Tokens.
    pub tokens: usize,
    /// Turns.
    pub rows: usize,
    /// Turns that decode by parts.
    pub decodes: usize,
    /// Parts of their contexts.
    pub parts: usize,
    /// Tiles of the other turns.
    pub tiles: usize,
    /// Rows whose logits are wanted.
    pub samples: usize,
    /// Blocks that a row of the block tables holds.
    pub table: usize,
}

impl Shape {
    /// The shape of a batch as it is.
    pub fn exact(batch: &Batch, work: &Work) -> Self {
        Self {
            tokens: batch.positions.len(),
            rows: batch.rows.len(),
            decodes: work.tokens.len(),
            parts: work.parts.len(),
            tiles: work.tiles.len(),
            samples: batch.sample_at.len(),
            table: batch.block_tables.iter().map(Vec::len).max().unwrap_or(0),
        }
    }

    /// The padded shape that this one is run in, if it may be recorded: every row decodes, and there
    /// are at most [`GRAPH_ROWS`]. Rows go up to the next of 1, 2, 4, 8 and multiples of 8 (of 16 from
    /// 64); parts and tables to powers of two.
    pub fn bucket(self) -> Option<Self> {
        if self.tokens == 0 || self.decodes != self.tokens || self.tokens > GRAPH_ROWS {
            return None;
        }
        let rows = match self.tokens {
            n @ 1..=8 => n.next_power_of_two(),
            n @ 9..=64 => n.next_multiple_of(8),
            n => n.next_multiple_of(16),
        };
        Some(Self {
            tokens: rows,
            rows,
            decodes: rows,
            parts: self.parts.max(rows).next_power_of_two(),
            tiles: 0,
            samples: rows,
            table: self.table.next_power_of_two().max(16),
        })
    }
}
