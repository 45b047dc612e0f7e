//! How a step's attention is cut into pieces for the device.

use crate::batch::Batch;

use super::prefill::PrefillKernel;

/// A part of one decoding row's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Row of the batch.
    pub row: i32,
    /// The row's token.
    pub token: i32,
    /// First position.
    pub begin: i32,
    /// Last position + 1.
    pub end: i32,
}

/// A tile of one row's packed queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Row of the batch.
    pub row: i32,
    /// Number of the tile in its row.
    pub tile: i32,
}

/// All attention of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Parts of decoding rows, row by row.
    pub parts: Vec<Part>,
    /// `[decoding rows + 1]`: parts of each decoding row.
    pub part_starts: Vec<i32>,
    /// `[decoding rows]`: their tokens.
    pub tokens: Vec<i32>,
    /// Tiles of the other rows.
    pub tiles: Vec<Tile>,
}

/// Longest part of a context: a multiple of 16, and such that the device is filled four times over if
/// the contexts allow it. Long parts cost less to add up; short ones spread a few long contexts over all
/// multiprocessors.
pub fn part_length(
    contexts: &(impl Iterator<Item = u64> + Clone),
    kv_heads: usize,
    processors: u32,
) -> u64 {
    let wanted = 4 * u64::from(processors);
    let mut length = 2048;
    while length > 64 {
        let parts: u64 = contexts.clone().map(|c| c.div_ceil(length)).sum();
        if parts * kv_heads as u64 >= wanted {
            break;
        }
        length /= 2;
    }
    length
}

impl Work {
    /// Cuts a batch. `group`: query heads of a KV head. With `invariant` every row goes by tiles, whose
    /// results do not depend on how a context was cut into chunks. Tiles are those of `kernel`.
    pub fn new(
        batch: &Batch,
        group: usize,
        kv_heads: usize,
        processors: u32,
        invariant: bool,
        kernel: PrefillKernel,
    ) -> Self {
        let decodes = |query: u64| query == 1 && !invariant;
        let contexts = batch
            .rows
            .iter()
            .filter(|r| decodes(r.query.get()))
            .map(|r| r.context.get());
        let length = part_length(&contexts, kv_heads, processors);
        let mut work = Self {
            part_starts: vec![0],
            ..Self::default()
        };
        for (r, row) in batch.rows.iter().enumerate() {
            if decodes(row.query.get()) {
                let token = small(batch.starts[r]);
                let mut begin = 0;
                while begin < row.context.get() {
                    let end = (begin + length).min(row.context.get());
                    work.parts.push(Part {
                        row: small(r as u64),
                        token,
                        begin: small(begin),
                        end: small(end),
                    });
                    begin = end;
                }
                work.part_starts.push(small(work.parts.len() as u64));
                work.tokens.push(token);
            } else {
                let tiles = (row.query.get() * group as u64).div_ceil(u64::from(kernel.tile()));
                work.tiles.extend((0..tiles).map(|tile| Tile {
                    row: small(r as u64),
                    tile: small(tile),
                }));
            }
        }
        work
    }
}

/// Counts of a step are far below 2^31: [`super::metadata::pack`] refuses others.
pub(super) fn small(n: u64) -> i32 {
    i32::try_from(n).expect("counts of a step fit 31 bits")
}
