//! What the `cuda` executor decides before a GPU is asked: pieces of attention, shapes, arrays, memory,
//! launches.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "small numbers"
)]

use engine::{
    Batch, ExecutorError, Row,
    cuda::{
        Address, Device, Limits, Module, Op, PrefillAttention, PrefillKernel,
        buffers::{Buffer, Buffers},
        launch::tile_limit,
        metadata::{Layout, pack},
        model::random,
        prefill::{AGREEMENT, Trial, decide},
        program::{Pool, Program},
        shape::{GRAPH_ROWS, Shape},
        work::{Work, part_length},
    },
    model::{ModelConfig, Moe, preset},
};
use proptest::prelude::*;
use units::{SessionId, Tokens};

/// Rows of (query, context) on blocks of 16.
fn batch(rows: &[(u64, u64)]) -> Batch {
    let mut batch = Batch {
        starts: vec![0],
        ..Batch::default()
    };
    for (r, &(query, context)) in rows.iter().enumerate() {
        let table: Vec<u32> = (0..context.div_ceil(16) as u32)
            .map(|i| i + 100 * r as u32)
            .collect();
        for position in context - query..context {
            batch.positions.push(position);
            batch
                .slots
                .push(u64::from(table[(position / 16) as usize]) * 16 + position % 16);
        }
        batch.starts.push(batch.positions.len() as u64);
        batch.sample_at.push(batch.positions.len() as u64 - 1);
        batch.block_tables.push(table);
        batch.rows.push(Row {
            session: SessionId(r as u32),
            query: Tokens(query),
            context: Tokens(context),
            samples: true,
        });
    }
    batch
}

fn rows() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let row = (1_u64..5000, prop_oneof![Just(1_u64), 1_u64..300]);
    prop::collection::vec(
        row.prop_map(|(context, query)| (query.min(context), context)),
        1..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_cover_each_context_once_and_tiles_each_query_once(
        rows in rows(), group in 1_usize..17, kv_heads in 1_usize..9, invariant: bool, wgmma: bool,
    ) {
        let batch = batch(&rows);
        let (kernel, tile) = if wgmma { (PrefillKernel::Wgmma, 128) } else { (PrefillKernel::Mma, 64) };
        let work = Work::new(&batch, group, kv_heads, 132, invariant, kernel);
        prop_assert_eq!(work.part_starts.len(), work.tokens.len() + 1);
        let mut decoding = work.tokens.iter().zip(work.part_starts.windows(2));
        for (r, &(query, context)) in rows.iter().enumerate() {
            let tiles: Vec<_> = work.tiles.iter().filter(|t| t.row == r as i32).map(|t| t.tile as u64).collect();
            if query == 1 && !invariant {
                prop_assert!(tiles.is_empty());
                let (token, part) = decoding.next().expect("a decoding row");
                prop_assert_eq!(*token as u64, batch.starts[r]);
                let mut reached = 0;
                for p in &work.parts[part[0] as usize..part[1] as usize] {
                    prop_assert_eq!((p.row, p.token, p.begin), (r as i32, *token, reached));
                    prop_assert!(p.begin < p.end && p.begin % 16 == 0);
                    reached = p.end;
                }
                prop_assert_eq!(reached as u64, context);
            } else {
                let wanted = (query * group as u64).div_ceil(tile);
                prop_assert_eq!(tiles, (0..wanted).collect::<Vec<_>>());
            }
        }
        prop_assert!(decoding.next().is_none());
    }

    #[test]
    fn a_bucket_holds_its_step_and_pads_what_is_left(rows in rows()) {
        let decodes: Vec<_> = rows.iter().map(|r| (1, r.1)).collect();
        let batch = batch(&decodes);
        let work = Work::new(&batch, 4, 8, 132, false, PrefillKernel::Mma);
        let exact = Shape::exact(&batch, &work);
        let bucket = exact.bucket().expect("it only decodes");
        prop_assert!(bucket.tokens >= exact.tokens && bucket.parts >= exact.parts);
        prop_assert!(bucket.table >= exact.table && bucket.samples >= exact.samples);
        prop_assert!(bucket.tokens < exact.tokens + 16);
        // The bucket of a bucket is itself: it is one shape.
        prop_assert_eq!(bucket.bucket(), Some(bucket));

        let ids: Vec<u32> = (0..exact.tokens as u32).collect();
        let mut arrays = Vec::new();
        pack(&mut arrays, bucket, &batch, &ids, &work).expect("fits");
        let at = Layout::new(bucket);
        prop_assert_eq!(arrays.len(), at.len);
        for i in 0..bucket.tokens {
            let there = i < exact.tokens;
            prop_assert_eq!(arrays[at.ids + i], if there { i as i32 } else { -1 });
            let slot = batch.slots.get(i).map_or(-1, |&s| s as i32);
            prop_assert_eq!(arrays[at.slots + i], slot);
            let token = if there { i as i32 } else { -1 };
            prop_assert_eq!(arrays[at.decode_tokens + i], token);
            for (b, &block) in batch.block_tables.get(i).into_iter().flatten().enumerate() {
                prop_assert_eq!(arrays[at.tables + i * bucket.table + b], block as i32);
            }
        }
        for p in 0..bucket.parts {
            prop_assert_eq!(arrays[at.parts + 4 * p] >= 0, p < exact.parts);
        }
        // Padding rows have no parts.
        let starts = &arrays[at.part_starts..=at.part_starts + bucket.decodes];
        prop_assert!(starts[exact.decodes..].iter().all(|&s| s as usize == exact.parts));
        prop_assert!(starts.is_sorted());
    }
}

#[test]
fn arrays_of_a_step_lie_side_by_side_at_multiples_of_sixteen_bytes() {
    let batch = batch(&[(3, 20), (1, 5)]);
    let work = Work::new(&batch, 2, 1, 132, false, PrefillKernel::Mma);
    let shape = Shape::exact(&batch, &work);
    let at = Layout::new(shape);
    let mut arrays = Vec::new();
    pack(&mut arrays, shape, &batch, &[7, 8, 9, 10], &work).expect("fits");
    // By hand: 4 tokens, 2 rows, tables of 2 blocks, 1 part, 1 tile (6 packed queries), 2 samples.
    assert_eq!(
        [
            at.ids,
            at.positions,
            at.slots,
            at.starts,
            at.contexts,
            at.tables
        ],
        [0, 4, 8, 12, 16, 20]
    );
    assert_eq!(
        [
            at.parts,
            at.part_starts,
            at.decode_tokens,
            at.tiles,
            at.sample_at,
            at.len
        ],
        [24, 28, 32, 36, 40, 44]
    );
    assert_eq!(arrays[..12], [7, 8, 9, 10, 17, 18, 19, 4, 17, 18, 19, 1604]);
    assert_eq!(arrays[12..15], [0, 3, 4]);
    assert_eq!(arrays[16..18], [20, 5]);
    assert_eq!(arrays[20..24], [0, 1, 100, 0]);
    assert_eq!(arrays[24..28], [1, 3, 0, 5]);
    assert_eq!(arrays[28..30], [0, 1]);
    assert_eq!(arrays[32], 3);
    assert_eq!(arrays[36..38], [0, 0]);
    assert_eq!(arrays[40..42], [2, 3]);
    assert!(
        pack(&mut arrays, shape, &batch, &[7, 8, 9], &work).is_err(),
        "a token without an id"
    );
}

#[test]
fn a_few_long_contexts_are_cut_finer_than_many() {
    // One row of 64k on 8 KV heads of 132 multiprocessors: 528 pieces wanted, so parts of at most
    // 65,536 x 8 / 528 = 993: 512.
    assert_eq!(part_length(&[65_536].into_iter(), 8, 132), 512);
    assert_eq!(part_length(&[65_536; 64].into_iter(), 8, 132), 2048);
    // Nothing fills the device: as fine as it gets.
    assert_eq!(part_length(&[100].into_iter(), 8, 132), 64);
}

#[test]
fn steps_beyond_the_buckets_are_not_recorded() {
    let mixed = batch(&[(2, 20), (1, 5)]);
    let work = Work::new(&mixed, 2, 1, 132, false, PrefillKernel::Mma);
    assert_eq!(Shape::exact(&mixed, &work).bucket(), None);
    let many = batch(&vec![(1, 5); GRAPH_ROWS + 1]);
    let work = Work::new(&many, 2, 1, 132, false, PrefillKernel::Mma);
    assert_eq!(Shape::exact(&many, &work).bucket(), None);
    assert_eq!(Shape::default().bucket(), None);
    // Every number of rows up to the limit falls into one of 8 + 7 + 12 shapes.
    let mut shapes: Vec<usize> = (1..=GRAPH_ROWS)
        .map(|n| {
            let exact = Shape {
                tokens: n,
                rows: n,
                decodes: n,
                parts: n,
                ..Shape::default()
            };
            exact.bucket().expect("decodes").tokens
        })
        .collect();
    shapes.dedup();
    assert_eq!(shapes.len(), 4 + 7 + 12);
}

/// Memory by address alone.
#[derive(Debug, Default)]
struct Paper {
    next: u64,
    freed: Vec<Address>,
}

impl Device for Paper {
    fn name(&self) -> String {
        "paper".into()
    }
    fn limits(&self) -> Limits {
        Limits::of((8, 0), 108)
    }
    fn alloc(&mut self, bytes: u64) -> Result<Address, ExecutorError> {
        self.next += 1 << 20;
        let at = Address(self.next);
        self.next += bytes.next_multiple_of(256);
        Ok(at)
    }
    fn free(&mut self, address: Address) -> Result<(), ExecutorError> {
        self.freed.push(address);
        Ok(())
    }
    fn alloc_host(&mut self, bytes: u64) -> Result<Address, ExecutorError> {
        self.alloc(bytes)
    }
    fn write(&mut self, _: Address, _: &[u8]) -> Result<(), ExecutorError> {
        Ok(())
    }
    fn read(&mut self, _: Address, _: &mut [u8]) -> Result<(), ExecutorError> {
        Ok(())
    }
    fn run(&mut self, _: &[Op]) -> Result<(), ExecutorError> {
        Ok(())
    }
    fn record(&mut self, _: u64, _: &[Op]) -> Result<(), ExecutorError> {
        Ok(())
    }
    fn replay(&mut self, _: u64) -> Result<bool, ExecutorError> {
        Ok(false)
    }
    fn forget_graphs(&mut self) {}
    fn begin(&mut self, _: u64, _: &[Op]) -> Result<(), ExecutorError> {
        Ok(())
    }
    fn ended(&mut self, _: u64) -> Result<bool, ExecutorError> {
        Ok(true)
    }
}

/// The shape of Llama-3.1-8B, from its published configuration.
fn llama_8b() -> ModelConfig {
    ModelConfig {
        hidden: 4096,
        layers: 32,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        ff: 14_336,
        vocabulary: 128_256,
        rope_theta: 500_000.0,
        context_length: 131_072,
        ..preset("tiny").expect("a preset")
    }
}

/// The shape of Qwen3-30B-A3B, from its published configuration.
fn qwen3_30b() -> ModelConfig {
    ModelConfig {
        architecture: "qwen3moe".into(),
        hidden: 2048,
        layers: 48,
        heads: 32,
        kv_heads: 4,
        head_dim: 128,
        ff: 0,
        vocabulary: 151_936,
        qk_norm: true,
        moe: Some(Moe {
            experts: 128,
            active: 8,
            ff: 768,
            normalise: true,
        }),
        ..preset("tiny").expect("a preset")
    }
}

#[test]
fn every_launch_of_every_shape_is_within_the_limits_of_both_architectures() {
    let steps: [Vec<(u64, u64)>; 6] = [
        vec![(1, 1)],
        vec![(1, 65_536); 128],
        vec![(1, 200); 1000],
        vec![(32_768, 32_768)],
        vec![(8192, 65_536), (1, 9), (1, 20_000)],
        vec![(1, 131_000); 8],
    ];
    for config in [llama_8b(), qwen3_30b(), preset("28m").expect("a preset")] {
        let mut paper = Paper::default();
        let model = random(&mut paper, &config, 1).expect("paper bears all");
        let mut buffers = Buffers::default();
        for rows in &steps {
            for (invariant, prefill) in [
                (false, PrefillKernel::Mma),
                (true, PrefillKernel::Mma),
                (false, PrefillKernel::Wgmma),
            ] {
                let batch = batch(rows);
                let (group, kv_heads) = (config.group(), config.kv_heads);
                let work = Work::new(&batch, group, kv_heads, 132, invariant, prefill);
                let exact = Shape::exact(&batch, &work);
                let shape = exact.bucket().unwrap_or(exact);
                buffers
                    .fit(&mut paper, &config, shape)
                    .expect("paper bears all");
                let program = Program {
                    config: &config,
                    model: &model,
                    pool: Pool {
                        base: Address(1 << 50),
                        block_size: 16,
                        blocks: 1 << 20,
                    },
                    buffers: &buffers,
                    shape,
                    invariant,
                    prefill,
                };
                let ops = program.ops();
                assert!(ops.len() > 10 * config.layers / 2);
                for op in &ops {
                    match op {
                        Op::Launch(launch) => {
                            for limits in [Limits::of((8, 0), 108), Limits::of((9, 0), 132)] {
                                let there = launch.module != Module::PrefillWgmma || limits.wgmma;
                                if there {
                                    assert_eq!(launch.fault(limits), None, "{rows:?}");
                                }
                            }
                        }
                        Op::Product(p) => {
                            assert!(!invariant && p.m > 8);
                            // Sixteen bytes a row: what the library wants for its fast paths.
                            assert!(p.k.is_multiple_of(8), "{p:?}");
                        }
                        Op::Copy { .. } => panic!("a step copies nothing"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_launch_beyond_the_limits_says_which_and_why() {
    let limits = Limits::of((8, 6), 84);
    assert_eq!(limits.shared, 99 * 1024);
    assert_eq!(Limits::of((8, 0), 1).shared, 163 * 1024);
    assert_eq!(Limits::of((9, 0), 1).shared, 227 * 1024);
    let mut launch = engine::cuda::launch::argmax(Address(1), Address(2), 3, 10);
    assert_eq!(launch.fault(limits), None);
    launch.shared = 100 * 1024;
    let fault = launch.fault(limits).expect("too much");
    assert_eq!(
        fault,
        "argmax: 102400 bytes of shared memory where a block has 101376"
    );
    launch.grid = [1, 65_536];
    assert_eq!(
        launch.fault(limits).expect("too much"),
        "argmax: a grid of 1 x 65536 blocks"
    );
}

#[test]
fn memory_of_a_step_is_what_its_arrays_hold_and_only_grows() {
    let config = qwen3_30b();
    let shape = Shape {
        tokens: 10,
        rows: 4,
        decodes: 3,
        parts: 5,
        tiles: 1,
        samples: 4,
        table: 7,
    };
    let bytes = |b: Buffer| b.bytes(&config, shape);
    // By hand.
    assert_eq!(bytes(Buffer::Residual), 10 * 2048 * 4);
    assert_eq!(bytes(Buffer::Qkv), 10 * (32 + 8) * 128 * 2);
    assert_eq!(bytes(Buffer::GateUp), 10 * 8 * 2 * 768 * 2);
    assert_eq!(bytes(Buffer::Parts), 5 * 32 * 128 * 4);
    assert_eq!(bytes(Buffer::Logits), 4 * 151_936 * 4);
    // 80 choices in tiles of 16: 5, and one more for each of 128 experts, but never more than 80.
    assert_eq!(tile_limit(80, 128, 16), 80);
    assert_eq!(tile_limit(8000, 128, 16), 500 + 128);
    assert_eq!(bytes(Buffer::ExpertTiles), 80 * 12);

    let mut paper = Paper::default();
    let mut buffers = Buffers::default();
    assert!(buffers.fit(&mut paper, &config, shape).expect("bears"));
    let (held, residual) = (buffers.bytes(), buffers.at(Buffer::Residual));
    let smaller = Shape { tokens: 4, ..shape };
    assert!(!buffers.fit(&mut paper, &config, smaller).expect("bears"));
    assert_eq!((buffers.bytes(), paper.freed.len()), (held, 0));
    let larger = Shape {
        samples: 5,
        ..shape
    };
    assert!(
        buffers.fit(&mut paper, &config, larger).expect("bears"),
        "logits have moved"
    );
    assert_eq!(buffers.at(Buffer::Residual), residual);
    // A row of logits, a sampled id, and four more places in the arrays.
    assert_eq!(buffers.bytes(), held + 4 * 151_936 + 4 + 16);
}

/// A trial that ends like this; asked for once at most.
fn ends(trial: Trial) -> impl FnOnce() -> Result<Trial, ExecutorError> {
    move || Ok(trial)
}

fn must_not_be_asked_for() -> Result<Trial, ExecutorError> {
    panic!("a trial that decides nothing")
}

#[test]
fn the_new_kernel_is_used_only_where_a_trial_agrees() {
    let auto = |trial| {
        decide(PrefillAttention::Auto, false, None, ends(trial))
            .expect("the trial ran")
            .expect("auto never refuses")
    };
    for (trial, kernel) in [
        (Trial::Apart(0.0), PrefillKernel::Wgmma),
        (Trial::Apart(AGREEMENT), PrefillKernel::Wgmma),
        (Trial::Apart(AGREEMENT * 1.001), PrefillKernel::Mma),
        (Trial::Apart(f64::INFINITY), PrefillKernel::Mma),
        (Trial::NotANumber, PrefillKernel::Mma),
    ] {
        let decision = auto(trial);
        assert_eq!(decision.kernel, kernel, "{trial:?}: {}", decision.reason);
        assert_eq!(decision.disagreed, kernel == PrefillKernel::Mma);
        assert!(decision.reason.contains("trial"), "{}", decision.reason);
    }
}

#[test]
fn no_trial_runs_where_it_decides_nothing() {
    let decided = |asked, invariant, obstacle: Option<&str>| {
        decide(
            asked,
            invariant,
            obstacle.map(str::to_owned),
            must_not_be_asked_for,
        )
        .expect("no trial")
    };
    let kernel = |asked, invariant, obstacle| {
        let decision = decided(asked, invariant, obstacle).expect("not refused");
        assert!(!decision.disagreed, "{decision:?}");
        decision.kernel
    };
    let old = PrefillKernel::Mma;
    assert_eq!(kernel(PrefillAttention::Mma, false, None), old);
    assert_eq!(kernel(PrefillAttention::Mma, true, Some("x")), old);
    assert_eq!(kernel(PrefillAttention::Auto, false, Some("x")), old);
    assert_eq!(kernel(PrefillAttention::Auto, true, None), old);
    assert_eq!(
        kernel(PrefillAttention::Wgmma, false, None),
        PrefillKernel::Wgmma
    );
    // Asked for by name where it cannot be: said, not replaced.
    let refused = decided(PrefillAttention::Wgmma, false, Some("too old")).expect_err("refused");
    assert_eq!(refused, "too old");
    let refused = decided(PrefillAttention::Wgmma, true, None).expect_err("refused");
    assert!(refused.contains("must not depend"), "{refused}");
}

#[test]
fn a_trial_that_fails_is_the_callers_error() {
    let failed = || Err(ExecutorError::Batch("the device is gone".into()));
    let error = decide(PrefillAttention::Auto, false, None, failed).expect_err("it failed");
    assert!(error.to_string().contains("the device is gone"), "{error}");
}

#[test]
fn kernels_are_compared_query_by_query() {
    // By hand: lengths 5 and 13; the second is off by (3, 4) = 5, so 5 / 13.
    let expected = [3.0, 4.0, 5.0, 12.0];
    assert_eq!(Trial::compare(&expected, &expected, 2), Trial::Apart(0.0));
    assert_eq!(
        Trial::compare(&[3.0, 4.0, 8.0, 16.0], &expected, 2),
        Trial::Apart(5.0 / 13.0)
    );
    // One bad query among many good ones is not diluted; zero against zero agrees.
    assert_eq!(
        Trial::compare(&[0.0, 0.0, 1.0, 0.0], &[0.0; 4], 2),
        Trial::Apart(f64::INFINITY)
    );
    assert_eq!(
        Trial::compare(&[f32::NAN, 4.0, 5.0, 12.0], &expected, 2),
        Trial::NotANumber
    );
}

#[test]
fn the_new_kernel_says_what_it_does_not_take() {
    let heads = |width| engine::cuda::launch::Heads {
        query: 8,
        kv: 2,
        width,
    };
    let (old, new) = (PrefillKernel::Mma, PrefillKernel::Wgmma);
    let (ampere, hopper) = (Limits::of((8, 0), 108), Limits::of((9, 0), 132));
    for width in [32, 64, 128] {
        assert_eq!(old.obstacle(heads(width), ampere), None);
        assert_eq!(new.obstacle(heads(width), hopper).is_none(), width > 32);
        let why = new.obstacle(heads(width), ampere).expect("too old");
        assert!(why.contains("9.0"), "{why}");
    }
    // Blackwell has other instructions in place of these.
    assert!(new.obstacle(heads(64), Limits::of((10, 0), 148)).is_some());
}

#[test]
fn a_trial_by_itself_refuses_what_the_kernels_do_not_take_before_it_touches_the_device() {
    let mut paper = Paper::default();
    for (query, kv, says) in [
        (8, 2, "not of compute capability 9.0"),
        (8, 0, "8 query heads and 0 KV heads (wanted: "),
        (0, 2, "0 query heads and 2 KV heads (wanted: "),
        (9, 2, "9 query heads and 2 KV heads (wanted: "),
        (34, 2, "34 query heads and 2 KV heads (wanted: "),
    ] {
        let heads = engine::cuda::launch::Heads {
            query,
            kv,
            width: 64,
        };
        let refused = engine::cuda::try_wgmma(&mut paper, heads, 16).expect_err("refused");
        assert!(refused.to_string().contains(says), "{refused}");
    }
    assert_eq!(paper.next, 0, "nothing was allocated");
}
