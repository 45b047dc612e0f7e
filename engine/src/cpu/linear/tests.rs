//! Products against sums written out, and the law that a row does not depend on its neighbours.

use half::bf16;

use super::*;
use crate::model::Values;

/// Numbers in -1 to 1 from a seed.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(u16::try_from(state >> 48).expect("16 bits")) / 32_768.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn matrix(rows: usize, cols: usize, seed: u64) -> Matrix {
    Matrix {
        rows,
        cols,
        values: Values::F32(numbers(rows * cols, seed)),
    }
}

fn product(w: &Linear, x: &[f32], isa: Isa, threads: &Threads, mode: Mode) -> Vec<f32> {
    let on = On { isa, threads };
    let mut input = Input::default();
    input.resize(x.len() / w.inputs(), w.inputs());
    input.rows_mut().copy_from_slice(x);
    input.ready(&on, mode);
    let mut y = vec![f32::NAN; input.rows * w.outputs()];
    w.run(&on, &input, Onto::Replace, &mut y);
    y
}

const MODES: [Mode; 3] = [Mode::F32, Mode::Bf16, Mode::Int8];

#[test]
fn floats_are_one_chain_of_fused_products() {
    let threads = Threads::new(1).expect("one thread");
    // A part of a panel in outputs, more rows than a tile.
    let (rows, outputs, inputs) = (29, 41, 70);
    let (w, x) = (matrix(outputs, inputs, 1), numbers(rows * inputs, 2));
    let exact = w.to_f32().expect("floats");
    for mode in [Mode::F32, Mode::Bf16] {
        let packed = Linear::pack(&[&w], mode).expect("packs");
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            let y = product(&packed, &x, isa, &threads, mode);
            for row in 0..rows {
                for output in 0..outputs {
                    let mut sum = 0.0_f32;
                    for i in 0..inputs {
                        let w = exact[output * inputs + i];
                        let w = match mode {
                            Mode::F32 => w,
                            _ => bf16::from_f32(w).to_f32(),
                        };
                        sum = x[row * inputs + i].mul_add(w, sum);
                    }
                    assert_eq!(y[row * outputs + output].to_bits(), sum.to_bits());
                }
            }
        }
    }
}

#[test]
fn bytes_are_off_by_no_more_than_their_rounding() {
    let threads = Threads::new(1).expect("one thread");
    let (rows, outputs, inputs) = (5, 37, 200);
    let (w, x) = (matrix(outputs, inputs, 3), numbers(rows * inputs, 4));
    let exact = w.to_f32().expect("floats");
    let packed = Linear::pack(&[&w], Mode::Int8).expect("packs");
    let y = product(&packed, &x, Isa::best(), &threads, Mode::Int8);
    for row in 0..rows {
        for output in 0..outputs {
            let (w, x) = (
                &exact[output * inputs..][..inputs],
                &x[row * inputs..][..inputs],
            );
            let sum: f64 = w
                .iter()
                .zip(x)
                .map(|(w, x)| f64::from(*w) * f64::from(*x))
                .sum();
            // All are -1 to 1. An activation's step is at most 1/127, a weight's at most 2/255, and each is
            // off by half of it; a scale in half floats by up to 2^-11 of 255 steps.
            let (half_x, half_w) = (0.5 / 127.0, (0.5 + 255.0 / 2048.0) * 2.0 / 255.0);
            let bound: f64 = w
                .iter()
                .zip(x)
                .map(|(w, x)| {
                    half_x * f64::from(w.abs()) + half_w * f64::from(x.abs()) + half_x * half_w
                })
                .sum();
            let error = (f64::from(y[row * outputs + output]) - sum).abs();
            assert!(error <= bound, "{error} over {bound}");
            // Roundings are independent, so they mostly cancel: 200 of them of variance 1/3 of half squared.
            assert!(error < 0.15, "{error}");
        }
    }
}

/// Whole numbers -127 to 127, with 127 in every 32, so that they are bytes as they are.
fn whole_row(n: u16) -> Vec<f32> {
    (0..n)
        .map(|i| {
            if i % 32 == 1 {
                -127.0
            } else {
                f32::from(i * 5 % 241) - 120.0
            }
        })
        .collect()
}

#[test]
fn whole_numbers_within_a_byte_are_exact_in_bytes() {
    let threads = Threads::new(1).expect("one thread");
    // -100 and 155 in every block make every scale 1.
    let weights: Vec<f32> = (0..16 * 128_u16)
        .map(|i| match i % 32 {
            0 => -100.0,
            1 => 155.0,
            _ => f32::from(i * 7 % 251) - 99.0,
        })
        .collect();
    let x = whole_row(128);
    let w = Matrix {
        rows: 16,
        cols: 128,
        values: Values::F32(weights.clone()),
    };
    let packed = Linear::pack(&[&w], Mode::Int8).expect("packs");
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
        let y = product(&packed, &x, isa, &threads, Mode::Int8);
        for output in 0..16 {
            let sum: f32 = weights[output * 128..][..128]
                .iter()
                .zip(&x)
                .map(|(w, x)| w * x)
                .sum();
            assert_eq!(
                y[output].to_bits(),
                sum.to_bits(),
                "{} output {output}",
                isa.name()
            );
        }
    }
}

#[test]
fn weights_of_four_bits_stay_what_they_were() {
    let threads = Threads::new(1).expect("one thread");
    // `0.0123 k - 0.07` for k of 0 to 15, each end at least once in every 32.
    let weights: Vec<f32> = (0..16 * 96_u16)
        .map(|i| match i % 32 {
            5 => -0.07,
            9 => 0.0123_f32.mul_add(15.0, -0.07),
            _ => 0.0123_f32.mul_add(f32::from(i * 11 % 16), -0.07),
        })
        .collect();
    let x = whole_row(96);
    let w = Matrix {
        rows: 16,
        cols: 96,
        values: Values::F32(weights.clone()),
    };
    let packed = Linear::pack(&[&w], Mode::Int8).expect("packs");
    let y = product(&packed, &x, Isa::best(), &threads, Mode::Int8);
    for output in 0..16 {
        let weights = &weights[output * 96..][..96];
        let sum: f64 = weights
            .iter()
            .zip(&x)
            .map(|(w, x)| f64::from(*w) * f64::from(*x))
            .sum();
        // Half floats round scale and least by 2^-11; a byte alone would be off by up to 2^-9.
        let size: f64 = weights
            .iter()
            .zip(&x)
            .map(|(w, x)| f64::from(w.abs() * x.abs()))
            .sum();
        assert!((f64::from(y[output]) - sum).abs() < size / 2048.0);
    }
}

#[test]
fn matrices_of_any_size_of_numbers_are_packed_alike() {
    let threads = Threads::new(1).expect("one thread");
    let x = numbers(64, 21);
    let w = matrix(16, 64, 20);
    let plain = product(
        &Linear::pack(&[&w], Mode::Int8).expect("packs"),
        &x,
        Isa::best(),
        &threads,
        Mode::Int8,
    );
    for by in [2.0_f32.powi(-90), 2.0_f32.powi(-20), 2.0_f32.powi(60)] {
        let scaled = Matrix {
            values: Values::F32(
                w.to_f32()
                    .expect("floats")
                    .into_iter()
                    .map(|x| x * by)
                    .collect(),
            ),
            ..w
        };
        let packed = Linear::pack(&[&scaled], Mode::Int8).expect("packs");
        let y = product(&packed, &x, Isa::best(), &threads, Mode::Int8);
        for (y, plain) in y.iter().zip(&plain) {
            assert_eq!(y.to_bits(), (plain * by).to_bits(), "{by}");
        }
    }
    let nothing = Matrix {
        values: Values::F32(vec![0.0; 16 * 64]),
        ..w
    };
    let packed = Linear::pack(&[&nothing], Mode::Int8).expect("packs");
    let y = product(&packed, &x, Isa::best(), &threads, Mode::Int8);
    assert!(y.iter().all(|y| *y == 0.0));
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it_nor_on_threads_nor_on_instructions() {
    let one = Threads::new(1).expect("one thread");
    let three = Threads::new(3).expect("three threads");
    // Enough work for the threads to be worth it.
    let (rows, outputs, inputs) = (27, 112, 130);
    let w = matrix(outputs, inputs, 5);
    let x = numbers(rows * inputs, 6);
    for mode in MODES {
        let packed = Linear::pack(&[&w], mode).expect("packs");
        let together = product(&packed, &x, Isa::best(), &three, mode);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            for row in 0..rows {
                let alone = product(&packed, &x[row * inputs..][..inputs], isa, &one, mode);
                let beside = &together[row * outputs..][..outputs];
                assert_eq!(alone, beside, "{} {} row {row}", mode.name(), isa.name());
            }
        }
    }
}

#[test]
fn matrices_packed_together_give_what_they_give_alone() {
    let threads = Threads::new(1).expect("one thread");
    let (a, b) = (matrix(20, 64, 7), matrix(44, 64, 8));
    let x = numbers(3 * 64, 9);
    for mode in MODES {
        let [both, a, b] = [&[&a, &b][..], &[&a], &[&b]].map(|of| {
            let w = Linear::pack(of, mode).expect("packs");
            product(&w, &x, Isa::best(), &threads, mode)
        });
        for row in 0..3 {
            assert_eq!(both[row * 64..][..20], a[row * 20..][..20]);
            assert_eq!(both[row * 64 + 20..][..44], b[row * 44..][..44]);
        }
    }
}

#[test]
fn a_product_can_be_added_to_what_is_there() {
    let threads = Threads::new(1).expect("one thread");
    let on = On {
        isa: Isa::best(),
        threads: &threads,
    };
    let w = matrix(18, 32, 10);
    let x = numbers(32, 11);
    for mode in MODES {
        let packed = Linear::pack(&[&w], mode).expect("packs");
        let plain = product(&packed, &x, on.isa, &threads, mode);
        let mut input = Input::default();
        input.resize(1, 32);
        input.rows_mut().copy_from_slice(&x);
        input.ready(&on, mode);
        let mut y = vec![2.5; 18];
        packed.run(&on, &input, Onto::Add, &mut y);
        for (y, x) in y.iter().zip(plain) {
            assert_eq!(y.to_bits(), (2.5 + x).to_bits());
        }
    }
}

#[test]
fn what_is_no_number_is_not_rounded_away() {
    let threads = Threads::new(1).expect("one thread");
    let w = matrix(16, 64, 12);
    for mode in MODES {
        let packed = Linear::pack(&[&w], mode).expect("packs");
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            let mut x = numbers(64, 13);
            x[17] = f32::NAN;
            let y = product(&packed, &x, isa, &threads, mode);
            assert!(
                y.iter().all(|y| y.is_nan()),
                "{} {}",
                mode.name(),
                isa.name()
            );
        }
    }
}
