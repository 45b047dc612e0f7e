//! Kernels that look at one token at a time.

use engine::cuda::{
    Address,
    launch::{self, Heads, Norm, Paged, Rope},
};
use half::bf16;

use crate::{
    device::device,
    values::{ONE_ROUNDING, SUMS, error, rounded, uniform},
};

#[test]
fn embedding_rows_are_copied_and_padding_rows_are_zero() {
    let Some(mut d) = device("embedding_rows_are_copied_and_padding_rows_are_zero") else {
        return;
    };
    let (vocabulary, width) = (7, 1036);
    let table = rounded(1, vocabulary * width);
    let (ids, at) = (d.ints(&[3, -1, 6, 0]), d.halves(&table));
    let out = d.poisoned(4 * 4 * width);
    d.go(launch::embed(ids, at, out, 4, width as u32));
    let found = d.read_floats(out, 4 * width);
    let row = |id: usize| &table[id * width..(id + 1) * width];
    assert_eq!(found[..width], *row(3));
    assert!(found[width..2 * width].iter().all(|&v| v == 0.0));
    assert_eq!(found[2 * width..3 * width], *row(6));
    assert_eq!(found[3 * width..], *row(0));
}

fn norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    let mean = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(eps)).sqrt();
    x.iter()
        .zip(gain)
        .map(|(v, g)| (f64::from(*v) * scale * f64::from(*g)) as f32)
        .collect()
}

#[test]
fn a_norm_adds_first_and_normalises_the_sum() {
    let Some(mut d) = device("a_norm_adds_first_and_normalises_the_sum") else {
        return;
    };
    for (width, order) in [(64, 0), (576, 1), (1100, 5)] {
        d.set_order(order);
        let (tokens, eps) = (3, 1e-5);
        let (x, delta) = (uniform(2, tokens * width), rounded(3, tokens * width));
        let gain = uniform(4, width);
        let sum: Vec<f32> = x.iter().zip(&delta).map(|(a, b)| a + b).collect();
        let expected: Vec<f32> = sum
            .chunks(width)
            .flat_map(|r| norm(r, &gain, eps))
            .collect();
        let mut args = Norm {
            residual: d.floats(&x),
            delta: d.halves(&delta),
            rows: Address::NULL,
            gain: d.floats(&gain),
            out: d.poisoned(2 * tokens * width),
        };
        d.go(launch::rms_norm(&args, tokens as u32, width as u32, eps));
        assert_eq!(d.read_floats(args.residual, tokens * width), sum);
        let found = d.read_halves(args.out, tokens * width);
        assert!(error(&found, &expected) < ONE_ROUNDING);

        // The last norm looks at some rows; -1 is a padding row, of which nothing is expected.
        args.residual = d.floats(&x);
        args.rows = d.ints(&[2, -1, 0]);
        args.out = d.poisoned(2 * 3 * width);
        d.go(launch::rms_norm(&args, 3, width as u32, eps));
        let found = d.read_halves(args.out, 3 * width);
        assert!(error(&found[..width], &expected[2 * width..]) < ONE_ROUNDING);
        assert!(error(&found[2 * width..], &expected[..width]) < ONE_ROUNDING);
        assert_eq!(d.read_floats(args.residual, tokens * width), x);
    }
}

#[test]
fn the_activation_gates_the_second_half_with_the_first() {
    let Some(mut d) = device("the_activation_gates_the_second_half_with_the_first") else {
        return;
    };
    let (rows, ff) = (3, 1100);
    let x: Vec<f32> = rounded(5, rows * 2 * ff).iter().map(|v| v * 8.0).collect();
    let expected: Vec<f32> = x
        .chunks(2 * ff)
        .flat_map(|row| (0..ff).map(|i| row[i] / (1.0 + (-row[i]).exp()) * row[ff + i]))
        .collect();
    let (at, out) = (d.halves(&x), d.poisoned(2 * rows * ff));
    d.go(launch::silu_mul(at, out, rows as u32, ff as u32));
    assert!(error(&d.read_halves(out, rows * ff), &expected) < ONE_ROUNDING);
}

#[test]
fn the_lowest_of_the_likeliest_tokens_is_sampled() {
    let Some(mut d) = device("the_lowest_of_the_likeliest_tokens_is_sampled") else {
        return;
    };
    let vocabulary = 3001;
    let mut logits = uniform(6, 4 * vocabulary);
    // Row 0: two equal ones, in different warps. Row 1: the last. Row 2: all equal. Row 3: no number.
    (logits[2050], logits[7]) = (5.0, 5.0);
    logits[2 * vocabulary - 1] = 5.0;
    logits[2 * vocabulary..3 * vocabulary].fill(-3.0);
    logits[3 * vocabulary..].fill(f32::NAN);
    let at = d.floats(&logits);
    for order in [0, 1, 9] {
        d.set_order(order);
        let out = d.poisoned(16);
        d.go(launch::argmax(at, out, 4, vocabulary as u32));
        assert_eq!(d.read_ints(out, 4), [7, vocabulary as i32 - 1, 0, i32::MAX]);
    }
}

const HEADS: Heads = Heads {
    query: 4,
    kv: 2,
    width: 64,
};

/// Bias, normalisation, rotation, in 64 bits.
fn rotated(
    x: &[f32],
    bias: &[f32],
    gain: Option<&[f32]>,
    position: i32,
    inverse: &[f32],
) -> Vec<f32> {
    let x: Vec<f32> = x.iter().zip(bias).map(|(a, b)| a + b).collect();
    let x = gain.map_or(x.clone(), |gain| norm(&x, gain, 1e-6));
    let half = x.len() / 2;
    let mut out = x.clone();
    for i in 0..half {
        let angle = f64::from(position as f32 * inverse[i]);
        let (a, b) = (f64::from(x[i]), f64::from(x[i + half]));
        out[i] = (a * angle.cos() - b * angle.sin()) as f32;
        out[i + half] = (b * angle.cos() + a * angle.sin()) as f32;
    }
    out
}

#[test]
fn queries_and_keys_are_rotated_and_written_where_the_slots_say() {
    let Some(mut d) = device("queries_and_keys_are_rotated_and_written_where_the_slots_say") else {
        return;
    };
    let (width, projected) = (64, HEADS.projected() as usize);
    // Block size 4, two layers of which this is the second; the third token is padding.
    let (positions, slots, shift) = ([9, 70_000, -1], [2 * 4 + 1, 4 + 3, -1], 2);
    let plane = 2 * 4 * width;
    let stride = 4 * plane;
    let inverse: Vec<f32> = (0..width / 2)
        .map(|i| 10_000_f64.powf(-2.0 * i as f64 / width as f64) as f32)
        .collect();
    let (qkv, bias) = (rounded(7, 3 * projected), uniform(8, projected));
    let gains = [uniform(9, width), uniform(10, width)];
    for normalised in [false, true] {
        let pool = d.poisoned(2 * 3 * stride);
        let rope = Rope {
            qkv: d.halves(&qkv),
            bias: d.floats(&bias),
            gains: if normalised {
                [d.floats(&gains[0]), d.floats(&gains[1])]
            } else {
                [Address::NULL; 2]
            },
            turns: d.poisoned(4 * 3 * width),
            slots: d.ints(&slots),
            eps: 1e-6,
        };
        let kv = Paged {
            keys: pool.offset(2 * 2 * plane as u64),
            values: pool.offset(2 * 3 * plane as u64),
            block_stride: stride as i64,
            shift,
            tables: (Address::NULL, 0),
        };
        let (p, f) = (d.ints(&positions), d.floats(&inverse));
        d.go(launch::rotations(p, f, rope.turns, 3, width as u32 / 2));
        d.go(launch::rope_write(&rope, &kv, HEADS, 3));
        let found = d.read_halves(rope.qkv, 3 * projected);
        let blocks = d.read_halves(pool, 3 * stride);
        let mut written = 0;
        for t in 0..2 {
            let (block, inside) = (slots[t] as usize >> shift, slots[t] as usize & 3);
            for head in 0..8 {
                let at = t * projected + head * width;
                let (x, b) = (
                    &qkv[at..at + width],
                    &bias[head * width..(head + 1) * width],
                );
                let place = |values: usize, kv: usize| {
                    let from = block * stride + (2 + values) * plane + (kv * 4 + inside) * width;
                    &blocks[from..from + width]
                };
                let gain = |which: usize| normalised.then_some(&gains[which][..]);
                let (found, expected): (&[f32], _) = match head {
                    0..4 => (
                        &found[at..at + width],
                        rotated(x, b, gain(0), positions[t], &inverse),
                    ),
                    4..6 => (
                        place(0, head - 4),
                        rotated(x, b, gain(1), positions[t], &inverse),
                    ),
                    _ => (
                        place(1, head - 6),
                        x.iter().zip(b).map(|(a, b)| a + b).collect(),
                    ),
                };
                // Angles of 70,000 are exact to 2^-8 in 32 bits, the same in both; only sines differ.
                assert!(
                    error(found, &expected) < ONE_ROUNDING,
                    "token {t}, head {head}"
                );
                written += usize::from(head >= 4);
            }
        }
        // Nothing else was touched.
        assert_eq!(
            blocks.iter().filter(|v| !v.is_nan()).count(),
            written * width
        );
    }
}

#[test]
fn random_weights_are_the_same_wherever_they_are_made() {
    let Some(mut d) = device("random_weights_are_the_same_wherever_they_are_made") else {
        return;
    };
    let (count, seed, scale) = (5000, 77_u64, 0.25);
    let at = d.poisoned(2 * count);
    d.go(launch::random_fill(at, count as u64, seed, scale));
    let expected: Vec<f32> = (1..=count as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            bf16::from_f32(((z >> 40) as f32 / 8_388_608.0 - 1.0) * scale).to_f32()
        })
        .collect();
    assert_eq!(d.read_halves(at, count), expected);
    let mean = expected.iter().sum::<f32>() / count as f32;
    // Deviation of the mean: 0.25 / sqrt(3 * 5000) = 0.002; five times that.
    assert!(mean.abs() < 0.01, "{mean}");
    let ones = d.poisoned(4 * 300);
    d.go(launch::fill(ones, 300, 1.0));
    assert!(error(&d.read_floats(ones, 300), &[1.0; 300]) < SUMS);
}

#[test]
fn poison_fills_the_named_blocks_and_no_other() {
    let Some(mut d) = device("poison_fills_the_named_blocks_and_no_other") else {
        return;
    };
    // Blocks of 17,600 bytes: one and a fraction of what a row of the grid covers.
    let values = 8800;
    let pool = d.halves(&vec![1.0; 4 * values]);
    let list = d.ints(&[2, 0]);
    d.go(launch::poison_blocks(pool, list, 2, 2 * values as u64));
    let found = d.read_halves(pool, 4 * values);
    for (block, bad) in [true, false, true, false].into_iter().enumerate() {
        let block = &found[block * values..(block + 1) * values];
        assert!(block.iter().all(|v| v.is_nan() == bad));
    }
}
