//! Writes models as files, so that loaders can be held against what was written.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use engine::model::{Ffn, FfnDense, Matrix, ModelConfig, Weights};
use serde_json::json;

/// A tensor of this shape.
fn tensor(values: Vec<f32>, shape: &[usize]) -> Tensor {
    Tensor::from_vec(values, shape, &Device::Cpu).expect("the shape fits")
}

fn of(matrix: &Matrix) -> Tensor {
    let values = matrix.to_f32().expect("floats");
    tensor(values, &[matrix.rows, matrix.cols])
}

fn vector(values: &[f32]) -> Tensor {
    tensor(values.to_vec(), &[values.len()])
}

/// Rows as llama.cpp orders them: both of a rotary pair side by side.
fn side_by_side(of: &Tensor, heads: usize) -> Tensor {
    let rows = of.dim(0).expect("a dimension");
    let mut split = vec![heads, 2, rows / heads / 2];
    split.extend(&of.dims()[1..]);
    let pairs = of.reshape(split).and_then(|t| t.transpose(1, 2));
    pairs
        .and_then(|t| t.contiguous())
        .and_then(|t| t.reshape(of.dims()))
        .expect("the shapes fit")
}

/// The tensors of a model as transformers names them, 32-bit floats.
pub fn hugging_face(weights: &Weights) -> HashMap<String, Tensor> {
    let mut all = HashMap::new();
    let mut put = |name: String, tensor: Tensor| all.insert(name, tensor);
    put("model.embed_tokens.weight".into(), of(&weights.embedding));
    put("model.norm.weight".into(), vector(&weights.norm));
    if let Some(head) = &weights.head {
        put("lm_head.weight".into(), of(head));
    }
    for (i, layer) in weights.layers.iter().enumerate() {
        let name = |end: &str| format!("model.layers.{i}.{end}");
        put(name("input_layernorm.weight"), vector(&layer.attn_norm));
        put(
            name("post_attention_layernorm.weight"),
            vector(&layer.ffn_norm),
        );
        let parts = ["q", "k", "v"];
        for (part, matrix) in parts.iter().zip([&layer.q, &layer.k, &layer.v]) {
            put(name(&format!("self_attn.{part}_proj.weight")), of(matrix));
        }
        for (part, bias) in parts.iter().zip(layer.qkv_bias.iter().flatten()) {
            put(name(&format!("self_attn.{part}_proj.bias")), vector(bias));
        }
        for (part, norm) in parts.iter().zip(layer.qk_norm.iter().flatten()) {
            put(name(&format!("self_attn.{part}_norm.weight")), vector(norm));
        }
        put(name("self_attn.o_proj.weight"), of(&layer.o));
        let mut dense = |at: &str, ffn: &FfnDense| {
            put(name(&format!("mlp.{at}gate_proj.weight")), of(&ffn.gate));
            put(name(&format!("mlp.{at}up_proj.weight")), of(&ffn.up));
            put(name(&format!("mlp.{at}down_proj.weight")), of(&ffn.down));
        };
        match &layer.ffn {
            Ffn::Dense(ffn) => dense("", ffn),
            Ffn::Moe { router, experts } => {
                for (e, expert) in experts.iter().enumerate() {
                    dense(&format!("experts.{e}."), expert);
                }
                put(name("mlp.gate.weight"), of(router));
            }
        }
    }
    all
}

/// The fields of a `config.json`.
pub fn config_json(config: &ModelConfig) -> serde_json::Value {
    let kind = match config.architecture.as_str() {
        "qwen3moe" => "qwen3_moe",
        other => other,
    };
    let mut json = json!({
        "model_type": kind,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ff,
        "vocab_size": config.vocabulary,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tied,
        "max_position_embeddings": config.context_length,
        "hidden_act": "silu",
        "attention_bias": config.qkv_bias,
        "sliding_window": null,
        "max_window_layers": config.layers,
        "use_sliding_window": false,
    });
    if let Some(moe) = &config.moe {
        json["num_experts"] = json!(moe.experts);
        json["num_experts_per_tok"] = json!(moe.active);
        json["moe_intermediate_size"] = json!(moe.ff);
        json["norm_topk_prob"] = json!(moe.normalise);
        json["decoder_sparse_step"] = json!(1);
        json["mlp_only_layers"] = json!([]);
    }
    json
}

/// Writes a model as transformers does, in one file or in two shards.
pub fn write_safetensors(weights: &Weights, folder: &Path, kind: DType, shards: usize) {
    let json = config_json(&weights.config).to_string();
    std::fs::write(folder.join("config.json"), json).expect("written");
    let mut names: Vec<_> = hugging_face(weights).into_iter().collect();
    names.sort_by(|a, b| a.0.cmp(&b.0));
    let file = |i: usize| match shards {
        1 => "model.safetensors".to_owned(),
        n => format!("model-{:05}-of-{n:05}.safetensors", i + 1),
    };
    let mut index = serde_json::Map::new();
    for (i, part) in names.chunks(names.len().div_ceil(shards)).enumerate() {
        let tensors = part.iter().map(|(name, tensor)| {
            index.insert(name.clone(), json!(file(i)));
            (name.clone(), tensor.to_dtype(kind).expect("a float type"))
        });
        let tensors: HashMap<_, _> = tensors.collect();
        candle_core::safetensors::save(&tensors, folder.join(file(i))).expect("written");
    }
    if shards > 1 {
        let json = json!({ "weight_map": index }).to_string();
        std::fs::write(folder.join("model.safetensors.index.json"), json).expect("written");
    }
}

/// Writes a model as llama.cpp does; matrices in `kind`, all else in 32-bit floats.
pub fn write_gguf(weights: &Weights, path: &Path, kind: GgmlDType) {
    write_gguf_with(weights, path, kind, &[]);
}

/// The same with more metadata.
pub fn write_gguf_with(weights: &Weights, path: &Path, kind: GgmlDType, more: &[(&str, Value)]) {
    let config = &weights.config;
    let arch = &config.architecture;
    let mut tensors: Vec<(String, QTensor)> = Vec::new();
    let mut put = |name: String, tensor: Tensor, kind: GgmlDType| {
        tensors.push((
            name,
            QTensor::quantize(&tensor, kind).expect("whole blocks"),
        ));
    };
    let float = GgmlDType::F32;
    put("token_embd.weight".into(), of(&weights.embedding), kind);
    put("output_norm.weight".into(), vector(&weights.norm), float);
    if let Some(head) = &weights.head {
        put("output.weight".into(), of(head), kind);
    }
    if !config.rope_factors.is_empty() {
        put(
            "rope_freqs.weight".into(),
            vector(&config.rope_factors),
            float,
        );
    }
    let llama = arch == "llama";
    let order = |t: Tensor, heads: usize| if llama { side_by_side(&t, heads) } else { t };
    for (i, layer) in weights.layers.iter().enumerate() {
        let name = |end: &str| format!("blk.{i}.{end}");
        put(name("attn_norm.weight"), vector(&layer.attn_norm), float);
        put(name("ffn_norm.weight"), vector(&layer.ffn_norm), float);
        put(
            name("attn_q.weight"),
            order(of(&layer.q), config.heads),
            kind,
        );
        put(
            name("attn_k.weight"),
            order(of(&layer.k), config.kv_heads),
            kind,
        );
        put(name("attn_v.weight"), of(&layer.v), kind);
        if let Some([q, k, v]) = &layer.qkv_bias {
            put(name("attn_q.bias"), order(vector(q), config.heads), float);
            put(
                name("attn_k.bias"),
                order(vector(k), config.kv_heads),
                float,
            );
            put(name("attn_v.bias"), vector(v), float);
        }
        if let Some([q, k]) = &layer.qk_norm {
            put(name("attn_q_norm.weight"), vector(q), float);
            put(name("attn_k_norm.weight"), vector(k), float);
        }
        put(name("attn_output.weight"), of(&layer.o), kind);
        match &layer.ffn {
            Ffn::Dense(ffn) => {
                put(name("ffn_gate.weight"), of(&ffn.gate), kind);
                put(name("ffn_up.weight"), of(&ffn.up), kind);
                put(name("ffn_down.weight"), of(&ffn.down), kind);
            }
            Ffn::Moe { router, experts } => {
                let stack = |part: fn(&FfnDense) -> &Matrix| {
                    let parts: Vec<_> = experts.iter().map(|e| of(part(e))).collect();
                    Tensor::stack(&parts, 0).expect("equal shapes")
                };
                put(name("ffn_gate_inp.weight"), of(router), float);
                put(name("ffn_gate_exps.weight"), stack(|e| &e.gate), kind);
                put(name("ffn_up_exps.weight"), stack(|e| &e.up), kind);
                put(name("ffn_down_exps.weight"), stack(|e| &e.down), kind);
            }
        }
    }
    let mut metadata = gguf_metadata(config);
    for (key, value) in more {
        metadata.retain(|(k, _)| k != key);
        metadata.push(((*key).to_owned(), value.clone()));
    }
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let mut file = File::create(path).expect("created");
    gguf_file::write(&mut file, &metadata, &tensors).expect("written");
}

fn gguf_metadata(config: &ModelConfig) -> Vec<(String, Value)> {
    let arch = &config.architecture;
    let int = |n: usize| Value::U32(u32::try_from(n).expect("small"));
    let mut all = vec![(
        "general.architecture".to_owned(),
        Value::String(arch.clone()),
    )];
    let mut put = |key: &str, value: Value| all.push((format!("{arch}.{key}"), value));
    put("embedding_length", int(config.hidden));
    put("block_count", int(config.layers));
    put("attention.head_count", int(config.heads));
    put("attention.head_count_kv", int(config.kv_heads));
    put("attention.key_length", int(config.head_dim));
    put("attention.value_length", int(config.head_dim));
    put("feed_forward_length", int(config.ff));
    put("context_length", int(config.context_length));
    put(
        "attention.layer_norm_rms_epsilon",
        Value::F32(config.norm_eps),
    );
    put("rope.freq_base", Value::F32(config.rope_theta));
    if let Some(moe) = &config.moe {
        put("expert_count", int(moe.experts));
        put("expert_used_count", int(moe.active));
        put("expert_feed_forward_length", int(moe.ff));
    }
    all
}
