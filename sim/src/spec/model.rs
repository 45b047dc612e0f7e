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

/// Layers that attend to the last tokens only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How far back such a layer looks.
    pub tokens: u64,
    /// How many of the model's layers are such.
    pub layers: u32,
}

/// Sizes of the matrices: what a roofline needs beyond the KV cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads per layer, each as long as a KV head.
    pub heads: u32,
    /// Inner width of the feed-forward block; of one expert for a mixture. The block is gated: three
    /// matrices of `hidden x ffn`.
    pub ffn: u32,
    /// Rows of the output projection.
    pub vocab: u32,
    /// Bits per weight.
    pub weight_bits: f64,
    /// Bits per weight of the experts, scales included.
    pub expert_bits: f64,
}

/// A model's size on the GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Its name in configurations.
    pub name: String,
    /// What others call it, lower case: a driver's device name, the last part of a repository's.
    pub aliases: Vec<String>,
    /// Layers with attention.
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
    /// `None` if every layer attends to the whole context.
    pub window: Option<Window>,
    /// `None` if not given, and then there is no roofline.
    pub shape: Option<Shape>,
    /// Where the figures come from.
    pub sources: Vec<String>,
}

impl ModelSpec {
    /// KV of one token in one layer: a key and a value per head and element.
    pub fn kv_per_token_and_layer(&self) -> Bytes {
        // `read` has bounded each factor, so that the product is below 2^46.
        Bytes(2 * u64::from(self.kv_heads) * u64::from(self.head_dim) * u64::from(self.kv_bytes))
    }

    /// Layers that attend to the whole context.
    pub fn full_layers(&self) -> u32 {
        self.layers - self.window.map_or(0, |w| w.layers)
    }

    /// KV cache that one more token of a long context takes: only the layers that keep it.
    pub fn kv_per_token(&self) -> Bytes {
        Bytes(self.kv_per_token_and_layer().get() * u64::from(self.full_layers()))
    }

    /// KV that the windowed layers keep for one turn however long it is; zero without such layers.
    pub fn kv_of_windows(&self) -> Bytes {
        self.window.map_or(Bytes::ZERO, |w| {
            let tokens = w.tokens.saturating_mul(u64::from(w.layers));
            Bytes(self.kv_per_token_and_layer().get().saturating_mul(tokens))
        })
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
        if let Some(w) = &raw.window
            && (w.tokens == 0 || w.layers == 0 || w.layers >= raw.layers)
        {
            let value = format!("{} tokens in {} layers", w.tokens, w.layers);
            let wanted = "at least 1 token; at least 1 layer and fewer than all";
            return Err(refuse("window", value, wanted));
        }
        let shape = raw.shape.as_ref().map(shape).transpose();
        let shape = shape.map_err(|(field, value, wanted)| refuse(field, value, wanted))?;
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
            window: raw.window.map(|w| Window {
                tokens: w.tokens,
                layers: w.layers,
            }),
            shape,
            name: raw.name,
            aliases: raw.aliases,
            layers: raw.layers,
            kv_heads: raw.kv_heads,
            head_dim: raw.head_dim,
            kv_bytes: raw.kv_bytes,
            sources: raw.sources,
        })
    }
}

type Bad = (&'static str, String, &'static str);

fn shape(raw: &file::Shape) -> Result<Shape, Bad> {
    let counts = [
        ("shape.hidden", raw.hidden),
        ("shape.heads", raw.heads),
        ("shape.ffn", raw.ffn),
        ("shape.vocab", raw.vocab),
    ];
    for (field, count) in counts {
        if count == 0 || count > 1 << 24 {
            return Err((field, count.to_string(), "1 to 2^24"));
        }
    }
    let expert_bits = raw.expert_bits.unwrap_or(raw.weight_bits);
    let bits = [
        ("shape.weight_bits", raw.weight_bits),
        ("shape.expert_bits", expert_bits),
    ];
    for (field, value) in bits {
        if !(1.0..=64.0).contains(&value) {
            return Err((field, value.to_string(), "1 to 64"));
        }
    }
    Ok(Shape {
        hidden: raw.hidden,
        heads: raw.heads,
        ffn: raw.ffn,
        vocab: raw.vocab,
        weight_bits: raw.weight_bits,
        expert_bits,
    })
}
