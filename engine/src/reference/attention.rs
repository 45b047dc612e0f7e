//! Rotation of queries and keys, and attention over paged KV.

use candle_core::{D, Device, Tensor};

use super::kv::Pool;
use crate::batch::Batch;
use crate::model::ModelConfig;

type Result<T> = std::result::Result<T, candle_core::Error>;

/// What the rotation needs of the batch's positions: `[tokens, 1, head_dim / 2]` each.
#[derive(Debug)]
pub(super) struct Positions {
    cos: Tensor,
    sin: Tensor,
}

impl Positions {
    #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^24")]
    pub(super) fn new(positions: &[u64], frequencies: &Tensor) -> Result<Self> {
        let at: Vec<f32> = positions.iter().map(|p| *p as f32).collect();
        let at = Tensor::new(at, &Device::Cpu)?.reshape(((), 1, 1))?;
        let angles = at.broadcast_mul(&frequencies.reshape((1, 1, ()))?)?;
        Ok(Self {
            cos: angles.cos()?,
            sin: angles.sin()?,
        })
    }

    /// Turns each pair `(i, i + head_dim / 2)` of each head of `[tokens, heads, head_dim]`.
    pub(super) fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let half = x.dim(D::Minus1)? / 2;
        let (a, b) = (
            x.narrow(D::Minus1, 0, half)?,
            x.narrow(D::Minus1, half, half)?,
        );
        let turned = [
            (a.broadcast_mul(&self.cos)? - b.broadcast_mul(&self.sin)?)?,
            (a.broadcast_mul(&self.sin)? + b.broadcast_mul(&self.cos)?)?,
        ];
        Tensor::cat(&turned, D::Minus1)
    }
}

/// Attention of every row over its own context, `[tokens, heads * head_dim]`. The step's KV is in the
/// pool already.
pub(super) fn attend(
    config: &ModelConfig,
    q: &Tensor,
    batch: &Batch,
    pool: &Pool,
    layer: usize,
) -> Result<Tensor> {
    let whole = |n: u64| usize::try_from(n).expect("contexts are in memory");
    let mut outputs = Vec::with_capacity(batch.rows.len());
    for (i, row) in batch.rows.iter().enumerate() {
        let (start, n) = (whole(batch.starts[i]), whole(row.query.get()));
        let context = whole(row.context.get());
        let [k, v] = pool.read(layer, &batch.block_tables[i], context)?;
        let q = q.narrow(0, start, n)?;
        outputs.push(attend_row(config, &q, &k, &v)?);
    }
    Tensor::cat(&outputs, 0)
}

/// Queries `[n, heads, head_dim]`, the last `n` of the context, over keys and values
/// `[context, kv_heads * head_dim]`.
#[expect(clippy::cast_precision_loss, reason = "widths of heads are small")]
fn attend_row(config: &ModelConfig, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (queries, context) = (q.dim(0)?, k.dim(0)?);
    let (kv_heads, group, width) = (config.kv_heads, config.group(), config.head_dim);
    // [kv_heads, group * queries, head_dim]: the queries that read the same keys, together.
    let q = q.reshape((queries, kv_heads, group, width))?;
    let q = q.permute((1, 2, 0, 3))?.contiguous()?;
    let q = q.reshape((kv_heads, group * queries, width))?;
    let heads_first = |rows: &Tensor| {
        let rows = rows.reshape((context, kv_heads, width))?;
        rows.transpose(0, 1)?.contiguous()
    };
    let (k, v) = (heads_first(k)?, heads_first(v)?);
    let scores = (q.matmul(&k.t()?)? / (width as f64).sqrt())?;
    let scores = scores.reshape((kv_heads, group, queries, context))?;
    let scores = scores.broadcast_add(&later(queries, context)?)?;
    let scores = (scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?))?.exp()?;
    let weights = scores.broadcast_div(&scores.sum_keepdim(D::Minus1)?)?;
    let weights = weights.reshape((kv_heads, group * queries, context))?;
    let out = weights
        .matmul(&v)?
        .reshape((kv_heads, group, queries, width))?;
    out.permute((2, 0, 1, 3))?
        .contiguous()?
        .reshape((queries, kv_heads * group * width))
}

/// Minus infinity where a position is later than the query's, else 0; `[n, context]`.
fn later(n: usize, context: usize) -> Result<Tensor> {
    let before = context - n;
    let value = move |query: usize, key: usize| {
        if key > before + query {
            f32::NEG_INFINITY
        } else {
            0.0
        }
    };
    let all = (0..n).flat_map(|query| (0..context).map(move |key| value(query, key)));
    Tensor::from_iter(all, &Device::Cpu)?.reshape((1, 1, n, context))
}
