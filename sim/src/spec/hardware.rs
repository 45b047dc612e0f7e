//! One GPU serving one model: how much KV it holds and what a step costs.

use units::{BlockSize, Blocks, Bytes, Tokens};

use super::catalog::{Catalog, Fit};
use super::error::SpecError;
use super::{GpuSpec, ModelSpec};
use crate::cost::{ClosedForm, Coefficients, Host};

/// Activations, CUDA graphs and the runtime itself: about 3.5 GiB in vLLM.
const RESERVE: Bytes = Bytes(7 << 29);

/// Utilisation is taken in millionths, so that the pool is computed in integers.
const MILLION: u64 = 1_000_000;

/// A model on a GPU.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// The GPU.
    pub gpu: GpuSpec,
    /// The model.
    pub model: ModelSpec,
    /// Tokens whose KV fits beside the weights.
    pub kv_tokens: Tokens,
    /// What a step costs.
    pub cost: ClosedForm,
    /// What the costs rest on: a fit, or a fit on another GPU and how it was carried over.
    pub evidence: String,
}

impl Hardware {
    /// The named model on the named GPU, using `utilisation` (vLLM: 0.90) of its memory, with
    /// [`Host::TYPICAL`] overhead.
    ///
    /// KV pool: `floor((utilisation * memory - weights - 3.5 GiB) / KV bytes per token)` tokens.
    /// Utilisation is rounded to millionths.
    ///
    /// Costs are those fitted for the pair. Without any, those fitted for the GPU that this one is
    /// `like`, with the memory-bound terms scaled by the ratio of bandwidths: `p0` (weight reading,
    /// for a mixture mostly of all experts), `d0` and `e` (weight reading), `d2` (KV reading). Not
    /// scaled: `p1` and `p2` (arithmetic), `d1` (work per turn). [`Hardware::evidence`] says so.
    ///
    /// Limit: bandwidth is not all of it, so scaled decode steps come out short. Carried from H100 to
    /// H200 SXM, a ratio of 0.70 where both are measured, the rule gives decode 9 % (Qwen3-30B) and
    /// 7 % (Llama-3.1-8B) below the tables on average and prefill within 1.4 %. NVL cards also do
    /// less arithmetic than SXM ones, which is not modelled.
    ///
    /// # Errors
    /// [`SpecError::UnknownName`], [`SpecError::NoCost`], [`SpecError::Utilisation`], or
    /// [`SpecError::DoesNotFit`] if no usable block of KV remains.
    pub fn new(
        catalog: &Catalog,
        gpu: &str,
        model: &str,
        utilisation: f64,
    ) -> Result<Self, SpecError> {
        let (gpu, model) = (catalog.gpu(gpu)?, catalog.model(model)?);
        let kv_tokens = kv_pool(gpu, model, utilisation)?;
        let Fit {
            coefficients,
            evidence,
        } = fit(catalog, gpu, model)?;
        let cost = closed_form(coefficients, Host::TYPICAL, gpu, model)?;
        Ok(Self {
            gpu: gpu.clone(),
            model: model.clone(),
            kv_tokens,
            cost,
            evidence,
        })
    }

    /// The same with another host overhead.
    pub fn with_host(mut self, host: Host) -> Self {
        self.cost = self.cost.with_host(host);
        self
    }

    /// Blocks of the pool, the null block that vLLM reserves included.
    pub fn blocks(&self, size: BlockSize) -> Blocks {
        size.filled_by(self.kv_tokens)
    }

    /// Blocks that turns can hold: all but the null block.
    pub fn usable_blocks(&self, size: BlockSize) -> Blocks {
        self.blocks(size).saturating_sub(Blocks(1))
    }
}

fn closed_form(
    coefficients: Coefficients,
    host: Host,
    gpu: &GpuSpec,
    model: &ModelSpec,
) -> Result<ClosedForm, SpecError> {
    ClosedForm::new(coefficients, host).map_err(|source| SpecError::Cost {
        origin: "scaled by bandwidth".into(),
        entry: format!("cost {} on {}", model.name, gpu.name).into(),
        source,
    })
}

fn kv_pool(gpu: &GpuSpec, model: &ModelSpec, utilisation: f64) -> Result<Tokens, SpecError> {
    if !(utilisation > 0.0 && utilisation <= 1.0) {
        return Err(SpecError::Utilisation { value: utilisation });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most a million, checked above"
    )]
    let millionths = (utilisation * 1e6).round() as u64;
    // Whole and rest apart: memory times a million does not fit 64 bits.
    let memory = gpu.memory.get();
    let usable = memory / MILLION * millionths + memory % MILLION * millionths / MILLION;
    let free = Bytes(usable)
        .saturating_sub(model.weights)
        .saturating_sub(RESERVE);
    let tokens = Tokens(free.get() / model.kv_per_token().get());
    // One block is vLLM's null block, so a pool of one holds nothing.
    let least = BlockSize::default().capacity(Blocks(2));
    if tokens < least {
        return Err(SpecError::DoesNotFit {
            model: model.name.as_str().into(),
            gpu: gpu.name.as_str().into(),
            memory: gpu.memory,
            usable: Bytes(usable),
            weights: model.weights,
            reserve: RESERVE,
            needed: Bytes(least.get().saturating_mul(model.kv_per_token().get())),
        });
    }
    Ok(tokens)
}

/// Fitted coefficients of the pair, or those of the GPU it is like.
fn fit(catalog: &Catalog, gpu: &GpuSpec, model: &ModelSpec) -> Result<Fit, SpecError> {
    if let Some(fit) = catalog.fitted(model, &gpu.name)? {
        return Ok(fit);
    }
    if let Some(like) = &gpu.like {
        let base = catalog.gpu(like)?;
        if let Some(fit) = catalog.fitted(model, like)? {
            return Ok(scale(fit, base, gpu));
        }
    }
    Err(SpecError::NoCost {
        model: model.name.as_str().into(),
        gpu: gpu.name.as_str().into(),
        fitted: catalog.fitted_gpus(&model.name),
    })
}

/// Carries a fit from one GPU to another by memory bandwidth.
fn scale(mut fit: Fit, from: &GpuSpec, to: &GpuSpec) -> Fit {
    let (was, is) = (from.bandwidth_gb_per_s, to.bandwidth_gb_per_s);
    // A coefficient is below 2^50 and a bandwidth at most 1e9, below 2^30.
    let scaled = |ps: u64| {
        let nearest = (u128::from(ps) * u128::from(was) + u128::from(is) / 2) / u128::from(is);
        u64::try_from(nearest).unwrap_or(u64::MAX)
    };
    let c = &mut fit.coefficients;
    for term in [&mut c.p0, &mut c.d0, &mut c.e, &mut c.d2] {
        *term = scaled(*term);
    }
    fit.evidence = format!(
        "{}; for {}: memory-bound terms (p0, d0, e, d2) scaled by bandwidth {was}/{is} GB/s, \
         arithmetic (p1, p2) and d1 as on {}",
        fit.evidence, to.name, from.name
    );
    fit
}

#[cfg(test)]
#[path = "hardware_tests.rs"]
mod tests;
