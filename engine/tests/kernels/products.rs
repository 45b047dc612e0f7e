//! Products, by vectors and by tiles.

use engine::cuda::{
    Device, Op, Product,
    launch::{self, Matmul, Rows},
};

use crate::{
    device::{Bench, device},
    values::{ONE_ROUNDING, SUMS, error, rounded},
};

/// `a w^T` in 64 bits.
pub(crate) fn product(a: &[f32], w: &[f32], k: usize) -> Vec<f32> {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    a.chunks(k)
        .flat_map(|x| w.chunks(k).map(move |y| dot(x, y) as f32))
        .collect()
}

struct Case {
    m: usize,
    n: usize,
    k: usize,
    wide: bool,
}

/// Runs a product and gives (found, expected).
fn run(d: &mut Bench, case: &Case, how: impl Fn(&Matmul, u32) -> Op) -> (Vec<f32>, Vec<f32>) {
    let &Case { m, n, k, wide } = case;
    let (a, w) = (rounded(11, m * k), rounded(12, n * k));
    let args = Matmul {
        a: d.halves(&a),
        w: d.halves(&w),
        c: d.poisoned(m * n * if wide { 4 } else { 2 }),
        n: n as u32,
        k: k as u32,
        wide,
    };
    d.run(&[how(&args, m as u32)]).expect("the kernel ends");
    let found = if wide {
        d.read_floats(args.c, m * n)
    } else {
        d.read_halves(args.c, m * n)
    };
    (found, product(&a, &w, k))
}

fn close(case: &Case, found: &[f32], expected: &[f32]) {
    let bound = if case.wide { SUMS } else { ONE_ROUNDING };
    let (m, n, k) = (case.m, case.n, case.k);
    let off = error(found, expected);
    assert!(off < bound, "{m} x {n} x {k}: {off}");
}

#[test]
fn a_few_rows_are_multiplied_by_every_output() {
    let Some(mut d) = device("a_few_rows_are_multiplied_by_every_output") else {
        return;
    };
    for m in 1..=8 {
        for (n, k, wide) in [(37, 64, false), (16, 584, true), (5, 1096, false)] {
            let case = Case { m, n, k, wide };
            let (found, expected) = run(&mut d, &case, |p, m| Op::Launch(launch::gemv(p, m)));
            close(&case, &found, &expected);
        }
    }
}

#[test]
fn tiles_cover_products_of_any_shape() {
    let Some(mut d) = device("tiles_cover_products_of_any_shape") else {
        return;
    };
    for (i, (tile, m, n, k)) in [
        (16, 1, 64, 64),
        (16, 33, 70, 200),
        (16, 16, 129, 8),
        (128, 130, 136, 72),
        (128, 70, 260, 328),
    ]
    .into_iter()
    .enumerate()
    {
        for wide in [false, true] {
            d.set_order(i as u32);
            let case = Case { m, n, k, wide };
            let (found, expected) = run(&mut d, &case, |p, m| {
                Op::Launch(launch::gemm(p, Rows::All(m), tile))
            });
            close(&case, &found, &expected);
        }
    }
}

#[test]
fn a_row_gives_the_same_bits_whatever_the_tile_and_the_other_rows() {
    let Some(mut d) = device("a_row_gives_the_same_bits_whatever_the_tile_and_the_other_rows")
    else {
        return;
    };
    let first = |d: &mut Bench, m, tile| {
        let case = Case {
            m,
            n: 72,
            k: 200,
            wide: true,
        };
        let (found, _) = run(d, &case, |p, m| {
            Op::Launch(launch::gemm(p, Rows::All(m), tile))
        });
        found[..72].to_vec()
    };
    let alone = first(&mut d, 1, 16);
    assert_eq!(alone, first(&mut d, 40, 16));
    assert_eq!(alone, first(&mut d, 129, 128));
}

/// cuBLASLt on a GPU; on the CPU what stands in for it.
#[test]
fn the_devices_own_product_is_the_same() {
    let Some(mut d) = device("the_devices_own_product_is_the_same") else {
        return;
    };
    for wide in [false, true] {
        let case = Case {
            m: 9,
            n: 24,
            k: 40,
            wide,
        };
        let (found, expected) = run(&mut d, &case, |p, m| {
            Op::Product(Product {
                a: p.a,
                w: p.w,
                c: p.c,
                m,
                n: p.n,
                k: p.k,
                wide: p.wide,
            })
        });
        close(&case, &found, &expected);
    }
}
