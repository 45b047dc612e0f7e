//! How many tokens a block has, in a file that does not say.
//!
//! A prompt of `p` tokens has `ceil(p / size)` ids, so every row bounds the size from both sides.

use std::num::NonZeroU64;

/// What Mooncake's own traces use.
const USUAL: u64 = 512;

/// The sizes that fit all rows so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockSizes {
    least: u64,
    most: u64,
}

impl BlockSizes {
    /// Any size from one token on.
    pub(super) const fn any() -> Self {
        Self {
            least: 1,
            most: u64::MAX,
        }
    }

    /// Takes in a prompt of `tokens` (at least 1) with `ids` (at least 1). `Err` with the sizes that
    /// fitted before, if none is left.
    pub(super) fn narrow(&mut self, tokens: u64, ids: u64) -> Result<(), Self> {
        // ceil(tokens / size) = ids, that is (ids - 1) * size < tokens <= ids * size.
        let least = self.least.max(tokens.div_ceil(ids));
        let most = match ids - 1 {
            0 => self.most,
            more => self.most.min((tokens - 1) / more),
        };
        if least > most {
            return Err(*self);
        }
        *self = Self { least, most };
        Ok(())
    }

    /// The size: the usual one if it fits, else the smallest power of two, else the smallest.
    pub(super) fn choose(self) -> NonZeroU64 {
        let fits = |size: &u64| (self.least..=self.most).contains(size);
        let power = self.least.checked_next_power_of_two().filter(fits);
        let size = Some(USUAL).filter(fits).or(power).unwrap_or(self.least);
        NonZeroU64::new(size).unwrap_or(NonZeroU64::MIN)
    }
}

impl std::fmt::Display for BlockSizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.most == u64::MAX {
            return write!(f, "at least {}", self.least);
        }
        write!(f, "{} to {}", self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(rows: &[(u64, u64)]) -> Option<u64> {
        let mut sizes = BlockSizes::any();
        for &(tokens, ids) in rows {
            sizes.narrow(tokens, ids).ok()?;
        }
        Some(sizes.choose().get())
    }

    #[test]
    fn the_size_is_what_all_rows_agree_on() {
        assert_eq!(chosen(&[]), Some(512));
        assert_eq!(chosen(&[(6758, 14), (7322, 15)]), Some(512));
        assert_eq!(chosen(&[(300, 1)]), Some(512));
        assert_eq!(chosen(&[(64, 4), (65, 5)]), Some(16));
        assert_eq!(chosen(&[(1000, 10), (1001, 11)]), Some(100));
        assert_eq!(chosen(&[(1000, 10), (1000, 2)]), None);
    }

    #[test]
    fn every_size_fits_its_own_rows() {
        for size in 1..40_u64 {
            let mut sizes = BlockSizes::any();
            for tokens in 1..200_u64 {
                sizes.narrow(tokens, tokens.div_ceil(size)).unwrap();
            }
            assert_eq!(sizes.choose().get(), size);
        }
    }
}
