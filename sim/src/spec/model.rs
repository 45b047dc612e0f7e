//! A model, as far as a simulation needs it.

use units::{Bytes, Tokens};

use super::error::SpecError;
use super::file;

/// Experts of a mixture: how many a token activates, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    /// Active per token and layer.
    pub active: u32,
    /// In each layer.
    pub total: u32,
}

/// A model's size on the GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Its name in configurations.
    pub name: String,
    /// Layers with attention; each keeps keys and values of the whole context.
    pub layers: u32,
    /// Key-value heads per layer.
    pub kv_heads: u32,
    /// Length of a head.
    pub head_dim: u32,
    /// Bytes per element of the KV cache.
    pub kv_bytes: u32,
    /// Weights on the GPU.
    pub weights: Bytes,
    /// The longest context it takes.
    pub context_length: Tokens,
    /// `None` for a dense model.
    pub experts: Option<Experts>,
    /// Where the figures come from.
    pub sources: Vec<String>,
}

impl ModelSpec {
    /// KV cache of one token: a key and a value per layer, head and element.
    pub fn kv_per_token(&self) -> Bytes {
        // `read` has bounded each factor, so that the product is below 2^61.
        Bytes(
            2 * u64::from(self.layers)
                * u64::from(self.kv_heads)
                * u64::from(self.head_dim)
                * u64::from(self.kv_bytes),
        )
    }

    /// Share of the experts that a token activates; 1 for a dense model.
    pub fn active_share(&self) -> f64 {
        self.experts.map_or(1.0, |experts| {
            f64::from(experts.active) / f64::from(experts.total)
        })
    }

    pub(super) fn read(origin: &str, raw: file::Model) -> Result<Self, SpecError> {
        const GIB: f64 = 1_073_741_824.0;
        let refuse = |field, value: String, wanted| SpecError::Value {
            origin: origin.into(),
            entry: format!("model {}", raw.name).into(),
            field,
            value: value.into(),
            wanted,
        };
        let counts = [
            ("layers", raw.layers),
            ("kv_heads", raw.kv_heads),
            ("head_dim", raw.head_dim),
            ("kv_bytes", raw.kv_bytes),
        ];
        for (field, count) in counts {
            if count == 0 || count > 1 << 15 {
                return Err(refuse(field, count.to_string(), "1 to 32768"));
            }
        }
        if raw.weights_gib.is_nan() || raw.weights_gib <= 0.0 || raw.weights_gib > 1e9 {
            let value = raw.weights_gib.to_string();
            return Err(refuse("weights_gib", value, "above 0, at most 1e9"));
        }
        if raw.context_length == 0 {
            return Err(refuse("context_length", "0".to_owned(), "at least 1"));
        }
        if let Some(e) = &raw.experts
            && (e.active == 0 || e.active > e.total)
        {
            let value = format!("{} of {}", e.active, e.total);
            return Err(refuse("experts", value, "at least 1 active, at most all"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 1e9 GiB, checked above"
        )]
        let weights = Bytes((raw.weights_gib * GIB).round() as u64);
        Ok(Self {
            weights,
            context_length: Tokens(raw.context_length),
            experts: raw.experts.map(|e| Experts {
                active: e.active,
                total: e.total,
            }),
            name: raw.name,
            layers: raw.layers,
            kv_heads: raw.kv_heads,
            head_dim: raw.head_dim,
            kv_bytes: raw.kv_bytes,
            sources: raw.sources,
        })
    }
}
