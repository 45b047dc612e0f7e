//! `T_ideal`: how long each session takes when it has the machine to itself.
//!
//! Measured once per distinct session, under preset `fcfs`, and shared by every policy, rate and
//! seed. `None` for a session that does not fit the KV pool.

use policies::PolicySpec;
use rayon::prelude::*;
use sim::world::alone;
use units::Nanos;

use super::plan::Plan;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// `T_ideal` of every session of the workload that is offered, by its index in the file.
///
/// # Errors
/// A session that cannot be replayed (the first in the file's order), or an interruption.
pub fn ideals(
    plan: &Plan,
    offered: &[bool],
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Vec<Option<Nanos>>, Failure> {
    let fcfs = PolicySpec::preset("fcfs").map_err(Failure::bad_input)?;
    let each: Vec<Result<Option<Nanos>, Failure>> = plan
        .workload
        .sessions
        .par_iter()
        .zip(offered)
        .map(|(session, &offered)| {
            if !offered || interrupt.is_set() {
                return Ok(None);
            }
            let policy = fcfs.build().map_err(Failure::bad_input)?;
            let ideal = alone(&plan.machine.setup, policy, session).map_err(Failure::of_run)?;
            progress.share().completed(1);
            Ok(ideal)
        })
        .collect();
    // Collected first: which error is reported must not depend on which thread was faster.
    each.into_iter().collect()
}
