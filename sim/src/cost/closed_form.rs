//! Closed forms for the time of a step.
//!
//! What: three formulas, for prefill, for decode and for a step that mixes them.
//! Why: they explain measured kernel tables within a few percent, and sums of integers make a step's
//! time exact. Adding prefill and decode times instead is 18-36 % wrong for mixed steps, because
//! the weights are read once for both; leaving out the expert term makes decode of a mixture 20 % wrong.
//! Limits: mean absolute error 1-4 % on pure phases (single points up to 15 %) and 6-9 % on mixed
//! steps, against tables for one GPU (`AIConfigurator`, vLLM kernels, no tensor parallelism). No
//! range is enforced: a batch far outside the tables (256 to 32,768 new tokens, 1 to 256 decodes) is
//! extrapolated.

use units::Nanos;

use super::experts::Experts;
use super::{BatchShape, Coefficients, CostError, Crowd, Floors, Host, StepCost, StepLimits};

/// The closed forms. With `new` tokens in a chunk behind `prefix`, `B` decoding turns and `KV` the
/// sum of their contexts after the step:
///
/// - prefill: `p0 + p1 * sum(new) + sum(p2 * new * (prefix + new / 2))`
/// - decode: `d0 + e * (1 - (1 - k/E)^B) + d1 * B + d2 * KV`
/// - mixed: `max(d0 + e, p0 + p1 * (sum(new) + B)) + sum(p2 * ...) + d2 * KV`
///
/// The host's overhead comes on top. The sum is exact, but for the expert term, which is held to
/// the nearest picosecond per batch size; the step is rounded once, to the nearest nanosecond with
/// halves up.
#[derive(Clone, Debug)]
pub struct ClosedForm {
    coefficients: Coefficients,
    host: Host,
    experts: Experts,
}

impl ClosedForm {
    /// The model with these coefficients.
    ///
    /// # Errors
    /// [`CostError`] for a coefficient above [`Coefficients::MAX_PS`] or a share outside 0..=1.
    pub fn new(coefficients: Coefficients, host: Host) -> Result<Self, CostError> {
        coefficients.check()?;
        Ok(Self {
            experts: Experts::new(coefficients.e, coefficients.active_share),
            coefficients,
            host,
        })
    }

    /// The same with another host overhead.
    pub fn with_host(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// The coefficients it was built from.
    pub const fn coefficients(&self) -> &Coefficients {
        &self.coefficients
    }

    /// The host overhead it adds.
    pub const fn host(&self) -> Host {
        self.host
    }

    /// GPU time in half picoseconds: `prefill_work` counts pairs twice, so halves keep it exact.
    ///
    /// Fits 128 bits: coefficients are below 2^50 and counts below 2^64, so the products are below
    /// 2^115 and there are at most seven of them, some doubled.
    fn half_picos(&self, shape: &BatchShape) -> u128 {
        let c = &self.coefficients;
        let times = |ps: u64, count: u64| u128::from(ps) * u128::from(count);
        let fixed = if shape.prefill_tokens == 0 {
            u128::from(c.d0)
                + u128::from(self.experts.read(shape.decodes))
                + times(c.d1, shape.decodes)
        } else {
            let dense =
                u128::from(c.p0) + times(c.p1, shape.prefill_tokens) + times(c.p1, shape.decodes);
            if shape.decodes == 0 {
                dense
            } else {
                // The larger of two readings of the same weights, not their sum.
                dense.max(u128::from(c.d0) + u128::from(c.e))
            }
        };
        2 * (fixed + times(c.d2, shape.decode_context)) + times(c.p2, shape.prefill_work)
    }
}

impl StepCost for ClosedForm {
    fn step(&self, shape: &BatchShape) -> Nanos {
        self.step_in(shape, Crowd::NONE)
    }

    /// # Panics
    /// If the step passes 2^64 ns (584 years).
    fn step_in(&self, shape: &BatchShape, crowd: Crowd) -> Nanos {
        if shape.is_empty() {
            return Nanos::ZERO;
        }
        let half_picos = self.half_picos(shape);
        // Any step below 106 days takes the short division.
        let ns = match u64::try_from(half_picos) {
            Ok(small) => small / 2_000 + u64::from(small % 2_000 >= 1_000),
            Err(_) => u64::try_from((half_picos + 1_000) / 2_000).expect("a step passed 2^64 ns"),
        };
        self.host.with_in(Nanos::new(ns), shape.turns(), crowd)
    }

    fn floors(&self, limits: StepLimits) -> Option<Floors> {
        // Host work beside the GPU's may cost nothing: no floor can count on it.
        let host = if self.host.overlapped {
            Host::NONE
        } else {
            self.host
        };
        closed_form_floor::floors(&self.coefficients, host, &self.experts, limits)
    }
}

#[path = "closed_form_floor.rs"]
mod closed_form_floor;

#[cfg(test)]
#[path = "closed_form_tests.rs"]
mod tests;
