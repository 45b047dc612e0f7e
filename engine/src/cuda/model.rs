//! A model in the device's memory: brain floats, projections that are read together stored together.

use half::bf16;

use crate::{
    executor::ExecutorError,
    model::{Ffn, FfnDense, Layer, Matrix, ModelConfig, Weights},
};

use super::{
    device::Device,
    launch,
    op::{Address, Op},
};

/// What follows attention.
#[derive(Clone, Copy, Debug)]
pub enum DeviceFfn {
    /// One layer for all tokens.
    Dense {
        /// `[2 ff, hidden]`: gate, then up.
        gate_up: Address,
        /// `[hidden, ff]`.
        down: Address,
    },
    /// Experts.
    Moe {
        /// `[experts, hidden]`.
        router: Address,
        /// `[experts, 2 ff, hidden]`.
        gate_up: Address,
        /// `[experts, hidden, ff]`.
        down: Address,
    },
}

/// One layer.
#[derive(Clone, Copy, Debug)]
pub struct DeviceLayer {
    /// `[hidden]`, 32 bits.
    pub attn_norm: Address,
    /// `[(heads + 2 kv_heads) * head_dim, hidden]`.
    pub qkv: Address,
    /// 32 bits, or null.
    pub qkv_bias: Address,
    /// `[head_dim]` each, 32 bits, or null.
    pub qk_norm: [Address; 2],
    /// `[hidden, heads * head_dim]`.
    pub o: Address,
    /// `[hidden]`, 32 bits.
    pub ffn_norm: Address,
    /// What follows.
    pub ffn: DeviceFfn,
}

/// A model.
#[derive(Clone, Debug)]
pub struct DeviceModel {
    /// `[vocabulary, hidden]`.
    pub embedding: Address,
    /// Shallow to deep.
    pub layers: Vec<DeviceLayer>,
    /// `[hidden]`, 32 bits.
    pub norm: Address,
    /// `[vocabulary, hidden]`: the embedding where they are tied.
    pub head: Address,
    /// `[head_dim / 2]`, 32 bits: rotary frequencies.
    pub inverse: Address,
}

/// Copies weights to the device.
///
/// # Errors
/// The device's own, and what a quantised tensor cannot be unpacked for.
pub fn upload(device: &mut impl Device, weights: &Weights) -> Result<DeviceModel, ExecutorError> {
    let layers = weights
        .layers
        .iter()
        .map(|layer| upload_layer(device, layer))
        .collect::<Result<_, _>>()?;
    let embedding = matrices(device, &[&weights.embedding])?;
    Ok(DeviceModel {
        embedding,
        layers,
        norm: floats(device, &weights.norm)?,
        head: match &weights.head {
            Some(head) => matrices(device, &[head])?,
            None => embedding,
        },
        inverse: floats(device, &weights.config.rotary_frequencies())?,
    })
}

fn upload_layer(device: &mut impl Device, layer: &Layer) -> Result<DeviceLayer, ExecutorError> {
    let ffn = match &layer.ffn {
        Ffn::Dense(FfnDense { gate, up, down }) => DeviceFfn::Dense {
            gate_up: matrices(device, &[gate, up])?,
            down: matrices(device, &[down])?,
        },
        Ffn::Moe { router, experts } => DeviceFfn::Moe {
            router: matrices(device, &[router])?,
            gate_up: matrices(
                device,
                &experts
                    .iter()
                    .flat_map(|e| [&e.gate, &e.up])
                    .collect::<Vec<_>>(),
            )?,
            down: matrices(device, &experts.iter().map(|e| &e.down).collect::<Vec<_>>())?,
        },
    };
    Ok(DeviceLayer {
        attn_norm: floats(device, &layer.attn_norm)?,
        qkv: matrices(device, &[&layer.q, &layer.k, &layer.v])?,
        qkv_bias: match &layer.qkv_bias {
            Some(biases) => floats(device, &biases.concat())?,
            None => Address::NULL,
        },
        qk_norm: match &layer.qk_norm {
            Some([q, k]) => [floats(device, q)?, floats(device, k)?],
            None => [Address::NULL; 2],
        },
        o: matrices(device, &[&layer.o])?,
        ffn_norm: floats(device, &layer.ffn_norm)?,
        ffn,
    })
}

fn floats(device: &mut impl Device, values: &[f32]) -> Result<Address, ExecutorError> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let at = device.alloc(bytes.len() as u64)?;
    device.write(at, &bytes)?;
    Ok(at)
}

/// Matrices one behind the other.
fn matrices(device: &mut impl Device, parts: &[&Matrix]) -> Result<Address, ExecutorError> {
    let values: usize = parts.iter().map(|m| m.rows * m.cols).sum();
    let at = device.alloc(2 * values as u64)?;
    let mut offset = 0;
    for part in parts {
        let bytes: Vec<u8> = part
            .to_f32()?
            .into_iter()
            .flat_map(|v| bf16::from_f32(v).to_le_bytes())
            .collect();
        device.write(at.offset(offset), &bytes)?;
        offset += bytes.len() as u64;
    }
    Ok(at)
}

/// A model of a true shape with random weights, made on the device: nothing is sent to it. Matrices
/// are uniform with a deviation that keeps activations near one, norms are one, biases are zero.
///
/// # Errors
/// The device's own.
pub fn random(
    device: &mut impl Device,
    config: &ModelConfig,
    seed: u64,
) -> Result<DeviceModel, ExecutorError> {
    let mut maker = Maker { device, seed };
    let (hidden, width) = (config.hidden, config.head_dim);
    let projected = (config.heads + 2 * config.kv_heads) * width;
    let mut layers = Vec::with_capacity(config.layers);
    for _ in 0..config.layers {
        let ffn = match &config.moe {
            None => DeviceFfn::Dense {
                gate_up: maker.matrix(1, 2 * config.ff, hidden)?,
                down: maker.matrix(1, hidden, config.ff)?,
            },
            Some(moe) => DeviceFfn::Moe {
                router: maker.matrix(1, moe.experts, hidden)?,
                gate_up: maker.matrix(moe.experts, 2 * moe.ff, hidden)?,
                down: maker.matrix(moe.experts, hidden, moe.ff)?,
            },
        };
        layers.push(DeviceLayer {
            attn_norm: maker.all(hidden, 1.0)?,
            qkv: maker.matrix(1, projected, hidden)?,
            qkv_bias: if config.qkv_bias {
                maker.all(projected, 0.0)?
            } else {
                Address::NULL
            },
            qk_norm: if config.qk_norm {
                [maker.all(width, 1.0)?, maker.all(width, 1.0)?]
            } else {
                [Address::NULL; 2]
            },
            o: maker.matrix(1, hidden, config.heads * width)?,
            ffn_norm: maker.all(hidden, 1.0)?,
            ffn,
        });
    }
    let embedding = maker.matrix(1, config.vocabulary, hidden)?;
    let head = if config.tied {
        embedding
    } else {
        maker.matrix(1, config.vocabulary, hidden)?
    };
    let norm = maker.all(hidden, 1.0)?;
    let inverse = floats(maker.device, &config.rotary_frequencies())?;
    Ok(DeviceModel {
        embedding,
        layers,
        norm,
        head,
        inverse,
    })
}

struct Maker<'a, D> {
    device: &'a mut D,
    seed: u64,
}

impl<D: Device> Maker<'_, D> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a matrix has far fewer inputs than 2^24"
    )]
    fn matrix(
        &mut self,
        copies: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Address, ExecutorError> {
        let values = (copies * rows * cols) as u64;
        let at = self.device.alloc(2 * values)?;
        // Uniform in [-s, s) has variance s^2 / 3.
        let scale = (3.0 / cols as f32).sqrt();
        self.seed += 1;
        let op = Op::Launch(launch::random_fill(at, values, self.seed << 32, scale));
        self.device.run(&[op])?;
        Ok(at)
    }

    fn all(&mut self, count: usize, value: f32) -> Result<Address, ExecutorError> {
        let at = self.device.alloc(4 * count as u64)?;
        let op = Op::Launch(launch::fill(at, count as u64, value));
        self.device.run(&[op])?;
        Ok(at)
    }
}
