//! What stands between the matrices: normalisation, rotary positions, the gated unit.

use super::linear::{Input, On};
use super::simd::{Kernel, LANES, Simd, silu, sum};
use super::threads::Parts;

/// Sum of squares over a row, in lanes, then over lanes: one order for one width.
#[inline(always)]
fn squares<S: Simd>(s: S, row: &[f32]) -> f32 {
    let (whole, rest) = row.as_chunks::<LANES>();
    let mut total = s.splat(0.0);
    for v in whole {
        let v = s.load(v);
        total = s.fma(v, v, total);
    }
    let mut last = [0.0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let v = s.load(&last);
    sum(s, s.fma(v, v, total))
}

/// Root mean square normalisation of one row: `x / sqrt(mean(x^2) + eps) * weight`.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "widths are small")]
pub(crate) fn rms<S: Simd>(s: S, x: &[f32], weight: &[f32], eps: f32, to: &mut [f32]) {
    let mean = squares(s, x) / x.len() as f32;
    let by = 1.0 / (mean + eps).sqrt();
    for ((x, w), to) in x.iter().zip(weight).zip(to) {
        *to = x * by * w;
    }
}

/// Normalises rows of `x` into `to`: all of them, or those that `only` lists.
pub(crate) fn rms_rows(
    on: &On<'_>,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    only: Option<&[u64]>,
    to: &mut Input,
) {
    let width = weight.len();
    let rows = only.map_or(x.len() / width, <[u64]>::len);
    to.resize(rows, width);
    let split = on.threads.split(rows, 8);
    let parts = Parts::new(to.rows_mut());
    on.threads.run(split.len(), 2 * rows * width, |i| {
        let range = split.range(i);
        #[allow(unsafe_code, reason = "rows of one buffer go to several threads")]
        // SAFETY: the ranges of a split do not overlap.
        let to = unsafe { parts.part(range.start * width, range.len() * width) };
        on.isa.run(Rms {
            x,
            weight,
            eps,
            from: only.map(|rows| &rows[range.clone()]),
            first: range.start,
            to,
        });
    });
}

struct Rms<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    from: Option<&'a [u64]>,
    first: usize,
    to: &'a mut [f32],
}

impl Kernel for Rms<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        for (i, to) in self.to.chunks_exact_mut(width).enumerate() {
            let row = match self.from {
                Some(rows) => usize::try_from(rows[i]).expect("checked with the batch"),
                None => self.first + i,
            };
            rms(
                s,
                &self.x[row * width..][..width],
                self.weight,
                self.eps,
                to,
            );
        }
    }
}

/// `silu(gate) * up` of rows `[gate | up]` into `to`.
pub(crate) fn gated(on: &On<'_>, both: &[f32], rows: usize, ff: usize, to: &mut Input) {
    to.resize(rows, ff);
    let split = on.threads.split(rows, 4);
    let parts = Parts::new(to.rows_mut());
    on.threads.run(split.len(), 4 * rows * ff, |i| {
        let range = split.range(i);
        #[allow(unsafe_code, reason = "rows of one buffer go to several threads")]
        // SAFETY: the ranges of a split do not overlap.
        let to = unsafe { parts.part(range.start * ff, range.len() * ff) };
        on.isa.run(Gated {
            both: &both[2 * range.start * ff..2 * range.end * ff],
            ff,
            to,
        });
    });
}

struct Gated<'a> {
    both: &'a [f32],
    ff: usize,
    to: &'a mut [f32],
}

impl Kernel for Gated<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.both.chunks_exact(2 * self.ff);
        for (row, to) in rows.zip(self.to.chunks_exact_mut(self.ff)) {
            let (gate, up) = row.split_at(self.ff);
            let (gates, gate) = gate.as_chunks::<LANES>();
            let (ups, up) = up.as_chunks::<LANES>();
            let (tos, to) = to.as_chunks_mut::<LANES>();
            for ((g, u), to) in gates.iter().zip(ups).zip(tos) {
                s.store(s.mul(silu(s, s.load(g)), s.load(u)), to);
            }
            if !gate.is_empty() {
                let mut lanes = [0.0; LANES];
                lanes[..gate.len()].copy_from_slice(gate);
                s.store(silu(s, s.load(&lanes)), &mut lanes);
                for ((lane, u), to) in lanes.iter().zip(up).zip(to) {
                    *to = lane * u;
                }
            }
        }
    }
}

/// Cosines and sines of a step's positions.
#[derive(Debug)]
pub(crate) struct Rope {
    /// Angle of one position, for each pair.
    frequencies: Vec<f32>,
    /// `[tokens][cos | sin][head_dim / 2]`.
    table: Vec<f32>,
}

impl Rope {
    /// For heads whose pairs turn by these angles from one position to the next.
    pub(crate) fn new(frequencies: Vec<f32>) -> Self {
        Self {
            frequencies,
            table: Vec::new(),
        }
    }

    /// Makes the table of a step.
    #[expect(
        clippy::cast_precision_loss,
        reason = "contexts are far shorter than 2^24 tokens"
    )]
    pub(crate) fn set(&mut self, positions: &[u64]) {
        self.table.clear();
        for position in positions {
            let angles = self.frequencies.iter().map(|f| *position as f32 * f);
            self.table.extend(angles.clone().map(f32::cos));
            self.table.extend(angles.map(f32::sin));
        }
    }

    /// Turns the pairs `(i, i + head_dim / 2)` of a head by the angles of a token of the step.
    #[inline(always)]
    pub(crate) fn turn(&self, token: usize, head: &mut [f32]) {
        let half = self.frequencies.len();
        let (cos, sin) = self.table[2 * half * token..][..2 * half].split_at(half);
        let (low, high) = head.split_at_mut(half);
        for i in 0..half {
            let (a, b) = (low[i], high[i]);
            low[i] = a * cos[i] - b * sin[i];
            high[i] = b * cos[i] + a * sin[i];
        }
    }
}
