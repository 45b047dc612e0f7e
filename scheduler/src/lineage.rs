//! What a KV block contains, by name instead of by token.
//!
//! Two blocks hold equal content when they stand at the same depth of the same *lineage*. A lineage
//! begins with a turn's first token that no earlier turn of the session has at that place (or with
//! a group's shared opening), so block `k` of a turn carries the lineage of the earliest turn whose
//! content reaches it unchanged. A block that straddles the boundary is new content.
//!
//! Shared openings form a tree. A session names the groups along its path; a group stands for all
//! leading tokens up to where it ends, so a block belongs to the first group that covers the whole
//! of it, and one that straddles the end of a group to the next.
//!
//! This is exact where a hash over tokens would be, and needs no tokens: the trace says how many
//! leading tokens a turn has in common with the one before it.

use units::{Blocks, SessionId};

/// Content of one full block: a lineage and the depth within the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ident(u64);

/// Bits of [`Ident`] that hold the depth: contexts up to 2^24 blocks.
const DEPTH_BITS: u32 = 24;

impl Ident {
    /// Content at block `depth` of `lineage`.
    #[inline]
    pub(crate) fn new(lineage: u64, depth: u64) -> Self {
        debug_assert!(
            depth < 1 << DEPTH_BITS,
            "validated: contexts below 2^24 blocks"
        );
        Self(lineage << DEPTH_BITS | depth)
    }

    /// Where it branched off.
    #[inline]
    pub(crate) fn lineage(self) -> u64 {
        self.0 >> DEPTH_BITS
    }

    /// Whether the other content is the next block of the same lineage.
    pub(crate) fn is_before(self, other: Self) -> bool {
        self.lineage() == other.lineage() && self.depth() + Blocks(1) == other.depth()
    }

    /// The same as [`Ident::depth`] in 32 bits.
    #[inline]
    pub(crate) fn depth_bits(self) -> u32 {
        (self.0 & ((1 << DEPTH_BITS) - 1)) as u32
    }

    /// The block's place in its context, counted from 0.
    #[inline]
    pub(crate) fn depth(self) -> Blocks {
        Blocks(self.0 & ((1 << DEPTH_BITS) - 1))
    }
}

/// Whose waiting turns a change of this content concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Only this session can hit it.
    Session(SessionId),
    /// Every session of the group can.
    Group,
}

/// The lineages along one session's context, shallow to deep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineage {
    /// `(first block, lineage)`, by rising first block; the last entry reaches to the end.
    segments: Vec<(u64, u64)>,
    /// Leading blocks that belong to shared openings.
    shared: u64,
    /// The groups that it opened with, though a later turn may have kept none of them.
    groups: Vec<u64>,
}

impl Lineage {
    /// The context of a first turn: each group's lineage up to so many leading blocks, then its own.
    pub(crate) fn first(own: u64, groups: &[(u64, Blocks)]) -> Self {
        let mut segments = Vec::with_capacity(groups.len() + 1);
        let mut shared = 0;
        for &(lineage, Blocks(end)) in groups {
            // A group that fills no block of its own leaves no trace.
            if end > shared {
                segments.push((shared, lineage));
                shared = end;
            }
        }
        segments.push((shared, own));
        let groups = segments[..segments.len() - 1].iter();
        let groups = groups.map(|&(_, lineage)| lineage).collect();
        Self {
            segments,
            shared,
            groups,
        }
    }

    /// The next turn's context: its first `kept` blocks as before, new content from there on.
    pub(crate) fn branch(&mut self, kept: Blocks, own: u64) {
        while self
            .segments
            .last()
            .is_some_and(|&(start, _)| start >= kept.get())
        {
            self.segments.pop();
        }
        self.segments.push((kept.get(), own));
        self.shared = self.shared.min(kept.get());
    }

    /// Lineages of the groups that the session's first turn opened with.
    pub(crate) fn groups(&self) -> &[u64] {
        &self.groups
    }

    /// Content of block `k` and who can hit it.
    #[inline]
    pub(crate) fn at(&self, k: u64, session: SessionId) -> (Ident, Owner) {
        // Mostly asked for the deep end, so search from there.
        let &(_, lineage) = self
            .segments
            .iter()
            .rev()
            .find(|&&(start, _)| start <= k)
            .expect("the first segment starts at 0");
        let owner = if k < self.shared {
            Owner::Group
        } else {
            Owner::Session(session)
        };
        (Ident::new(lineage, k), owner)
    }

    /// The lineages of the first `end` blocks, each with its first block and the one after its last.
    pub(crate) fn runs(&self, end: u64) -> impl Iterator<Item = (u64, u64, u64)> {
        let ends = self.segments.iter().skip(1).map(|&(start, _)| start);
        self.segments
            .iter()
            .zip(ends.chain([u64::MAX]))
            .map(move |(&(start, lineage), next)| (lineage, start, next.min(end)))
            .take_while(|&(_, start, next)| start < next)
    }

    /// The same for the blocks from `from` up to `end`, with who can hit each.
    pub(crate) fn runs_within(
        &self,
        from: u64,
        end: u64,
        session: SessionId,
    ) -> impl Iterator<Item = (u64, u64, u64, Owner)> {
        // Mostly asked for the deep end, so search from there.
        let first = self.segments.iter().rposition(|&(start, _)| start <= from);
        let segments = &self.segments[first.unwrap_or(0)..];
        let ends = segments.iter().skip(1).map(|&(start, _)| start);
        segments
            .iter()
            .zip(ends.chain([u64::MAX]))
            .map(move |(&(start, lineage), next)| {
                // Shared openings end where a segment ends.
                let owner = if start < self.shared {
                    Owner::Group
                } else {
                    Owner::Session(session)
                };
                (lineage, start.max(from), next.min(end), owner)
            })
            .take_while(|&(_, start, next, _)| start < next)
    }

    /// Leading blocks of shared openings.
    #[inline]
    pub(crate) fn shared(&self) -> Blocks {
        Blocks(self.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SessionId = SessionId(7);

    #[test]
    fn a_turn_keeps_the_content_it_reuses_and_no_more() {
        let mut line = Lineage::first(10, &[(3, Blocks(2))]);
        assert_eq!(line.at(1, S), (Ident::new(3, 1), Owner::Group));
        assert_eq!(line.at(2, S), (Ident::new(10, 2), Owner::Session(S)));

        line.branch(Blocks(5), 11);
        assert_eq!(line.at(4, S).0, Ident::new(10, 4));
        assert_eq!(line.at(5, S).0, Ident::new(11, 5));

        // A context reset keeps only one shared block.
        line.branch(Blocks(1), 12);
        assert_eq!(line.at(0, S), (Ident::new(3, 0), Owner::Group));
        assert_eq!(line.at(1, S), (Ident::new(12, 1), Owner::Session(S)));
    }

    #[test]
    fn a_block_belongs_to_the_first_group_that_covers_it() {
        // Groups that end within block 2, within the same block, and after 5 blocks.
        let groups = [(3, Blocks(2)), (4, Blocks(2)), (5, Blocks(5))];
        let mut line = Lineage::first(10, &groups);
        let lineages = |line: &Lineage| {
            let by_block = (0..7).map(|k| line.at(k, S)).collect::<Vec<_>>();
            for from in 0..7 {
                let runs = line
                    .runs_within(from, 7, S)
                    .flat_map(|(lineage, a, b, owner)| {
                        (a..b).map(move |k| (Ident::new(lineage, k), owner))
                    });
                assert_eq!(
                    runs.collect::<Vec<_>>(),
                    by_block[usize::try_from(from).unwrap()..]
                );
            }
            by_block
        };
        let of = |lineage, k| (Ident::new(lineage, k), Owner::Group);
        let own = |lineage, k| (Ident::new(lineage, k), Owner::Session(S));
        let wanted = [
            of(3, 0),
            of(3, 1),
            of(5, 2),
            of(5, 3),
            of(5, 4),
            own(10, 5),
            own(10, 6),
        ];
        assert_eq!(lineages(&line), wanted);
        assert_eq!(line.shared(), Blocks(5));

        // The next turn keeps the opening up to within the second group's blocks.
        line.branch(Blocks(3), 11);
        assert_eq!(
            lineages(&line)[..4],
            [wanted[0], wanted[1], wanted[2], own(11, 3)]
        );
        assert_eq!(line.shared(), Blocks(3));
    }
}
