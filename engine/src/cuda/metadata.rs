//! The arrays of a step as the kernels take them: one piece of 32-bit integers, sent at once.

use crate::batch::Batch;

use super::{shape::Shape, work::Work};

/// Where each array begins, in integers; each at a multiple of four (16 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `[tokens]`: ids; -1 in a padding row.
    pub ids: usize,
    /// `[tokens]`: positions; -1 in a padding row.
    pub positions: usize,
    /// `[tokens]`: where KV goes; -1 in a padding row.
    pub slots: usize,
    /// `[rows + 1]`: first token of each row.
    pub starts: usize,
    /// `[rows]`: tokens in KV after the step.
    pub contexts: usize,
    /// `[rows, table]`: blocks; 0 behind the last.
    pub tables: usize,
    /// `[parts, 4]`: row, token, begin, end; row -1 in padding.
    pub parts: usize,
    /// `[decodes + 1]`: parts of each decoding row.
    pub part_starts: usize,
    /// `[decodes]`: tokens of the decoding rows; -1 in padding.
    pub decode_tokens: usize,
    /// `[tiles, 2]`: row and tile.
    pub tiles: usize,
    /// `[samples]`: tokens to sample; -1 in padding.
    pub sample_at: usize,
    /// All of them.
    pub len: usize,
}

impl Layout {
    /// The layout of a shape.
    pub fn new(shape: Shape) -> Self {
        let mut at = 0;
        let mut next = |count: usize| {
            let here = at;
            at += count.next_multiple_of(4);
            here
        };
        Self {
            ids: next(shape.tokens),
            positions: next(shape.tokens),
            slots: next(shape.tokens),
            starts: next(shape.rows + 1),
            contexts: next(shape.rows),
            tables: next(shape.rows * shape.table),
            parts: next(shape.parts * 4),
            part_starts: next(shape.decodes + 1),
            decode_tokens: next(shape.decodes),
            tiles: next(shape.tiles * 2),
            sample_at: next(shape.samples),
            len: at,
        }
    }
}

/// Fills `to` (of [`Layout::len`] integers) with a batch in a shape that holds it.
///
/// # Errors
/// If a number does not fit 31 bits, or the tokens are not the batch's.
pub fn pack(
    to: &mut Vec<i32>,
    shape: Shape,
    batch: &Batch,
    tokens: &[u32],
    work: &Work,
) -> Result<(), String> {
    if tokens.len() != batch.positions.len() {
        return Err(format!(
            "{} token ids for {} tokens",
            tokens.len(),
            batch.positions.len()
        ));
    }
    let layout = Layout::new(shape);
    to.clear();
    to.resize(layout.len, -1);
    for (i, &id) in tokens.iter().enumerate() {
        to[layout.ids + i] = int(u64::from(id))?;
        to[layout.positions + i] = int(batch.positions[i])?;
        to[layout.slots + i] = int(batch.slots[i])?;
    }
    // Padding rows own no tokens of a prefill: they begin where the last row ends.
    let last = batch.starts.last().copied().unwrap_or(0);
    for row in 0..=shape.rows {
        to[layout.starts + row] = int(batch.starts.get(row).copied().unwrap_or(last))?;
    }
    to[layout.contexts..layout.contexts + shape.rows].fill(0);
    to[layout.tables..layout.tables + shape.rows * shape.table].fill(0);
    for (r, row) in batch.rows.iter().enumerate() {
        to[layout.contexts + r] = int(row.context.get())?;
        let table = &mut to[layout.tables + r * shape.table..][..shape.table];
        for (place, &block) in table.iter_mut().zip(&batch.block_tables[r]) {
            *place = int(u64::from(block))?;
        }
    }
    for (i, p) in work.parts.iter().enumerate() {
        to[layout.parts + 4 * i..][..4].copy_from_slice(&[p.row, p.token, p.begin, p.end]);
    }
    let parts = work.part_starts.last().copied().unwrap_or(0);
    for row in 0..=shape.decodes {
        to[layout.part_starts + row] = work.part_starts.get(row).copied().unwrap_or(parts);
    }
    to[layout.decode_tokens..][..work.tokens.len()].copy_from_slice(&work.tokens);
    for (i, t) in work.tiles.iter().enumerate() {
        to[layout.tiles + 2 * i..][..2].copy_from_slice(&[t.row, t.tile]);
    }
    for (i, &at) in batch.sample_at.iter().enumerate() {
        to[layout.sample_at + i] = int(at)?;
    }
    Ok(())
}

fn int(n: u64) -> Result<i32, String> {
    i32::try_from(n).map_err(|_| format!("{n} does not fit 31 bits"))
}
