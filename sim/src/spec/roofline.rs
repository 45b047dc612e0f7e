//! From specs to a roofline.

use super::error::SpecError;
use super::{GpuSpec, ModelSpec};
use crate::cost::{Device, Efficiency, Host, Network, Roofline};

/// Time of an all-reduce besides its bytes: the order of NCCL's small-message latency within a machine.
pub(super) const ALL_REDUCE_LATENCY_S: f64 = 10e-6;

/// The roofline of the pair over so many GPUs.
///
/// # Errors
/// [`SpecError::NoRoofline`] names what is missing; [`SpecError::Degree`].
pub(super) fn roofline(
    gpu: &GpuSpec,
    model: &ModelSpec,
    degree: u32,
) -> Result<Roofline, SpecError> {
    let missing = |missing| SpecError::NoRoofline {
        model: model.name.as_str().into(),
        gpu: gpu.name.as_str().into(),
        missing,
    };
    let tflops = gpu
        .bf16_tflops
        .ok_or_else(|| missing("the GPU's `bf16_tflops`"))?;
    let shape = model.shape.ok_or_else(|| missing("the model's `shape`"))?;
    if degree == 0 || degree > 64 || !shape.heads.is_multiple_of(degree) {
        return Err(SpecError::Degree {
            model: model.name.as_str().into(),
            degree,
            heads: shape.heads,
        });
    }
    let link = match gpu.link_gb_per_s {
        Some(link) => link,
        None if degree == 1 => 0,
        None => return Err(missing("the GPU's `link_gb_per_s`")),
    };
    #[expect(clippy::cast_precision_loss, reason = "at most 1e9, as read")]
    let rate = |value: u64, unit: f64| value as f64 * unit;
    let device = Device {
        bytes_per_s: rate(gpu.bandwidth_gb_per_s, 1e9),
        flop_per_s: rate(tflops, 1e12),
        link_bytes_per_s: rate(link, 1e9),
        link_latency_s: ALL_REDUCE_LATENCY_S,
        degree,
    };
    let network = Network {
        layers: model.layers,
        windowed: model.window.map_or(0, |w| w.layers),
        window: model.window.map_or(0, |w| w.tokens),
        hidden: shape.hidden,
        heads: shape.heads,
        kv_heads: model.kv_heads,
        head_dim: model.head_dim,
        kv_bytes: model.kv_bytes,
        ffn: shape.ffn,
        vocab: shape.vocab,
        weight_bytes: shape.weight_bits / 8.0,
        expert_bytes: shape.expert_bits / 8.0,
        experts: model.experts.map(|e| (e.active, e.total)),
    };
    Ok(Roofline::new(
        &device,
        &network,
        &Efficiency::H100,
        Host::TYPICAL,
    ))
}

/// What it rests on, in words.
pub(super) fn evidence(gpu: &GpuSpec, model: &ModelSpec, degree: u32) -> String {
    let e = Efficiency::H100;
    let pair = format!("{} on {}", model.name, gpu.name);
    let gpus = match degree {
        1 => pair,
        n => format!("{pair} x {n}"),
    };
    format!(
        "roofline of {gpus}: data sheets with efficiencies fitted on H100 SXM tables (of bandwidth: \
         weights {}, experts {}, KV {}; of arithmetic: matrices {}, attention {}; {:.0} us per layer)",
        e.weights,
        e.experts,
        e.kv,
        e.linear,
        e.attention,
        e.per_layer_s * 1e6,
    )
}
