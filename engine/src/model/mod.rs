//! Models: their shape, and their weights in one canonical form.
//!
//! What: [`ModelConfig`] says the shape of a decoder (Llama, Qwen2, Qwen3, dense or with experts);
//! [`Weights`] holds its matrices as a file has them, quantised or not. [`Weights::load`] reads GGUF and
//! safetensors; [`random()`] makes weights for tests and timing.
//! Why: loaders differ in names, layouts and rotary conventions. They settle all of that, so that each
//! executor knows one form: rotary pairs are `(i, i + head_dim / 2)`, matrices are `[outputs, inputs]`.
//! Limits: decoders of this one family.

mod assemble;
mod config;
mod error;
mod gguf;
mod header;
mod hf_config;
mod load;
mod names;
mod presets;
mod random;
mod random_model;
mod safetensors;
mod weights;

pub use config::{ConfigFault, ModelConfig, Moe};
pub use error::LoadError;
pub use header::{GgufHeader, GgufTensor, GgufValue};
pub use presets::{PRESETS, preset};
pub use random::{Storage, random};
pub use random_model::RandomModel;
pub use weights::{Ffn, FfnDense, Layer, Matrix, Values, Weights};
