//! Models with random weights: for tests, and for timing a shape whose weights are not at hand.
//!
//! What: every matrix has independent values of variance `1 / inputs`, so that activations keep their
//! size through any number of layers and logits spread by about 1. Biases and normalisations differ from
//! 0 and 1, so that leaving one out shows.
//! Why: time does not depend on the values, and a schedule must not change the tokens of any model.
//! Limits: what it says is no language.

use half::bf16;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use super::config::ModelConfig;
use super::weights::{Ffn, FfnDense, Layer, Matrix, Values, Weights};

/// How random matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats.
    F32,
    /// Brain floats: half the memory, for shapes of billions of parameters.
    Bf16,
}

impl Storage {
    /// Bytes of one value.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// A model of this shape with random weights; the same seed gives the same weights.
///
/// # Panics
/// If the shape fails [`ModelConfig::check`].
pub fn random(config: &ModelConfig, seed: u64, storage: Storage) -> Weights {
    config.check().expect("the shape of a model");
    let mut draw = Draw {
        source: Pcg64Mcg::new(u128::from(seed) << 64 | 0x6f72_7265_7279),
        storage,
    };
    let (hidden, vocabulary) = (config.hidden, config.vocabulary);
    Weights {
        config: config.clone(),
        embedding: draw.matrix(vocabulary, hidden),
        layers: (0..config.layers).map(|_| draw.layer(config)).collect(),
        norm: draw.around_one(hidden),
        head: (!config.tied).then(|| draw.matrix(vocabulary, hidden)),
    }
}

struct Draw {
    source: Pcg64Mcg,
    storage: Storage,
}

impl Draw {
    /// Uniform in `[-1, 1)`.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit a 32-bit float")]
    fn unit(&mut self) -> f32 {
        (self.source.next_u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn vector(&mut self, len: usize, middle: f32, reach: f32) -> Vec<f32> {
        (0..len).map(|_| middle + reach * self.unit()).collect()
    }

    fn around_one(&mut self, len: usize) -> Vec<f32> {
        self.vector(len, 1.0, 0.25)
    }

    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^23")]
    fn matrix(&mut self, rows: usize, cols: usize) -> Matrix {
        // A uniform number in [-a, a) has variance a^2 / 3.
        let reach = (3.0 / cols as f32).sqrt();
        let (n, storage) = (rows * cols, self.storage);
        let mut value = || reach * self.unit();
        let values = match storage {
            Storage::F32 => Values::F32((0..n).map(|_| value()).collect()),
            Storage::Bf16 => Values::Bf16((0..n).map(|_| bf16::from_f32(value())).collect()),
        };
        Matrix { rows, cols, values }
    }

    fn dense(&mut self, hidden: usize, ff: usize) -> FfnDense {
        FfnDense {
            gate: self.matrix(ff, hidden),
            up: self.matrix(ff, hidden),
            down: self.matrix(hidden, ff),
        }
    }

    fn layer(&mut self, config: &ModelConfig) -> Layer {
        let hidden = config.hidden;
        let query = config.heads * config.head_dim;
        let key = config.kv_heads * config.head_dim;
        Layer {
            attn_norm: self.around_one(hidden),
            q: self.matrix(query, hidden),
            k: self.matrix(key, hidden),
            v: self.matrix(key, hidden),
            qkv_bias: config
                .qkv_bias
                .then(|| [query, key, key].map(|n| self.vector(n, 0.0, 0.5))),
            qk_norm: config
                .qk_norm
                .then(|| [0, 1].map(|_| self.around_one(config.head_dim))),
            o: self.matrix(hidden, query),
            ffn_norm: self.around_one(hidden),
            ffn: match &config.moe {
                None => Ffn::Dense(self.dense(hidden, config.ff)),
                Some(moe) => Ffn::Moe {
                    router: self.matrix(moe.experts, hidden),
                    experts: (0..moe.experts)
                        .map(|_| self.dense(hidden, moe.ff))
                        .collect(),
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::presets::preset;
    use super::*;

    #[test]
    fn a_seed_gives_the_same_weights_and_another_gives_others() {
        let config = preset("tiny").expect("a preset");
        let first = |seed, storage| {
            let weights = random(&config, seed, storage);
            weights.layers[1].q.to_f32().expect("floats")
        };
        assert_eq!(first(1, Storage::F32), first(1, Storage::F32));
        assert_ne!(first(1, Storage::F32), first(2, Storage::F32));
        // Seven bits follow the leading one: rounding moves a value by at most 2^-8 of itself.
        for (full, short) in first(1, Storage::F32).iter().zip(first(1, Storage::Bf16)) {
            assert!((full - short).abs() <= full.abs() / 256.0, "{full} {short}");
        }
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn matrices_have_variance_one_over_inputs() {
        let weights = random(&preset("8m").expect("a preset"), 3, Storage::F32);
        let values = weights.embedding.to_f32().expect("floats");
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let square = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
        // Two million draws: the variance's own error is below 0.1 %.
        assert!(mean.abs() < 1e-3, "{mean}");
        assert!((square * 256.0 - 1.0).abs() < 0.01, "{square}");
    }
}
