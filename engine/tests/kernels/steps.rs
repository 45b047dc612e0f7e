//! Whole steps: the executor's own lists of operations against the reference executor.

use engine::{
    Batch, Copy, Executor, Row, Way,
    cuda::{CudaExecutor, Device, Options, PrefillAttention, PrefillKernel},
    model::{ModelConfig, Storage, Weights, preset, random},
    reference::Candle,
};
use units::{BlockSize, Blocks, SessionId, Tokens};

use crate::{
    common::schedules::change_no_token,
    device::{Bench, device},
    values::error,
};

/// A preset whose heads the kernels take.
fn weights(name: &str) -> Weights {
    let preset = preset(name).expect("a preset");
    let config = ModelConfig {
        head_dim: preset.head_dim.max(32),
        ..preset
    };
    random(&config, 3, Storage::Bf16)
}

fn options(blocks: u64, block_size: u32, invariant: bool) -> Options {
    Options {
        blocks,
        block_size,
        invariant,
        graphs: true,
        prefill: PrefillAttention::Mma,
    }
}

/// A batch of (session, tokens before, tokens now, first block); tables are runs of blocks downwards.
pub(crate) fn batch(rows: &[(u32, u64, u64, u32)], size: u64) -> (Batch, Vec<u32>) {
    let mut batch = Batch {
        starts: vec![0],
        ..Batch::default()
    };
    let mut ids = Vec::new();
    for &(session, before, query, first) in rows {
        let context = before + query;
        let table: Vec<u32> = (0..context.div_ceil(size) as u32)
            .map(|i| first - i)
            .collect();
        for position in before..context {
            batch.positions.push(position);
            batch
                .slots
                .push(u64::from(table[(position / size) as usize]) * size + position % size);
            ids.push((session * 31 + position as u32 * 7 + 1) % 256);
        }
        batch.starts.push(batch.positions.len() as u64);
        batch.sample_at.push(batch.positions.len() as u64 - 1);
        batch.block_tables.push(table);
        batch.rows.push(Row {
            session: SessionId(session),
            query: Tokens(query),
            context: Tokens(context),
            samples: true,
        });
    }
    (batch, ids)
}

/// What rounding to brain floats (2^-8 each time) does to logits through two layers: measured on these
/// models and steps as 0.0046 to 0.0111.
pub(crate) const LOGITS: f64 = 0.02;

/// The same model with every expert chosen. Rounding may turn a near tie between experts, which moves
/// a row by 0.1 and is no error; with all of them the result is continuous. Steps with few experts a token
/// are in `routing.rs`.
fn continuous(name: &str) -> Weights {
    let mut weights = weights(name);
    if let Some(moe) = &mut weights.config.moe {
        moe.active = moe.experts;
    }
    weights
}

struct Pair {
    cuda: CudaExecutor<Bench>,
    candle: Candle,
}

impl Pair {
    fn new(test: &str, weights: &Weights, block_size: u32, invariant: bool) -> Option<Self> {
        let options = options(64, block_size, invariant);
        Some(Self::with(device(test)?, weights, options))
    }

    fn with(device: Bench, weights: &Weights, options: Options) -> Self {
        let size = BlockSize::new(u64::from(options.block_size)).expect("not zero");
        let mut cuda = CudaExecutor::new(device, weights, options).expect("takes it");
        let mut candle = Candle::new(weights, Blocks(64), size).expect("takes it");
        let all: Vec<u32> = (0..64).collect();
        cuda.poison(&all).expect("poisoned");
        candle.poison(&all).expect("poisoned");
        Self { cuda, candle }
    }

    fn step(&mut self, rows: &[(u32, u64, u64, u32)], size: u64) {
        let (batch, ids) = batch(rows, size);
        self.both(&batch, &ids);
    }

    fn both(&mut self, batch: &Batch, ids: &[u32]) {
        let expected = self.candle.step(batch, ids).expect("runs");
        let found = self.cuda.step(batch, ids).expect("runs");
        assert_eq!(found.tokens.len(), expected.tokens.len());
        let (logits, wanted) = (
            self.cuda.logits().expect("read"),
            self.candle.logits().expect("read"),
        );
        let off = error(&logits, &wanted);
        assert!(off < LOGITS, "{:?}: {off}", batch.rows);
        // The sampled token is the best of its own logits.
        for ((_, id), row) in found.tokens.iter().zip(logits.chunks(256)) {
            let best = row.iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(row.iter().position(|&v| v >= best), Some(*id as usize));
        }
    }
}

#[test]
fn steps_of_every_model_are_those_of_the_reference() {
    for name in ["tiny", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3moe"] {
        for invariant in [false, true] {
            let test = "steps_of_every_model_are_those_of_the_reference";
            let Some(mut pair) = Pair::new(test, &continuous(name), 4, invariant) else {
                return;
            };
            // Two prompts, a chunk of the first with a decode of the second, decodes alone (recorded,
            // then replayed with other arrays), and twelve rows: products of more than eight.
            pair.step(&[(0, 0, 21, 20), (1, 0, 3, 40)], 4);
            pair.step(&[(0, 21, 9, 20), (1, 3, 1, 40)], 4);
            pair.step(&[(1, 4, 1, 40), (0, 30, 1, 20)], 4);
            pair.step(&[(0, 31, 1, 20), (1, 5, 1, 40)], 4);
            let many: Vec<_> = (0..12).map(|i| (i + 2, 0, 1, 41 + i)).collect();
            pair.step(&many, 4);
            let launched = &pair.cuda.device().launched;
            assert_eq!(invariant, !launched.contains_key("gemv_2"), "{launched:?}");
            assert_eq!(
                invariant,
                !launched.contains_key("decode_32"),
                "{launched:?}"
            );
            assert_eq!(name == "tiny-qwen3moe", launched.contains_key("route"));
        }
    }
}

#[test]
fn an_executor_that_may_choose_tries_both_prefill_kernels_and_computes_with_the_new_one() {
    let test =
        "an_executor_that_may_choose_tries_both_prefill_kernels_and_computes_with_the_new_one";
    let Some(d) = device(test) else {
        return;
    };
    if !d.limits().wgmma {
        eprintln!("SKIPPED: {test}: the device is not of compute capability 9.0");
        return;
    }
    let preset = preset("tiny").expect("a preset");
    let config = ModelConfig {
        head_dim: 64,
        ..preset
    };
    let weights = random(&config, 3, Storage::Bf16);
    let auto = Options {
        prefill: PrefillAttention::Auto,
        ..options(64, 4, false)
    };
    let mut pair = Pair::with(d, &weights, auto);
    let decision = pair.cuda.prefill().clone();
    assert_eq!(decision.kernel, PrefillKernel::Wgmma, "{}", decision.reason);
    assert!(!decision.disagreed);
    // The trial ran both once.
    let launched = &pair.cuda.device().launched;
    assert_eq!(
        (launched["prefill_64"], launched["prefill_wgmma_64"]),
        (1, 1)
    );
    pair.step(&[(0, 0, 70, 20), (1, 0, 3, 40)], 4);
    pair.step(&[(0, 70, 9, 20), (1, 3, 1, 40)], 4);
    let launched = &pair.cuda.device().launched;
    assert_eq!(launched["prefill_64"], 1, "only the trial");
    assert_eq!(launched["prefill_wgmma_64"], 1 + 2 * config.layers);

    // Where results must be invariant, the old kernel stays and nothing is tried.
    let d = device("again").expect("as before");
    let invariant = Options {
        invariant: true,
        ..auto
    };
    let mut cuda = CudaExecutor::new(d, &weights, invariant).expect("takes it");
    assert_eq!(cuda.prefill().kernel, PrefillKernel::Mma);
    assert!(!cuda.device().launched.contains_key("prefill_wgmma_64"));

    // Asked for by name and impossible: an error, not another kernel.
    let d = device("again").expect("as before");
    let forced = Options {
        prefill: PrefillAttention::Wgmma,
        ..invariant
    };
    let refused = CudaExecutor::new(d, &weights, forced).expect_err("it cannot be");
    assert!(
        refused.to_string().contains("wgmma prefill attention"),
        "{refused}"
    );
}

#[test]
fn padding_of_a_recorded_step_changes_nothing() {
    let Some(d) = device("padding_of_a_recorded_step_changes_nothing") else {
        return;
    };
    let weights = weights("tiny-qwen3moe");
    let other = device("again").expect("as before");
    let mut recorded = CudaExecutor::new(d, &weights, options(64, 4, false)).expect("takes it");
    let mut plain = CudaExecutor::new(
        other,
        &weights,
        Options {
            graphs: false,
            ..options(64, 4, false)
        },
    )
    .expect("takes it");
    for executor in [&mut recorded, &mut plain] {
        executor
            .poison(&(0..64).collect::<Vec<_>>())
            .expect("poisoned");
    }
    // Three rows run as four, with more parts and blocks than they have.
    for step in 0..3 {
        let rows: Vec<_> = (0..3).map(|i| (i, step, 1, 10 + 10 * i)).collect();
        let (batch, ids) = batch(&rows, 4);
        let a = recorded.step(&batch, &ids).expect("runs");
        let b = plain.step(&batch, &ids).expect("runs");
        assert_eq!(a, b);
        assert_eq!(
            recorded.logits().expect("read"),
            plain.logits().expect("read")
        );
    }
}

#[test]
fn blocks_come_back_from_host_memory_as_they_went() {
    let test = "blocks_come_back_from_host_memory_as_they_went";
    let Some(mut pair) = Pair::new(test, &weights("tiny"), 4, false) else {
        return;
    };
    pair.step(&[(0, 0, 14, 20), (1, 0, 6, 30)], 4);
    let out = |id, session, blocks: &[u32]| Copy {
        id,
        session: SessionId(session),
        way: Way::ToHost,
        blocks: blocks.to_vec(),
        first: 0,
    };
    let first = out(7, 0, &[20, 19, 18, 17]);
    // Block 20, the first of the context, stays where it is.
    let back = Copy {
        id: 9,
        way: Way::ToDevice,
        blocks: vec![19, 48, 47],
        first: 1,
        ..first.clone()
    };
    for executor in [&mut pair.cuda as &mut dyn Executor, &mut pair.candle] {
        executor.begin_copy(&first).expect("begins");
        executor.begin_copy(&out(8, 1, &[30, 29])).expect("begins");
        let mut ended = Vec::new();
        while ended.len() < 2 {
            ended.extend(executor.ended_copies().expect("asked"));
        }
        assert_eq!(ended, [7, 8]);
        executor.poison(&[19, 18, 17]).expect("poisoned");
        executor.begin_copy(&back).expect("begins");
        while executor.ended_copies().expect("asked").is_empty() {}
        let refused = executor.begin_copy(&Copy {
            session: SessionId(5),
            ..back.clone()
        });
        assert!(refused.is_err(), "nothing of it is in host memory");
        executor.forget(SessionId(1));
    }
    // The session goes on from its new blocks.
    let (mut batch, ids) = batch(&[(0, 14, 1, 20), (1, 6, 1, 30)], 4);
    batch.block_tables[0] = vec![20, 19, 48, 47];
    batch.slots[0] = 47 * 4 + 2;
    pair.both(&batch, &ids);
}

#[test]
fn what_the_kernels_do_not_take_is_refused_with_the_reason() {
    let Some(d) = device("what_the_kernels_do_not_take_is_refused_with_the_reason") else {
        return;
    };
    let tiny = preset("tiny").expect("a preset");
    let narrow = random(&tiny, 1, Storage::F32);
    let refused = CudaExecutor::new(d, &narrow, options(8, 4, false)).expect_err("heads of 16");
    assert!(refused.to_string().contains("16"), "{refused}");
    let d = device("again").expect("as before");
    let refused = CudaExecutor::new(d, &weights("tiny"), options(8, 12, false)).expect_err("12");
    assert!(
        refused.to_string().contains("powers of two, not 12"),
        "{refused}"
    );

    let d = device("again").expect("as before");
    let mut executor =
        CudaExecutor::new(d, &weights("tiny"), options(8, 4, false)).expect("takes it");
    let (batch, mut ids) = batch(&[(0, 0, 2, 9)], 4);
    assert!(executor.step(&batch, &ids).is_err(), "block 9 of 8");
    ids[0] = 256;
    assert!(executor.step(&batch, &ids).is_err(), "token 256 of 256");
}

#[test]
fn no_schedule_changes_a_token_where_results_are_invariant() {
    if device("no_schedule_changes_a_token_where_results_are_invariant").is_none() {
        return;
    }
    for (name, cases) in [("tiny", 2), ("tiny-qwen3moe", 1)] {
        let weights = weights(name);
        let seen = change_no_token(
            &mut |blocks, size| {
                let d = device("again").expect("as before");
                let block_size = u32::try_from(size.tokens().get()).expect("small");
                let options = options(blocks.get(), block_size, true);
                Box::new(CudaExecutor::new(d, &weights, options).expect("takes it"))
            },
            cases,
        );
        assert!(seen.tokens >= 10, "{seen:?}");
    }
}
