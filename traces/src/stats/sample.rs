//! The numbers of one quantity, kept as they are: exact sums and exact quantiles.
//!
//! Limits: 8 bytes a number. A trace of 10^7 turns keeps about 0.5 GB; there is no sketch below it,
//! so a quantile is never an estimate.

/// Whole numbers (tokens, nanoseconds, counts) in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    values: Vec<u64>,
    sum: u128,
}

impl Sample {
    /// Adds one number.
    pub fn push(&mut self, value: u64) {
        self.values.push(value);
        self.sum += u128::from(value);
    }

    /// Adds the numbers of `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.values.extend_from_slice(&other.values);
        self.sum += other.sum;
    }

    /// How many numbers there are.
    pub const fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Their sum.
    pub const fn sum(&self) -> u128 {
        self.sum
    }

    /// Sorted, for quantiles.
    pub fn sorted(&self) -> Sorted {
        let mut values = self.values.clone();
        values.sort_unstable();
        Sorted {
            values,
            sum: self.sum,
        }
    }
}

impl FromIterator<u64> for Sample {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        let mut sample = Self::default();
        for value in values {
            sample.push(value);
        }
        sample
    }
}

/// A [`Sample`] in rising order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sorted {
    values: Vec<u64>,
    sum: u128,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a statistic is a report, not a clock: 53 bits are enough"
)]
impl Sorted {
    /// The numbers, rising.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// Their sum.
    pub const fn sum(&self) -> u128 {
        self.sum
    }

    /// Arithmetic mean; `None` of nothing.
    pub fn mean(&self) -> Option<f64> {
        (!self.values.is_empty()).then(|| self.sum as f64 / self.values.len() as f64)
    }

    /// Standard deviation of the numbers themselves (divided by n); `None` of nothing.
    pub fn deviation(&self) -> Option<f64> {
        let mean = self.mean()?;
        let squares = self.values.iter().map(|&v| (v as f64 - mean).powi(2));
        Some((squares.sum::<f64>() / self.values.len() as f64).sqrt())
    }

    /// The `share` quantile, linear between order statistics (rank `share * (n - 1)`); `None` of
    /// nothing. `share` is brought into 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is between 0 and n - 1"
    )]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        let rank = share.clamp(0.0, 1.0) * last as f64;
        let below = (rank.floor() as usize).min(last);
        let above = (below + 1).min(last);
        let (low, high) = (self.values[below] as f64, self.values[above] as f64);
        Some(low + (rank - below as f64) * (high - low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_order_statistics() {
        let sorted: Sorted = Sample::from_iter([4, 1, 3, 2]).sorted();
        assert_eq!(sorted.values(), [1, 2, 3, 4]);
        assert_eq!(sorted.sum(), 10);
        assert_eq!(sorted.mean(), Some(2.5));
        // Rank 0.5 * 3 = 1.5: between 2 and 3. Rank 0.9 * 3 = 2.7.
        assert_eq!(sorted.quantile(0.5), Some(2.5));
        assert!((sorted.quantile(0.9).unwrap() - 3.7).abs() < 1e-12);
        assert_eq!(sorted.quantile(0.0), Some(1.0));
        assert_eq!(sorted.quantile(1.0), Some(4.0));
        // Deviations -1.5, -0.5, 0.5, 1.5: mean square 1.25.
        assert_eq!(sorted.deviation(), Some(1.25_f64.sqrt()));
    }

    #[test]
    fn nothing_has_no_statistics() {
        let sorted = Sample::default().sorted();
        assert_eq!(
            (sorted.mean(), sorted.quantile(0.5), sorted.deviation()),
            (None, None, None)
        );
    }

    #[test]
    fn sums_pass_64_bits() {
        let sample = Sample::from_iter([u64::MAX, u64::MAX]);
        assert_eq!(sample.sum(), 2 * u128::from(u64::MAX));
    }
}
