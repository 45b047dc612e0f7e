//! The real world's side of the scheduler: what an executor is given for one step.
//!
//! What: [`Batch`], the metadata that every executor needs to run a [`scheduler::StepPlan`] on paged
//! KV (positions, slots, lengths, block tables, rows to sample), and the [`Executor`] contract.
//! Why: the scheduler owns block ids and decisions; an executor owns tensors, copies and timing. The
//! seam is the same for every device, so decode and prefill chunks mix in one step everywhere.
//! Limits: the contract and the batch only. No executor, model or tool process lives here yet.

mod batch;
mod executor;

pub use batch::{Batch, BatchError, Row};
pub use executor::{Executor, Sampled};
