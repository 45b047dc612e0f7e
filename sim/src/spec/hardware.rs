//! One GPU serving one model: how much KV it holds and what a step costs.

use std::sync::Arc;

use units::{BlockSize, Blocks, Bytes, Tokens};

use super::catalog::{Catalog, Fit};
use super::error::{SpecError, list};
use super::profile::ProfileFiles;
use super::{GpuSpec, ModelSpec};
use crate::cost::{ClosedForm, Coefficients, CostModel, Host};

/// Activations, CUDA graphs and the runtime itself: about 3.5 GiB in vLLM.
const RESERVE: Bytes = Bytes(7 << 29);

/// Utilisation is taken in millionths, so that the pool is computed in integers.
const MILLION: u64 = 1_000_000;

/// Turns whose windowed layers' KV is set aside: the default limit of running turns.
const WINDOWED_TURNS: u64 = 128;

/// What a prediction rests on, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Kernel times measured on this GPU, looked up.
    Measured,
    /// A formula fitted to measurements of this model on this GPU.
    Fitted,
    /// A formula fitted on a similar GPU, scaled by bandwidth.
    Scaled,
    /// Data sheets.
    Roofline,
}

impl Basis {
    /// One word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Fitted => "fitted",
            Self::Scaled => "scaled",
            Self::Roofline => "roofline",
        }
    }
}

/// Which cost model to take.
#[derive(Clone, Debug, Default)]
pub enum CostChoice {
    /// The closed form where the pair was fitted or scaled, otherwise the roofline.
    #[default]
    Auto,
    /// The closed form, or an error.
    ClosedForm,
    /// The roofline, or an error.
    Roofline,
    /// Measured kernel tables of the pair.
    Profile(Box<ProfileFiles>),
    /// The closed form of this catalog's fit for the pair, or an error.
    Fitted(Box<Catalog>),
}

/// One machine out of the catalog.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// Name of the GPU.
    pub gpu: &'a str,
    /// Name of the model.
    pub model: &'a str,
    /// Share of the GPU's memory that may be used (vLLM: 0.90); rounded to millionths.
    pub utilisation: f64,
    /// GPUs that share each layer: tensor parallelism.
    pub degree: u32,
    /// The cost model.
    pub cost: CostChoice,
}

/// A model on a GPU.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// The GPU.
    pub gpu: GpuSpec,
    /// The model.
    pub model: ModelSpec,
    /// GPUs that share each layer.
    pub degree: u32,
    /// Tokens whose KV fits beside the weights.
    pub kv_tokens: Tokens,
    /// What a step costs.
    pub cost: CostModel,
    /// What kind of evidence the costs have.
    pub basis: Basis,
    /// What the costs rest on: a fit, or a fit on another GPU and how it was carried over, or data
    /// sheets.
    pub evidence: String,
}

impl Hardware {
    /// The named model on the named GPU, using `utilisation` (vLLM: 0.90) of its memory, with
    /// [`Host::TYPICAL`] overhead and the best cost model there is.
    ///
    /// # Errors
    /// As [`Hardware::choose`].
    pub fn new(
        catalog: &Catalog,
        gpu: &str,
        model: &str,
        utilisation: f64,
    ) -> Result<Self, SpecError> {
        let choice = Choice {
            gpu,
            model,
            utilisation,
            degree: 1,
            cost: CostChoice::Auto,
        };
        Self::choose(catalog, &choice)
    }

    /// The machine of this choice, with [`Host::TYPICAL`] overhead.
    ///
    /// KV pool: `floor((degree * (utilisation * memory - 3.5 GiB) - weights - windows) / KV bytes per
    /// token)` tokens. Only layers that keep the whole context count per token; layers that look back a
    /// window keep that much per turn, and it is set aside for 128 turns.
    ///
    /// Costs are those fitted for the pair. Without any, those fitted for the GPU that this one is
    /// `like`, with the memory-bound terms scaled by the ratio of bandwidths: `p0` (weight reading,
    /// for a mixture mostly of all experts), `d0` and `e` (weight reading), `d2` (KV reading). Not
    /// scaled: `p1` and `p2` (arithmetic), `d1` (work per turn). Without those either, and for more
    /// than one GPU, the roofline. [`Hardware::evidence`] says so.
    ///
    /// Limit: bandwidth is not all of it, so scaled decode steps come out short. Carried from H100 to
    /// H200 SXM, a ratio of 0.70 where both are measured, the rule gives decode 9 % (Qwen3-30B) and
    /// 7 % (Llama-3.1-8B) below the tables on average and prefill within 1.4 %. NVL cards also do
    /// less arithmetic than SXM ones, which is not modelled.
    ///
    /// # Errors
    /// [`SpecError::UnknownName`], [`SpecError::NoCost`], [`SpecError::NoRoofline`], [`SpecError::Profile`],
    /// [`SpecError::Utilisation`], or [`SpecError::DoesNotFit`] if no usable block of KV remains.
    pub fn choose(catalog: &Catalog, choice: &Choice<'_>) -> Result<Self, SpecError> {
        let (gpu, model) = (catalog.gpu(choice.gpu)?, catalog.model(choice.model)?);
        let kv_tokens = kv_pool(gpu, model, choice)
            .map_err(|refused| refused.with_what_fits(|| fitting(catalog, model, choice)))?;
        let (cost, basis, evidence) = cost(catalog, gpu, model, choice)?;
        Ok(Self {
            gpu: gpu.clone(),
            model: model.clone(),
            degree: choice.degree,
            kv_tokens,
            cost,
            basis,
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

fn cost(
    catalog: &Catalog,
    gpu: &GpuSpec,
    model: &ModelSpec,
    choice: &Choice<'_>,
) -> Result<(CostModel, Basis, String), SpecError> {
    let fitted = |fits: &Catalog| {
        let (fit, basis) = fit(catalog, fits, gpu, model)?;
        let host = if fit.includes_host {
            Host::NONE
        } else {
            Host::TYPICAL
        };
        let cost = closed_form(fit.coefficients, host, gpu, model)?;
        Ok((CostModel::ClosedForm(cost), basis, fit.evidence))
    };
    let roofline = || {
        let cost = super::roofline::roofline(gpu, model, choice.degree)?;
        let evidence = super::roofline::evidence(gpu, model, choice.degree);
        Ok((CostModel::Roofline(cost), Basis::Roofline, evidence))
    };
    match &choice.cost {
        CostChoice::ClosedForm if choice.degree > 1 => Err(SpecError::NoCost {
            model: model.name.as_str().into(),
            gpu: format!("{} x {}", choice.degree, gpu.name).into(),
            fitted: catalog.fitted_gpus(&model.name),
        }),
        CostChoice::ClosedForm => fitted(catalog),
        CostChoice::Roofline => roofline(),
        CostChoice::Profile(files) => {
            let cost = files.build(gpu, model, choice.degree)?;
            let evidence = files.evidence(&cost);
            Ok((
                CostModel::Profile(Arc::new(cost)),
                Basis::Measured,
                evidence,
            ))
        }
        CostChoice::Fitted(own) => fitted(own),
        CostChoice::Auto if choice.degree > 1 => roofline(),
        CostChoice::Auto => match fitted(catalog) {
            // If there is no roofline either, the lack of a fit is what to say.
            Err(SpecError::NoCost { model, gpu, fitted }) => {
                roofline().map_err(|_| SpecError::NoCost { model, gpu, fitted })
            }
            done => done,
        },
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

/// GPUs of the catalog, alone or as many as asked for, that hold the model at this utilisation.
fn fitting(catalog: &Catalog, model: &ModelSpec, choice: &Choice<'_>) -> Box<str> {
    let holds = |gpu: &&GpuSpec| kv_pool(gpu, model, choice).is_ok();
    list(catalog.gpus().filter(holds).map(|gpu| gpu.name.as_str()))
}

fn kv_pool(gpu: &GpuSpec, model: &ModelSpec, choice: &Choice<'_>) -> Result<Tokens, SpecError> {
    let utilisation = choice.utilisation;
    if !(utilisation > 0.0 && utilisation <= 1.0) {
        return Err(SpecError::Utilisation { value: utilisation });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most a million, checked above"
    )]
    let millionths = (utilisation * 1e6).round() as u64;
    let degree = u64::from(choice.degree);
    // Whole and rest apart: memory times a million does not fit 64 bits.
    let memory = Bytes(gpu.memory.get().saturating_mul(degree));
    let usable =
        memory.get() / MILLION * millionths + memory.get() % MILLION * millionths / MILLION;
    let windows = model.kv_of_windows().get().saturating_mul(WINDOWED_TURNS);
    let reserve = Bytes(RESERVE.get().saturating_mul(degree).saturating_add(windows));
    let free = Bytes(usable)
        .saturating_sub(model.weights)
        .saturating_sub(reserve);
    let tokens = Tokens(free.get() / model.kv_per_token().get());
    // One block is vLLM's null block, so a pool of one holds nothing.
    let least = BlockSize::default().capacity(Blocks(2));
    if tokens < least {
        return Err(SpecError::DoesNotFit {
            model: model.name.as_str().into(),
            gpu: gpu.name.as_str().into(),
            memory,
            usable: Bytes(usable),
            weights: model.weights,
            reserve,
            needed: Bytes(least.get().saturating_mul(model.kv_per_token().get())),
            fits: "none".into(),
        });
    }
    Ok(tokens)
}

/// Fitted coefficients of the pair among these fits, or those of the GPU it is like.
fn fit(
    catalog: &Catalog,
    fits: &Catalog,
    gpu: &GpuSpec,
    model: &ModelSpec,
) -> Result<(Fit, Basis), SpecError> {
    if let Some(fit) = fits.fitted(model, &gpu.name)? {
        return Ok((fit, Basis::Fitted));
    }
    if let Some(like) = &gpu.like {
        let base = catalog.gpu(like)?;
        if let Some(fit) = fits.fitted(model, like)? {
            return Ok((scale(fit, base, gpu), Basis::Scaled));
        }
    }
    Err(SpecError::NoCost {
        model: model.name.as_str().into(),
        gpu: gpu.name.as_str().into(),
        fitted: fits.fitted_gpus(&model.name),
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
