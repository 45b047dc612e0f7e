//! Real model files, where they have been fetched (`orrery model fetch NAME`).

use std::path::PathBuf;

use engine::fetch;
use engine::model::{Values, Weights};
use engine::reference::Candle;
use engine::text::Text;
use engine::{Batch, Executor, Row};
use units::{BlockSize, Blocks, SessionId, Tokens};

/// The file of a model, or `None` with a word about it: tests fetch nothing.
fn file(name: &str) -> Option<PathBuf> {
    let found = fetch::find(name);
    if let Err(e) = &found {
        eprintln!("skipped: {e}");
    }
    found.ok()
}

/// What the model says after a text: its likeliest tokens.
fn goes_on(weights: &Weights, text: &Text, prompt: &str, tokens: usize) -> String {
    let mut ids = text.encode(prompt).expect("tokens");
    let size = BlockSize::new(16).expect("not zero");
    let mut executor = Candle::new(weights, Blocks(2), size).expect("an executor");
    let prompt = ids.len();
    let mut from = 0;
    while ids.len() < prompt + tokens {
        let (start, end) = (from as u64, ids.len() as u64);
        let batch = Batch {
            rows: vec![Row {
                session: SessionId(0),
                query: Tokens(end - start),
                context: Tokens(end),
                samples: true,
            }],
            positions: (start..end).collect(),
            slots: (start..end).collect(),
            starts: vec![0, end - start],
            block_tables: vec![vec![0, 1]],
            sample_at: vec![end - start - 1],
        };
        let sampled = executor.step(&batch, &ids[from..]).expect("a step");
        from = ids.len();
        ids.push(sampled.tokens[0].1);
    }
    let said = text.decode(&ids[prompt..]).expect("text");
    eprintln!("{said:?}");
    said
}

#[test]
fn smollm2_knows_the_capital_of_france() {
    let Some(path) = file("smollm2") else { return };
    let weights = Weights::load(&path).expect("it loads");
    let config = &weights.config;
    let shape = [config.hidden, config.layers, config.heads, config.kv_heads];
    assert_eq!(shape, [576, 30, 9, 3]);
    let shape = [config.head_dim, config.ff, config.vocabulary];
    assert_eq!(shape, [64, 1536, 49_152]);
    assert!(config.tied && weights.head.is_none());
    assert_eq!(weights.parameters(), 134_515_008);
    // Quantised matrices stay as they are: rows of queries were moved, not unpacked.
    assert!(matches!(weights.layers[7].q.values, Values::Quantised(_)));
    let text = Text::load(&path).expect("a tokenizer");
    let said = goes_on(&weights, &text, "The capital of France is", 8);
    assert!(said.starts_with(" Paris"), "{said}");
}

/// Its matrices in `Q4_K` and `Q6_K` are unpacked to 32-bit floats.
#[test]
#[ignore = "takes more than 6 GB of memory and a minute"]
fn qwen2_5_coder_adds_two_numbers() {
    let Some(path) = file("qwen2.5-coder-1.5b") else {
        return;
    };
    let weights = Weights::load(&path).expect("it loads");
    let config = &weights.config;
    assert_eq!(config.architecture, "qwen2");
    assert!(config.qkv_bias && !config.qk_norm);
    let text = Text::load(&path).expect("a tokenizer");
    let said = goes_on(&weights, &text, "def add(a, b):\n    return", 4);
    assert!(said.starts_with(" a + b"), "{said}");
}
