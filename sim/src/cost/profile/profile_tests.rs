//! A table made from a formula that interpolation meets exactly, and what is wrong with others.

use std::fmt::Write as _;

use units::Tokens;

use super::*;

const CHUNKS: [u64; 4] = [0, 16, 64, 256];
const CONTEXTS: [u64; 4] = [0, 16, 256, 4096];
const DECODES: [u64; 4] = [0, 1, 4, 16];

/// Attention that is linear along every axis: microseconds.
fn attention_us(c: u64, p: u64, n: u64, k: u64) -> u64 {
    1 + c * (p + 10) + 3 * n * k
}

fn attention() -> String {
    let mut text = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n".to_owned();
    for c in CHUNKS {
        for p in CONTEXTS {
            for n in DECODES {
                for k in CONTEXTS {
                    if (c == 0) <= (p == 0) && (n == 0) == (k == 0) && c + n > 0 {
                        let us = attention_us(c, p, n, k);
                        let _ = writeln!(text, "{c},{p},{n},{k},{us}");
                    }
                }
            }
        }
    }
    text
}

fn dense() -> String {
    let mut text = "layer,tokens,time_us\n".to_owned();
    for layer in [
        "embedding",
        "layernorm",
        "qkv_proj",
        "o_proj",
        "gate_up_proj",
        "act_fn",
    ] {
        let _ = write!(text, "{layer},1,1\n{layer},301,301\n");
    }
    text + "down_proj,1,1\ndown_proj,301,301\nfinal_layernorm,1,1\nfinal_layernorm,301,301\n"
}

const HEAD: &str =
    "layer,sequences,time_us\nlm_head,1,5\nlm_head,17,5\nsampler,1,2\nsampler,17,2\n";

fn assembly() -> Assembly {
    Assembly {
        layers: 2,
        experts: None,
        skew: 0.0,
        graphs: Vec::new(),
        grid: None,
        link: (0.0, 0.0),
    }
}

fn build(dense: &str, attention: &str, assembly: Assembly) -> Result<Profile, ProfileError> {
    let named = |name, text| Named { name, text };
    let tables = Tables {
        dense: named("dense.csv", dense),
        attention: named("attention.csv", attention),
        per_sequence: named("per_sequence.csv", HEAD),
        moe: None,
    };
    Profile::new(&tables, assembly, Host::NONE)
}

fn profile() -> Profile {
    build(&dense(), &attention(), assembly()).expect("complete")
}

fn batch(chunks: &[(u64, u64)], contexts: &[u64]) -> BatchShape {
    let mut shape = BatchShape::default();
    for &(prefix, new) in chunks {
        shape.add_prefill(Tokens(prefix), Tokens(new));
    }
    for &context in contexts {
        shape.add_decode(Tokens(context));
    }
    shape
}

/// Two layers of (2 norms, qkv, o, `gate_up`, act, down) and two once: 16 times the tokens; 7 us at the end;
/// two layers of attention.
fn by_hand(tokens: u64, attention: u64) -> Nanos {
    Nanos::new((16 * tokens + 7 + 2 * attention) * 1_000)
}

#[test]
fn a_step_is_the_sum_of_its_layers() {
    let cost = profile();
    assert!(
        cost.interpolation()
            .iter()
            .all(|(space, loo)| *space == Space::Linear && *loo < 1e-9)
    );
    let decode = batch(&[], &[100, 300]);
    assert_eq!(cost.step(&decode), by_hand(2, attention_us(0, 0, 2, 200)));
    let prefill = batch(&[(100, 50)], &[]);
    assert_eq!(
        cost.step(&prefill),
        by_hand(50, attention_us(50, 100, 0, 0))
    );
    let mixed = batch(&[(100, 50)], &[100, 300]);
    assert_eq!(
        cost.step(&mixed),
        by_hand(52, attention_us(50, 100, 2, 200))
    );
    assert_eq!(cost.step(&BatchShape::default()), Nanos::ZERO);
}

#[test]
fn several_chunks_are_one_with_their_pairs() {
    let cost = profile();
    // 40 behind 160 and 60 behind 60: 2 * pairs = 40 * 360 + 60 * 180 = 25,200 = 100 * (2 * 76 + 100).
    let two = batch(&[(160, 40), (60, 60)], &[]);
    assert_eq!(cost.step(&two), by_hand(100, attention_us(100, 76, 0, 0)));
    // 30 and 40 without prefix: 900 + 1,600 = 50^2. One chunk of 70 would have 4,900.
    let short = batch(&[(0, 30), (0, 40)], &[]);
    assert_eq!(cost.step(&short), by_hand(70, attention_us(50, 0, 0, 0)));
    // The two rules meet where the prefix is nought.
    assert_eq!(one_chunk(&batch(&[(0, 64)], &[])), (64.0, 0.0));
}

#[test]
fn what_is_smaller_than_a_tile_costs_a_tile() {
    let cost = profile();
    let tiny = batch(&[(0, 3)], &[5]);
    assert_eq!(cost.step(&tiny), by_hand(4, attention_us(16, 0, 1, 16)));
}

#[test]
fn more_decodes_beside_a_prefill_than_measured_are_on_the_last_line() {
    // Without the rows of 16 decodes beside a chunk, the most are 4.
    let all = attention();
    let kept = all.lines().filter(|row| {
        let column: Vec<&str> = row.split(',').collect();
        column[0] == "prefill_chunk" || column[0] == "0" || column[2] != "16"
    });
    let text: String = kept.flat_map(|row| [row, "\n"]).collect();
    let cost = build(&dense(), &text, assembly()).expect("complete");
    let shape = batch(&[(100, 50)], &[200; 10]);
    assert_eq!(cost.outside(&shape), None);
    // The formula is linear in the decodes, so carrying it on is exact.
    assert_eq!(
        cost.step(&shape),
        by_hand(60, attention_us(50, 100, 10, 200))
    );
}

#[test]
fn uneven_contexts_cost_the_measured_share() {
    let skewed = Assembly {
        skew: 0.1,
        ..assembly()
    };
    let cost = build(&dense(), &attention(), skewed).expect("complete");
    // Even: nothing. Otherwise a tenth of the way from 3 * 2 * 200 to 3 * 2 * 300.
    assert_eq!(
        cost.step(&batch(&[], &[200, 200])),
        by_hand(2, attention_us(0, 0, 2, 200))
    );
    assert_eq!(
        cost.step(&batch(&[], &[100, 300])),
        by_hand(2, attention_us(0, 0, 2, 200) + 60)
    );
}

#[test]
fn captured_graphs_run_at_their_size() {
    let padded = Assembly {
        graphs: vec![1, 8, 16],
        ..assembly()
    };
    let cost = build(&dense(), &attention(), padded).expect("complete");
    let attention = attention_us(0, 0, 2, 200);
    assert_eq!(cost.step(&batch(&[], &[200, 200])), by_hand(8, attention));
    let beyond = batch(&[(0, 32)], &[]);
    assert_eq!(cost.step(&beyond), by_hand(32, attention_us(32, 0, 0, 0)));
}

#[test]
fn outside_the_tables_there_is_a_range_and_no_number() {
    let cost = profile();
    assert_eq!(
        cost.reach(),
        Reach {
            turns: 16,
            tokens: 301,
            context: 4096
        }
    );
    let cases = [
        (
            batch(&[(0, 302)], &[]),
            "tokens in a step: 302 is outside the measured range 1 to 301",
        ),
        (
            batch(&[(0, 300)], &[]),
            "prefill tokens: 300 is outside the measured range 16 to 256",
        ),
        (
            batch(&[(5_000, 20)], &[]),
            "prefix of a chunk: 5000 is outside the measured range 0 to 4096",
        ),
        (
            batch(&[], &[5_000]),
            "context of a decode: 5000 is outside the measured range 16 to 4096",
        ),
        (
            batch(&[], &[16; 18]),
            "sequences in a step: 18 is outside the measured range 1 to 16",
        ),
        (
            batch(&[(0, 16)], &[5_000]),
            "context of a decode beside a prefill: 5000 is outside the measured range 16 to 4096",
        ),
    ];
    for (shape, message) in cases {
        let outside = cost.outside(&shape).map(|o| o.to_string());
        assert_eq!(outside.as_deref(), Some(message));
    }
    assert_eq!(cost.outside(&batch(&[(0, 100)], &[4_096; 15])), None);
}

#[test]
fn bad_tables_are_refused_with_their_place() {
    let holed = attention().replace("\n16,0,4,256,", "\n16,0,4,257,");
    let message = build(&dense(), &holed, assembly())
        .expect_err("a hole")
        .to_string();
    assert!(
        message.starts_with("`attention.csv`: a hole in the table: no time at "),
        "{message}"
    );
    let zero = dense().replacen("embedding,1,1", "embedding,1,0", 1);
    assert_eq!(
        build(&zero, &attention(), assembly())
            .expect_err("no time")
            .to_string(),
        "`dense.csv` line 2: `time_us` is `0` (wanted: microseconds above 0)"
    );
    let twice = dense() + "embedding,1,2\n";
    let message = build(&twice, &attention(), assembly())
        .expect_err("twice")
        .to_string();
    assert_eq!(message, "`dense.csv` line 18: [1] was given before");
    let column = dense().replace("tokens", "token");
    let message = build(&column, &attention(), assembly())
        .expect_err("no column")
        .to_string();
    assert_eq!(
        message,
        "`dense.csv`: no column `tokens` (found: layer, token, time_us)"
    );
}

#[test]
fn a_declared_grid_leaves_other_points_out() {
    let more = attention() + "24,16,0,0,9999\n";
    assert!(
        build(&dense(), &more, assembly()).is_err(),
        "24 is no full row"
    );
    let declared = Assembly {
        grid: Some(Declared {
            chunks: CHUNKS.to_vec(),
            decodes: DECODES.to_vec(),
            contexts: CONTEXTS.to_vec(),
        }),
        ..assembly()
    };
    let cost = build(&dense(), &more, declared).expect("without 24");
    let shape = batch(&[(16, 24)], &[]);
    assert_eq!(cost.step(&shape), by_hand(24, attention_us(24, 16, 0, 0)));
}
