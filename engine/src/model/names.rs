//! What files call the tensors of a decoder.

/// Names of one file format. A layer's names follow its prefix.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) embedding: &'static str,
    pub(super) norm: &'static str,
    pub(super) head: &'static str,
    /// Before the layer's number, which is followed by a dot.
    pub(super) layer: &'static str,
    pub(super) attn_norm: &'static str,
    /// Of queries, keys, values: without `.weight` or `.bias`.
    pub(super) qkv: [&'static str; 3],
    pub(super) qk_norm: [&'static str; 2],
    pub(super) o: &'static str,
    pub(super) ffn_norm: &'static str,
    /// Gate, up and down of a dense layer.
    pub(super) ffn: [&'static str; 3],
    pub(super) router: &'static str,
    /// Gate, up and down of experts; `{}` stands for the expert's number, where each has its own tensor.
    pub(super) experts: [&'static str; 3],
    /// Tensors that files may hold and no executor needs: what they say is known from elsewhere.
    pub(super) redundant: &'static [&'static str],
}

/// GGUF, as llama.cpp writes it.
pub(super) const GGUF: Names = Names {
    embedding: "token_embd.weight",
    norm: "output_norm.weight",
    head: "output.weight",
    layer: "blk.",
    attn_norm: "attn_norm.weight",
    qkv: ["attn_q", "attn_k", "attn_v"],
    qk_norm: ["attn_q_norm.weight", "attn_k_norm.weight"],
    o: "attn_output.weight",
    ffn_norm: "ffn_norm.weight",
    ffn: ["ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"],
    router: "ffn_gate_inp.weight",
    experts: [
        "ffn_gate_exps.weight",
        "ffn_up_exps.weight",
        "ffn_down_exps.weight",
    ],
    redundant: &["rope_freqs.weight"],
};

/// Hugging Face, as transformers writes it.
pub(super) const HUGGING_FACE: Names = Names {
    embedding: "model.embed_tokens.weight",
    norm: "model.norm.weight",
    head: "lm_head.weight",
    layer: "model.layers.",
    attn_norm: "input_layernorm.weight",
    qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    qk_norm: ["self_attn.q_norm.weight", "self_attn.k_norm.weight"],
    o: "self_attn.o_proj.weight",
    ffn_norm: "post_attention_layernorm.weight",
    ffn: [
        "mlp.gate_proj.weight",
        "mlp.up_proj.weight",
        "mlp.down_proj.weight",
    ],
    router: "mlp.gate.weight",
    experts: [
        "mlp.experts.{}.gate_proj.weight",
        "mlp.experts.{}.up_proj.weight",
        "mlp.experts.{}.down_proj.weight",
    ],
    redundant: &["rotary_emb.inv_freq"],
};
