//! One step as flat arrays, the form in which attention kernels take it.
//!
//! Rows are turns, in the plan's order. Tokens of all rows lie one behind the other.

use scheduler::{Scheduler, StepPlan};
use units::{BlockSize, Blocks, SessionId, Tokens};

/// One turn's place in the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose turn.
    pub session: SessionId,
    /// Tokens that this step computes for it.
    pub query: Tokens,
    /// Tokens in KV once the step is done: attention reads this many.
    pub context: Tokens,
    /// Whether a token is sampled from the row's last position.
    pub samples: bool,
}

/// The metadata of one step over paged KV.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Turns, in the plan's order.
    pub rows: Vec<Row>,
    /// `[tokens]`: position of each token in its context, from 0.
    pub positions: Vec<u64>,
    /// `[tokens]`: where each token's KV goes: block id * block size + offset.
    pub slots: Vec<u64>,
    /// `[rows + 1]`: cumulative query lengths; row `r` owns tokens `[starts[r], starts[r + 1])`.
    pub starts: Vec<u64>,
    /// `[rows]`: block ids of each row, shallow to deep.
    pub block_tables: Vec<Vec<u32>>,
    /// `[samples]`: index of the token whose logits are sampled, one per sampling row.
    pub sample_at: Vec<u64>,
}

/// A plan whose blocks do not hold its tokens: a broken invariant, never user input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{session} computes up to token {end} but its block table holds {room}")]
pub struct BatchError {
    /// Whose chunk.
    pub session: SessionId,
    /// Tokens in KV after the chunk.
    pub end: Tokens,
    /// Tokens that its blocks hold.
    pub room: Tokens,
}

impl Batch {
    /// The arrays of a plan, from the scheduler's block tables.
    ///
    /// # Errors
    /// [`BatchError`] if a chunk reaches beyond its session's blocks.
    pub fn new(plan: &StepPlan, scheduler: &Scheduler) -> Result<Self, BatchError> {
        let size = scheduler.config().block_size;
        let mut batch = Self {
            starts: vec![0],
            ..Self::default()
        };
        for chunk in &plan.chunks {
            let table: Vec<u32> = scheduler
                .block_table(chunk.session)
                .iter()
                .map(|b| b.0)
                .collect();
            batch.push(
                chunk.session,
                chunk.context,
                chunk.tokens,
                chunk.samples,
                size,
                table,
            )?;
        }
        Ok(batch)
    }

    /// The arrays of one turn alone: its next `query` tokens after `context`, over the blocks of `table`.
    ///
    /// # Errors
    /// [`BatchError`] if they reach beyond the blocks.
    pub fn one(
        session: SessionId,
        context: Tokens,
        query: Tokens,
        samples: bool,
        size: BlockSize,
        table: Vec<u32>,
    ) -> Result<Self, BatchError> {
        let mut batch = Self {
            starts: vec![0],
            ..Self::default()
        };
        batch.push(session, context, query, samples, size, table)?;
        Ok(batch)
    }

    pub(crate) fn push(
        &mut self,
        session: SessionId,
        context: Tokens,
        query: Tokens,
        samples: bool,
        size: BlockSize,
        table: Vec<u32>,
    ) -> Result<(), BatchError> {
        let end = context + query;
        let room = size.capacity(Blocks(table.len() as u64));
        if end > room {
            return Err(BatchError { session, end, room });
        }
        let per_block = size.tokens().get();
        for position in context.get()..end.get() {
            let block = usize::try_from(position / per_block).expect("within the table");
            self.positions.push(position);
            self.slots
                .push(u64::from(table[block]) * per_block + position % per_block);
        }
        let tokens = self.positions.len() as u64;
        self.starts.push(tokens);
        if samples {
            self.sample_at.push(tokens - 1);
        }
        self.block_tables.push(table);
        self.rows.push(Row {
            session,
            query,
            context: end,
            samples,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Option<BlockSize> = BlockSize::new(4);

    #[test]
    fn a_prefill_chunk_and_a_decode_lie_one_behind_the_other() {
        let size = SIZE.expect("not zero");
        let mut batch = Batch {
            starts: vec![0],
            ..Batch::default()
        };
        // Two tokens at positions 3 and 4: the end of block 9, the start of block 2.
        batch
            .push(SessionId(0), Tokens(3), Tokens(2), false, size, vec![9, 2])
            .expect("fits");
        // One decode at position 4 of another session.
        batch
            .push(SessionId(1), Tokens(4), Tokens(1), true, size, vec![5, 7])
            .expect("fits");
        assert_eq!(batch.positions, [3, 4, 4]);
        assert_eq!(batch.slots, [9 * 4 + 3, 2 * 4, 7 * 4]);
        assert_eq!(batch.starts, [0, 2, 3]);
        assert_eq!(batch.sample_at, [2]);
        assert_eq!(batch.rows[0].context, Tokens(5));
    }

    #[test]
    fn a_chunk_beyond_its_blocks_is_refused() {
        let size = SIZE.expect("not zero");
        let refused = Batch::default()
            .push(SessionId(3), Tokens(4), Tokens(1), true, size, vec![5])
            .expect_err("token 5 needs a second block");
        assert_eq!(
            refused.to_string(),
            "s3 computes up to token 5 but its block table holds 4"
        );
    }
}
