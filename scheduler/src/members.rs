//! Which sessions name which group.
//!
//! Why: when a block of a shared opening is computed or lost, the waiting turns that could hit it have
//! to hear of it. A workload of block hashes has thousands of groups, most of few sessions: to ask
//! every waiting turn about every block would cost more than all else.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

/// The sessions that are here, as slots, by the lineage of each group along their openings.
#[derive(Debug, Default)]
pub(crate) struct Members {
    by_lineage: FxHashMap<u64, BTreeSet<u32>>,
}

impl Members {
    pub(crate) fn enter(&mut self, lineages: &[u64], slot: u32) {
        for lineage in lineages {
            self.by_lineage.entry(*lineage).or_default().insert(slot);
        }
    }

    pub(crate) fn leave(&mut self, lineages: &[u64], slot: u32) {
        for lineage in lineages {
            if let Some(slots) = self.by_lineage.get_mut(lineage) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.by_lineage.remove(lineage);
                }
            }
        }
    }

    /// Those whose openings name the group of this lineage.
    pub(crate) fn of(&self, lineage: u64) -> impl Iterator<Item = u32> {
        self.by_lineage.get(&lineage).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_is_not_told() {
        let mut members = Members::default();
        members.enter(&[1, 2], 7);
        members.enter(&[1], 3);
        let of = |members: &Members, lineage| members.of(lineage).collect::<Vec<_>>();
        assert_eq!(of(&members, 1), [3, 7]);
        assert_eq!(of(&members, 2), [7]);
        members.leave(&[1, 2], 7);
        assert_eq!(of(&members, 1), [3]);
        assert_eq!(of(&members, 2), []);
    }
}
