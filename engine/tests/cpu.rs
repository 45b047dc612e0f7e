//! The fast executor against the reference on a real model: `SmolLM2` in `Q4_1`, where it has been fetched
//! (`orrery model fetch smollm2`).

use engine::cpu::{CpuExecutor, CpuOptions, KvFormat, Mode};
use engine::fetch;
use engine::model::Weights;
use engine::reference::Candle;
use engine::text::Text;
use engine::{Batch, Executor, Row};
use units::{BlockSize, Blocks, SessionId, Tokens};

/// Some English and some code, so that no token is like the next.
const PROMPT: &str = "The capital of France is Paris. In 1889 it got a tower of iron; \
    `fn main() { println!(\"{}\", 6 * 7); }` prints 42. She asked: why does the sea look blue";

/// Tokens `from..to` of one session whose blocks lie in order.
fn batch(from: usize, to: usize) -> Batch {
    let (from, to) = (from as u64, to as u64);
    Batch {
        rows: vec![Row {
            session: SessionId(0),
            query: Tokens(to - from),
            context: Tokens(to),
            samples: true,
        }],
        positions: (from..to).collect(),
        slots: (from..to).collect(),
        starts: vec![0, to - from],
        block_tables: vec![(0..8).collect()],
        sample_at: vec![to - from - 1],
    }
}

/// Logits after each of a few tokens of the prompt, and what follows it.
fn run(executor: &mut dyn Executor, ids: &[u32]) -> (Vec<f32>, Vec<u32>) {
    let mut logits = Vec::new();
    let mut from = 0;
    let mut last = 0;
    for to in [5, 6, 30, ids.len()] {
        let sampled = executor.step(&batch(from, to), &ids[from..to]);
        last = sampled.expect("a step").tokens[0].1;
        logits.extend(executor.logits().expect("logits"));
        from = to;
    }
    let mut said = vec![last];
    for at in ids.len()..ids.len() + 8 {
        let sampled = executor.step(&batch(at, at + 1), &[said[said.len() - 1]]);
        said.push(sampled.expect("a step").tokens[0].1);
    }
    (logits, said)
}

#[test]
fn smollm2_answers_as_the_reference_does() {
    let path = match fetch::find("smollm2") {
        Ok(path) => path,
        Err(e) => {
            eprintln!("skipped: {e}");
            return;
        }
    };
    let weights = Weights::load(&path).expect("it loads");
    let text = Text::load(&path).expect("a tokenizer");
    let ids = text.encode(PROMPT).expect("tokens");
    let (blocks, size) = (Blocks(8), BlockSize::new(16).expect("not zero"));
    let mut reference = Candle::new(&weights, blocks, size).expect("an executor");
    let (want, said) = run(&mut reference, &ids);
    eprintln!("reference: {}", text.decode(&said).expect("text"));
    let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (mode, kv, bound) in [
        // Measured: 2.4e-6, 0.0038, 0.0076, 0.043.
        (Mode::F32, KvFormat::F32, 1e-5),
        (Mode::F32, KvFormat::Bf16, 0.006),
        (Mode::Bf16, KvFormat::Bf16, 0.012),
        (Mode::Int8, KvFormat::Bf16, 0.06),
    ] {
        let options = CpuOptions {
            mode,
            kv,
            ..CpuOptions::exact()
        };
        let mut cpu = CpuExecutor::new(&weights, options, blocks, size).expect("an executor");
        let (got, answer) = run(&mut cpu, &ids);
        let furthest = got
            .iter()
            .zip(&want)
            .fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        let error = furthest / largest;
        let rms = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
        let spread =
            rms(&mut got.iter().zip(&want).map(|(a, b)| a - b)) / rms(&mut want.iter().copied());
        eprintln!(
            "{} weights, {} KV: furthest {error:.1e} of the largest, root mean square {spread:.1e}; {}",
            mode.name(),
            kv.name(),
            text.decode(&answer).expect("text")
        );
        assert!(error < bound, "{mode:?} {kv:?}: {error}");
        if mode == Mode::F32 && kv == KvFormat::F32 {
            assert_eq!(answer, said);
        }
    }
}
