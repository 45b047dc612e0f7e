//! Whether a batch can be run: after this, kernels index without doubt.

use crate::batch::Batch;
use crate::executor::ExecutorError;

/// What a batch has to fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) vocabulary: u32,
    pub(crate) blocks: u32,
    /// Tokens of a block.
    pub(crate) block_size: u64,
}

fn refuse(what: String) -> ExecutorError {
    ExecutorError::Batch(what)
}

/// Checks lengths, ids, positions and slots of a batch against each other and the limits.
///
/// # Errors
/// [`ExecutorError::Batch`] with what does not fit.
pub(crate) fn check(batch: &Batch, tokens: &[u32], limits: Limits) -> Result<(), ExecutorError> {
    let n = tokens.len();
    if batch.positions.len() != n || batch.slots.len() != n {
        return Err(refuse(format!(
            "{n} tokens, {} positions, {} slots",
            batch.positions.len(),
            batch.slots.len()
        )));
    }
    let rows = batch.rows.len();
    let ends_well = batch.starts.first() == Some(&0) && batch.starts.last() == Some(&(n as u64));
    if batch.starts.len() != rows + 1 || batch.block_tables.len() != rows || !ends_well {
        return Err(refuse(format!(
            "{rows} rows, {} starts, {} block tables over {n} tokens",
            batch.starts.len(),
            batch.block_tables.len()
        )));
    }
    if let Some(token) = tokens.iter().find(|t| **t >= limits.vocabulary) {
        return Err(refuse(format!(
            "token {token}, but the vocabulary has {}",
            limits.vocabulary
        )));
    }
    for row in 0..rows {
        check_row(batch, row, limits)?;
    }
    let samples = batch.rows.iter().filter(|r| r.samples).count();
    if batch.sample_at.len() != samples || batch.sample_at.iter().any(|at| *at >= n as u64) {
        return Err(refuse(format!(
            "{samples} rows sample, at {:?} of {n} tokens",
            batch.sample_at
        )));
    }
    Ok(())
}

fn check_row(batch: &Batch, row: usize, limits: Limits) -> Result<(), ExecutorError> {
    let session = batch.rows[row].session;
    let (from, to) = (batch.starts[row], batch.starts[row + 1]);
    let table = &batch.block_tables[row];
    if from >= to || to > batch.positions.len() as u64 {
        return Err(refuse(format!("{session} has tokens {from} to {to}")));
    }
    if let Some(block) = table.iter().find(|b| **b >= limits.blocks) {
        return Err(refuse(format!(
            "{session} has block {block}, but the pool has {}",
            limits.blocks
        )));
    }
    let place = |i: u64| usize::try_from(i).expect("within the tokens");
    let first = batch.positions[place(from)];
    for token in from..to {
        let (position, slot) = (batch.positions[place(token)], batch.slots[place(token)]);
        let block = usize::try_from(position / limits.block_size)
            .ok()
            .and_then(|block| table.get(block));
        let wanted =
            block.map(|b| u64::from(*b) * limits.block_size + position % limits.block_size);
        if position != first + (token - from) || wanted != Some(slot) {
            return Err(refuse(format!(
                "{session} writes position {position} to slot {slot}, its blocks say {wanted:?}"
            )));
        }
    }
    Ok(())
}
