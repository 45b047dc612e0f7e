//! Least squares with coefficients that are not negative, for a handful of them.
//!
//! Every subset of the coefficients is solved without the bound and the best admissible one taken: exact,
//! and with seven coefficients 127 systems of at most seven equations. Larger problems would want the
//! active-set method of Lawson and Hanson instead.

/// The sums that a least-squares problem over `N` coefficients depends on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gram<const N: usize> {
    /// Products of columns, summed over rows.
    products: [[f64; N]; N],
    /// Products of columns and targets.
    targets: [f64; N],
    /// Square of the targets.
    square: f64,
}

impl<const N: usize> Default for Gram<N> {
    fn default() -> Self {
        Self {
            products: [[0.0; N]; N],
            targets: [0.0; N],
            square: 0.0,
        }
    }
}

impl<const N: usize> Gram<N> {
    /// Adds a row and its target.
    pub(super) fn add(&mut self, row: &[f64; N], target: f64) {
        for (i, &a) in row.iter().enumerate() {
            for (j, &b) in row.iter().enumerate() {
                self.products[i][j] += a * b;
            }
            self.targets[i] += a * target;
        }
        self.square += target * target;
    }

    /// The coefficients, none negative, with the least squares. A column of zeros gets 0.
    pub(super) fn solve(&self) -> [f64; N] {
        let mut best = ([0.0; N], self.square);
        for subset in 1..1_u32 << N {
            let picked: Vec<usize> = (0..N).filter(|i| subset >> i & 1 == 1).collect();
            let Some(solved) = self.unbounded(&picked) else {
                continue;
            };
            if solved.iter().any(|x| *x < 0.0) {
                continue;
            }
            let mut x = [0.0; N];
            for (&at, value) in picked.iter().zip(solved) {
                x[at] = value;
            }
            let rest = self.residual(&x);
            if rest < best.1 {
                best = (x, rest);
            }
        }
        best.0
    }

    /// Sum of squares left by these coefficients.
    pub(super) fn residual(&self, x: &[f64; N]) -> f64 {
        let mut rest = self.square;
        for i in 0..N {
            rest -= 2.0 * x[i] * self.targets[i];
            for j in 0..N {
                rest += x[i] * x[j] * self.products[i][j];
            }
        }
        rest
    }

    /// Solves for the picked columns alone by elimination with pivoting, each scaled to length 1. `None`
    /// if they depend on each other.
    fn unbounded(&self, picked: &[usize]) -> Option<Vec<f64>> {
        let n = picked.len();
        let scale: Vec<f64> = picked.iter().map(|&i| self.products[i][i].sqrt()).collect();
        if scale.contains(&0.0) {
            return None;
        }
        let mut rows: Vec<Vec<f64>> = (0..n)
            .map(|a| {
                let i = picked[a];
                let column = |b: usize| self.products[i][picked[b]] / (scale[a] * scale[b]);
                let mut row: Vec<f64> = (0..n).map(column).collect();
                row.push(self.targets[i] / scale[a]);
                row
            })
            .collect();
        for step in 0..n {
            let pivot =
                (step..n).max_by(|&a, &b| rows[a][step].abs().total_cmp(&rows[b][step].abs()))?;
            rows.swap(step, pivot);
            if rows[step][step].abs() < 1e-10 {
                return None;
            }
            let (above, below) = rows.split_at_mut(step + 1);
            let lead = &above[step];
            for row in below {
                let factor = row[step] / lead[step];
                for (x, y) in row.iter_mut().zip(lead).skip(step) {
                    *x -= factor * y;
                }
            }
        }
        let mut x = vec![0.0; n];
        for at in (0..n).rev() {
            let known: f64 = (at + 1..n).map(|j| rows[at][j] * x[j]).sum();
            x[at] = (rows[at][n] - known) / rows[at][at];
        }
        Some(x.iter().zip(&scale).map(|(x, s)| x / s).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_be_negative_is_zero() {
        // y = 3 - x at x = 0, 1, 2: slope -1 is not allowed, and the best constant is 2.
        let mut gram = Gram::<2>::default();
        for x in [0.0, 1.0, 2.0] {
            gram.add(&[1.0, x], 3.0 - x);
        }
        let [constant, slope] = gram.solve();
        assert!((constant - 2.0).abs() < 1e-12 && slope.abs() < 1e-12);
    }

    #[test]
    fn columns_that_say_the_same_do_not_stop_it() {
        let mut gram = Gram::<3>::default();
        for x in [1.0, 2.0, 5.0] {
            gram.add(&[x, 2.0 * x, 0.0], 4.0 * x);
        }
        let x = gram.solve();
        assert!(gram.residual(&x) < 1e-9);
        assert!((x[0] + 2.0 * x[1] - 4.0).abs() < 1e-9, "{x:?}");
    }

    proptest! {
        /// The conditions of Karush, Kuhn and Tucker, which make a solution the optimum: the slope is zero
        /// along a coefficient above zero and not downwards along one at zero.
        #[test]
        fn the_solution_is_the_optimum(
            rows in prop::collection::vec((prop::array::uniform4(0.1_f64..10.0), -5.0_f64..20.0), 6..30)
        ) {
            let mut gram = Gram::<4>::default();
            for (row, target) in &rows {
                gram.add(row, *target);
            }
            let x = gram.solve();
            let scale = gram.square.max(1.0) * 1e-7;
            for i in 0..4 {
                let slope: f64 = rows
                    .iter()
                    .map(|(row, target)| {
                        let made: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
                        row[i] * (made - target)
                    })
                    .sum();
                prop_assert!(x[i] >= 0.0);
                prop_assert!(slope >= -scale, "{slope} along {i} of {x:?}");
                prop_assert!(x[i] == 0.0 || slope <= scale, "{slope} along {i} of {x:?}");
            }
        }
    }
}
