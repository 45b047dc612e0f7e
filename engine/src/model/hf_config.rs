//! The shape of a model from the `config.json` beside its safetensors.

use std::f32::consts::TAU;
use std::path::Path;

use serde_json::Value;

use super::config::{ModelConfig, Moe};
use super::error::LoadError;

/// What `config.json` says. Whether queries, keys and values have a bias, the tensors tell.
pub(super) fn read(path: &Path, has_bias: bool) -> Result<ModelConfig, LoadError> {
    let text = std::fs::read(path).map_err(|e| LoadError::io(path, e))?;
    let json: Value = serde_json::from_slice(&text)
        .map_err(|e| LoadError::file(path, format!("is not the JSON of a model: {e}")))?;
    let fields = Fields { path, json: &json };
    let config = fields.config(has_bias)?;
    config
        .check()
        .map_err(|bad| LoadError::field(path, bad.field, bad.value, bad.wanted))?;
    Ok(config)
}

/// An object of the file, and the file for errors.
#[derive(Clone, Copy)]
struct Fields<'a> {
    path: &'a Path,
    json: &'a Value,
}

impl<'a> Fields<'a> {
    fn find(&self, field: &str) -> Option<&'a Value> {
        self.json.get(field).filter(|v| !v.is_null())
    }

    fn error(&self, field: &str, wanted: &str) -> LoadError {
        let value = self.find(field).map_or("missing".into(), Value::to_string);
        LoadError::field(self.path, field, value, wanted)
    }

    fn int(&self, field: &str) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.find(field) else {
            return Ok(None);
        };
        let value = value.as_u64().and_then(|n| usize::try_from(n).ok());
        value
            .map(Some)
            .ok_or_else(|| self.error(field, "an integer of at least 0"))
    }

    fn need(&self, field: &str) -> Result<usize, LoadError> {
        self.int(field)?
            .ok_or_else(|| self.error(field, "an integer of at least 1"))
    }

    #[expect(clippy::cast_possible_truncation, reason = "models compute in 32 bits")]
    fn float(&self, field: &str) -> Result<Option<f32>, LoadError> {
        let Some(value) = self.find(field) else {
            return Ok(None);
        };
        let value = value.as_f64().map(|x| Some(x as f32));
        value.ok_or_else(|| self.error(field, "a number"))
    }

    fn flag(&self, field: &str, default: bool) -> Result<bool, LoadError> {
        let Some(value) = self.find(field) else {
            return Ok(default);
        };
        value
            .as_bool()
            .ok_or_else(|| self.error(field, "true or false"))
    }

    fn config(&self, has_bias: bool) -> Result<ModelConfig, LoadError> {
        let known = "llama, qwen2, qwen3 or qwen3_moe";
        let name = self.find("model_type").and_then(Value::as_str);
        let architecture = match name {
            Some("llama") => "llama",
            Some("qwen2") => "qwen2",
            Some("qwen3") => "qwen3",
            Some("qwen3_moe") => "qwen3moe",
            _ => return Err(self.error("model_type", known)),
        };
        if let Some(act) = self.find("hidden_act").filter(|act| *act != "silu") {
            return Err(LoadError::field(self.path, "hidden_act", act, "silu"));
        }
        if self.flag("use_sliding_window", false)? {
            return Err(self.error(
                "use_sliding_window",
                "false: attention reads the whole context",
            ));
        }
        if let Some(part) = self.float("partial_rotary_factor")?.filter(|x| *x < 1.0) {
            return Err(LoadError::field(
                self.path,
                "partial_rotary_factor",
                part,
                "1",
            ));
        }
        let hidden = self.need("hidden_size")?;
        let heads = self.need("num_attention_heads")?;
        let head_dim = match self.int("head_dim")? {
            Some(width) => width,
            None => hidden / heads.max(1),
        };
        let layers = self.need("num_hidden_layers")?;
        let moe = match architecture {
            "qwen3moe" => Some(Moe {
                experts: self.need("num_experts")?,
                active: self.need("num_experts_per_tok")?,
                ff: self.need("moe_intermediate_size")?,
                normalise: self.flag("norm_topk_prob", false)?,
            }),
            _ => None,
        };
        let (rope_theta, rope_factors) = self.rope(head_dim)?;
        Ok(ModelConfig {
            architecture: architecture.to_owned(),
            hidden,
            layers,
            heads,
            kv_heads: self.int("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            ff: if moe.is_none() || self.some_layers_are_dense()? {
                self.need("intermediate_size")?
            } else {
                0
            },
            vocabulary: self.need("vocab_size")?,
            norm_eps: self.float("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta,
            rope_factors,
            qk_norm: architecture.starts_with("qwen3"),
            qkv_bias: has_bias,
            tied: self.flag("tie_word_embeddings", false)?,
            moe,
            context_length: self.need("max_position_embeddings")?,
        })
    }

    fn some_layers_are_dense(&self) -> Result<bool, LoadError> {
        let listed = match self.find("mlp_only_layers") {
            None => false,
            Some(Value::Array(layers)) => !layers.is_empty(),
            Some(_) => return Err(self.error("mlp_only_layers", "a list of layers")),
        };
        Ok(listed || self.int("decoder_sparse_step")?.unwrap_or(1) != 1)
    }

    /// Base and factors of the rotary frequencies. Older files have `rope_scaling` beside `rope_theta`,
    /// newer ones both in `rope_parameters`.
    fn rope(&self, head_dim: usize) -> Result<(f32, Vec<f32>), LoadError> {
        let nested = |field| {
            self.find(field).map(|json| Fields {
                path: self.path,
                json,
            })
        };
        let parameters = nested("rope_parameters");
        let theta = match parameters {
            Some(p) => p.float("rope_theta")?,
            None => None,
        };
        let theta = match theta {
            Some(theta) => theta,
            None => self.float("rope_theta")?.unwrap_or(10_000.0),
        };
        let Some(scaling) = parameters.or_else(|| nested("rope_scaling")) else {
            return Ok((theta, Vec::new()));
        };
        let kind = scaling.find("rope_type").or_else(|| scaling.find("type"));
        let factor = |field| {
            scaling
                .float(field)?
                .ok_or_else(|| scaling.error(field, "a number"))
        };
        let factors = match kind.and_then(Value::as_str) {
            Some("default") => Vec::new(),
            Some("linear") => vec![factor("factor")?; head_dim / 2],
            Some("llama3") => Llama3 {
                factor: factor("factor")?,
                low: factor("low_freq_factor")?,
                high: factor("high_freq_factor")?,
                trained: factor("original_max_position_embeddings")?,
            }
            .factors(theta, head_dim),
            _ => return Err(scaling.error("rope_type", "default, linear or llama3")),
        };
        Ok((theta, factors))
    }
}

/// The scaling of Llama 3.1: short waves stay, long ones stretch by `factor`, between it goes smoothly.
/// Source: `_compute_llama3_parameters` in transformers, which follows Meta's own code.
pub(super) struct Llama3 {
    /// By how much the longest waves are stretched.
    pub(super) factor: f32,
    /// Waves longer than `trained / low` stretch by all of it.
    pub(super) low: f32,
    /// Waves shorter than `trained / high` stay.
    pub(super) high: f32,
    /// Context that the model was first trained for, tokens.
    pub(super) trained: f32,
}

impl Llama3 {
    #[expect(clippy::cast_precision_loss, reason = "widths of heads are small")]
    /// Divisor of each rotary frequency, `[head_dim / 2]`.
    pub(super) fn factors(&self, theta: f32, head_dim: usize) -> Vec<f32> {
        let of_pair = |i: usize| {
            let wave = TAU * theta.powf(2.0 * i as f32 / head_dim as f32);
            if wave < self.trained / self.high {
                1.0
            } else if wave > self.trained / self.low {
                self.factor
            } else {
                let smooth = (self.trained / wave - self.low) / (self.high - self.low);
                1.0 / ((1.0 - smooth) / self.factor + smooth)
            }
        };
        (0..head_dim / 2).map(of_pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "these are given, not computed")]
    fn llama_3_1_keeps_short_waves_and_stretches_long_ones_by_eight() {
        // Llama-3.1-8B. Its published rope_freqs tensor begins with ones, ends with eights and has
        // values between at pairs 29 to 34.
        let scaling = Llama3 {
            factor: 8.0,
            low: 1.0,
            high: 4.0,
            trained: 8192.0,
        };
        let factors = scaling.factors(500_000.0, 128);
        assert_eq!(factors.len(), 64);
        assert!(factors[..29].iter().all(|f| *f == 1.0), "{factors:?}");
        assert!(factors[35..].iter().all(|f| *f == 8.0), "{factors:?}");
        assert!(factors.windows(2).all(|w| w[0] <= w[1]), "they rise");
        // Pair 32: wave = 2 pi sqrt(500000) = 4442.88; smooth = (8192/4442.88 - 1) / 3 = 0.281286;
        // 1 / (0.718714 / 8 + 0.281286) = 2.694485.
        assert!((factors[32] - 2.694_485).abs() < 1e-4, "{}", factors[32]);
    }
}
