//! What must not change a bit, and what must be refused.

use super::*;
use crate::executor::Way::{ToDevice, ToHost};

/// Every way of computing, on this processor.
fn all_options() -> Vec<CpuOptions> {
    let mut all = Vec::new();
    for mode in [Mode::F32, Mode::Bf16, Mode::Int8] {
        for kv in [KvFormat::F32, KvFormat::Bf16] {
            all.push(CpuOptions {
                mode,
                kv,
                threads: Some(1),
                isa: Isa::best(),
            });
        }
    }
    all
}

#[test]
fn chunks_and_neighbours_do_not_change_a_bit() {
    for shape in SHAPES {
        let weights = weights(shape);
        let (tokens, other) = (text(100, 3), text(150, 4));
        let (table, others) = (blocks(7, 5), blocks(10, 30));
        for options in all_options() {
            let mut cpu = executor(&weights, options, 16);
            let whole = Steps::new(16).row(0, &table, 0, &tokens).run(&mut cpu);
            for chunk in [1, 7, 33, 64] {
                let mut last = Vec::new();
                let mut place = 0;
                for (i, tokens) in tokens.chunks(chunk).enumerate() {
                    // A neighbour before it and one after it in the batch.
                    let from = (i * 3) % 140;
                    let logits = Steps::new(16)
                        .row(1, &others, from, &other[from..from + 1 + i % 9])
                        .row(0, &table, place, tokens)
                        .row(2, &[63], 0, &other[..3])
                        .run(&mut cpu);
                    place += tokens.len();
                    last = logits[256..512].to_vec();
                }
                assert_eq!(last, whole, "{shape} {options:?} chunks of {chunk}");
            }
        }
    }
}

#[test]
fn instructions_and_threads_do_not_change_a_bit() {
    for shape in SHAPES {
        let weights = weights(shape);
        let tokens = text(120, 3);
        for options in all_options() {
            let run = |options: CpuOptions| {
                let mut cpu = executor(&weights, options, 16);
                let steps = Steps::new(16).row(0, &blocks(7, 5), 0, &tokens[..100]).row(
                    1,
                    &blocks(8, 30),
                    0,
                    &tokens,
                );
                steps.run(&mut cpu)
            };
            let plain = run(options);
            let threads = Some(3);
            assert_eq!(run(CpuOptions { threads, ..options }), plain);
            for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
                assert_eq!(run(CpuOptions { isa, ..options }), plain, "{shape} {isa:?}");
            }
        }
    }
}

#[test]
fn blocks_of_any_size_hold_the_same_context() {
    let weights = weights("tiny");
    let tokens = text(100, 3);
    let [sixteen, rest @ ..] = [16, 4, 20, 32, 64].map(|size: u64| {
        let mut cpu = executor(&weights, exact(), size);
        let table = blocks(u32::try_from(100 / size + 1).expect("small"), 9);
        let first = Steps::new(size).row(0, &table, 0, &tokens[..61]);
        first.run(&mut cpu);
        let second = Steps::new(size).row(0, &table, 61, &tokens[61..]);
        second.run(&mut cpu)
    });
    for logits in rest {
        for (a, b) in logits.iter().zip(&sixteen) {
            // Blocks of no multiple of sixteen sum the same terms in other lanes.
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

#[test]
fn a_block_that_nobody_wrote_is_never_read_and_one_that_was_poisoned_is_noticed() {
    for options in all_options() {
        let weights = weights("tiny");
        let tokens = text(40, 3);
        let table = blocks(3, 5);
        let mut clean = executor(&weights, options, 16);
        let steps = Steps::new(16).row(0, &table, 0, &tokens);
        let wanted = steps.run(&mut clean);
        let mut cpu = executor(&weights, options, 16);
        cpu.poison(&(0..64).collect::<Vec<u32>>()).expect("poisons");
        assert_eq!(steps.run(&mut cpu), wanted);
        // The second block is given away while the session still reads it.
        cpu.poison(&table[1..2]).expect("poisons");
        let next = Steps::new(16).row(0, &table, 40, &[1]);
        let refused = cpu.step(&next.batch, &next.tokens).expect_err("poison");
        assert_eq!(
            refused.to_string(),
            "cpu failed in sampling for s0: the logits are not numbers"
        );
    }
}

#[test]
fn a_context_comes_back_from_host_memory_into_other_blocks() {
    let weights = weights("tiny-qwen3");
    let tokens = text(40, 3);
    let session = SessionId(4);
    for options in all_options() {
        let mut cpu = executor(&weights, options, 16);
        let (before, after) = (blocks(3, 5), blocks(3, 40));
        Steps::new(16).row(4, &before, 0, &tokens).run(&mut cpu);
        let next = |table: &[u32]| Steps::new(16).row(4, table, 40, &[9]);
        let wanted = next(&before).run(&mut cpu);
        let copy = |id, way, blocks: &[u32]| Copy {
            id,
            session,
            way,
            blocks: blocks.to_vec(),
            first: 0,
        };
        cpu.begin_copy(&copy(11, ToHost, &before)).expect("copies");
        cpu.poison(&before).expect("poisons");
        cpu.begin_copy(&copy(12, ToDevice, &after)).expect("copies");
        assert_eq!(cpu.ended_copies().expect("ends"), [11, 12]);
        assert!(cpu.ended_copies().expect("ends").is_empty());
        assert_eq!(next(&after).run(&mut cpu), wanted);
        // The last block alone, its place in the context given; the others were never moved.
        cpu.poison(&before[2..]).expect("poisons");
        let last = Copy {
            first: 2,
            ..copy(13, ToDevice, &[62])
        };
        cpu.begin_copy(&last).expect("copies");
        assert_eq!(next(&[after[0], after[1], 62]).run(&mut cpu), wanted);
        let four = cpu.begin_copy(&copy(14, ToDevice, &blocks(4, 40)));
        assert_eq!(
            four.expect_err("too many").to_string(),
            "copy 14 of s4 cannot be done: it takes blocks 0 to 4 and host memory has 3"
        );
        let gap = Copy {
            first: 4,
            ..copy(15, ToHost, &[5])
        };
        assert_eq!(
            cpu.begin_copy(&gap).expect_err("a gap").to_string(),
            "copy 15 of s4 cannot be done: it begins at block 4 and host memory has 3"
        );
        cpu.forget(session);
        let gone = cpu.begin_copy(&copy(16, ToDevice, &after));
        assert_eq!(
            gone.expect_err("forgotten").to_string(),
            "copy 16 of s4 cannot be done: it takes blocks 0 to 3 and host memory has 0"
        );
    }
}

#[test]
fn sampling_takes_the_likeliest_token_of_the_rows_that_ask() {
    let weights = weights("tiny");
    let mut cpu = executor(&weights, exact(), 16);
    let mut steps = Steps::new(16)
        .row(0, &[3], 0, &[1, 2, 3])
        .row(1, &[4], 0, &[4, 5])
        .row(2, &[5], 0, &[6]);
    steps.batch.rows[1].samples = false;
    steps.batch.sample_at.remove(1);
    let sampled = cpu.step(&steps.batch, &steps.tokens).expect("a step");
    let logits = cpu.logits().expect("logits");
    assert_eq!(logits.len(), 2 * 256);
    for (i, session) in [(0, 0), (1, 2)] {
        let row = &logits[i * 256..][..256];
        let (who, token) = sampled.tokens[i];
        assert_eq!(who, SessionId(session));
        assert!(row.iter().all(|x| *x <= row[token as usize]));
    }
}

#[test]
fn a_batch_that_does_not_fit_is_refused_with_what_does_not() {
    let weights = weights("tiny");
    let mut cpu = executor(&weights, exact(), 16);
    let good = || Steps::new(16).row(7, &[3, 9], 15, &[1, 2]);
    let mut refused = |change: fn(&mut Steps)| {
        let mut steps = good();
        change(&mut steps);
        let result = cpu.step(&steps.batch, &steps.tokens);
        result.expect_err("refused").to_string()
    };
    assert_eq!(
        refused(|s| s.tokens[1] = 256),
        "the batch cannot be run: token 256, but the vocabulary has 256"
    );
    assert_eq!(
        refused(|s| s.batch.block_tables[0][1] = 64),
        "the batch cannot be run: s7 has block 64, but the pool has 64"
    );
    assert_eq!(
        refused(|s| s.batch.slots[1] = 17),
        "the batch cannot be run: s7 writes position 16 to slot 17, its blocks say Some(144)"
    );
    assert_eq!(
        refused(|s| s.batch.positions[1] = 32),
        "the batch cannot be run: s7 writes position 32 to slot 144, its blocks say None"
    );
    assert_eq!(
        refused(|s| s.batch.sample_at[0] = 2),
        "the batch cannot be run: 1 rows sample, at [2] of 2 tokens"
    );
    assert_eq!(
        refused(|s| s.tokens.push(1)),
        "the batch cannot be run: 3 tokens, 2 positions, 2 slots"
    );
    // And what fits is run.
    good().run(&mut cpu);
}

#[test]
fn an_empty_step_does_nothing() {
    let mut cpu = executor(&weights("tiny"), exact(), 16);
    let steps = Steps::new(16);
    assert!(steps.run(&mut cpu).is_empty());
}

#[test]
fn a_block_has_the_size_of_its_keys_and_values() {
    let weights = weights("tiny");
    // 2 layers, keys and values, 2 KV heads of 16, 16 tokens.
    let values = 2 * 2 * 2 * 16 * 16;
    let bytes = |kv| executor(&weights, CpuOptions { kv, ..exact() }, 16).block_bytes();
    assert_eq!(bytes(KvFormat::F32), Bytes(4 * values));
    assert_eq!(bytes(KvFormat::Bf16), Bytes(2 * values));
    // The same is known before an executor is made; a block of 8 tokens takes keys of 16 and values of 8.
    for (size, tokens) in [(16, 2 * 16), (8, 16 + 8), (24, 32 + 24)] {
        let before = |kv| {
            let size = BlockSize::new(size).expect("not zero");
            CpuExecutor::kv_block_bytes(&weights.config, kv, size)
        };
        assert_eq!(before(KvFormat::Bf16), Bytes(2 * 2 * 2 * 16 * tokens));
        let kv = KvFormat::F32;
        let made = executor(&weights, CpuOptions { kv, ..exact() }, size).block_bytes();
        assert_eq!(before(kv), made);
    }
}

#[test]
fn a_model_of_another_shape_than_it_says_is_refused() {
    let mut weights = weights("tiny");
    weights.layers[1].k.rows = 31;
    let size = BlockSize::new(16).expect("not zero");
    let refused = CpuExecutor::new(&weights, exact(), Blocks(4), size).expect_err("31 rows");
    assert_eq!(
        refused.to_string(),
        "cpu failed in packing the model: layer 1 k is 31 by 64; the model's shape wants 32 by 64"
    );
}
