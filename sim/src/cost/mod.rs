//! How long one iteration of the serving engine takes.
//!
//! What: [`StepCost`], a function from the shape of a batch ([`BatchShape`]) to time, and its first
//! implementation, the closed forms ([`ClosedForm`]).
//! Why: a step's time depends on a few sums over the batch, not on which turns are in it. Any model
//! that needs no more than those sums is exchangeable behind the trait.
//! Limits: a shape holds sums, so a model that tells a batch of equal contexts from a skewed one
//! cannot be written against it. Times are those of one GPU.

mod closed_form;
mod coefficients;
mod experts;
mod floor;
mod shape;

use std::fmt::Debug;
use std::num::NonZeroU64;

use units::{Nanos, Tokens};

pub use closed_form::{ClosedForm, Host};
pub use coefficients::{Coefficients, CostError, InMillis};
pub use floor::{Floor, Floors, StepLimits};
pub use shape::BatchShape;

/// The time of a step, from the shape of its batch.
pub trait StepCost: Send + Sync + Debug {
    /// Time from the start of the step to its end: GPU work and host overhead.
    ///
    /// Zero for an empty shape. A model without an answer must refuse when it is built, never return
    /// zero or a floor here.
    fn step(&self, shape: &BatchShape) -> Nanos;

    /// Prices below which no step within the limits can be had; `None` if the model has none, and then
    /// there is no lower bound from the GPU.
    fn floors(&self, limits: StepLimits) -> Option<Floors> {
        let _ = limits;
        None
    }

    /// Time to prefill `tokens` tokens behind `prefix` computed ones with the GPU to itself, in
    /// chunks of `chunk_budget`. This is the price of having dropped them.
    ///
    /// Takes one evaluation of [`StepCost::step`] per chunk.
    fn prefill_alone(&self, prefix: Tokens, tokens: Tokens, chunk_budget: NonZeroU64) -> Nanos {
        let mut computed = prefix;
        let mut missing = tokens;
        let mut total = Nanos::ZERO;
        while missing > Tokens::ZERO {
            let chunk = missing.min(Tokens(chunk_budget.get()));
            let mut shape = BatchShape::default();
            shape.add_prefill(computed, chunk);
            total += self.step(&shape);
            computed += chunk;
            missing -= chunk;
        }
        total
    }
}
