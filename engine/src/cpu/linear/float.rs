//! Panels of floats: 32 outputs side by side, one input after the other.

use super::{Input, On, Onto, tile, with_rows};
use crate::cpu::simd::{Kernel, LANES, Simd};
use crate::cpu::threads::Parts;

/// Outputs of a panel: two vectors.
const WIDE: usize = 2 * LANES;

/// Panels that one item of work takes are at most this big, so that they stay in the second cache
/// while the rows go by.
const CACHED: usize = 256 * 1024;

/// A number format of weights.
pub(crate) trait Weight: Copy + Default + Send + Sync + 'static {
    fn load<S: Simd>(s: S, from: &[Self; WIDE]) -> [S::F; 2];
}

impl Weight for f32 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[f32; WIDE]) -> [S::F; 2] {
        let (low, high) = from.split_at(LANES);
        [
            s.load(low.try_into().expect("half")),
            s.load(high.try_into().expect("half")),
        ]
    }
}

impl Weight for u16 {
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[u16; WIDE]) -> [S::F; 2] {
        s.load_bf16_pair(from)
    }
}

/// `[outputs / 32][inputs][32]`, the last panel filled up with zeros.
#[derive(Debug)]
pub(crate) struct Panels<W> {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    values: Vec<[W; WIDE]>,
}

impl<W: Weight> Panels<W> {
    /// From `[outputs, inputs]`; `convert` turns the 32 weights of one input.
    pub(crate) fn pack(
        values: &[f32],
        outputs: usize,
        inputs: usize,
        convert: impl Fn(&[f32; WIDE]) -> [W; WIDE],
    ) -> Self {
        let panels = outputs.div_ceil(WIDE);
        let mut out = Vec::with_capacity(panels * inputs);
        for panel in 0..panels {
            for input in 0..inputs {
                let column = std::array::from_fn(|i| {
                    let output = panel * WIDE + i;
                    if output < outputs {
                        values[output * inputs + input]
                    } else {
                        0.0
                    }
                });
                out.push(convert(&column));
            }
        }
        Self {
            outputs,
            inputs,
            values: out,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
    }

    pub(crate) fn run(&self, on: &On<'_>, x: &Input, onto: Onto, y: &Parts<'_, f32>) {
        let panels = self.outputs.div_ceil(WIDE);
        let fit = (CACHED / (self.inputs * size_of::<[W; WIDE]>()).max(1)).max(1);
        let each = fit.min(on.threads.split(panels, 1).range(0).len());
        let items = panels.div_ceil(each);
        let cost = self.bytes() / size_of::<W>() * x.rows;
        on.threads.run(items, cost, |item| {
            let from = item * each;
            on.isa.run(Product {
                of: self,
                x: &x.values,
                rows: x.rows,
                panels: from..(from + each).min(panels),
                onto,
                y,
            });
        });
    }
}

/// Some panels times all rows.
struct Product<'a, W> {
    of: &'a Panels<W>,
    x: &'a [f32],
    rows: usize,
    panels: std::ops::Range<usize>,
    onto: Onto,
    y: &'a Parts<'a, f32>,
}

impl<W: Weight> Kernel for Product<'_, W> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut row = 0;
        while row < self.rows {
            let rows = tile(self.rows - row, S::ROWS);
            for panel in self.panels.clone() {
                with_rows!(rows, S::ROWS, T => self.tile::<S, T>(s, panel, row));
            }
            row += rows;
        }
    }
}

impl<W: Weight> Product<'_, W> {
    /// `T` rows times one panel. Each output is one chain of fused multiply-adds, first input first.
    #[inline(always)]
    fn tile<S: Simd, const T: usize>(&self, s: S, panel: usize, row: usize) {
        let inputs = self.of.inputs;
        let weights = &self.of.values[panel * inputs..][..inputs];
        let mut x: [&[f32]; T] = [&[]; T];
        for (t, x) in x.iter_mut().enumerate() {
            *x = &self.x[(row + t) * inputs..][..inputs];
        }
        let mut sums = [[s.splat(0.0); 2]; T];
        for (i, w) in weights.iter().enumerate() {
            let [low, high] = W::load(s, w);
            for t in 0..T {
                let x = s.splat(x[t][i]);
                sums[t][0] = s.fma(x, low, sums[t][0]);
                sums[t][1] = s.fma(x, high, sums[t][1]);
            }
        }
        let outputs = self.of.outputs;
        for (t, sums) in sums.into_iter().enumerate() {
            for (half, sum) in sums.into_iter().enumerate() {
                let from = panel * WIDE + half * LANES;
                let len = LANES.min(outputs.saturating_sub(from));
                if len > 0 {
                    put(s, sum, self.onto, self.y, ((row + t) * outputs + from, len));
                }
            }
        }
    }
}

/// Writes the first `len` lanes of a sum to `y` from `at`.
#[inline(always)]
#[allow(unsafe_code, reason = "columns of one matrix go to several threads")]
pub(super) fn put<S: Simd>(
    s: S,
    sum: S::F,
    onto: Onto,
    y: &Parts<'_, f32>,
    (at, len): (usize, usize),
) {
    // SAFETY: an output of a row is written by one item of work only: items have different panels, and
    // one item writes one tile after the other.
    let y = unsafe { y.part(at, len) };
    if let Ok(whole) = <&mut [f32; LANES]>::try_from(&mut *y) {
        let value = match onto {
            Onto::Replace => sum,
            Onto::Add => s.add(s.load(whole), sum),
        };
        s.store(value, whole);
    } else {
        let mut lanes = [0.0; LANES];
        s.store(sum, &mut lanes);
        for (y, x) in y.iter_mut().zip(lanes) {
            match onto {
                Onto::Replace => *y = x,
                Onto::Add => *y += x,
            }
        }
    }
}
