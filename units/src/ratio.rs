//! Shares of a count, rounded exactly.

/// `ceil(count * percent / 100)`, in integers.
///
/// A float gives 11 for 10 % of 100 (`0.1 * 100.0` is above 10), and one block decides an admission.
///
/// # Panics
/// If the share passes 2^64, which takes a percentage above 100.
pub const fn ceil_share(count: u64, percent: u64) -> u64 {
    // Widen: a pool of 2^60 blocks times 100 does not fit 64 bits.
    let product = count as u128 * percent as u128;
    let share = product.div_ceil(100);
    assert!(share <= u64::MAX as u128, "a share passed 2^64");
    #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
    let share = share as u64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_a_hundred_is_ten() {
        assert_eq!(ceil_share(100, 10), 10);
        assert_eq!(ceil_share(101, 10), 11);
        assert_eq!(ceil_share(16_999, 10), 1_700);
    }
}
