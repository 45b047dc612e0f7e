//! What no policy can beat, per rate: `isolated`, every session alone, and `bound`, a provable lower
//! bound on the mean latency of the load as a whole.
//!
//! Source: `isolated` is `T_ideal` (MARS section 2); the bound and its proof are in [`sim::bound`].
//! Limits: of sessions that fit the pool; `isolated` is a mean that company can undercut where a
//! shared opening was warmed by others, the bound is not.

use std::sync::Arc;

use policies::PolicySpec;
use rayon::prelude::*;
use sim::world::{Offered, alone};
use traces::Session;

use crate::estimate::Estimate;
use crate::failure::Failure;
use crate::run::Plan;

/// The limits of one rate, over the seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Limits {
    /// Mean latency of the sessions, each alone, seconds.
    pub(super) isolated_s: Estimate,
    /// Mean latency that no policy can go below, seconds.
    pub(super) bound_s: Estimate,
}

/// The limits of every rate of the plan.
///
/// # Errors
/// A session that cannot be replayed.
pub(super) fn limits(plan: &Plan) -> Result<Vec<Limits>, Failure> {
    let sessions: Vec<Arc<Session>> = plan.workload.sessions.clone();
    let fcfs = PolicySpec::preset("fcfs").map_err(Failure::bad_input)?;
    let ideals: Vec<Result<Option<f64>, Failure>> = sessions
        .par_iter()
        .map(|session| {
            let policy = fcfs.build().map_err(Failure::bad_input)?;
            let ideal = alone(&plan.machine.setup, policy, session).map_err(Failure::of_run)?;
            Ok(ideal.map(units::Nanos::as_secs))
        })
        .collect();
    let ideals: Vec<Option<f64>> = ideals.into_iter().collect::<Result<_, _>>()?;
    plan.rates
        .iter()
        .map(|&rate| {
            let (mut isolated, mut bounds) = (Vec::new(), Vec::new());
            for &seed in &plan.seeds {
                let order = plan.order(seed);
                let alone: Vec<f64> = order.iter().filter_map(|&i| ideals[i as usize]).collect();
                isolated.extend(mean(&alone));
                let times = plan.times(rate, seed)?;
                let load: Vec<Offered> = order
                    .iter()
                    .zip(times)
                    .map(|(&i, arrival)| Offered {
                        session: Arc::clone(&sessions[i as usize]),
                        arrival,
                    })
                    .collect();
                let bound = sim::bound::bound(&plan.machine.setup, &load);
                bounds.extend(bound.map(|b| b.mean().as_secs()));
            }
            Ok(Limits {
                isolated_s: Estimate::of(&isolated),
                bound_s: Estimate::of(&bounds),
            })
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a number of sessions")]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
