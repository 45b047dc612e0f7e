//! KV tensors behind the scheduler's block ids.
//!
//! What: per layer, keys `[kv head][block][16 tokens of it][head_dim][16]` and values
//! `[kv head][block][token of it][head_dim]`, in 32-bit or brain floats.
//! Why: with sixteen keys side by side, a vector holds the scores of sixteen tokens, and a value row is
//! a run of vectors; attention then is two matrix products that sum over no lane. A KV head's tensor
//! is one piece, so that threads write different heads.
//! Limits: a block of fewer than 16 tokens, or of no multiple of them, leaves lanes unused.

use half::bf16;

use super::simd::{LANES, Simd};

/// How keys and values are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvFormat {
    /// 32-bit floats: as exact as the reference.
    F32,
    /// Brain floats: half the memory and the traffic.
    Bf16,
}

impl KvFormat {
    /// As it stands in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// A number format of keys and values.
pub(crate) trait Element: Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    const NAN: Self;
    fn from_f32(x: f32) -> Self;
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F;
}

impl Element for f32 {
    const NAN: Self = f32::NAN;

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }

    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[f32; LANES]) -> S::F {
        s.load(from)
    }
}

/// Brain floats by their bits.
impl Element for u16 {
    const NAN: Self = 0x7fc0;

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        bf16::from_f32(x).to_bits()
    }

    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[u16; LANES]) -> S::F {
        s.load_bf16(from)
    }
}

/// Where things lie in one layer's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) blocks: usize,
    /// Tokens of a block.
    pub(crate) block_size: usize,
}

impl Shape {
    /// Groups of 16 keys in a block.
    #[inline(always)]
    pub(crate) fn groups(&self) -> usize {
        self.block_size.div_ceil(LANES)
    }

    /// Vectors of a value row.
    #[inline(always)]
    pub(crate) fn vectors(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }

    /// Vectors of a block's keys, one head.
    #[inline(always)]
    pub(crate) fn key_vectors(&self) -> usize {
        self.groups() * self.head_dim
    }

    /// Vectors of a block's values, one head.
    #[inline(always)]
    pub(crate) fn value_vectors(&self) -> usize {
        self.block_size * self.vectors()
    }

    /// Vectors of a block, keys and values, all heads and layers.
    pub(crate) fn block_vectors(&self) -> usize {
        self.layers * self.kv_heads * (self.key_vectors() + self.value_vectors())
    }
}

/// One layer.
#[derive(Debug)]
pub(crate) struct LayerKv<E> {
    pub(crate) keys: Vec<[E; LANES]>,
    pub(crate) values: Vec<[E; LANES]>,
}

/// All layers in one format.
#[derive(Debug)]
pub(crate) struct Cache<E> {
    pub(crate) shape: Shape,
    pub(crate) layers: Vec<LayerKv<E>>,
}

impl<E: Element> Cache<E> {
    pub(crate) fn new(shape: Shape) -> Self {
        let blocks = shape.kv_heads * shape.blocks;
        let layer = |_| LayerKv {
            keys: vec![[E::default(); LANES]; blocks * shape.key_vectors()],
            values: vec![[E::default(); LANES]; blocks * shape.value_vectors()],
        };
        Self {
            shape,
            layers: (0..shape.layers).map(layer).collect(),
        }
    }

    /// The pieces of memory that a block consists of, in a fixed order.
    fn pieces(&mut self, block: u32) -> impl Iterator<Item = &mut [[E; LANES]]> {
        let shape = self.shape;
        let block = block as usize;
        self.layers.iter_mut().flat_map(move |layer| {
            let keys = layer
                .keys
                .chunks_exact_mut(shape.blocks * shape.key_vectors())
                .map(move |head| &mut head[block * shape.key_vectors()..][..shape.key_vectors()]);
            let values = layer
                .values
                .chunks_exact_mut(shape.blocks * shape.value_vectors())
                .map(move |head| {
                    &mut head[block * shape.value_vectors()..][..shape.value_vectors()]
                });
            keys.chain(values)
        })
    }

    /// Appends what blocks contain.
    pub(crate) fn read(&mut self, blocks: &[u32], to: &mut Vec<[E; LANES]>) {
        to.reserve(blocks.len() * self.shape.block_vectors());
        for block in blocks {
            for piece in self.pieces(*block) {
                to.extend_from_slice(piece);
            }
        }
    }

    /// Fills blocks with what [`Self::read`] gave for as many; more of it is ignored.
    pub(crate) fn write(&mut self, blocks: &[u32], from: &[[E; LANES]]) {
        let mut left = from;
        for block in blocks {
            for piece in self.pieces(*block) {
                let (now, rest) = left.split_at(piece.len());
                piece.copy_from_slice(now);
                left = rest;
            }
        }
    }

    pub(crate) fn poison(&mut self, blocks: &[u32]) {
        for block in blocks {
            for piece in self.pieces(*block) {
                piece.fill([E::NAN; LANES]);
            }
        }
    }
}
