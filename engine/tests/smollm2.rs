//! A real model file: `SmolLM2` in `Q4_1`, where it has been fetched (`orrery model fetch smollm2`).

use engine::fetch;
use engine::model::{Values, Weights};
use engine::reference::Candle;
use engine::text::Text;
use engine::{Batch, Executor, Row};
use units::{BlockSize, Blocks, SessionId, Tokens};

/// Its file, or `None` with a word about it: tests fetch nothing.
fn file() -> Option<std::path::PathBuf> {
    let found = fetch::find("smollm2");
    if let Err(e) = &found {
        eprintln!("skipped: {e}");
    }
    found.ok()
}

#[test]
fn smollm2_knows_the_capital_of_france() {
    let Some(path) = file() else { return };
    let weights = Weights::load(&path).expect("it loads");
    let config = &weights.config;
    let shape = [config.hidden, config.layers, config.heads, config.kv_heads];
    assert_eq!(shape, [576, 30, 9, 3]);
    assert_eq!(
        (config.head_dim, config.ff, config.vocabulary),
        (64, 1536, 49_152)
    );
    assert!(config.tied && weights.head.is_none());
    assert_eq!(weights.parameters(), 134_515_008);
    // Quantised matrices stay as they are: rows of queries were moved, not unpacked.
    assert!(matches!(weights.layers[7].q.values, Values::Quantised(_)));

    let text = Text::load(&path).expect("a tokenizer");
    let mut ids = text.encode("The capital of France is").expect("tokens");
    let size = BlockSize::new(16).expect("not zero");
    let mut executor = Candle::new(&weights, Blocks(2), size).expect("an executor");
    let prompt = ids.len();
    let mut from = 0;
    while ids.len() < prompt + 8 {
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
    eprintln!("The capital of France is{said}");
    assert!(said.starts_with(" Paris"), "{said}");
}
