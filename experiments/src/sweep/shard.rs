//! Which part of a sweep a process does, when several share it.
//!
//! Why by hash: the part of a run depends on the run alone, so parts need not talk to each other, and
//! a sweep that grows keeps what its parts have done.
//! Limits: parts are equal only on average.

use anyhow::anyhow;

use crate::failure::Failure;

/// Part `index` of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u64,
    /// How many there are, at least 1.
    pub of: u64,
}

impl Shard {
    /// Reads `I/N`.
    ///
    /// # Errors
    /// Bad input, with what it may be.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let parts = text.trim().split_once('/');
        let numbers = parts.and_then(|(i, n)| Some((i.parse::<u64>().ok()?, n.parse().ok()?)));
        numbers
            .filter(|(index, of)| index < of)
            .map(|(index, of)| Self { index, of })
            .ok_or_else(|| {
                let wanted = "I/N with N at least 1 and I from 0 to N - 1";
                Failure::bad_input(anyhow!("`--shard` is `{text}` (wanted: {wanted})"))
            })
    }

    /// Whether the run is in this part: by its hash, so that a part's runs do not depend on what else
    /// is swept.
    pub fn has(&self, digest: &blake3::Hash) -> bool {
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        u64::from_be_bytes(first) % self.of == self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_is_in_exactly_one_part() {
        for of in 1..6 {
            for n in 0..100_u32 {
                let digest = blake3::hash(&n.to_le_bytes());
                let parts = (0..of).filter(|&index| Shard { index, of }.has(&digest));
                assert_eq!(parts.count(), 1);
            }
        }
    }

    #[test]
    fn a_shard_is_one_of_so_many() {
        assert_eq!(Shard::parse("3/4").unwrap(), Shard { index: 3, of: 4 });
        for text in ["4/4", "0/0", "1", "-1/2", "1/2/3", "a/b", ""] {
            let error = Shard::parse(text).unwrap_err().error.to_string();
            assert!(
                error.starts_with(&format!("`--shard` is `{text}`")),
                "{error}"
            );
        }
    }
}
