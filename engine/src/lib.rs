//! The real world's side of the scheduler: models, executors, tools as processes, a wall clock.
//!
//! What: [`Batch`], the metadata that every executor needs to run a [`scheduler::StepPlan`] on paged
//! KV (positions, slots, lengths, block tables, rows to sample), the [`Executor`] contract, and the
//! [`model`]s that executors run.
//! Why: the scheduler owns block ids and decisions; an executor owns tensors, copies and timing. The
//! seam is the same for every device, so decode and prefill chunks mix in one step everywhere.
//! Limits: one device an executor.

#![allow(
    clippy::disallowed_methods,
    reason = "this crate is the real world: clocks, files, threads and processes enter here"
)]

pub mod cpu;
pub mod cuda;
pub mod drive;
pub mod fetch;
pub mod floor;
pub mod measure;
pub mod model;
pub mod reference;
pub mod text;
pub mod tools;

mod batch;
mod executor;
mod tokens;

pub use batch::{Batch, BatchError, Row};
pub use executor::{Copy, Executor, ExecutorError, Sampled, Way};
pub use tokens::Transcripts;
