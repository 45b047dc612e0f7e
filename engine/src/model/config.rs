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

/// A field of a [`ModelConfig`] that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; wanted: {wanted}")]
pub struct ConfigFault {
    /// Which field.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub wanted: String,
}

impl ModelConfig {
    /// Whether such a model can be: sizes of at least 1 and below what any model has, an even head width,
    /// KV heads that divide the query heads.
    ///
    /// # Errors
    /// [`ConfigFault`] names the field, its value and what it may be.
    pub fn check(&self) -> Result<(), ConfigFault> {
        let bad = |field, value: String, wanted: String| {
            Err(ConfigFault {
                field,
                value,
                wanted,
            })
        };
        let mut sizes = vec![
            ("hidden", self.hidden, 1 << 16),
            ("layers", self.layers, 1 << 10),
            ("heads", self.heads, 1 << 10),
            ("kv_heads", self.kv_heads, 1 << 10),
            ("head_dim", self.head_dim, 1 << 12),
            ("vocabulary", self.vocabulary, 1 << 22),
            ("context_length", self.context_length, 1 << 30),
        ];
        match &self.moe {
            None => sizes.push(("ff", self.ff, 1 << 20)),
            Some(moe) => sizes.extend([
                ("experts", moe.experts, 1 << 12),
                ("active experts", moe.active, moe.experts),
                ("ff of an expert", moe.ff, 1 << 20),
            ]),
        }
        for (field, value, most) in sizes {
            if !(1..=most).contains(&value) {
                return bad(field, value.to_string(), format!("1 to {most}"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let wanted = format!("a divisor of the {} query heads", self.heads);
            return bad("kv_heads", self.kv_heads.to_string(), wanted);
        }
        if !self.head_dim.is_multiple_of(2) {
            return bad(
                "head_dim",
                self.head_dim.to_string(),
                "an even number".into(),
            );
        }
        let positive = |x: f32| x.is_finite() && x > 0.0;
        let floats = [("norm_eps", self.norm_eps), ("rope_theta", self.rope_theta)];
        let factors = self.rope_factors.iter().map(|f| ("rope_factors", *f));
        for (field, value) in floats.into_iter().chain(factors) {
            if !positive(value) {
                return bad(field, value.to_string(), "a finite number above 0".into());
            }
        }
        let pairs = self.head_dim / 2;
        if !self.rope_factors.is_empty() && self.rope_factors.len() != pairs {
            let wanted = format!("none or one for each of the {pairs} pairs of a head");
            return bad(
                "rope_factors",
                format!("{} numbers", self.rope_factors.len()),
                wanted,
            );
        }
        Ok(())
    }

    /// Angle by which each rotary pair turns from one position to the next, radians, `[head_dim / 2]`:
    /// `theta^(-2i / head_dim)` over the pair's factor.
    #[expect(clippy::cast_precision_loss, reason = "widths of heads are small")]
    pub fn rotary_frequencies(&self) -> Vec<f32> {
        let frequency = |i: usize| {
            let plain = self.rope_theta.powf(-2.0 * i as f32 / self.head_dim as f32);
            plain / self.rope_factors.get(i).copied().unwrap_or(1.0)
        };
        (0..self.head_dim / 2).map(frequency).collect()
    }

    /// Numbers that a model of this shape has, a shared matrix counted once. All its layers are taken to
    /// have experts, if it has any.
    pub fn parameters(&self) -> u64 {
        let (query, key) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let dense = |ff: usize| 3 * ff * self.hidden;
        let ffn = match &self.moe {
            None => dense(self.ff),
            Some(moe) => moe.experts * (self.hidden + dense(moe.ff)),
        };
        let bias = if self.qkv_bias { query + 2 * key } else { 0 };
        let norms = 2 * self.hidden + if self.qk_norm { 2 * self.head_dim } else { 0 };
        let layer = 2 * (query + key) * self.hidden + ffn + bias + norms;
        let ends = if self.tied { 1 } else { 2 } * self.vocabulary * self.hidden;
        (ends + self.hidden + self.layers * layer) as u64
    }

    /// Query heads that read one KV head.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// KV values of one token: layers x 2 x KV heads x head width.
    pub fn kv_values_per_token(&self) -> usize {
        self.layers * 2 * self.kv_heads * self.head_dim
    }
}
