//! Experts: each token goes to a few, each expert runs once for all tokens that came to it.
//!
//! A token's outputs are added up in the order of the experts' numbers, so the sum does not depend on
//! the tokens beside it.

use super::linear::{Input, Linear, Mode, On, Onto};
use super::norm::gated;
use super::packed::PackedFfn;
use crate::model::Moe;

/// Reused from layer to layer.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// `[rows, experts]`.
    scores: Vec<f32>,
    /// `(expert, row, weight)`.
    routes: Vec<(usize, usize, f32)>,
    gathered: Input,
    both: Vec<f32>,
    act: Input,
    out: Vec<f32>,
}

/// Adds the experts' outputs for the rows of `h` to `y`.
pub(crate) fn run(
    on: &On<'_>,
    mode: Mode,
    (router, experts, moe): (&Linear, &[PackedFfn], &Moe),
    h: &Input,
    buffers: &mut Buffers,
    y: &mut [f32],
) {
    buffers.scores.clear();
    buffers.scores.resize(h.rows * moe.experts, 0.0);
    router.run(on, h, Onto::Replace, &mut buffers.scores);
    buffers.routes.clear();
    for (row, scores) in buffers.scores.chunks_exact_mut(moe.experts).enumerate() {
        route(row, scores, moe, &mut buffers.routes);
    }
    // Pairs of expert and row are unique, so the order is total.
    buffers
        .routes
        .sort_unstable_by_key(|(expert, row, _)| (*expert, *row));
    let mut from = 0;
    while from < buffers.routes.len() {
        let expert = buffers.routes[from].0;
        let len = buffers.routes[from..].partition_point(|(e, ..)| *e == expert);
        let routes = &buffers.routes[from..from + len];
        from += len;
        let ffn = &experts[expert];
        buffers.gathered.resize(len, h.width);
        let rows = buffers.gathered.rows_mut().chunks_exact_mut(h.width);
        for ((_, row, _), to) in routes.iter().zip(rows) {
            to.copy_from_slice(h.row(*row));
        }
        buffers.gathered.ready(on, mode);
        grow(&mut buffers.both, len * ffn.gate_up.outputs());
        let both = &mut buffers.both[..len * ffn.gate_up.outputs()];
        ffn.gate_up.run(on, &buffers.gathered, Onto::Replace, both);
        gated(on, both, len, moe.ff, &mut buffers.act);
        buffers.act.ready(on, mode);
        grow(&mut buffers.out, len * h.width);
        let out = &mut buffers.out[..len * h.width];
        ffn.down.run(on, &buffers.act, Onto::Replace, out);
        for ((_, row, weight), out) in routes.iter().zip(out.chunks_exact(h.width)) {
            for (y, x) in y[row * h.width..][..h.width].iter_mut().zip(out) {
                *y += weight * x;
            }
        }
    }
}

/// Makes room; what is there stays.
pub(crate) fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}

/// The experts of one row: those of the highest scores, the lower number first among equals, weighted
/// by the softmax over all.
fn route(row: usize, scores: &mut [f32], moe: &Moe, routes: &mut Vec<(usize, usize, f32)>) {
    let most = scores.iter().fold(f32::MIN, |most, x| most.max(*x));
    let mut total = 0.0;
    for x in scores.iter_mut() {
        *x = (*x - most).exp();
        total += *x;
    }
    let first = routes.len();
    let mut chosen = 0.0;
    for _ in 0..moe.active {
        let mut best = 0;
        for (i, x) in scores.iter().enumerate() {
            if *x > scores[best] {
                best = i;
            }
        }
        let weight = scores[best] / total;
        chosen += weight;
        routes.push((best, row, weight));
        // Below every weight, so that it is not chosen again.
        scores[best] = -1.0;
    }
    if moe.normalise {
        for route in &mut routes[first..] {
            route.2 /= chosen;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_scores_win_and_the_lower_number_wins_a_tie() {
        let moe = Moe {
            experts: 4,
            active: 2,
            ff: 16,
            normalise: true,
        };
        let mut routes = Vec::new();
        // Softmax of (0, ln 2, ln 2, 0) is (1, 2, 2, 1) / 6; the two chosen ones become one half each.
        let two = 2.0_f32.ln();
        route(7, &mut [0.0, two, two, 0.0], &moe, &mut routes);
        assert_eq!(routes[0].0, 1);
        assert_eq!(routes[1].0, 2);
        assert!(routes.iter().all(|r| r.1 == 7 && (r.2 - 0.5).abs() < 1e-6));
    }
}
