//! How long one iteration of the serving engine takes.
//!
//! What: [`StepCost`], a function from the shape of a batch ([`BatchShape`]) to time, and its
//! implementations: closed forms with fitted coefficients ([`ClosedForm`]), measured kernel tables
//! ([`Profile`]) and data sheets alone ([`Roofline`]).
//! Why: a step's time depends on a few sums over the batch, not on which turns are in it. Any model
//! that needs no more than those sums is exchangeable behind the trait.
//! Limits: a shape holds sums and one maximum, so a model that needs each turn's context cannot be
//! written against it.

mod closed_form;
mod coefficients;
mod experts;
mod floor;
mod host;
mod model;
mod profile;
mod reach;
mod roofline;
mod shape;

use std::fmt::Debug;
use std::num::NonZeroU64;

use units::{Nanos, Tokens};

pub use closed_form::ClosedForm;
pub use coefficients::{Coefficients, CostError, InMillis};
pub(crate) use experts::touched_share;
pub use floor::{Floor, Floors, StepLimits};
pub use host::{Crowd, Host};
pub use model::CostModel;
pub use profile::{
    Assembly, Declared, Named, Profile, ProfileError, Space, Tables, default_graphs,
};
pub use reach::{Outside, Reach};
pub use roofline::{Device, Efficiency, Network, Roofline};
pub use shape::BatchShape;

/// The time of a step, from the shape of its batch.
pub trait StepCost: Send + Sync + Debug {
    /// Time from the start of the step to its end: GPU work and host overhead.
    ///
    /// Zero for an empty shape. A model without an answer must refuse when it is built, never return
    /// zero or a floor here.
    fn step(&self, shape: &BatchShape) -> Nanos;

    /// The same where the host's threads do not have their cores to themselves. A model without a host has
    /// nothing to stretch.
    fn step_in(&self, shape: &BatchShape, crowd: Crowd) -> Nanos {
        let _ = crowd;
        self.step(shape)
    }

    /// Prices below which no step within the limits can be had; `None` if the model has none, and then
    /// there is no lower bound from the GPU.
    fn floors(&self, limits: StepLimits) -> Option<Floors> {
        let _ = limits;
        None
    }

    /// How far it can be asked. Whoever drives it checks its limits against this first.
    fn reach(&self) -> Reach {
        Reach::ANY
    }

    /// Why there is no answer for this batch; `None` if there is one. Within [`StepCost::reach`] a batch that
    /// only decodes always has one.
    fn outside(&self, shape: &BatchShape) -> Option<Outside> {
        let _ = shape;
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

/// A model's nanoseconds, rounded once per step to the nearest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative; a cast from float saturates, and 2^64 ns are 584 years"
)]
fn round(ns: f64) -> Nanos {
    Nanos::new(ns.round() as u64)
}
