//! What a KV block contains, by name instead of by token.
//!
//! Two blocks hold equal content when they stand at the same depth of the same *lineage*. A lineage
//! begins with a turn's first token that no earlier turn of the session has at that place (or with
//! a group's shared opening), so block `k` of a turn carries the lineage of the earliest turn whose
//! content reaches it unchanged. A block that straddles the boundary is new content.
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
    /// Leading blocks that belong to the group's shared opening.
    shared: u64,
}

impl Lineage {
    /// The context of a first turn: `shared` blocks of the group's lineage, then its own.
    pub(crate) fn first(own: u64, group: Option<(u64, Blocks)>) -> Self {
        match group {
            Some((lineage, Blocks(shared))) if shared > 0 => Self {
                segments: vec![(0, lineage), (shared, own)],
                shared,
            },
            _ => Self {
                segments: vec![(0, own)],
                shared: 0,
            },
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

    /// Leading blocks of the group's shared opening.
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
        let mut line = Lineage::first(10, Some((3, Blocks(2))));
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
}
