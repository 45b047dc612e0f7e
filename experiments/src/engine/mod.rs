//! `orrery engine`: the same scheduler on a real model, with real tools and a real clock.
//!
//! What: `run` replays a workload as `orrery run` does and writes the same files; what was simulated there
//! happens here. `bench` ([`crate::bench`]) times single steps.
//! Why: a simulation is worth what a real run says of it.
//! Limits: one machine, one run after the other; two runs of the same plan differ as the machine does.

pub mod args;
pub mod cores;
pub mod load;
pub mod machine;
pub mod model;
pub mod prefill;
pub mod run;
pub mod trial;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use args::{EngineArgs, EngineCommand};

/// `orrery engine`.
///
/// # Errors
/// A [`Failure`] with its exit code.
pub fn command(args: &EngineArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    match &args.what {
        EngineCommand::Run(args) => run::command(args, interrupt),
        EngineCommand::Bench(args) => crate::bench::command(args, interrupt),
    }
}
