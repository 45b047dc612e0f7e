//! Weights in the one form that every executor takes.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use half::{bf16, f16};

use super::config::ModelConfig;

/// The values of a matrix, row-major, as its file has them.
#[derive(Clone, Debug)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// Brain floats.
    Bf16(Vec<bf16>),
    /// Half floats.
    F16(Vec<f16>),
    /// Blocks of a GGUF quantisation, each within one row.
    Quantised(Arc<QTensor>),
}

/// A weight matrix: `rows` outputs by `cols` inputs; `y = W x`.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// `rows * cols` values.
    pub values: Values,
}

impl Matrix {
    /// All values as 32-bit floats, row-major.
    ///
    /// # Errors
    /// What candle says of a quantised tensor it cannot unpack.
    pub fn to_f32(&self) -> Result<Vec<f32>, candle_core::Error> {
        Ok(match &self.values {
            Values::F32(v) => v.clone(),
            Values::Bf16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Values::F16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Values::Quantised(q) => q
                .dequantize(&candle_core::Device::Cpu)?
                .flatten_all()?
                .to_vec1()?,
        })
    }
}

/// A gated feed-forward layer: `down(silu(gate(x)) * up(x))`.
#[derive(Clone, Debug)]
pub struct FfnDense {
    /// `[ff, hidden]`.
    pub gate: Matrix,
    /// `[ff, hidden]`.
    pub up: Matrix,
    /// `[hidden, ff]`.
    pub down: Matrix,
}

/// What follows attention.
#[derive(Clone, Debug)]
pub enum Ffn {
    /// One for all tokens.
    Dense(FfnDense),
    /// Each token goes through the experts with the highest router scores.
    Moe {
        /// `[experts, hidden]`.
        router: Matrix,
        /// One layer each.
        experts: Vec<FfnDense>,
    },
}

/// One layer. Rotary pairs of `q` and `k` are `(i, i + head_dim / 2)`, whatever the file had.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `[hidden]`.
    pub attn_norm: Vec<f32>,
    /// `[heads * head_dim, hidden]`.
    pub q: Matrix,
    /// `[kv_heads * head_dim, hidden]`.
    pub k: Matrix,
    /// `[kv_heads * head_dim, hidden]`.
    pub v: Matrix,
    /// Biases of `q`, `k`, `v`, where the model has them; permuted like the rows.
    pub qkv_bias: Option<[Vec<f32>; 3]>,
    /// Normalisations of query and key heads, `[head_dim]` each, where the model has them.
    pub qk_norm: Option<[Vec<f32>; 2]>,
    /// `[hidden, heads * head_dim]`.
    pub o: Matrix,
    /// `[hidden]`.
    pub ffn_norm: Vec<f32>,
    /// What follows attention.
    pub ffn: Ffn,
}

/// A whole model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Its shape.
    pub config: ModelConfig,
    /// `[vocabulary, hidden]`.
    pub embedding: Matrix,
    /// Shallow to deep.
    pub layers: Vec<Layer>,
    /// `[hidden]`.
    pub norm: Vec<f32>,
    /// `[vocabulary, hidden]`; `None` where it is the embedding.
    pub head: Option<Matrix>,
}

impl Weights {
    /// Numbers that the model has, a shared matrix counted once.
    pub fn parameters(&self) -> u64 {
        let matrix = |m: &Matrix| (m.rows * m.cols) as u64;
        let dense = |f: &FfnDense| matrix(&f.gate) + matrix(&f.up) + matrix(&f.down);
        let vectors = |v: &[Vec<f32>]| v.iter().map(|v| v.len() as u64).sum::<u64>();
        let layer = |l: &Layer| {
            let ffn = match &l.ffn {
                Ffn::Dense(f) => dense(f),
                Ffn::Moe { router, experts } => {
                    matrix(router) + experts.iter().map(dense).sum::<u64>()
                }
            };
            let norms = (l.attn_norm.len() + l.ffn_norm.len()) as u64;
            let small = l.qkv_bias.as_ref().map_or(0, |b| vectors(b))
                + l.qk_norm.as_ref().map_or(0, |n| vectors(n));
            [&l.q, &l.k, &l.v, &l.o].map(matrix).iter().sum::<u64>() + ffn + norms + small
        };
        let ends = matrix(&self.embedding) + self.head.as_ref().map_or(0, matrix);
        ends + self.norm.len() as u64 + self.layers.iter().map(layer).sum::<u64>()
    }
}
