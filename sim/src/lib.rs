//! The simulated world: what a step costs, what a GPU holds, how tools share CPUs, when sessions
//! arrive.
//!
//! What: integer models of the hardware that the scheduler runs on, without a clock of their own.
//! Why: the same scheduler drives a real engine, so everything that is not a decision lives here.
//! Limits: one engine; several GPUs only as tensor parallelism.

pub mod arrivals;
pub mod bound;
pub mod calibrate;
pub mod cost;
pub mod fidelity;
pub mod link;
pub mod spec;
pub mod tool_cpu;
pub mod world;
