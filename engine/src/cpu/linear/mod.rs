//! Matrices as kernels want them, and `y = W x` for many rows at once.
//!
//! What: [`Linear`] is a weight matrix packed into panels of adjacent outputs, in one of three number
//! formats; [`Input`] is what it multiplies: rows of `f32`, and their bytes where the format wants
//! those.
//! Why: a panel puts the weights that meet the same input next to each other, so a vector holds
//! sixteen outputs, nothing is ever summed across lanes, and the sum of one output runs over its
//! inputs in order. So a row's result does not depend on which rows are beside it: a schedule cannot
//! change a bit. A panel is read once for all rows of the step.
//! Limits: weights are constant; outputs are `f32`.

mod float;
mod int8;

use half::bf16;

use super::simd::Isa;
use super::threads::{Parts, Threads};
use crate::model::Matrix;
use float::Panels;
use int8::{Bytes, Panels8};

/// How weights are held, and with what they are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 32-bit floats: as exact as the reference.
    F32,
    /// Weights rounded to brain floats, activations and sums in 32-bit floats.
    Bf16,
    /// Weights and activations as bytes with a scale for every 32 inputs, sums in 32-bit floats; weights that
    /// a file has in four bits stay what they are.
    Int8,
}

impl Mode {
    /// As it stands in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

/// A weight matrix in panels.
#[derive(Debug)]
pub(crate) enum Linear {
    F32(Panels<f32>),
    Bf16(Panels<u16>),
    Int8(Panels8),
}

/// What becomes of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Onto {
    /// `y = W x`.
    Replace,
    /// `y += W x`.
    Add,
}

impl Linear {
    /// Packs matrices of equal width, their outputs one behind the other.
    ///
    /// # Errors
    /// What candle says of a quantised tensor it cannot unpack.
    pub(crate) fn pack(matrices: &[&Matrix], mode: Mode) -> Result<Self, candle_core::Error> {
        let inputs = matrices[0].cols;
        let outputs = matrices.iter().map(|m| m.rows).sum();
        let mut values = Vec::with_capacity(outputs * inputs);
        for matrix in matrices {
            values.extend(matrix.to_f32()?);
        }
        Ok(match mode {
            Mode::F32 => Self::F32(Panels::pack(&values, outputs, inputs, |x| *x)),
            Mode::Bf16 => {
                let bits = |values: &[f32; 32]| {
                    super::simd::interleave(&values.map(|x| bf16::from_f32(x).to_bits()))
                };
                Self::Bf16(Panels::pack(&values, outputs, inputs, bits))
            }
            Mode::Int8 => Self::Int8(Panels8::pack(&values, outputs, inputs)),
        })
    }

    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::F32(w) => w.outputs,
            Self::Bf16(w) => w.outputs,
            Self::Int8(w) => w.outputs,
        }
    }

    pub(crate) fn inputs(&self) -> usize {
        match self {
            Self::F32(w) => w.inputs,
            Self::Bf16(w) => w.inputs,
            Self::Int8(w) => w.inputs,
        }
    }

    /// Bytes that it takes in memory, padding and scales included.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::F32(w) => w.bytes(),
            Self::Bf16(w) => w.bytes(),
            Self::Int8(w) => w.bytes(),
        }
    }

    /// `y[r] = W x[r]` for all rows of `x`; `y` is `[rows, outputs]`.
    pub(crate) fn run(&self, on: &On<'_>, x: &Input, onto: Onto, y: &mut [f32]) {
        let rows = x.rows;
        let outputs = self.outputs();
        assert_eq!(x.width, self.inputs(), "inputs of a matrix");
        assert_eq!(y.len(), rows * outputs, "outputs of a matrix");
        if rows == 0 {
            return;
        }
        let y = Parts::new(y);
        match self {
            Self::F32(w) => w.run(on, x, onto, &y),
            Self::Bf16(w) => w.run(on, x, onto, &y),
            Self::Int8(w) => w.run(on, x, onto, &y),
        }
    }
}

/// With what a loop runs: which instructions, which threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct On<'a> {
    pub(crate) isa: Isa,
    pub(crate) threads: &'a Threads,
}

/// Rows to multiply, reused from step to step.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    /// `[rows, width]`.
    pub(crate) values: Vec<f32>,
    bytes: Bytes,
}

impl Input {
    /// Makes room for rows; their values are left to the caller.
    pub(crate) fn resize(&mut self, rows: usize, width: usize) {
        self.rows = rows;
        self.width = width;
        let len = rows * width;
        if self.values.len() < len {
            self.values.resize(len, 0.0);
        }
    }

    /// All values.
    pub(crate) fn rows_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.rows * self.width]
    }

    /// One row.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }

    /// To be called when the values are there: turns them to bytes if the mode wants them.
    pub(crate) fn ready(&mut self, on: &On<'_>, mode: Mode) {
        if mode == Mode::Int8 {
            let values = &self.values[..self.rows * self.width];
            self.bytes.quantise(on, values, self.rows, self.width);
        }
    }
}

/// Evaluates a call with the constant `T` that equals `$rows`, 1 to `$most`, a constant of at most 12.
/// What is above `$most` is not even compiled.
macro_rules! with_rows {
    ($rows:expr, $most:expr, $T:ident => $call:expr) => {
        with_rows!(@ $rows, $most, $T => $call, 1 2 3 4 5 6 7 8 9 10 11 12)
    };
    (@ $rows:expr, $most:expr, $T:ident => $call:expr, $($n:literal)*) => {
        match $rows {
            $($n => {
                const $T: usize = $n;
                if const { $T <= $most } {
                    $call
                }
            })*
            _ => unreachable!("tiles are at most {} rows high", $most),
        }
    };
}
pub(crate) use with_rows;

/// Rows `from..` in tiles of about equal height, at most `most` each.
#[inline(always)]
pub(crate) fn tile(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most)).min(most)
}

#[cfg(test)]
mod tests;
