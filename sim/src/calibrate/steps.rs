//! Fitting the closed forms to measured steps.

use super::nnls::Gram;
use crate::cost::{BatchShape, ClosedForm, Coefficients, CostError, Host, InMillis, StepCost};

/// A measured step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasuredStep {
    /// Its batch.
    pub shape: BatchShape,
    /// Its time, milliseconds, above 0.
    pub ms: f64,
}

/// Kinds of steps, by what is in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Prefill chunks alone.
    Prefill,
    /// Decodes alone.
    Decode,
    /// Both.
    Mixed,
}

impl MeasuredStep {
    /// Of which kind it is.
    pub const fn kind(&self) -> Kind {
        match (self.shape.prefill_tokens > 0, self.shape.decodes > 0) {
            (true, true) => Kind::Mixed,
            (true, false) => Kind::Prefill,
            (false, _) => Kind::Decode,
        }
    }
}

/// Mean absolute relative errors of a fit; `None` where there is no such step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FitErrors {
    /// Over prefill steps.
    pub prefill: Option<f64>,
    /// Over decode steps.
    pub decode: Option<f64>,
    /// Over mixed steps.
    pub mixed: Option<f64>,
    /// Over all.
    pub all: Option<f64>,
}

/// Coefficients fitted to steps, and how well they do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepFit {
    /// The coefficients.
    pub ms: InMillis,
    /// On the steps that they were fitted to.
    pub inside: FitErrors,
    /// On steps that they were not fitted to: each fold predicted from the others.
    pub across: FitErrors,
    /// Folds.
    pub folds: usize,
    /// Steps.
    pub steps: usize,
}

/// Why steps cannot be fitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Too few steps for the folds.
    #[error("{steps} steps with {kind}, too few to fit and check (wanted: at least {wanted})")]
    TooFew {
        /// What they hold.
        kind: &'static str,
        /// How many there are.
        steps: usize,
        /// How many are needed.
        wanted: usize,
    },
    /// A coefficient that the cost model cannot carry.
    #[error(transparent)]
    Cost(#[from] CostError),
}

/// Fits the closed forms' coefficients, none negative, with the least sum of squared *relative* errors, and
/// checks them across `folds` folds (the n-th step of a kind is in fold `n mod folds`, so that every fold
/// has every kind).
///
/// Decode and prefill steps are linear in the coefficients. A mixed step takes the larger of two sums; which
/// one is taken from the fit before, until that no longer changes.
///
/// The times are as measured: host overhead that is in them is in the coefficients.
///
/// # Errors
/// [`FitError::TooFew`] with fewer than `2 * folds` steps that decode or that prefill.
pub fn fit_steps(
    steps: &[MeasuredStep],
    active_share: f64,
    folds: usize,
) -> Result<StepFit, FitError> {
    let wanted = 2 * folds.max(2);
    let with = |holds: fn(&MeasuredStep) -> bool| steps.iter().filter(|s| holds(s)).count();
    for (kind, count) in [
        ("decodes", with(|s| s.shape.decodes > 0)),
        ("prefill", with(|s| s.shape.prefill_tokens > 0)),
    ] {
        if count < wanted {
            return Err(FitError::TooFew {
                kind,
                steps: count,
                wanted,
            });
        }
    }
    let ms = fit(&steps.iter().collect::<Vec<_>>(), active_share)?;
    let mut outside = Vec::new();
    let fold_of = fold_of(steps, folds.max(2));
    for fold in 0..folds.max(2) {
        let in_fold = |at: usize| fold_of[at] == fold;
        let kept = steps.iter().enumerate().filter(|(at, _)| !in_fold(*at));
        let kept: Vec<&MeasuredStep> = kept.map(|(_, s)| s).collect();
        let fitted = fit(&kept, active_share)?;
        let left = steps.iter().enumerate().filter(|(at, _)| in_fold(*at));
        outside.extend(errors_of(&fitted, active_share, left.map(|(_, s)| s))?);
    }
    let inside: Vec<(Kind, f64)> = errors_of(&ms, active_share, steps.iter())?;
    Ok(StepFit {
        ms,
        inside: mean(&inside),
        across: mean(&outside),
        folds: folds.max(2),
        steps: steps.len(),
    })
}

fn fold_of(steps: &[MeasuredStep], folds: usize) -> Vec<usize> {
    let mut seen = [0_usize; 3];
    let next = |step: &MeasuredStep| {
        let count = match step.kind() {
            Kind::Prefill => &mut seen[0],
            Kind::Decode => &mut seen[1],
            Kind::Mixed => &mut seen[2],
        };
        *count += 1;
        (*count - 1) % folds
    };
    steps.iter().map(next).collect()
}

/// Rounds of choosing the larger sum of mixed steps.
const ROUNDS: usize = 50;

/// Order of the columns: p0, p1, p2, d0, e, d1, d2.
type Row = [f64; 7];

fn fit(steps: &[&MeasuredStep], active_share: f64) -> Result<InMillis, FitError> {
    // To begin with the prefill's sum is the larger: chunks are.
    let mut by_decode: Vec<bool> = vec![false; steps.len()];
    let mut x = [0.0; 7];
    for _ in 0..ROUNDS {
        let mut gram = Gram::<7>::default();
        for (step, &decode) in steps.iter().zip(&by_decode) {
            let row = columns(&step.shape, active_share, decode);
            gram.add(&row.map(|v| v / step.ms), 1.0);
        }
        x = gram.solve();
        let larger = |step: &&MeasuredStep| {
            let of = |decode| -> f64 {
                let row = columns(&step.shape, active_share, decode);
                row.iter().zip(&x).map(|(a, b)| a * b).sum()
            };
            step.kind() == Kind::Mixed && of(true) > of(false)
        };
        let next: Vec<bool> = steps.iter().map(larger).collect();
        if next == by_decode {
            break;
        }
        by_decode = next;
    }
    let ms = InMillis {
        p0: x[0],
        p1: x[1],
        p2: x[2],
        d0: x[3],
        e: x[4],
        d1: x[5],
        d2: x[6],
    }
    .without_dust();
    // What cannot be carried is said now.
    Coefficients::from_ms(&ms, active_share)?;
    Ok(ms)
}

#[expect(clippy::cast_precision_loss, reason = "counts of one step")]
fn columns(shape: &BatchShape, active_share: f64, by_decode: bool) -> Row {
    let (new, pairs) = (shape.prefill_tokens as f64, shape.prefill_work as f64 / 2.0);
    let (b, kv) = (shape.decodes as f64, shape.decode_context as f64);
    let experts = f64::from(u8::from(active_share < 1.0));
    if shape.prefill_tokens == 0 {
        let touched = crate::cost::touched_share(shape.decodes, active_share) * experts;
        [0.0, 0.0, 0.0, 1.0, touched, b, kv]
    } else if by_decode && shape.decodes > 0 {
        [0.0, 0.0, pairs, 1.0, experts, 0.0, kv]
    } else {
        [1.0, new + b, pairs, 0.0, 0.0, 0.0, kv]
    }
}

fn errors_of<'a>(
    ms: &InMillis,
    active_share: f64,
    steps: impl Iterator<Item = &'a MeasuredStep>,
) -> Result<Vec<(Kind, f64)>, FitError> {
    let cost = ClosedForm::new(Coefficients::from_ms(ms, active_share)?, Host::NONE)?;
    let error = |step: &MeasuredStep| {
        let ours = cost.step(&step.shape).as_secs() * 1e3;
        (step.kind(), (ours / step.ms - 1.0).abs())
    };
    Ok(steps.map(error).collect())
}

fn mean(errors: &[(Kind, f64)]) -> FitErrors {
    let of = |kind: Option<Kind>| {
        let picked = errors
            .iter()
            .filter(|(k, _)| kind.is_none_or(|kind| *k == kind));
        let picked: Vec<f64> = picked.map(|(_, e)| *e).collect();
        #[expect(clippy::cast_precision_loss, reason = "a count of steps")]
        let n = picked.len() as f64;
        (!picked.is_empty()).then(|| picked.iter().sum::<f64>() / n)
    };
    FitErrors {
        prefill: of(Some(Kind::Prefill)),
        decode: of(Some(Kind::Decode)),
        mixed: of(Some(Kind::Mixed)),
        all: of(None),
    }
}

#[cfg(test)]
#[path = "steps_tests.rs"]
mod tests;
