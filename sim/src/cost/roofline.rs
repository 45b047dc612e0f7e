//! A step's time from the data sheets of GPU and model alone.
//!
//! What: every matrix of the model is read once per step or multiplied with every token, whichever takes
//! longer; the KV of every decoding turn is read; the token pairs of every prefill chunk are multiplied;
//! each layer costs a little on its own.
//! Why: pairs of GPU and model without a measured table, and a check on those with one.
//! Limits: six efficiencies shared by all GPUs and models ([`Efficiency::H100`]); no effect of matrix
//! shapes, of skew between contexts or of clocks. `sim/README.md` holds its errors against
//! measured tables.
//!
//! With `T` tokens and `S` turns in the batch, `A` weights of attention and `F` of a feed-forward block (of one
//! expert for a mixture) per layer, `k` of `E` experts active:
//!
//! ```text
//! attention matrices   layers * max(bytes(A) / bw, 2 T A / flops)
//! dense feed-forward   layers * max(bytes(F) / bw, 2 T F / flops)
//! mixture              layers * (E (1 - (1 - k/E)^T) bytes(F) / bw_experts + 2 T k F / flops)
//! output projection    max(bytes(hidden * vocab) / bw, 2 S hidden vocab / flops)
//! decode attention     KV bytes of all contexts / bw_kv; a windowed layer reads at most its window
//! prefill attention    4 heads head_dim * pairs / flops_attention, windows likewise
//! layers               layers * per_layer
//! tensor parallel      all of the above but `per_layer` divided by the degree, plus two all-reduces of the
//!                      activations per layer, 2 (n - 1) / n of them over the link each
//! ```
//!
//! A mixture adds reading and arithmetic because its tables do: with few tokens per expert, tiles are part
//! empty and the two hardly overlap.

use units::Nanos;

use super::experts::Experts;
use super::{BatchShape, Crowd, Host, StepCost};

/// A GPU's peaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    /// Memory bandwidth, bytes per second.
    pub bytes_per_s: f64,
    /// Dense arithmetic on 16-bit floats, operations per second.
    pub flop_per_s: f64,
    /// To another GPU, bytes per second and direction. Not used if `degree` is 1.
    pub link_bytes_per_s: f64,
    /// Time of an all-reduce beyond its bytes, seconds.
    pub link_latency_s: f64,
    /// GPUs that share each layer.
    pub degree: u32,
}

/// A model's sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Layers in all.
    pub layers: u32,
    /// Layers of those that look back so many tokens only.
    pub windowed: u32,
    /// How far those look back.
    pub window: u64,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key-value heads.
    pub kv_heads: u32,
    /// Length of a head.
    pub head_dim: u32,
    /// Bytes of an element of the KV cache.
    pub kv_bytes: u32,
    /// Inner width of the feed-forward block or of one expert.
    pub ffn: u32,
    /// Rows of the output projection.
    pub vocab: u32,
    /// Bytes per weight outside the experts.
    pub weight_bytes: f64,
    /// Bytes per weight of the experts.
    pub expert_bytes: f64,
    /// Experts active and in all, for a mixture.
    pub experts: Option<(u32, u32)>,
}

/// Shares of the peaks that kernels reach, and what a layer costs besides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Efficiency {
    /// Of bandwidth, reading weights.
    pub weights: f64,
    /// Of bandwidth, reading experts.
    pub experts: f64,
    /// Of bandwidth, reading KV.
    pub kv: f64,
    /// Of arithmetic, in matrix products.
    pub linear: f64,
    /// Of arithmetic, in attention over a prefill chunk.
    pub attention: f64,
    /// Per layer and step, seconds.
    pub per_layer_s: f64,
}

impl Efficiency {
    /// # Source
    /// Least mean absolute error over the four `AIConfigurator` tables (ai-dynamo/aiconfigurator,
    /// Apache-2.0; vLLM 0.24 and TensorRT-LLM 1.3 kernels, Qwen3-30B-A3B and Llama-3.1-8B, bf16) of the
    /// H100 SXM. Those of H200 and A100 had no part in it.
    pub const H100: Self = Self {
        weights: 0.94,
        experts: 0.90,
        kv: 0.94,
        linear: 0.72,
        attention: 0.55,
        per_layer_s: 55e-6,
    };
}

/// The roofline of one model on one GPU or several.
#[derive(Clone, Debug)]
pub struct Roofline {
    host: Host,
    /// Experts touched by so many tokens, in picoseconds of reading them in all layers.
    experts: Experts,
    /// All times in nanoseconds.
    attention_read: f64,
    attention_per_token: f64,
    ffn_read: f64,
    ffn_per_token: f64,
    head_read: f64,
    head_per_turn: f64,
    kv_per_token: f64,
    window_kv_per_token: f64,
    pair: f64,
    window_pair: f64,
    window: u64,
    fixed: f64,
    link_per_token: f64,
}

impl Roofline {
    /// The roofline of this model on this device. Rates are the caller's to check: above zero.
    pub fn new(device: &Device, net: &Network, efficiency: &Efficiency, host: Host) -> Self {
        let f = f64::from;
        let n = f(device.degree);
        let bytes = |share: f64| device.bytes_per_s * share * n / 1e9;
        let flops = |share: f64| device.flop_per_s * share * n / 1e9;
        let (heads, kv, dim) = (f(net.heads), f(net.kv_heads), f(net.head_dim));
        let (layers, hidden) = (f(net.layers), f(net.hidden));
        let attention = hidden * (heads + 2.0 * kv) * dim + heads * dim * hidden;
        let ffn = 3.0 * hidden * f(net.ffn);
        let head = hidden * f(net.vocab);
        let (active, total) = net.experts.unwrap_or((1, 1));
        let read = layers * ffn / bytes(efficiency.experts) * net.expert_bytes * f(total);
        let kv_of_layer = 2.0 * kv * dim * f(net.kv_bytes) / bytes(efficiency.kv);
        let pair_of_layer = 4.0 * heads * dim / flops(efficiency.attention);
        let full = f(net.layers - net.windowed);
        let reduced = 2.0 * layers * f(u32::from(device.degree > 1));
        Self {
            host,
            experts: match net.experts {
                Some(_) => Experts::new(picos(read), f(active) / f(total)),
                None => Experts::new(0, 1.0),
            },
            attention_read: layers * attention * net.weight_bytes / bytes(efficiency.weights),
            attention_per_token: layers * 2.0 * attention / flops(efficiency.linear),
            ffn_read: match net.experts {
                Some(_) => 0.0,
                None => layers * ffn * net.weight_bytes / bytes(efficiency.weights),
            },
            ffn_per_token: layers * 2.0 * f(active) * ffn / flops(efficiency.linear),
            head_read: head * net.weight_bytes / bytes(efficiency.weights),
            head_per_turn: 2.0 * head / flops(efficiency.linear),
            kv_per_token: full * kv_of_layer,
            window_kv_per_token: f(net.windowed) * kv_of_layer,
            pair: full * pair_of_layer,
            window_pair: f(net.windowed) * pair_of_layer,
            window: net.window,
            fixed: layers * efficiency.per_layer_s * 1e9 + reduced * device.link_latency_s * 1e9,
            link_per_token: if device.degree > 1 {
                let share = 2.0 * (n - 1.0) / n;
                reduced * hidden * net.weight_bytes.max(2.0) * share
                    / (device.link_bytes_per_s / 1e9)
            } else {
                0.0
            },
        }
    }

    /// The same with another host overhead.
    pub fn with_host(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// The host overhead it adds.
    pub const fn host(&self) -> Host {
        self.host
    }

    /// GPU time in nanoseconds, not yet rounded.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of one step are far below 2^53; a larger one loses its last digits only"
    )]
    fn gpu_ns(&self, shape: &BatchShape) -> f64 {
        let tokens = (shape.decodes + shape.prefill_tokens) as f64;
        let experts = self.experts.read(shape.decodes + shape.prefill_tokens) as f64 / 1e3;
        let linear = self.attention_read.max(self.attention_per_token * tokens)
            + self.ffn(tokens, experts)
            + self
                .head_read
                .max(self.head_per_turn * shape.turns() as f64);
        // Sums are all there is: the windowed part is exact unless some contexts are shorter than the
        // window, and then too long by at most the rest of the window per turn.
        let seen = shape
            .decode_context
            .min(shape.decodes.saturating_mul(self.window));
        let pairs = shape.prefill_work as f64 / 2.0;
        let near = pairs.min(shape.prefill_tokens as f64 * self.window as f64);
        let attention = self.kv_per_token * shape.decode_context as f64
            + self.window_kv_per_token * seen as f64
            + self.pair * pairs
            + self.window_pair * near;
        linear + attention + self.fixed + self.link_per_token * tokens
    }

    fn ffn(&self, tokens: f64, experts: f64) -> f64 {
        let arithmetic = self.ffn_per_token * tokens;
        if experts > 0.0 {
            experts + arithmetic
        } else {
            self.ffn_read.max(arithmetic)
        }
    }
}

impl StepCost for Roofline {
    fn step(&self, shape: &BatchShape) -> Nanos {
        self.step_in(shape, Crowd::NONE)
    }

    fn step_in(&self, shape: &BatchShape, crowd: Crowd) -> Nanos {
        if shape.is_empty() {
            return Nanos::ZERO;
        }
        let gpu = super::round(self.gpu_ns(shape));
        self.host.with_in(gpu, shape.turns(), crowd)
    }
}

/// Nanoseconds to picoseconds. Saturates, which only a rate near zero could reach.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative; a cast from float saturates"
)]
fn picos(ns: f64) -> u64 {
    (ns * 1e3).round() as u64
}

#[cfg(test)]
#[path = "roofline_tests.rs"]
mod tests;
