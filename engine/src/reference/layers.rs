//! One layer: normalise, attend, normalise, feed forward.

use candle_core::{D, Device, Tensor};

use super::attention::{Positions, attend};
use super::index;
use super::kv::Pool;
use crate::batch::Batch;
use crate::model::{Ffn, FfnDense, Layer, Matrix, ModelConfig, Moe};

type Result<T> = std::result::Result<T, candle_core::Error>;

/// Logits of the routers, by layer, token and expert.
pub(super) type Routed = Vec<Vec<Vec<f32>>>;

/// A matrix as a tensor `[rows, cols]`.
pub(super) fn matrix(matrix: &Matrix) -> Result<Tensor> {
    let shape = (matrix.rows, matrix.cols);
    Tensor::from_vec(matrix.to_f32()?, shape, &Device::Cpu)
}

/// A vector as a tensor.
pub(super) fn vector(values: &[f32]) -> Result<Tensor> {
    Tensor::new(values, &Device::Cpu)
}

/// `x / sqrt(mean(x^2) + eps) * weight` over the last dimension.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let square = x.sqr()?.mean_keepdim(D::Minus1)?;
    let root = (square + f64::from(eps))?.sqrt()?;
    x.broadcast_div(&root)?.broadcast_mul(weight)
}

/// `y = x W^T + b`.
#[derive(Debug)]
pub(super) struct Linear {
    transposed: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Of a matrix `[outputs, inputs]`.
    pub(super) fn new(matrix: &Tensor) -> Result<Self> {
        Ok(Self {
            transposed: matrix.t()?,
            bias: None,
        })
    }

    fn of(from: &Matrix, bias: Option<&Vec<f32>>) -> Result<Self> {
        Ok(Self {
            bias: bias.map(|b| vector(b)).transpose()?,
            ..Self::new(&matrix(from)?)?
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.transposed)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

#[derive(Debug)]
struct Gated {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Gated {
    fn new(from: &FfnDense) -> Result<Self> {
        Ok(Self {
            gate: Linear::of(&from.gate, None)?,
            up: Linear::of(&from.up, None)?,
            down: Linear::of(&from.down, None)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let gate = self.gate.forward(x)?;
        // silu(g) = g / (1 + exp(-g))
        let gate = (&gate / (gate.neg()?.exp()? + 1.0)?)?;
        self.down.forward(&(gate * self.up.forward(x)?)?)
    }
}

#[derive(Debug)]
enum FeedForward {
    Dense(Gated),
    Moe {
        router: Linear,
        experts: Vec<Gated>,
        moe: Moe,
    },
}

impl FeedForward {
    fn new(config: &ModelConfig, from: &Ffn) -> Result<Self> {
        match (from, &config.moe) {
            (Ffn::Dense(ffn), _) => Ok(Self::Dense(Gated::new(ffn)?)),
            (Ffn::Moe { router, experts }, Some(moe)) => Ok(Self::Moe {
                router: Linear::of(router, None)?,
                experts: experts.iter().map(Gated::new).collect::<Result<_>>()?,
                moe: moe.clone(),
            }),
            (Ffn::Moe { .. }, None) => {
                candle_core::bail!("a layer has experts and the model's shape has none")
            }
        }
    }

    /// Puts what the router said of each token into `said`; nothing without experts.
    fn forward(&self, x: &Tensor, said: &mut Routed) -> Result<Tensor> {
        let (router, experts, moe) = match self {
            Self::Dense(ffn) => {
                said.push(Vec::new());
                return ffn.forward(x);
            }
            Self::Moe {
                router,
                experts,
                moe,
            } => (router, experts, moe),
        };
        let scores: Vec<Vec<f32>> = router.forward(x)?.to_vec2()?;
        let chosen: Vec<_> = scores.iter().map(|scores| choose(scores, moe)).collect();
        let mut out = x.zeros_like()?;
        for (e, expert) in experts.iter().enumerate() {
            let mine = chosen.iter().enumerate().filter_map(|(token, of)| {
                let (_, weight) = of.iter().find(|(chosen, _)| *chosen == e)?;
                Some((index(token as u64), *weight))
            });
            let (tokens, weights): (Vec<u32>, Vec<f32>) = mine.unzip();
            if tokens.is_empty() {
                continue;
            }
            let tokens = Tensor::new(tokens, &Device::Cpu)?;
            let weights = vector(&weights)?.reshape(((), 1))?;
            let y = expert.forward(&x.index_select(&tokens, 0)?)?;
            out = out.index_add(&tokens, &y.broadcast_mul(&weights)?, 0)?;
        }
        said.push(scores);
        Ok(out)
    }
}

/// The experts of a token and what each one counts: the softmax over all of them, of the highest ones
/// (the lowest number among equals), scaled to sum to 1 where the model says so.
fn choose(scores: &[f32], moe: &Moe) -> Vec<(usize, f32)> {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut all: Vec<_> = scores
        .iter()
        .map(|s| (s - most).exp())
        .enumerate()
        .collect();
    let sum: f32 = all.iter().map(|(_, p)| p).sum();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(moe.active);
    let whole = if moe.normalise {
        all.iter().map(|(_, p)| p).sum()
    } else {
        sum
    };
    all.iter().map(|(e, p)| (*e, p / whole)).collect()
}

/// One layer's weights as tensors.
#[derive(Debug)]
pub(super) struct Block {
    config: ModelConfig,
    attn_norm: Tensor,
    qkv: [Linear; 3],
    qk_norm: Option<[Tensor; 2]>,
    o: Linear,
    ffn_norm: Tensor,
    ffn: FeedForward,
}

impl Block {
    pub(super) fn new(config: &ModelConfig, from: &Layer) -> Result<Self> {
        let [bq, bk, bv] = match &from.qkv_bias {
            Some([q, k, v]) => [Some(q), Some(k), Some(v)],
            None => [None; 3],
        };
        Ok(Self {
            config: config.clone(),
            attn_norm: vector(&from.attn_norm)?,
            qkv: [
                Linear::of(&from.q, bq)?,
                Linear::of(&from.k, bk)?,
                Linear::of(&from.v, bv)?,
            ],
            qk_norm: match &from.qk_norm {
                Some([q, k]) => Some([vector(q)?, vector(k)?]),
                None => None,
            },
            o: Linear::of(&from.o, None)?,
            ffn_norm: vector(&from.ffn_norm)?,
            ffn: FeedForward::new(config, &from.ffn)?,
        })
    }

    /// The residual stream `[tokens, hidden]` after this layer. Writes the step's KV, and adds what its router
    /// said to `said`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        batch: &Batch,
        positions: &Positions,
        pool: &Pool,
        layer: usize,
        said: &mut Routed,
    ) -> Result<Tensor> {
        let config = &self.config;
        let normed = rms_norm(x, &self.attn_norm, config.norm_eps)?;
        let [q, k, v] = &self.qkv;
        let heads = |of: &Linear, heads: usize, norm: Option<&Tensor>| {
            let rows = of.forward(&normed)?;
            let split = rows.reshape(((), heads, config.head_dim))?;
            positions.rotate(&match norm {
                Some(norm) => rms_norm(&split, norm, config.norm_eps)?,
                None => split,
            })
        };
        let norms = self.qk_norm.as_ref();
        let q = heads(q, config.heads, norms.map(|n| &n[0]))?;
        let k = heads(k, config.kv_heads, norms.map(|n| &n[1]))?;
        let v = v.forward(&normed)?;
        pool.write(layer, &batch.slots, [&k.flatten_from(1)?, &v])?;
        let attended = attend(config, &q, batch, pool, layer)?;
        let x = (x + self.o.forward(&attended)?)?;
        let normed = rms_norm(&x, &self.ffn_norm, config.norm_eps)?;
        &x + self.ffn.forward(&normed, said)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_the_likeliest_experts_and_the_lowest_of_equals() {
        let moe = |normalise| Moe {
            experts: 4,
            active: 2,
            ff: 1,
            normalise,
        };
        // Odds of 1, 3, 2 and 2: shares of 1/8, 3/8, 1/4 and 1/4.
        let scores = [0.0, 3f32.ln(), 2f32.ln(), 2f32.ln()];
        let close = |found: &[(usize, f32)], wanted: [(usize, f32); 2]| {
            assert_eq!(found.len(), 2);
            for ((e, p), (we, wp)) in found.iter().zip(wanted) {
                assert!(*e == we && (p - wp).abs() < 1e-6, "{found:?}");
            }
        };
        close(&choose(&scores, &moe(false)), [(1, 0.375), (2, 0.25)]);
        close(&choose(&scores, &moe(true)), [(1, 0.6), (2, 0.4)]);
    }
}
