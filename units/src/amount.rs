//! Counts of tokens, KV blocks and bytes, and how tokens become blocks.

use std::fmt;
use std::num::NonZeroU64;

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// None.
            pub const ZERO: Self = Self(0);

            /// The bare number, for arithmetic that mixes units on purpose.
            #[inline]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// This less `other`; zero if `other` is larger.
            #[inline]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl std::ops::Add for $name {
            type Output = Self;
            #[inline]
            fn add(self, other: Self) -> Self {
                Self(self.0.checked_add(other.0).expect(concat!($noun, " passed 2^64")))
            }
        }

        impl std::ops::AddAssign for $name {
            #[inline]
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl std::ops::Sub for $name {
            type Output = Self;
            #[inline]
            fn sub(self, other: Self) -> Self {
                Self(self.0.checked_sub(other.0).expect(concat!($noun, " went below zero")))
            }
        }

        impl std::ops::SubAssign for $name {
            #[inline]
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                parts.fold(Self::ZERO, std::ops::Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

amount!(
    /// A number of tokens.
    Tokens,
    "a token count"
);
amount!(
    /// A number of KV blocks.
    Blocks,
    "a block count"
);
amount!(
    /// A number of bytes.
    Bytes,
    "a byte count"
);

/// Tokens that one KV block holds; 16 in vLLM and in every reference case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize(NonZeroU64);

impl BlockSize {
    /// A block of `tokens` tokens, or `None` for zero.
    pub const fn new(tokens: u64) -> Option<Self> {
        match NonZeroU64::new(tokens) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// Tokens per block.
    #[inline]
    pub const fn tokens(self) -> Tokens {
        Tokens(self.0.get())
    }

    /// Blocks needed to hold `n` tokens; the last may be part full.
    #[inline]
    pub const fn to_hold(self, n: Tokens) -> Blocks {
        Blocks(n.0.div_ceil(self.0.get()))
    }

    /// Blocks that `n` tokens fill completely. Only those can be in a prefix cache.
    #[inline]
    pub const fn filled_by(self, n: Tokens) -> Blocks {
        Blocks(n.0 / self.0.get())
    }

    /// Tokens that `n` full blocks hold.
    ///
    /// # Panics
    /// Past 2^64 tokens.
    #[inline]
    pub fn capacity(self, n: Blocks) -> Tokens {
        Tokens(
            n.0.checked_mul(self.0.get())
                .expect("a token count passed 2^64"),
        )
    }
}

impl Default for BlockSize {
    fn default() -> Self {
        Self(NonZeroU64::new(16).expect("16 is not zero"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_full_block_is_held_but_not_filled() {
        let size = BlockSize::default();
        assert_eq!(size.to_hold(Tokens(119)), Blocks(8));
        assert_eq!(size.filled_by(Tokens(119)), Blocks(7));
        assert_eq!(size.to_hold(Tokens(0)), Blocks(0));
    }

    #[test]
    #[should_panic(expected = "a block count went below zero")]
    fn counts_do_not_wrap() {
        let _ = Blocks(1) - Blocks(2);
    }
}
