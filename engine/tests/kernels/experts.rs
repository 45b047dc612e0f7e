//! Routing to experts, the grouped product, and back.

use engine::{
    cuda::{
        Address,
        launch::{self, Choices, Matmul, Rows, tile_limit},
    },
    model::Moe,
};

use crate::{
    device::{Bench, device},
    products::product,
    values::{ONE_ROUNDING, SUMS, error, rounded, uniform},
};

fn choices(d: &mut Bench, entries: usize, experts: usize) -> Choices {
    Choices {
        ids: d.poisoned(4 * entries),
        weights: d.poisoned(4 * entries),
        order: d.poisoned(4 * entries),
        place: d.poisoned(4 * entries),
        starts: d.poisoned(4 * (experts + 1)),
        tiles: d.poisoned(12 * tile_limit(entries as u32, experts as u32, 16) as usize),
    }
}

#[test]
fn each_token_goes_to_its_best_experts() {
    let Some(mut d) = device("each_token_goes_to_its_best_experts") else {
        return;
    };
    for (experts, active, normalise) in [
        (5, 2, true),
        (128, 8, true),
        (60, 4, false),
        (512, 10, true),
    ] {
        let tokens = 6;
        let mut logits: Vec<f32> = uniform(20, tokens * experts)
            .iter()
            .map(|v| 4.0 * v)
            .collect();
        // A tie: the lower expert comes first.
        (logits[experts + 1], logits[experts + 4]) = (9.0, 9.0);
        let moe = Moe {
            experts,
            active,
            ff: 8,
            normalise,
        };
        let c = choices(&mut d, tokens * active, experts);
        let (at, positions) = (d.floats(&logits), d.ints(&[0, 1, 2, 3, -1, 5]));
        d.go(launch::route(at, positions, &c, tokens as u32, &moe));
        let (ids, weights) = (
            d.read_ints(c.ids, tokens * active),
            d.read_floats(c.weights, tokens * active),
        );
        for (t, row) in logits.chunks(experts).enumerate() {
            let mut by: Vec<usize> = (0..experts).collect();
            by.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            let found = &ids[t * active..(t + 1) * active];
            if t == 4 {
                assert!(found.iter().all(|&id| id == -1));
                continue;
            }
            let best: Vec<i32> = by[..active].iter().map(|&e| e as i32).collect();
            assert_eq!(found, best);
            let exp = |e: &usize| f64::from(row[*e] - row[by[0]]).exp();
            let over = if normalise { &by[..active] } else { &by[..] };
            let total: f64 = over.iter().map(exp).sum();
            let expected: Vec<f32> = by[..active]
                .iter()
                .map(|e| (exp(e) / total) as f32)
                .collect();
            assert!(error(&weights[t * active..(t + 1) * active], &expected) < SUMS);
        }
    }
}

#[test]
fn sorting_keeps_the_order_within_an_expert_and_tiles_cover_every_row_once() {
    let Some(mut d) =
        device("sorting_keeps_the_order_within_an_expert_and_tiles_cover_every_row_once")
    else {
        return;
    };
    for (entries, experts, tile, order) in [
        (7, 3, 16, 0),
        (600, 40, 16, 1),
        (1000, 5, 128, 2),
        (513, 512, 16, 3),
    ] {
        d.set_order(order);
        // Some entries go nowhere.
        let ids: Vec<i32> = uniform(21, entries)
            .iter()
            .map(|v| ((v + 1.0) * 0.5 * (experts + 1) as f32) as i32 - 1)
            .collect();
        let mut c = choices(&mut d, entries, experts);
        c.ids = d.ints(&ids);
        d.go(launch::sort_by_expert(&c, entries as u32, experts as u32));

        let mut sorted: Vec<i32> = (0..entries as i32)
            .filter(|&i| ids[i as usize] >= 0)
            .collect();
        sorted.sort_by_key(|&i| ids[i as usize]);
        assert_eq!(d.read_ints(c.order, sorted.len()), sorted);
        let place = d.read_ints(c.place, entries);
        for (i, &p) in place.iter().enumerate() {
            let expected = sorted
                .iter()
                .position(|&e| e == i as i32)
                .map_or(-1, |p| p as i32);
            assert_eq!(p, expected);
        }
        let starts = d.read_ints(c.starts, experts + 1);
        let before = |e: i32| ids.iter().filter(|&&i| i >= 0 && i < e).count() as i32;
        assert_eq!(starts, (0..=experts as i32).map(before).collect::<Vec<_>>());

        let limit = tile_limit(entries as u32, experts as u32, tile);
        d.go(launch::expert_tiles(&c, experts as u32, tile, limit));
        let tiles = d.read_ints(c.tiles, 3 * limit as usize);
        let mut covered = vec![0; sorted.len()];
        for t in tiles.chunks(3).filter(|t| t[0] >= 0) {
            assert!(t[1] < t[2] && t[2] - t[1] <= tile as i32, "{t:?}");
            for row in t[1]..t[2] {
                covered[row as usize] += 1;
                assert_eq!(
                    ids[sorted[row as usize] as usize], t[0],
                    "a row of its expert"
                );
            }
        }
        assert!(covered.iter().all(|&n| n == 1));
    }
}

#[test]
fn a_row_goes_through_the_matrix_of_its_expert_and_back_to_its_token() {
    let Some(mut d) = device("a_row_goes_through_the_matrix_of_its_expert_and_back_to_its_token")
    else {
        return;
    };
    let (tokens, active, experts, n, k) = (19, 3, 4, 40, 72);
    let entries = tokens * active;
    let (x, w) = (rounded(22, tokens * k), rounded(23, experts * n * k));
    let ids: Vec<i32> = (0..entries)
        .map(|i| ((i / active + i % active) % experts) as i32)
        .collect();
    let mut weights = uniform(24, entries);
    weights[5] = 0.0;
    for tile in [16, 128] {
        let mut c = choices(&mut d, entries, experts);
        c.ids = d.ints(&ids);
        c.weights = d.floats(&weights);
        let limit = tile_limit(entries as u32, experts as u32, tile);
        let up = Matmul {
            a: d.halves(&x),
            w: d.halves(&w),
            c: d.poisoned(2 * entries * n),
            n: n as u32,
            k: k as u32,
            wide: false,
        };
        let rows = Rows::Grouped {
            tiles: c.tiles,
            limit,
            from: c.order,
            divisor: active as u32,
        };
        let residual = uniform(25, tokens * n);
        let at = d.floats(&residual);
        d.go(launch::sort_by_expert(&c, entries as u32, experts as u32));
        d.go(launch::expert_tiles(&c, experts as u32, tile, limit));
        d.go(launch::gemm(&up, rows, tile));
        d.go(launch::combine_experts(
            up.c,
            &c,
            at,
            tokens as u32,
            n as u32,
            active as u32,
        ));
        let mut expected = residual.clone();
        for (i, &e) in ids.iter().enumerate() {
            let (t, e) = (i / active, e as usize);
            let y = product(&x[t * k..(t + 1) * k], &w[e * n * k..(e + 1) * n * k], k);
            for (j, y) in y.into_iter().enumerate() {
                expected[t * n + j] += weights[i] * y;
            }
        }
        assert!(error(&d.read_floats(at, tokens * n), &expected) < ONE_ROUNDING);

        // Without a list of rows, row r of the sorted order is row r of the input.
        let sorted: Vec<f32> = d
            .read_ints(c.order, entries)
            .iter()
            .flat_map(|&i| x[i as usize / active * k..][..k].to_vec())
            .collect();
        let direct = Matmul {
            a: d.halves(&sorted),
            c: d.poisoned(2 * entries * n),
            ..up
        };
        let rows = Rows::Grouped {
            tiles: c.tiles,
            limit,
            from: Address::NULL,
            divisor: 1,
        };
        d.go(launch::gemm(&direct, rows, tile));
        assert_eq!(
            d.read_halves(direct.c, entries * n),
            d.read_halves(up.c, entries * n)
        );
    }
}
