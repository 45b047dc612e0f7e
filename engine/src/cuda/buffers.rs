//! Memory that a step works in. It grows to the largest step seen and is never given back between.

use crate::{executor::ExecutorError, model::ModelConfig};

use super::{
    device::Device,
    launch::{count, tile_limit},
    metadata::Layout,
    op::Address,
    shape::Shape,
};

/// What each piece is for. Widths: 2 bytes unless said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// The arrays of the step, 4 bytes.
    Metadata,
    /// `[tokens, hidden]`, 4 bytes.
    Residual,
    /// `[tokens, hidden]`: what a norm gives.
    Normed,
    /// `[tokens, projected]`.
    Qkv,
    /// `[tokens, heads * head_dim]`.
    Attention,
    /// `[tokens, hidden]`: what a block adds to the residual.
    Delta,
    /// `[tokens, head_dim / 2, 2]`, 4 bytes.
    Turns,
    /// `[rows, 2 ff]`; a row is a token, or a choice of an expert.
    GateUp,
    /// `[rows, ff]`.
    Activated,
    /// `[parts, heads, head_dim]`, 4 bytes.
    Parts,
    /// `[parts, heads, 2]`, 4 bytes.
    Sums,
    /// `[samples, vocabulary]`, 4 bytes.
    Logits,
    /// `[samples]`, 4 bytes.
    Sampled,
    /// `[tokens, experts]`, 4 bytes.
    RouterLogits,
    /// `[tokens, k]`, 4 bytes.
    ExpertIds,
    /// `[tokens, k]`, 4 bytes.
    ExpertWeights,
    /// `[tokens * k]`, 4 bytes.
    ExpertOrder,
    /// `[tokens * k]`, 4 bytes.
    ExpertPlace,
    /// `[experts + 1]`, 4 bytes.
    ExpertStarts,
    /// `[limit, 3]`, 4 bytes.
    ExpertTiles,
    /// `[tokens * k, hidden]`.
    ExpertOut,
}

impl Buffer {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Metadata,
        Self::Residual,
        Self::Normed,
        Self::Qkv,
        Self::Attention,
        Self::Delta,
        Self::Turns,
        Self::GateUp,
        Self::Activated,
        Self::Parts,
        Self::Sums,
        Self::Logits,
        Self::Sampled,
        Self::RouterLogits,
        Self::ExpertIds,
        Self::ExpertWeights,
        Self::ExpertOrder,
        Self::ExpertPlace,
        Self::ExpertStarts,
        Self::ExpertTiles,
        Self::ExpertOut,
    ];

    /// Bytes that a step of this shape needs.
    pub fn bytes(self, config: &ModelConfig, shape: Shape) -> u64 {
        let t = shape.tokens;
        let (experts, active, ff) = match &config.moe {
            Some(moe) => (moe.experts, moe.active, moe.ff),
            None => (0, 0, config.ff),
        };
        let entries = t * active;
        let rows = if config.moe.is_some() { entries } else { t };
        let query = config.heads * config.head_dim;
        let bytes = match self {
            Self::Metadata => 4 * Layout::new(shape).len,
            Self::Residual => 4 * t * config.hidden,
            Self::Normed | Self::Delta => 2 * t * config.hidden,
            Self::Qkv => 2 * t * (query + 2 * config.kv_heads * config.head_dim),
            Self::Attention => 2 * t * query,
            Self::Turns => 4 * t * config.head_dim,
            Self::GateUp => 4 * rows * ff,
            Self::Activated => 2 * rows * ff,
            Self::Parts => 4 * shape.parts * query,
            Self::Sums => 8 * shape.parts * config.heads,
            Self::Logits => 4 * shape.samples * config.vocabulary,
            Self::Sampled => 4 * shape.samples,
            Self::RouterLogits => 4 * t * experts,
            Self::ExpertIds | Self::ExpertWeights | Self::ExpertOrder | Self::ExpertPlace => {
                4 * entries
            }
            Self::ExpertStarts if experts == 0 => 0,
            Self::ExpertStarts => 4 * (experts + 1),
            // The smaller tile makes more of them.
            Self::ExpertTiles => 12 * tile_limit(count(entries), count(experts), 16) as usize,
            Self::ExpertOut => 2 * entries * config.hidden,
        };
        bytes as u64
    }
}

/// The memory.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    held: [(Address, u64); Buffer::ALL.len()],
}

impl Buffers {
    /// Makes every piece large enough for the shape; true if an address changed.
    ///
    /// # Errors
    /// The device's own.
    pub fn fit(
        &mut self,
        device: &mut impl Device,
        config: &ModelConfig,
        shape: Shape,
    ) -> Result<bool, ExecutorError> {
        let mut changed = false;
        for buffer in Buffer::ALL {
            let needed = buffer.bytes(config, shape);
            let (address, held) = &mut self.held[buffer as usize];
            if needed <= *held {
                continue;
            }
            if *address != Address::NULL {
                device.free(*address)?;
                (*address, *held) = (Address::NULL, 0);
            }
            *address = device.alloc(needed)?;
            *held = needed;
            changed = true;
        }
        Ok(changed)
    }

    /// Where a piece is.
    pub fn at(&self, buffer: Buffer) -> Address {
        self.held[buffer as usize].0
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.held.iter().map(|(_, bytes)| bytes).sum()
    }
}
