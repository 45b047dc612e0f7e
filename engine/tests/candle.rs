//! The reference executor against the models that candle itself ships, on the same random weights.
//!
//! Both read the weights from the same file. Theirs take a whole prompt at once and cache it in their own
//! way; ours goes through paged KV. What is left is the order of additions in 32-bit floats.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these tests write model files"
)]

mod common;

use std::fs;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, qwen2, qwen3, qwen3_moe};
use common::files::{config_json, write_gguf, write_safetensors};
use engine::model::{ModelConfig, Storage, Weights, preset, random};
use engine::reference::Candle;
use engine::{Batch, Copy, Executor, ExecutorError, Row, Way};
use serde_json::{Value, json};
use units::{BlockSize, Blocks, SessionId, Tokens};

/// The largest difference of two logits over the largest logit. Measured: 6e-7 to 1.1e-6.
const MOST: f32 = 5e-6;

/// Logits of the last token of a prompt, `[vocabulary]`.
type Theirs = Box<dyn FnMut(&Tensor) -> candle_core::Result<Tensor>>;

fn size() -> BlockSize {
    BlockSize::new(4).expect("not zero")
}

fn prompt(vocabulary: usize) -> Vec<u32> {
    let vocabulary = u32::try_from(vocabulary).expect("small");
    (0..41)
        .map(|i: u32| (i * i * 37 + 11 * i + 5) % vocabulary)
        .collect()
}

/// Tokens `from..to` of one session, in blocks that do not lie in order.
fn batch(session: u32, from: u64, to: u64) -> Batch {
    let table: Vec<u32> = (0..11).map(|i| (i * 7 + session * 3 + 2) % 24).collect();
    let slot = |at: u64| {
        let block = usize::try_from(at / 4).expect("small");
        u64::from(table[block]) * 4 + at % 4
    };
    Batch {
        rows: vec![Row {
            session: SessionId(session),
            query: Tokens(to - from),
            context: Tokens(to),
            samples: true,
        }],
        positions: (from..to).collect(),
        slots: (from..to).map(slot).collect(),
        starts: vec![0, to - from],
        block_tables: vec![table.clone()],
        sample_at: vec![to - from - 1],
    }
}

fn executor(weights: &Weights) -> Candle {
    Candle::new(weights, Blocks(24), size()).expect("an executor")
}

fn logits(executor: &mut Candle, from: usize, to: usize, prompt: &[u32]) -> Vec<f32> {
    let step = batch(0, from as u64, to as u64);
    executor.step(&step, &prompt[from..to]).expect("a step");
    executor.logits().expect("logits")
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0f32, |m, x| m.max(x.abs()));
    let furthest = a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    furthest / largest
}

/// Prompts of several lengths through theirs and through ours: at once, in chunks, and with its last
/// tokens one by one.
fn hold(folder: &Path, mut theirs: Theirs) {
    let weights = Weights::load(folder).expect("it loads");
    let ids = prompt(weights.config.vocabulary);
    let mut worst = 0f32;
    for n in [1, 3, 16, 17, 41] {
        let input = Tensor::new(&ids[..n], &Device::Cpu).and_then(|t| t.unsqueeze(0));
        let wanted = theirs(&input.expect("a prompt")).and_then(|t| t.flatten_all());
        let wanted: Vec<f32> = wanted.and_then(|t| t.to_vec1()).expect("logits");
        let mut ours = executor(&weights);
        worst = worst.max(difference(&logits(&mut ours, 0, n, &ids), &wanted));
        if n > 16 {
            let mut ours = executor(&weights);
            for (from, to) in [(0, 5), (5, 14), (14, 15), (15, n)] {
                let found = logits(&mut ours, from, to, &ids);
                if to == n {
                    worst = worst.max(difference(&found, &wanted));
                }
            }
        }
    }
    eprintln!(
        "{}: largest relative difference {worst:e}",
        weights.config.architecture
    );
    assert!(worst <= MOST, "{worst}");
    assert!(worst > 0.0, "two programs never agree in every bit");
}

/// A model on disk, its tensors, and its `config.json` with `more` in it.
fn written(folder: &Path, config: &ModelConfig, more: &Value) -> (VarBuilder<'static>, String) {
    let weights = random(config, 21, Storage::F32);
    write_safetensors(&weights, folder, DType::F32, 1);
    let mut json = config_json(config);
    for (key, value) in more.as_object().expect("an object") {
        json[key] = value.clone();
    }
    fs::write(folder.join("config.json"), json.to_string()).expect("written");
    let tensors = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu);
    let tensors = tensors.expect("just written");
    let vars = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    (vars, json.to_string())
}

fn tiny(name: &str) -> ModelConfig {
    ModelConfig {
        context_length: 128,
        ..preset(name).expect("a preset")
    }
}

fn llama_with(more: &Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let (vars, json) = written(folder.path(), &tiny("tiny"), more);
    let config: llama::LlamaConfig = serde_json::from_str(&json).expect("their config");
    let config = config.into_config(false);
    let model = llama::Llama::load(vars, &config).expect("their model");
    hold(
        folder.path(),
        Box::new(move |input| {
            let mut cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu)?;
            model.forward(input, 0, &mut cache)
        }),
    );
}

#[test]
fn llama_agrees_with_candle() {
    llama_with(&json!({}));
}

#[test]
fn llama_with_scaled_rotation_agrees_with_candle() {
    llama_with(&json!({ "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }}));
}

#[test]
fn qwen2_agrees_with_candle() {
    let folder = tempfile::tempdir().expect("a folder");
    let more = json!({ "sliding_window": 128 });
    let (vars, json) = written(folder.path(), &tiny("tiny-qwen2"), &more);
    let config: qwen2::Config = serde_json::from_str(&json).expect("their config");
    let mut model = qwen2::ModelForCausalLM::new(&config, vars).expect("their model");
    hold(
        folder.path(),
        Box::new(move |input| {
            model.clear_kv_cache();
            model.forward(input, 0)
        }),
    );
}

#[test]
fn qwen3_agrees_with_candle() {
    let folder = tempfile::tempdir().expect("a folder");
    let (vars, json) = written(folder.path(), &tiny("tiny-qwen3"), &json!({}));
    let config: qwen3::Config = serde_json::from_str(&json).expect("their config");
    let mut model = qwen3::ModelForCausalLM::new(&config, vars).expect("their model");
    hold(
        folder.path(),
        Box::new(move |input| {
            model.clear_kv_cache();
            model.forward(input, 0)
        }),
    );
}

#[test]
fn qwen3_with_experts_agrees_with_candle() {
    for normalise in [true, false] {
        let mut config = tiny("tiny-qwen3moe");
        config.moe.as_mut().expect("experts").normalise = normalise;
        let folder = tempfile::tempdir().expect("a folder");
        let (vars, json) = written(folder.path(), &config, &json!({}));
        let config: qwen3_moe::Config = serde_json::from_str(&json).expect("their config");
        let mut model = qwen3_moe::ModelForCausalLM::new(&config, vars).expect("their model");
        hold(
            folder.path(),
            Box::new(move |input| {
                model.clear_kv_cache();
                model.forward(input, 0)
            }),
        );
    }
}

/// The order of rows in the file is the only difference, and it is undone.
#[test]
fn a_llama_gguf_gives_the_logits_of_its_safetensors() {
    let weights = random(&tiny("tiny"), 21, Storage::F32);
    let folder = tempfile::tempdir().expect("a folder");
    write_safetensors(&weights, folder.path(), DType::F32, 1);
    let gguf = folder.path().join("model.gguf");
    write_gguf(&weights, &gguf, GgmlDType::F32);
    let ids = prompt(weights.config.vocabulary);
    let run = |path: &Path| {
        let weights = Weights::load(path).expect("it loads");
        logits(&mut executor(&weights), 0, 41, &ids)
    };
    assert_eq!(run(folder.path()), run(&gguf));
}

/// Not one token over and over, and not the same whatever the prompt: what a schedule broke would show.
#[test]
fn random_models_say_different_things() {
    for name in ["tiny", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3moe"] {
        let weights = random(&tiny(name), 21, Storage::F32);
        let ids = prompt(weights.config.vocabulary);
        let says = |ids: &[u32]| {
            let mut ids = ids.to_vec();
            let mut executor = executor(&weights);
            let mut from = 0;
            while ids.len() < 41 {
                let step = batch(0, from as u64, ids.len() as u64);
                let sampled = executor.step(&step, &ids[from..]).expect("a step");
                from = ids.len();
                ids.push(sampled.tokens[0].1);
            }
            ids.split_off(9)
        };
        let (one, other) = (says(&ids[..9]), says(&[&[1], &ids[1..9]].concat()));
        let mut different = one.clone();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() >= 10, "{name}: {one:?}");
        // They part with the first token of the prompt.
        let equal = one.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(equal <= 16, "{name}: {one:?} {other:?}");
    }
}

#[test]
fn a_copy_goes_to_host_memory_and_back_into_other_blocks() {
    let weights = random(&tiny("tiny-qwen3"), 21, Storage::F32);
    let ids = prompt(weights.config.vocabulary);
    let mut executor = executor(&weights);
    logits(&mut executor, 0, 40, &ids);
    let kept = batch(0, 0, 40).block_tables.remove(0);
    let copy = |id, way, first: usize, blocks: &[u32]| Copy {
        id,
        session: SessionId(0),
        way,
        first: u32::try_from(first).expect("small"),
        blocks: blocks.to_vec(),
    };
    let out = copy(1, Way::ToHost, 0, &kept[..10]);
    executor.begin_copy(&out).expect("blocks to copy");
    let wanted = logits(&mut executor, 40, 41, &ids);

    // Two blocks are still there, eight come back, elsewhere.
    let free: Vec<u32> = (0..24).filter(|b| !kept.contains(b)).collect();
    executor.poison(&kept[2..]).expect("poisoned");
    executor.poison(&free).expect("poisoned");
    let back = copy(2, Way::ToDevice, 2, &free[..8]);
    executor.begin_copy(&back).expect("blocks to copy");
    assert_eq!(executor.ended_copies().expect("copies"), [1, 2]);
    assert_eq!(executor.ended_copies().expect("copies"), [0; 0]);
    let mut last = batch(0, 40, 41);
    last.block_tables[0] = [&kept[..2], &free[..9]].concat();
    last.slots = vec![u64::from(free[8]) * 4];
    executor.step(&last, &ids[40..]).expect("a step");
    assert_eq!(executor.logits().expect("logits"), wanted);

    // Poison shows.
    executor.poison(&free[3..4]).expect("poisoned");
    executor.step(&last, &ids[40..]).expect("a step");
    assert!(
        executor
            .logits()
            .expect("logits")
            .iter()
            .all(|x| x.is_nan())
    );

    // Nothing of the session is left, or not as many blocks.
    let refused = |executor: &mut Candle, copy: &Copy| {
        let error = executor.begin_copy(copy).expect_err("nothing to copy");
        assert!(matches!(error, ExecutorError::Copy { .. }), "{error}");
        error.to_string()
    };
    let said = refused(&mut executor, &copy(3, Way::ToDevice, 2, &free[..9]));
    assert_eq!(
        said,
        "copy 3 of s0 cannot be done: it takes blocks 2 to 11 and host memory has 10"
    );
    executor.forget(SessionId(0));
    refused(&mut executor, &copy(4, Way::ToDevice, 0, &free[..1]));
    refused(&mut executor, &copy(5, Way::ToHost, 0, &[24]));
    assert_eq!(executor.ended_copies().expect("copies"), [0; 0]);
}

#[test]
fn a_batch_that_is_none_of_this_model_and_pool_is_refused() {
    let weights = random(&tiny("tiny"), 21, Storage::F32);
    let mut executor = executor(&weights);
    let ids = prompt(256);
    let mut says = |batch: &Batch, ids: &[u32]| {
        let error = executor.step(batch, ids).expect_err("no such batch");
        assert!(matches!(error, ExecutorError::Batch(_)), "{error}");
        error.to_string()
    };
    let good = batch(0, 0, 8);
    assert!(says(&good, &[256; 8]).ends_with("token 256, wanted below 256"));
    assert!(says(&good, &ids[..7]).ends_with("8 positions, 8 slots, 7 tokens"));
    let mut bad = good.clone();
    bad.block_tables[0][0] = 24;
    assert!(says(&bad, &ids[..8]).ends_with("slot 96, wanted below 96"));
    let mut bad = good.clone();
    bad.block_tables[0].truncate(1);
    assert!(says(&bad, &ids[..8]).ends_with("s0 has 8 tokens in 1 blocks of 4"));
    assert!(executor.poison(&[24]).is_err());
    // It goes on as if nothing had been.
    let found = executor.step(&good, &ids[..8]).expect("a step");
    assert_eq!(found.tokens.len(), 1);
}
