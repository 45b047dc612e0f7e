//! Shapes of models whose weights are random: for tests, and for timing without a download.

use super::config::{ModelConfig, Moe};
use super::hf_config::Llama3;

/// Names of the shapes that [`preset`] knows.
pub const PRESETS: [&str; 8] = [
    "tiny",
    "tiny-qwen2",
    "tiny-qwen3",
    "tiny-qwen3moe",
    "8m",
    "28m",
    "llama-3.1-8b",
    "qwen3-30b-a3b",
];

/// A shape by name: `tiny` and its kin for tests (0.1 to 0.3 million parameters), `8m` (8.6 million) and
/// `28m` (28.0 million) for timing; `llama-3.1-8b` and `qwen3-30b-a3b` as their published `config.json`
/// have them.
pub fn preset(name: &str) -> Option<ModelConfig> {
    let tiny = ModelConfig {
        architecture: "llama".into(),
        hidden: 64,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        ff: 128,
        vocabulary: 256,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_factors: Vec::new(),
        qk_norm: false,
        qkv_bias: false,
        tied: false,
        moe: None,
        context_length: 1 << 16,
    };
    Some(match name {
        "tiny" => tiny,
        "tiny-qwen2" => ModelConfig {
            architecture: "qwen2".into(),
            qkv_bias: true,
            tied: true,
            ..tiny
        },
        "tiny-qwen3" => ModelConfig {
            architecture: "qwen3".into(),
            // Heads need not add up to the width.
            head_dim: 32,
            qk_norm: true,
            ..tiny
        },
        "tiny-qwen3moe" => ModelConfig {
            architecture: "qwen3moe".into(),
            head_dim: 32,
            qk_norm: true,
            ff: 0,
            moe: Some(Moe {
                experts: 8,
                active: 2,
                ff: 64,
                normalise: true,
            }),
            ..tiny
        },
        "8m" => ModelConfig {
            hidden: 256,
            layers: 6,
            heads: 4,
            kv_heads: 2,
            head_dim: 64,
            ff: 704,
            vocabulary: 8192,
            ..tiny
        },
        "28m" => ModelConfig {
            hidden: 384,
            layers: 10,
            heads: 6,
            kv_heads: 2,
            head_dim: 64,
            ff: 1024,
            vocabulary: 32_000,
            tied: true,
            ..tiny
        },
        "llama-3.1-8b" => llama_3_1_8b(tiny),
        "qwen3-30b-a3b" => qwen3_30b_a3b(tiny),
        _ => return None,
    })
}

fn llama_3_1_8b(tiny: ModelConfig) -> ModelConfig {
    let scaling = Llama3 {
        factor: 8.0,
        low: 1.0,
        high: 4.0,
        trained: 8192.0,
    };
    ModelConfig {
        hidden: 4096,
        layers: 32,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        ff: 14_336,
        vocabulary: 128_256,
        rope_theta: 500_000.0,
        rope_factors: scaling.factors(500_000.0, 128),
        context_length: 131_072,
        ..tiny
    }
}

fn qwen3_30b_a3b(tiny: ModelConfig) -> ModelConfig {
    ModelConfig {
        architecture: "qwen3moe".into(),
        hidden: 2048,
        layers: 48,
        heads: 32,
        kv_heads: 4,
        head_dim: 128,
        ff: 0,
        vocabulary: 151_936,
        norm_eps: 1e-6,
        rope_theta: 1_000_000.0,
        qk_norm: true,
        moe: Some(Moe {
            experts: 128,
            active: 8,
            ff: 768,
            normalise: true,
        }),
        context_length: 40_960,
        ..tiny
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Storage, random};
    use super::*;

    #[test]
    fn presets_are_possible_and_as_large_as_their_names() {
        for name in PRESETS {
            preset(name).expect("a preset").check().expect("possible");
        }
        let parameters = |name: &str| preset(name).expect("a preset").parameters();
        // 2 * 8192 * 256 + 6 * ((4 + 2 + 2 + 4) * 64 * 256 + 3 * 704 * 256 + 2 * 256) + 256.
        assert_eq!(parameters("8m"), 8_621_312);
        // 32000 * 384 + 10 * ((6 + 2 + 2 + 6) * 64 * 384 + 3 * 1024 * 384 + 2 * 384) + 384.
        assert_eq!(parameters("28m"), 28_024_704);
        // As their publishers count them.
        assert_eq!(parameters("llama-3.1-8b"), 8_030_261_248);
        assert_eq!(parameters("qwen3-30b-a3b"), 30_532_122_624);
        assert_eq!(preset("9m"), None);
    }

    #[test]
    fn a_shape_counts_what_its_weights_have() {
        for name in &PRESETS[..5] {
            let mut config = preset(name).expect("a preset");
            for tied in [false, true] {
                config.tied = tied;
                let weights = random(&config, 1, Storage::F32);
                assert_eq!(config.parameters(), weights.parameters(), "{name}");
            }
        }
    }
}
