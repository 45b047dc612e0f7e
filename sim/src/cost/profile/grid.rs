//! Multilinear interpolation in a complete rectangular grid.

use std::cmp::Ordering;

/// In which coordinates a table is interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Straight lines between points.
    Linear,
    /// Straight lines between logarithms, of `1 + x` along the axes and of the time.
    Log,
}

/// A table of times over the product of its axes. Axes rise strictly; times are above zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grid<const N: usize> {
    axes: [Vec<f64>; N],
    /// The last axis runs fastest.
    times: Vec<f64>,
    space: Space,
}

impl<const N: usize> Grid<N> {
    /// The grid over these axes, with `time(point)` at each.
    ///
    /// # Errors
    /// The first point without a time: a hole.
    pub(super) fn new(
        axes: [Vec<u64>; N],
        time: impl Fn([u64; N]) -> Option<f64>,
    ) -> Result<Self, [u64; N]> {
        let total: usize = axes.iter().map(Vec::len).product();
        let mut times = Vec::with_capacity(total);
        for flat in 0..total {
            let mut rest = flat;
            let mut point = [0; N];
            for (slot, axis) in point.iter_mut().zip(&axes).rev() {
                *slot = axis[rest % axis.len()];
                rest /= axis.len();
            }
            times.push(time(point).ok_or(point)?);
        }
        #[expect(clippy::cast_precision_loss, reason = "table axes are far below 2^53")]
        let axes = axes.map(|axis| axis.into_iter().map(|x| x as f64).collect());
        let mut grid = Self {
            axes,
            times,
            space: Space::Linear,
        };
        let linear = grid.leave_one_out();
        grid.space = Space::Log;
        if linear <= grid.leave_one_out() {
            grid.space = Space::Linear;
        }
        Ok(grid)
    }

    /// The space with the smaller leave-one-out error; that is the one in use.
    pub(super) const fn space(&self) -> Space {
        self.space
    }

    /// Smallest and largest value of an axis.
    pub(super) fn range(&self, axis: usize) -> (f64, f64) {
        let axis = &self.axes[axis];
        (axis[0], axis[axis.len() - 1])
    }

    /// The value before the largest of an axis; the largest if it is the only one.
    pub(super) fn last_but_one(&self, axis: usize) -> f64 {
        let axis = &self.axes[axis];
        axis[axis.len().saturating_sub(2)]
    }

    /// Time at a point. Outside the axes it is that of the nearest edge: the caller checks first.
    pub(super) fn at(&self, point: [f64; N]) -> f64 {
        let mut low = [0; N];
        let mut weight = [0.0; N];
        for (n, axis) in self.axes.iter().enumerate() {
            let x = point[n];
            let above = axis.partition_point(|&a| a.total_cmp(&x) == Ordering::Less);
            // The interval [low, low + 1]; at an edge the weight says which end.
            low[n] = above.saturating_sub(1).min(axis.len().saturating_sub(2));
            let (a, b) = (axis[low[n]], axis[(low[n] + 1).min(axis.len() - 1)]);
            weight[n] = self.share(a, b, x.clamp(a, b));
        }
        let mut sum = 0.0;
        for corner in 0..1_usize << N {
            let mut share = 1.0;
            let mut flat = 0;
            for (n, axis) in self.axes.iter().enumerate() {
                let up = corner >> n & 1;
                share *= if up == 1 { weight[n] } else { 1.0 - weight[n] };
                flat = flat * axis.len() + (low[n] + up).min(axis.len() - 1);
            }
            if share > 0.0 {
                sum += share * self.in_space(self.times[flat]);
            }
        }
        self.in_time(sum)
    }

    /// Mean relative error of the table's inner points, each predicted from its two neighbours along an
    /// axis, over all axes; 0 if no axis has three values.
    pub(super) fn leave_one_out(&self) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0_f64);
        let mut stride = 1;
        for axis in self.axes.iter().rev() {
            for (flat, &time) in self.times.iter().enumerate() {
                let at = flat / stride % axis.len();
                if at == 0 || at + 1 == axis.len() {
                    continue;
                }
                let w = self.share(axis[at - 1], axis[at + 1], axis[at]);
                let before = self.in_space(self.times[flat - stride]);
                let after = self.in_space(self.times[flat + stride]);
                let guess = self.in_time(before * (1.0 - w) + after * w);
                sum += (guess / time - 1.0).abs();
                count += 1.0;
            }
            stride *= axis.len();
        }
        sum / count.max(1.0)
    }

    /// How far `x` is from `a` to `b`, 0 to 1.
    fn share(&self, a: f64, b: f64, x: f64) -> f64 {
        if b <= a {
            return 0.0;
        }
        match self.space {
            Space::Linear => (x - a) / (b - a),
            Space::Log => (libm::log1p(x) - libm::log1p(a)) / (libm::log1p(b) - libm::log1p(a)),
        }
    }

    fn in_space(&self, time: f64) -> f64 {
        match self.space {
            Space::Linear => time,
            Space::Log => libm::log(time),
        }
    }

    fn in_time(&self, value: f64) -> f64 {
        match self.space {
            Space::Linear => value,
            Space::Log => libm::exp(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    #[expect(clippy::unnecessary_wraps, reason = "a grid asks for it")]
    fn plane([x, y]: [u64; 2]) -> Option<f64> {
        Some(1.0 + 2.0 * x as f64 + 3.0 * y as f64)
    }

    #[test]
    fn a_plane_is_met_everywhere_inside() {
        let grid = Grid::new([vec![0, 1, 4], vec![0, 10, 20]], plane).expect("complete");
        assert_eq!(grid.space(), Space::Linear);
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 3.0),
            (1.0, 10.0),
            (3.9, 19.0),
            (4.0, 20.0),
        ] {
            let want = 1.0 + 2.0 * x + 3.0 * y;
            assert!((grid.at([x, y]) - want).abs() < 1e-9, "{x} {y}");
        }
        assert!(grid.leave_one_out() < 1e-12);
    }

    #[test]
    fn a_power_law_is_met_in_logarithms() {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let square = |[x]: [u64; 1]| Some(((1 + x) * (1 + x)) as f64);
        let grid = Grid::new([vec![1, 3, 7, 15]], square).expect("complete");
        assert_eq!(grid.space(), Space::Log);
        assert!((grid.at([5.0]) - 36.0).abs() < 1e-9);
    }

    #[test]
    fn a_hole_is_named() {
        let holed = |p: [u64; 2]| plane(p).filter(|_| p != [4, 10]);
        let refused = Grid::new([vec![0, 1, 4], vec![0, 10, 20]], holed);
        assert_eq!(refused.expect_err("a hole"), [4, 10]);
    }

    #[test]
    fn an_axis_of_one_value_is_constant() {
        let grid = Grid::new([vec![3], vec![0, 10]], plane).expect("complete");
        assert!((grid.at([3.0, 5.0]) - 22.0).abs() < 1e-12);
    }
}
