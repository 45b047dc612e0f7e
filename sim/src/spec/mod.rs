//! GPUs, models and what a step costs on each pair, as data that a user can add to.
//!
//! What: a [`Catalog`] of [`GpuSpec`]s, [`ModelSpec`]s and fitted costs, read from TOML, and
//! [`Hardware`], one GPU serving one model: pool size and cost model.
//! Why: a new GPU or model is a few lines of data with their sources, not code.
//! Limits: one GPU per model, KV of full attention in every layer (no sliding windows), and a cost
//! only for pairs that were fitted or whose GPU is declared to be like a fitted one.

mod catalog;
mod error;
mod file;
mod gpu;
mod hardware;
mod model;

pub use catalog::Catalog;
pub use error::SpecError;
pub use gpu::GpuSpec;
pub use hardware::Hardware;
pub use model::{Experts, ModelSpec};
