//! Blocks with equal content, oldest first.
//!
//! What: a ring per content that more than one block has; the newest is the one before the oldest.
//! Why: computing a shared opening twice leaves two copies, and when the one that is looked up is taken the
//! next oldest must be found. Few contents have copies, so the links lie apart from what every block's
//! taking and releasing reads.
//! Limits: the links of a block that is in no ring mean nothing; its owner knows which are in one.

/// The links of all rings.
#[derive(Clone, Debug)]
pub(crate) struct Copies {
    /// Neighbours by block: the next older and the next newer.
    links: Vec<(u32, u32)>,
}

impl Copies {
    /// Links for so many blocks, none of them in a ring.
    pub(crate) fn new(blocks: u32) -> Self {
        Self {
            links: (0..blocks).map(|i| (i, i)).collect(),
        }
    }

    /// Makes a ring of one block.
    pub(crate) fn begin(&mut self, block: u32) {
        self.links[block as usize] = (block, block);
    }

    /// Enters a block as the newest of the ring whose oldest this is.
    pub(crate) fn join(&mut self, oldest: u32, block: u32) {
        let newest = self.links[oldest as usize].0;
        self.links[block as usize] = (newest, oldest);
        self.links[newest as usize].1 = block;
        self.links[oldest as usize].0 = block;
    }

    /// Takes a block out of its ring of two or more. Returns the next newer one (after the newest comes the
    /// oldest) and whether that is now alone.
    pub(crate) fn leave(&mut self, block: u32) -> (u32, bool) {
        let (older, newer) = self.links[block as usize];
        self.links[older as usize].1 = newer;
        self.links[newer as usize].0 = older;
        (newer, older == newer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_leaves_names_the_next_oldest() {
        let mut copies = Copies::new(5);
        copies.begin(3);
        copies.join(3, 0);
        copies.join(3, 4);
        // 3 is the oldest, then 0, then 4.
        assert_eq!(copies.leave(3), (0, false));
        copies.join(0, 2);
        // The one in the middle goes: 0, 2.
        assert_eq!(copies.leave(4), (2, false));
        // The newest goes: the oldest is next, and alone.
        assert_eq!(copies.leave(2), (0, true));
    }
}
