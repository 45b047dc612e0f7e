//! Models by the name `random:SHAPE`: the shape now, the weights when somebody needs them.
//!
//! Why: billions of weights take gigabytes and minutes. Whoever makes weights of its own, as a GPU does,
//! needs the shape alone.
//! Limits: the shapes of [`preset`].

use std::path::Path;

use super::config::ModelConfig;
use super::error::LoadError;
use super::presets::{PRESETS, preset};
use super::random::{Storage, random};
use super::weights::Weights;

/// Parameters from which on random matrices are stored as brain floats.
const LARGE: u64 = 1_000_000_000;

/// A model with random weights that are not made yet.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomModel {
    /// Its shape.
    pub config: ModelConfig,
    /// Of its weights.
    pub seed: u64,
}

impl RandomModel {
    /// What `random:SHAPE` or `random:SHAPE:SEED` names ([`preset`] lists the shapes, the seed is 0 if
    /// none is said); `None` for any other name.
    ///
    /// # Errors
    /// [`LoadError::Field`] for a shape or seed that is none.
    pub fn named(name: &str) -> Result<Option<Self>, LoadError> {
        let Some(shape) = name.strip_prefix("random:") else {
            return Ok(None);
        };
        let (shape, seed) = shape.split_once(':').unwrap_or((shape, "0"));
        let bad = |field, value: &str, wanted: &str| {
            Err(LoadError::field(Path::new(name), field, value, wanted))
        };
        let Some(config) = preset(shape) else {
            return bad("shape", shape, &PRESETS.join(", "));
        };
        let Ok(seed) = seed.parse() else {
            return bad("seed", seed, "a number from 0 to 2^64 - 1");
        };
        Ok(Some(Self { config, seed }))
    }

    /// How its weights are stored in host memory: more than a billion as brain floats.
    pub fn storage(&self) -> Storage {
        if self.config.parameters() > LARGE {
            Storage::Bf16
        } else {
            Storage::F32
        }
    }

    /// Bytes of its weights in host memory.
    pub fn bytes(&self) -> u64 {
        self.config.parameters() * self.storage().bytes()
    }

    /// Its weights, in host memory.
    pub fn weights(&self) -> Weights {
        random(&self.config, self.seed, self.storage())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_shape_and_seed_and_makes_nothing() {
        let named = |name| RandomModel::named(name).expect("a shape");
        assert_eq!(named("tiny.gguf"), None);
        let large = named("random:qwen3-30b-a3b:7").expect("random");
        assert_eq!((large.seed, large.storage()), (7, Storage::Bf16));
        // 30,532,122,624 parameters of two bytes.
        assert_eq!(large.bytes(), 61_064_245_248);
        let small = named("random:8m").expect("random");
        // 8,621,312 parameters of four bytes.
        assert_eq!((small.seed, small.bytes()), (0, 34_485_248));
        for (name, says) in [
            ("random:huge", "shape is huge; wanted: tiny"),
            ("random:tiny:x", "seed is x; wanted: a number"),
        ] {
            let refused = RandomModel::named(name).expect_err("no such model");
            assert!(refused.to_string().contains(says), "{refused}");
        }
    }
}
