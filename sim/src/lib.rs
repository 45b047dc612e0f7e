//! The simulated world: what a step costs, what a GPU holds, how tools share CPUs, when sessions
//! arrive.
//!
//! What: integer models of the hardware that the scheduler runs on, without a clock of their own.
//! Why: the same scheduler drives a real engine, so everything that is not a decision lives here.
//! Limits: one GPU; kernel times are closed forms fitted to measured tables, not measurements.

pub mod arrivals;
pub mod bound;
pub mod cost;
pub mod link;
pub mod spec;
pub mod tool_cpu;
pub mod world;
