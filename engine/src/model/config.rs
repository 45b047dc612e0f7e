//! The shape of a decoder.

use serde::{Deserialize, Serialize};

/// Experts in place of the dense feed-forward layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moe {
    /// Experts of a layer.
    pub experts: usize,
    /// Experts that a token goes through.
    pub active: usize,
    /// Hidden width of one expert.
    pub ff: usize,
    /// Whether the chosen experts' weights are scaled to sum to 1.
    pub normalise: bool,
}

/// The shape of a decoder: everything an executor needs beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Architecture as files call it: `llama`, `qwen2`, `qwen3`, `qwen3moe`.
    pub architecture: String,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// KV heads; a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Hidden width of the dense feed-forward layers; 0 where all have experts.
    pub ff: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Added to the mean square of a normalisation.
    pub norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Divisor of each rotary frequency, `[head_dim / 2]`, where the file scales them (Llama 3.1);
    /// empty where not.
    pub rope_factors: Vec<f32>,
    /// Whether query and key heads are normalised before the rotation (Qwen3).
    pub qk_norm: bool,
    /// Whether queries, keys and values have a bias (Qwen2).
    pub qkv_bias: bool,
    /// Whether the output matrix is the embedding.
    pub tied: bool,
    /// Experts, if it has them.
    pub moe: Option<Moe>,
    /// Longest context it was made for, tokens.
    pub context_length: usize,
}

impl ModelConfig {
    /// Query heads that read one KV head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// KV values of one token: layers x 2 x KV heads x head width.
    pub fn kv_values_per_token(&self) -> usize {
        self.layers * 2 * self.kv_heads * self.head_dim
    }
}
