//! GPUs, models and what a step costs on each pair, as data that a user can add to.
//!
//! What: a [`Catalog`] of [`GpuSpec`]s, [`ModelSpec`]s and fitted costs, read from TOML, and
//! [`Hardware`], one GPU serving one model: pool size and cost model.
//! Why: a new GPU or model is a few lines of data with their sources, not code.
//! Limits: several GPUs only as tensor parallelism of a roofline; the KV pool is a sum, without the
//! fragmentation of an allocator that keeps windowed layers in blocks of their own.

mod catalog;
mod error;
mod file;
mod gpu;
mod hardware;
mod model;
mod profile;
mod roofline;

pub use catalog::Catalog;
pub use error::SpecError;
pub use gpu::GpuSpec;
pub use hardware::{Basis, Choice, CostChoice, Hardware};
pub use model::{Experts, ModelSpec, Shape, Window};
pub use profile::ProfileFiles;
