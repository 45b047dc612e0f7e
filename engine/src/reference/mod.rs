//! The `candle` executor: every step written out in tensor operations, 32-bit floats on the CPU.
//!
//! What: paged KV, mixed decode and prefill chunks, Llama, Qwen2, Qwen3 and Qwen3 with experts.
//! Why: it is the numerical oracle of the fast executors. It has no kernel of its own, so what it
//! computes is what the formulas say, and its matrices are the file's values in full.
//! Limits: slow by design, weights take four bytes each. KV of a pool lies in memory as a whole.

mod attention;
mod copies;
mod kv;
mod layers;

use candle_core::{Device, Tensor};
use units::{BlockSize, Blocks, Bytes, SessionId};

use crate::batch::Batch;
use crate::executor::{Copy, Executor, ExecutorError, Sampled};
use crate::model::{ModelConfig, Weights};
use crate::text::likeliest;

use self::attention::Positions;
use self::copies::Host;
use self::kv::Pool;
use self::layers::{Block, Linear, Routed, rms_norm};

/// The reference executor.
#[derive(Debug)]
pub struct Candle {
    config: ModelConfig,
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: Tensor,
    head: Linear,
    frequencies: Tensor,
    pool: Pool,
    host: Host,
    /// Of the last step, `[samples, vocabulary]`.
    logits: Vec<f32>,
    /// Of the last step.
    routed: Routed,
}

impl Candle {
    /// An executor of this model with KV for so many blocks; their ids are below `blocks`.
    ///
    /// # Errors
    /// Candle's own, where a quantised tensor cannot be unpacked.
    pub fn new(weights: &Weights, blocks: Blocks, size: BlockSize) -> Result<Self, ExecutorError> {
        let config = weights.config.clone();
        let embedding = layers::matrix(&weights.embedding)?;
        let head = match &weights.head {
            Some(head) => Linear::new(&layers::matrix(head)?)?,
            None => Linear::new(&embedding)?,
        };
        let all = weights
            .layers
            .iter()
            .map(|layer| Block::new(&config, layer));
        Ok(Self {
            blocks: all.collect::<Result<_, _>>()?,
            norm: layers::vector(&weights.norm)?,
            frequencies: layers::vector(&config.rotary_frequencies())?,
            pool: Pool::new(&config, blocks, size)?,
            host: Host::default(),
            logits: Vec::new(),
            routed: Routed::new(),
            embedding,
            head,
            config,
        })
    }

    /// What the routers said in the last step: a logit for each expert, by layer and token of the batch.
    /// A layer without experts has no tokens. How far the last expert chosen is from the first one not
    /// chosen says whether another executor's rounding may choose otherwise.
    pub fn router_logits(&self) -> &[Vec<Vec<f32>>] {
        &self.routed
    }

    /// Size of one KV block of such a model over all layers: what [`Executor::block_bytes`] says of an
    /// executor, without one.
    pub fn kv_block_bytes(config: &ModelConfig, size: BlockSize) -> Bytes {
        Pool::block_bytes_of(config, size)
    }

    /// Whether the batch is one of this model and this pool.
    fn check(&self, batch: &Batch, tokens: &[u32]) -> Result<(), ExecutorError> {
        let bad = |what: String| Err(ExecutorError::Batch(what));
        let n = batch.positions.len();
        if n == 0 || tokens.len() != n || batch.slots.len() != n {
            let (ids, slots) = (tokens.len(), batch.slots.len());
            return bad(format!("{n} positions, {slots} slots, {ids} tokens"));
        }
        if let Some(id) = tokens.iter().find(|id| **id >= self.vocabulary()) {
            return bad(format!("token {id}, wanted below {}", self.vocabulary()));
        }
        for (row, table) in batch.rows.iter().zip(&batch.block_tables) {
            let (context, block) = (row.context.get(), self.pool.first_slot(1));
            if context > table.len() as u64 * block || row.query > row.context {
                let (session, blocks) = (row.session, table.len());
                return bad(format!(
                    "{session} has {context} tokens in {blocks} blocks of {block}"
                ));
            }
        }
        let blocks = batch.block_tables.iter().flatten();
        let slots = blocks
            .map(|b| self.pool.first_slot(*b))
            .chain(batch.slots.iter().copied());
        match slots.max().filter(|slot| *slot >= self.pool.slots()) {
            Some(slot) => bad(format!("slot {slot}, wanted below {}", self.pool.slots())),
            None => Ok(()),
        }
    }

    fn run(&mut self, batch: &Batch, tokens: &[u32]) -> Result<(), ExecutorError> {
        let device = Device::Cpu;
        let ids = Tensor::new(tokens, &device)?;
        let positions = Positions::new(&batch.positions, &self.frequencies)?;
        let mut x = self.embedding.index_select(&ids, 0)?;
        self.routed.clear();
        for (layer, block) in self.blocks.iter().enumerate() {
            let routed = &mut self.routed;
            x = block.forward(&x, batch, &positions, &self.pool, layer, routed)?;
        }
        self.logits.clear();
        if !batch.sample_at.is_empty() {
            let rows: Vec<u32> = batch.sample_at.iter().map(|at| index(*at)).collect();
            let x = x.index_select(&Tensor::new(rows, &device)?, 0)?;
            let x = rms_norm(&x, &self.norm, self.config.norm_eps)?;
            self.logits = self.head.forward(&x)?.flatten_all()?.to_vec1()?;
        }
        Ok(())
    }
}

impl Executor for Candle {
    fn name(&self) -> &'static str {
        "candle"
    }

    fn step(&mut self, batch: &Batch, tokens: &[u32]) -> Result<Sampled, ExecutorError> {
        self.check(batch, tokens)?;
        self.run(batch, tokens)?;
        let rows = self.logits.chunks_exact(self.config.vocabulary);
        let sessions = batch.rows.iter().filter(|row| row.samples);
        let tokens = sessions
            .zip(rows)
            .map(|(row, logits)| (row.session, likeliest(logits)));
        Ok(Sampled {
            tokens: tokens.collect(),
        })
    }

    fn logits(&mut self) -> Result<Vec<f32>, ExecutorError> {
        Ok(self.logits.clone())
    }

    fn begin_copy(&mut self, copy: &Copy) -> Result<(), ExecutorError> {
        self.host.copy(&self.pool, copy)
    }

    fn ended_copies(&mut self) -> Result<Vec<u64>, ExecutorError> {
        Ok(self.host.ended())
    }

    fn forget(&mut self, session: SessionId) {
        self.host.forget(session);
    }

    fn poison(&mut self, blocks: &[u32]) -> Result<(), ExecutorError> {
        self.pool.poison(blocks)
    }

    fn block_bytes(&self) -> Bytes {
        self.pool.block_bytes()
    }

    fn vocabulary(&self) -> u32 {
        index(self.config.vocabulary as u64)
    }
}

fn index(n: u64) -> u32 {
    u32::try_from(n).expect("vocabularies, batches and pools are below 2^32")
}
