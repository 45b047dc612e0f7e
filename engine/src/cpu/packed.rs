//! A model's weights as the kernels take them.

use std::sync::OnceLock;

use half::bf16;

use super::attention::WIDEST_HEAD;
use super::linear::{Linear, Mode};
use super::threads::Threads;
use crate::executor::ExecutorError;
use crate::model::{Ffn, FfnDense, Layer, Matrix, ModelConfig, Weights};

/// A gated unit: `[gate; up]` in one matrix.
#[derive(Debug)]
pub(crate) struct PackedFfn {
    pub(crate) gate_up: Linear,
    pub(crate) down: Linear,
}

/// What follows attention.
#[derive(Debug)]
pub(crate) enum PackedUnit {
    Dense(PackedFfn),
    /// The router is always in 32-bit floats: its small differences choose the experts.
    Moe {
        router: Linear,
        experts: Vec<PackedFfn>,
    },
}

#[derive(Debug)]
pub(crate) struct PackedLayer {
    pub(crate) attn_norm: Vec<f32>,
    /// `[q; k; v]` in one matrix.
    pub(crate) qkv: Linear,
    pub(crate) bias: Option<[Vec<f32>; 3]>,
    pub(crate) qk_norm: Option<[Vec<f32>; 2]>,
    pub(crate) o: Linear,
    pub(crate) ffn_norm: Vec<f32>,
    pub(crate) unit: PackedUnit,
}

/// The embedding, row by row.
#[derive(Debug)]
pub(crate) enum Table {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) config: ModelConfig,
    pub(crate) table: Table,
    pub(crate) layers: Vec<PackedLayer>,
    pub(crate) norm: Vec<f32>,
    pub(crate) head: Linear,
}

impl Packed {
    /// Packs a model, layers in parallel.
    ///
    /// # Errors
    /// [`ExecutorError::Device`] if the shape is none that the kernels know or a matrix is not of it;
    /// what candle says of a quantised tensor it cannot unpack.
    pub(crate) fn new(
        weights: &Weights,
        mode: Mode,
        threads: &Threads,
    ) -> Result<Self, ExecutorError> {
        check(weights)?;
        let made: Vec<OnceLock<Result<PackedLayer, candle_core::Error>>> =
            weights.layers.iter().map(|_| OnceLock::new()).collect();
        threads.run(made.len(), usize::MAX, |i| {
            // Each slot is set once: by its own item.
            let _ = made[i].set(layer(&weights.layers[i], mode));
        });
        let layers = made
            .into_iter()
            .map(|slot| slot.into_inner().expect("every item ran"))
            .collect::<Result<_, _>>()?;
        let rows = weights.embedding.to_f32()?;
        Ok(Self {
            config: weights.config.clone(),
            table: match mode {
                Mode::F32 => Table::F32(rows),
                Mode::Bf16 | Mode::Int8 => {
                    Table::Bf16(rows.into_iter().map(bf16::from_f32).collect())
                }
            },
            layers,
            norm: weights.norm.clone(),
            head: Linear::pack(&[weights.head.as_ref().unwrap_or(&weights.embedding)], mode)?,
        })
    }

    /// Writes a token's embedding.
    pub(crate) fn embed(&self, token: u32, to: &mut [f32]) {
        let at = token as usize * to.len();
        match &self.table {
            Table::F32(rows) => to.copy_from_slice(&rows[at..][..to.len()]),
            Table::Bf16(rows) => {
                for (to, x) in to.iter_mut().zip(&rows[at..]) {
                    *to = x.to_f32();
                }
            }
        }
    }

    /// Bytes of weights that a step at batch 1 reads: all but the embedding; of experts, those that a
    /// token goes through.
    pub(crate) fn bytes_per_step(&self) -> usize {
        let unit = |unit: &PackedUnit| match unit {
            PackedUnit::Dense(f) => f.gate_up.bytes() + f.down.bytes(),
            PackedUnit::Moe { router, experts } => {
                let all: usize = experts
                    .iter()
                    .map(|f| f.gate_up.bytes() + f.down.bytes())
                    .sum();
                let moe = self.config.moe.as_ref().expect("checked");
                router.bytes() + all * moe.active / moe.experts
            }
        };
        let layers: usize = self
            .layers
            .iter()
            .map(|l| l.qkv.bytes() + l.o.bytes() + unit(&l.unit))
            .sum();
        layers + self.head.bytes()
    }
}

fn layer(layer: &Layer, mode: Mode) -> Result<PackedLayer, candle_core::Error> {
    Ok(PackedLayer {
        attn_norm: layer.attn_norm.clone(),
        qkv: Linear::pack(&[&layer.q, &layer.k, &layer.v], mode)?,
        bias: layer.qkv_bias.clone(),
        qk_norm: layer.qk_norm.clone(),
        o: Linear::pack(&[&layer.o], mode)?,
        ffn_norm: layer.ffn_norm.clone(),
        unit: match &layer.ffn {
            Ffn::Dense(dense) => PackedUnit::Dense(ffn(dense, mode)?),
            Ffn::Moe { router, experts } => PackedUnit::Moe {
                router: Linear::pack(&[router], Mode::F32)?,
                experts: experts
                    .iter()
                    .map(|e| ffn(e, mode))
                    .collect::<Result<_, _>>()?,
            },
        },
    })
}

fn ffn(dense: &FfnDense, mode: Mode) -> Result<PackedFfn, candle_core::Error> {
    Ok(PackedFfn {
        gate_up: Linear::pack(&[&dense.gate, &dense.up], mode)?,
        down: Linear::pack(&[&dense.down], mode)?,
    })
}

fn refuse(what: String) -> ExecutorError {
    ExecutorError::Device {
        device: "cpu".to_owned(),
        doing: "packing the model".to_owned(),
        what,
    }
}

/// What the kernels take for granted.
fn check(weights: &Weights) -> Result<(), ExecutorError> {
    let c = &weights.config;
    if c.head_dim > WIDEST_HEAD || c.head_dim % 2 == 1 || c.head_dim == 0 {
        return Err(refuse(format!(
            "heads are {} wide; they must be even and at most {WIDEST_HEAD}",
            c.head_dim
        )));
    }
    if c.kv_heads == 0 || !c.heads.is_multiple_of(c.kv_heads) {
        return Err(refuse(format!(
            "{} query heads do not share {} KV heads evenly",
            c.heads, c.kv_heads
        )));
    }
    if weights.layers.len() != c.layers {
        return Err(refuse(format!(
            "{} layers where its shape has {}",
            weights.layers.len(),
            c.layers
        )));
    }
    let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    matrix("embedding", &weights.embedding, c.vocabulary, c.hidden)?;
    if let Some(head) = &weights.head {
        matrix("head", head, c.vocabulary, c.hidden)?;
    }
    for (i, layer) in weights.layers.iter().enumerate() {
        matrix(&format!("layer {i} q"), &layer.q, q, c.hidden)?;
        matrix(&format!("layer {i} k"), &layer.k, kv, c.hidden)?;
        matrix(&format!("layer {i} v"), &layer.v, kv, c.hidden)?;
        matrix(&format!("layer {i} o"), &layer.o, c.hidden, q)?;
        match &layer.ffn {
            Ffn::Dense(dense) => unit(i, dense, c.ff, c.hidden)?,
            Ffn::Moe { router, experts } => {
                let Some(moe) = &c.moe else {
                    return Err(refuse(format!("layer {i} has experts, its shape has none")));
                };
                if experts.len() != moe.experts || moe.active == 0 || moe.active > moe.experts {
                    return Err(refuse(format!(
                        "layer {i} has {} experts; its shape {} of {}",
                        experts.len(),
                        moe.active,
                        moe.experts
                    )));
                }
                matrix(&format!("layer {i} router"), router, moe.experts, c.hidden)?;
                for expert in experts {
                    unit(i, expert, moe.ff, c.hidden)?;
                }
            }
        }
    }
    Ok(())
}

fn unit(layer: usize, dense: &FfnDense, ff: usize, hidden: usize) -> Result<(), ExecutorError> {
    matrix(&format!("layer {layer} gate"), &dense.gate, ff, hidden)?;
    matrix(&format!("layer {layer} up"), &dense.up, ff, hidden)?;
    matrix(&format!("layer {layer} down"), &dense.down, hidden, ff)
}

fn matrix(name: &str, m: &Matrix, rows: usize, cols: usize) -> Result<(), ExecutorError> {
    if (m.rows, m.cols) == (rows, cols) {
        return Ok(());
    }
    Err(refuse(format!(
        "{name} is {} by {}; the model's shape wants {rows} by {cols}",
        m.rows, m.cols
    )))
}
