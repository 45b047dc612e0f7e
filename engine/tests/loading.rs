//! Models come out of files as they went in, and a file that is no whole model is an error that says so.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests read and write model files"
)]
#![allow(
    clippy::float_cmp,
    reason = "what a file says is read as it is, not computed"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::DType;
use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use common::files::{config_json, write_gguf, write_gguf_with, write_safetensors};
use engine::model::{Ffn, Matrix, ModelConfig, Storage, Values, Weights, preset, random};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

fn tiny(name: &str) -> Weights {
    random(&preset(name).expect("a preset"), 11, Storage::F32)
}

const TINY: [&str; 4] = ["tiny", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3moe"];

/// All matrices of a model, in one order.
fn matrices(weights: &Weights) -> Vec<&Matrix> {
    let mut all = vec![&weights.embedding];
    all.extend(&weights.head);
    for layer in &weights.layers {
        all.extend([&layer.q, &layer.k, &layer.v, &layer.o]);
        match &layer.ffn {
            Ffn::Dense(f) => all.extend([&f.gate, &f.up, &f.down]),
            Ffn::Moe { router, experts } => {
                all.push(router);
                for f in experts {
                    all.extend([&f.gate, &f.up, &f.down]);
                }
            }
        }
    }
    all
}

/// Everything that is no matrix.
fn vectors(weights: &Weights) -> Vec<&Vec<f32>> {
    let mut all = vec![&weights.norm];
    for layer in &weights.layers {
        all.extend([&layer.attn_norm, &layer.ffn_norm]);
        all.extend(layer.qkv_bias.iter().flatten());
        all.extend(layer.qk_norm.iter().flatten());
    }
    all
}

/// The same model, each matrix within what `round` makes of its values.
fn same(found: &Weights, wanted: &Weights, round: impl Fn(&Matrix) -> Vec<f32>) {
    assert_eq!(found.config, wanted.config);
    assert_eq!(vectors(found), vectors(wanted));
    let (found, wanted) = (matrices(found), matrices(wanted));
    assert_eq!(found.len(), wanted.len());
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!((found.rows, found.cols), (wanted.rows, wanted.cols));
        assert!(
            found.to_f32().expect("floats") == round(wanted),
            "matrix {i}"
        );
    }
}

fn exact(matrix: &Matrix) -> Vec<f32> {
    matrix.to_f32().expect("floats")
}

#[test]
fn a_gguf_file_gives_back_the_model_that_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in TINY {
        let mut weights = tiny(name);
        if name == "tiny" {
            // As Llama 3.1 has them.
            weights.config.rope_factors = vec![1.0, 1.0, 1.0, 1.5, 2.5, 8.0, 8.0, 8.0];
        }
        let path = folder.path().join(name);
        write_gguf(&weights, &path, GgmlDType::F32);
        let found = Weights::load(&path).expect("it loads");
        same(&found, &weights, exact);
    }
}

#[test]
fn a_llama_file_with_biases_has_them_in_the_order_of_its_rows() {
    let mut config = preset("tiny").expect("a preset");
    config.qkv_bias = true;
    let weights = random(&config, 5, Storage::F32);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    write_gguf(&weights, &path, GgmlDType::F32);
    // A folder with one such file will do.
    let found = Weights::load(folder.path()).expect("it loads");
    same(&found, &weights, exact);
}

/// Rows of queries and keys move as bytes: quantising a row, then moving it, is the same as moving it
/// first.
#[test]
fn quantised_matrices_stay_as_they_are() {
    use GgmlDType::{BF16, F16, Q4_0, Q4_1, Q4K, Q5_0, Q6K, Q8_0};
    let config = ModelConfig {
        hidden: 256,
        layers: 1,
        ff: 512,
        head_dim: 64,
        ..preset("tiny").expect("a preset")
    };
    let weights = random(&config, 5, Storage::F32);
    let folder = tempfile::tempdir().expect("a folder");
    for kind in [F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q4K, Q6K] {
        let path = folder.path().join(format!("{kind:?}"));
        write_gguf(&weights, &path, kind);
        let found = Weights::load(&path).expect("it loads");
        for matrix in matrices(&found) {
            let stored = match &matrix.values {
                Values::F32(_) => GgmlDType::F32,
                Values::F16(_) => F16,
                Values::Bf16(_) => BF16,
                Values::Quantised(q) => q.dtype(),
            };
            assert_eq!(stored, kind);
        }
        same(&found, &weights, |matrix| {
            let shape = (matrix.rows, matrix.cols);
            let plain = Tensor::from_vec(exact(matrix), shape, &Device::Cpu).expect("fits");
            let short = QTensor::quantize(&plain, kind).expect("whole blocks");
            let full = short.dequantize(&Device::Cpu).expect("floats");
            full.flatten_all()
                .and_then(|t| t.to_vec1())
                .expect("floats")
        });
    }
}

#[test]
fn experts_of_a_quantised_file_are_cut_out_of_their_tensor() {
    let mut config = preset("tiny-qwen3moe").expect("a preset");
    config.hidden = 128;
    let weights = random(&config, 5, Storage::F32);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    write_gguf(&weights, &path, GgmlDType::Q8_0);
    let found = Weights::load(&path).expect("it loads");
    for (found, wanted) in matrices(&found).iter().zip(matrices(&weights)) {
        assert_eq!((found.rows, found.cols), (wanted.rows, wanted.cols));
        for (a, b) in exact(found).iter().zip(exact(wanted)) {
            // 127 steps up to the largest value, which is at most sqrt(3 / 64).
            assert!((a - b).abs() <= 0.217 / 127.0, "{a} {b}");
        }
    }
}

#[test]
fn safetensors_give_back_the_model_in_one_file_or_in_shards() {
    for name in TINY {
        for (kind, shards) in [
            (DType::F32, 1),
            (DType::F32, 2),
            (DType::BF16, 1),
            (DType::F16, 2),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let weights = tiny(name);
            write_safetensors(&weights, folder.path(), kind, shards);
            let found = Weights::load(folder.path()).expect("it loads");
            let short = |x: &f32| match kind {
                DType::BF16 => half::bf16::from_f32(*x).to_f32(),
                DType::F16 => half::f16::from_f32(*x).to_f32(),
                _ => *x,
            };
            let mut wanted = weights.clone();
            wanted.norm = wanted.norm.iter().map(short).collect();
            for layer in &mut wanted.layers {
                let biases = layer.qkv_bias.iter_mut().flatten();
                let norms = layer.qk_norm.iter_mut().flatten();
                let ends = [&mut layer.attn_norm, &mut layer.ffn_norm];
                for v in biases.chain(norms).chain(ends) {
                    *v = v.iter().map(short).collect();
                }
            }
            same(&found, &wanted, |matrix| {
                exact(matrix).iter().map(short).collect()
            });
        }
    }
}

#[test]
fn newer_and_older_ways_to_scale_the_rotation_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = tiny("tiny");
    write_safetensors(&weights, folder.path(), DType::F32, 1);
    let mut json = config_json(&weights.config);
    let load = |json: &serde_json::Value| {
        fs::write(folder.path().join("config.json"), json.to_string()).expect("written");
        Weights::load(folder.path()).map(|w| (w.config.rope_theta, w.config.rope_factors))
    };
    json["rope_scaling"] = serde_json::json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128,
    });
    let older = load(&json).expect("it loads");
    assert_eq!(older.0, 10_000.0);
    assert_eq!(older.1.len(), 8);
    assert_eq!((older.1[0], older.1[7]), (1.0, 8.0));

    let mut parameters = json["rope_scaling"].take();
    parameters["rope_theta"] = serde_json::json!(500_000.0);
    json["rope_parameters"] = parameters;
    let newer = load(&json).expect("it loads");
    assert_eq!(newer.0, 500_000.0);

    json["rope_parameters"] = serde_json::json!({ "rope_type": "linear", "factor": 4.0 });
    assert_eq!(load(&json).expect("it loads").1, vec![4.0; 8]);
    // A shard that the index lists and nobody has.
    fs::remove_file(folder.path().join("model.safetensors")).expect("removed");
    let index = serde_json::json!({ "weight_map": { "model.norm.weight": "m-1.safetensors" } });
    let at = folder.path().join("model.safetensors.index.json");
    fs::write(at, index.to_string()).expect("written");
    let refused = load(&json).expect_err("no shard").to_string();
    assert!(
        refused.contains("m-1.safetensors: No such file"),
        "{refused}"
    );
    write_safetensors(&weights, folder.path(), DType::F32, 1);
    json["rope_parameters"] = serde_json::json!({ "rope_type": "yarn", "factor": 4.0 });
    let refused = load(&json).expect_err("no yarn").to_string();
    let wanted = "rope_type is \"yarn\"; wanted: default, linear or llama3";
    assert!(refused.ends_with(wanted), "{refused}");
}

/// Damages a file with `damage` and says what the loader says of it.
fn refused(path: &Path, damage: impl FnOnce(&Path)) -> String {
    damage(path);
    Weights::load(path).expect_err("a damaged file").to_string()
}

#[test]
fn errors_name_the_file_what_was_found_and_what_was_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.gguf");
    let says = |more: &[(&str, Value)], wanted: &str| {
        let said = refused(&path, |p| {
            write_gguf_with(&tiny("tiny"), p, GgmlDType::F32, more);
        });
        assert!(said.starts_with(&path.display().to_string()), "{said}");
        assert!(said.contains(wanted), "{said}\nwanted: {wanted}");
    };
    let text = |s: &str| Value::String(s.into());
    says(
        &[("general.architecture", text("mamba"))],
        "general.architecture is mamba; wanted: llama, qwen2, qwen3 or qwen3moe",
    );
    says(
        &[("llama.embedding_length", text("wide"))],
        "llama.embedding_length is Text(\"wide\"); wanted: an integer of at least 0",
    );
    says(
        &[("llama.block_count", Value::U32(3))],
        "tensor blk.2.attn_norm.weight is missing; wanted: of shape [64]",
    );
    says(
        &[("llama.block_count", Value::U32(1))],
        "tensor blk.1.attn_k.weight is in the file; wanted: only tensors of a llama model with 1 layers",
    );
    says(
        &[("llama.feed_forward_length", Value::U32(130))],
        "tensor blk.0.ffn_gate.weight is of shape [128, 64]; wanted: of shape [130, 64]",
    );
    says(
        &[("llama.attention.head_count_kv", Value::U32(3))],
        "kv_heads is 3; wanted: a divisor of the 4 query heads",
    );
    says(
        &[("llama.rope.scaling.type", text("yarn"))],
        "llama.rope.scaling.type is yarn; wanted: none or linear",
    );
    says(
        &[("general.alignment", Value::U32(0))],
        "general.alignment is Int(0)",
    );
    // The tokenizer in such a file is refused, too.
    let said = engine::text::Text::load(&path)
        .expect_err("damaged")
        .to_string();
    assert!(said.contains("general.alignment is Int(0)"), "{said}");
    let cut = |p: &Path| {
        write_gguf(&tiny("tiny"), p, GgmlDType::F32);
        let whole = fs::read(p).expect("there");
        fs::write(p, &whole[..whole.len() - 1000]).expect("written");
    };
    let said = refused(&path, cut);
    assert!(said.contains("it is cut off"), "{said}");
    let said = refused(&path, |p| fs::write(p, "not a model").expect("written"));
    assert!(said.contains("neither a GGUF file"), "{said}");
    let said = refused(Path::new("no/such/file"), |_| ());
    assert!(said.starts_with("no/such/file: "), "{said}");
    let said = Weights::open("random:huge")
        .expect_err("no preset")
        .to_string();
    assert!(said.contains("shape is huge; wanted: tiny, "), "{said}");
    assert_eq!(
        Weights::open("random:8m:4").expect("a model").config.layers,
        6
    );
}

/// Writes each damaged file, loads it, and counts the errors. Loading must end, without a panic.
fn survive(path: &Path, load: &Path, whole: &[u8], header: usize, step: usize) -> usize {
    let mut errors = 0;
    let mut attempt = |bytes: &[u8]| {
        fs::write(path, bytes).expect("written");
        let result = Weights::load(load);
        errors += usize::from(result.is_err());
        result.is_err()
    };
    for cut in (0..header)
        .step_by(step)
        .chain([whole.len() - 1, whole.len() / 2])
    {
        assert!(attempt(&whole[..cut]), "cut off at {cut}");
    }
    let mut bytes = whole.to_vec();
    let mut draw = Pcg64Mcg::new(9);
    for at in (0..header).step_by(step) {
        // One bit, and a byte that makes lengths huge.
        for flip in [1 << (draw.next_u64() % 8), 0xff] {
            bytes[at] ^= flip;
            attempt(&bytes);
            bytes[at] ^= flip;
        }
    }
    errors
}

/// As small as a model can be: what is damaged is the header, and it is read thousands of times.
fn least(name: &str) -> ModelConfig {
    let mut config = preset(name).expect("a preset");
    (config.layers, config.hidden, config.vocabulary) = (1, 32, 32);
    (config.heads, config.kv_heads, config.head_dim) = (2, 1, 16);
    match &mut config.moe {
        Some(moe) => (moe.experts, moe.ff) = (2, 32),
        None => config.ff = 32,
    }
    config
}

#[test]
fn a_damaged_gguf_file_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("m.gguf");
    let config = least("tiny-qwen3moe");
    write_gguf(&random(&config, 3, Storage::F32), &path, GgmlDType::Q8_0);
    let whole = fs::read(&path).expect("there");
    // The header: 12 metadata values and 14 tensors.
    let end = b"blk.0.ffn_down_exps.weight";
    let header = whole
        .windows(end.len())
        .position(|w| w == end)
        .expect("there")
        + end.len()
        + 40;
    let errors = survive(&path, &path, &whole, header, 1);
    // Every cut, and most flips: names, shapes, types and offsets all matter.
    assert!(
        errors > 2 * header,
        "{errors} of {} were errors",
        3 * header
    );
}

#[test]
fn a_damaged_safetensors_file_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = least("tiny-qwen2");
    write_safetensors(
        &random(&config, 3, Storage::F32),
        folder.path(),
        DType::BF16,
        1,
    );
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).expect("there");
    let header = 8 + usize::try_from(u64::from_le_bytes(
        whole[..8].try_into().expect("eight bytes"),
    ))
    .expect("small");
    let errors = survive(&path, folder.path(), &whole, header, 1);
    assert!(
        errors > 2 * header,
        "{errors} of {} were errors",
        3 * header
    );

    // Offsets near 2^64, which a sum would wrap around.
    let text = std::str::from_utf8(&whole[8..header]).expect("text");
    let (from, _) = text.split_once("\"data_offsets\":[").expect("there");
    let start = 8 + from.len() + "\"data_offsets\":[".len();
    let close = start
        + whole[start..]
            .iter()
            .position(|b| *b == b']')
            .expect("there");
    let mut huge = whole[8..start].to_vec();
    huge.extend(b"0,18446744073709551615");
    huge.extend(&whole[close..header]);
    let mut bytes = (huge.len() as u64).to_le_bytes().to_vec();
    bytes.extend(huge);
    bytes.extend(&whole[header..]);
    let said = refused(folder.path(), |_| fs::write(&path, bytes).expect("written"));
    assert!(said.contains("has offset 18446744073709551615"), "{said}");
}
