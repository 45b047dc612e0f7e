//! Panels of bytes: 16 outputs side by side, 32 inputs to a scale; activations as bytes too.
//!
//! A weight is `scale * byte + least`: the least and the largest of 32 adjacent weights are bytes 0 and
//! 255. Since 255 is 17 times 15, weights that a file has in four bits (blocks of 32) come out as they
//! were. Scale and least are half floats, in a unit of the matrix so that they do not underflow. An
//! activation is `scale * byte`, -127 to 127, with a scale for every 32 of a row. So
//! `sum w x = scale_w scale_x sum bytes_w bytes_x + least_w scale_x sum bytes_x`: the first sum is exact
//! in 32 bits, the second depends on the row alone. Blocks are added up in `f32`, first block first,
//! so a result depends on its row and its output, on nothing else.

use half::f16;

use super::float::put;
use super::{Input, On, Onto, tile, with_rows};
use crate::cpu::simd::{Isa, Kernel, LANES, Simd};
use crate::cpu::threads::Parts;

/// Inputs that share a scale.
const BLOCK: usize = 32;

/// Words of four bytes in a block.
const WORDS: usize = BLOCK / 4;

/// Panels that one item of work takes are at most this big, so that they stay in the second cache
/// while the rows go by.
const CACHED: usize = 256 * 1024;

/// 16 outputs by 32 inputs.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Block {
    /// `[inputs / 4][outputs][4]`.
    weights: [[u8; 4 * LANES]; WORDS],
    /// Half floats by their bits.
    scales: [u16; LANES],
    least: [u16; LANES],
}

/// `[outputs / 16][inputs / 32]` blocks; what is beyond the matrix weighs nothing.
#[derive(Debug)]
pub(crate) struct Panels8 {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// What 1 in a scale stands for: a power of two.
    unit: f32,
    blocks: Vec<Block>,
}

impl Panels8 {
    /// From `[outputs, inputs]`.
    pub(crate) fn pack(values: &[f32], outputs: usize, inputs: usize) -> Self {
        let mut blocks = Vec::with_capacity(outputs.div_ceil(LANES) * inputs.div_ceil(BLOCK));
        let unit = unit(values);
        Isa::best().run(Pack {
            values,
            outputs,
            inputs,
            by: 1.0 / unit,
            to: &mut blocks,
        });
        Self {
            outputs,
            inputs,
            unit,
            blocks,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.blocks.as_slice())
    }

    pub(crate) fn run(&self, on: &On<'_>, x: &Input, onto: Onto, y: &Parts<'_, f32>) {
        let panels = self.outputs.div_ceil(LANES);
        let depth = self.inputs.div_ceil(BLOCK);
        let fit = (CACHED / (depth * size_of::<Block>()).max(1)).max(1);
        let each = fit.min(on.threads.split(panels, 1).range(0).len());
        let items = panels.div_ceil(each);
        // Four multiply-adds cost what one costs in floats.
        let cost = self.bytes() / 4 * x.rows;
        on.threads.run(items, cost, |item| {
            let from = item * each;
            on.isa.run(Product {
                of: self,
                depth,
                x: &x.bytes,
                rows: x.rows,
                panels: from..(from + each).min(panels),
                onto,
                y,
            });
        });
    }
}

/// The power of two that brings the largest magnitude to 2^14 to 2^15: half floats then have full
/// precision down to a 2^28th of it.
fn unit(values: &[f32]) -> f32 {
    let largest = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    if largest < f32::MIN_POSITIVE * 65_536.0 || !largest.is_finite() {
        return 1.0;
    }
    // The exponent alone, less 14.
    f32::from_bits((largest.to_bits() & 0x7f80_0000) - (14 << 23))
}

/// A matrix to blocks. A kernel, so that rounding is an instruction and not a call.
struct Pack<'a> {
    values: &'a [f32],
    outputs: usize,
    inputs: usize,
    /// Multiplies the weights before all else: one over the unit.
    by: f32,
    to: &'a mut Vec<Block>,
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for panel in 0..self.outputs.div_ceil(LANES) {
            for first in (0..self.inputs).step_by(BLOCK) {
                let mut block = Block {
                    weights: [[0; 4 * LANES]; WORDS],
                    scales: [0; LANES],
                    least: [0; LANES],
                };
                for lane in 0..LANES.min(self.outputs - panel * LANES) {
                    let row = &self.values[(panel * LANES + lane) * self.inputs..][..self.inputs];
                    let row = &row[first..self.inputs.min(first + BLOCK)];
                    fill(&mut block, lane, row, self.by);
                }
                self.to.push(block);
            }
        }
    }
}

/// Writes one output's weights of a block.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 255"
)]
fn fill(block: &mut Block, lane: usize, row: &[f32], by: f32) {
    let least = row.iter().fold(f32::INFINITY, |a, b| a.min(*b)) * by;
    let largest = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b)) * by;
    let least = f16::from_f32(least);
    let scale = f16::from_f32((largest - least.to_f32()).max(0.0) / 255.0);
    block.least[lane] = least.to_bits();
    block.scales[lane] = scale.to_bits();
    let (least, scale) = (least.to_f32(), scale.to_f32());
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (i, x) in row.iter().enumerate() {
        let whole = ((x * by - least) * inverse).round_ties_even();
        block.weights[i / 4][4 * lane + i % 4] = whole.clamp(0.0, 255.0) as u8;
    }
}

/// Rows as bytes.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    /// `[rows, blocks]`.
    blocks: Vec<ByteBlock>,
}

/// 32 activations of one row.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
struct ByteBlock {
    words: [i32; WORDS],
    scale: f32,
    /// The scale times the sum of the bytes.
    total: f32,
}

impl Bytes {
    pub(super) fn quantise(&mut self, on: &On<'_>, values: &[f32], rows: usize, width: usize) {
        let depth = width.div_ceil(BLOCK);
        if self.blocks.len() < rows * depth {
            self.blocks.resize(rows * depth, ByteBlock::default());
        }
        let split = on.threads.split(rows, 8);
        let blocks = Parts::new(&mut self.blocks[..rows * depth]);
        on.threads.run(split.len(), rows * width, |i| {
            let range = split.range(i);
            #[allow(unsafe_code, reason = "rows of one buffer go to several threads")]
            // SAFETY: the ranges of a split do not overlap.
            let blocks = unsafe { blocks.part(range.start * depth, range.len() * depth) };
            let values = &values[range.start * width..range.end * width];
            on.isa.run(Quantise {
                values,
                width,
                blocks,
            });
        });
    }
}

/// Some rows to bytes.
struct Quantise<'a> {
    values: &'a [f32],
    width: usize,
    blocks: &'a mut [ByteBlock],
}

impl Kernel for Quantise<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let depth = self.width.div_ceil(BLOCK);
        let rows = self.values.chunks_exact(self.width);
        for (row, blocks) in rows.zip(self.blocks.chunks_exact_mut(depth)) {
            let (whole, rest) = row.as_chunks::<BLOCK>();
            for (values, block) in whole.iter().zip(blocks.iter_mut()) {
                quantise(s, values, block);
            }
            if !rest.is_empty() {
                let mut values = [0.0; BLOCK];
                values[..rest.len()].copy_from_slice(rest);
                quantise(s, &values, &mut blocks[depth - 1]);
            }
        }
    }
}

#[inline(always)]
fn quantise<S: Simd>(s: S, values: &[f32; BLOCK], to: &mut ByteBlock) {
    let (vectors, _) = values.as_chunks::<LANES>();
    let mut most = s.splat_i(0);
    for v in vectors {
        most = s.max_i(most, s.magnitude(s.load(v)));
    }
    let largest = f32::from_bits(s.max_lanes_i(most).cast_unsigned());
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let mut sum = s.splat_i(0);
    for (v, words) in vectors.iter().zip(to.words.as_chunks_mut::<4>().0) {
        let whole = s.to_int(s.mul(s.load(v), s.splat(inverse)));
        sum = s.add_i(sum, whole);
        *words = s.pack(whole);
    }
    // Not-a-number makes the scale so, and with it all that is computed from the row.
    to.scale = largest / 127.0;
    to.total = to.scale * whole_number(s.sum_i(sum));
}

/// A sum of at most 32 bytes, which a float holds exactly.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "below 2^13")]
fn whole_number(x: i32) -> f32 {
    x as f32
}

/// Some panels times all rows.
struct Product<'a> {
    of: &'a Panels8,
    depth: usize,
    x: &'a Bytes,
    rows: usize,
    panels: std::ops::Range<usize>,
    onto: Onto,
    y: &'a Parts<'a, f32>,
}

impl Kernel for Product<'_> {
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

impl Product<'_> {
    /// `T` rows times one panel.
    #[inline(always)]
    fn tile<S: Simd, const T: usize>(&self, s: S, panel: usize, row: usize) {
        let depth = self.depth;
        let weights = &self.of.blocks[panel * depth..][..depth];
        let mut x: [&[ByteBlock]; T] = [&[]; T];
        for (t, x) in x.iter_mut().enumerate() {
            *x = &self.x.blocks[(row + t) * depth..][..depth];
        }
        let mut sums = [s.splat(0.0); T];
        for (b, block) in weights.iter().enumerate() {
            let mut dots = [s.splat_i(0); T];
            for (word, w) in block.weights.iter().enumerate() {
                for t in 0..T {
                    dots[t] = s.dot(dots[t], w, x[t][b].words[word]);
                }
            }
            let (scales, least) = (s.load_f16(&block.scales), s.load_f16(&block.least));
            for t in 0..T {
                let scaled = s.mul(s.to_float(dots[t]), scales);
                sums[t] = s.fma(scaled, s.splat(x[t][b].scale), sums[t]);
                sums[t] = s.fma(least, s.splat(x[t][b].total), sums[t]);
            }
        }
        let outputs = self.of.outputs;
        let from = panel * LANES;
        let len = LANES.min(outputs - from);
        let unit = s.splat(self.of.unit);
        for (t, sum) in sums.into_iter().enumerate() {
            let sum = s.mul(sum, unit);
            put(s, sum, self.onto, self.y, ((row + t) * outputs + from, len));
        }
    }
}
