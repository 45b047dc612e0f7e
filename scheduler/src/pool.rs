//! The KV block pool: reference counts, the LRU free list, and the prefix cache over it.
//!
//! What: integer block ids; a block is *held* (by turns, by pins, or both) or *free*. A free block
//! keeps its content until an allocation takes it, so it can still be hit.
//! Why: every operation is O(1) per block; nothing ever walks the pool.
//! Limits: content is named, not stored ([`Ident`]); the engine owns the tensors behind the ids.
//!
//! Rules (reference: vLLM V1 block pool): allocation takes the front of the free list and drops what
//! was cached there; a released block goes to the back, so callers release a turn's blocks tail
//! first and deeper blocks are lost first; content computed twice keeps both copies, the older hits.

use std::collections::VecDeque;

use units::{BlockId, Blocks};

use crate::cache::Index;
use crate::lineage::{Ident, Owner};

/// No block; ends of lists.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Block {
    /// Holders of any kind.
    refs: u32,
    /// Those of `refs` that are pins.
    pins: u32,
    /// Times it was given back: which of its entries in the free list counts.
    given_back: u32,
    /// Neighbours in the ring of copies with equal content, while cached.
    older: u32,
    newer: u32,
    /// The column of its content in the index, [`NONE`] while not cached; and its depth there.
    column: u32,
    depth: u32,
}

/// What left the prefix cache: the copy of this content that was taken was the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) ident: Ident,
    pub(crate) owner: Owner,
}

/// The pool of KV blocks of one engine.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    blocks: Vec<Block>,
    /// The free list: block and how often it had been given back. A block that was hit since leaves its
    /// entry behind; such entries are passed over and swept out now and then. An array, because a chain
    /// through the blocks themselves waits for memory at every link.
    queue: VecDeque<(u32, u32)>,
    free: u64,
    /// Blocks held by pins alone.
    pin_only: u64,
    /// Oldest copy of each cached content.
    cache: Index,
    /// Cached blocks dropped by an allocation, over the whole run.
    evicted: u64,
    /// Columns and depths of the last copies that allocations took, until somebody asks.
    lost: Vec<(u32, u32)>,
}

impl Pool {
    /// A pool of `usable` blocks, all free, in order of id.
    ///
    /// # Panics
    /// If `usable` does not fit 32 bits; [`crate::Config`] is validated before.
    pub(crate) fn new(usable: Blocks) -> Self {
        let n = u32::try_from(usable.get()).expect("validated: below 2^32 blocks");
        let blocks = (0..n)
            .map(|i| Block {
                refs: 0,
                pins: 0,
                given_back: 0,
                older: i,
                newer: i,
                column: NONE,
                depth: 0,
            })
            .collect();
        Self {
            blocks,
            queue: (0..n).map(|i| (i, 0)).collect(),
            free: u64::from(n),
            pin_only: 0,
            cache: Index::default(),
            evicted: 0,
            lost: Vec::new(),
        }
    }

    pub(crate) fn usable(&self) -> Blocks {
        Blocks(self.blocks.len() as u64)
    }

    #[inline]
    pub(crate) fn free(&self) -> Blocks {
        Blocks(self.free)
    }

    /// Blocks held by pins and by nobody else.
    #[inline]
    pub(crate) fn pin_only(&self) -> Blocks {
        Blocks(self.pin_only)
    }

    #[inline]
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    #[inline]
    fn block(&mut self, id: u32) -> &mut Block {
        &mut self.blocks[id as usize]
    }

    /// Takes the block at the front of the free list for one holder, and what its content's last
    /// copy was, if this was it. `None` when nothing is free.
    #[inline]
    pub(crate) fn allocate(&mut self) -> Option<BlockId> {
        let id = loop {
            let entry = self.queue.pop_front()?;
            if self.counts(entry) {
                break entry.0;
            }
        };
        self.free -= 1;
        self.block(id).refs = 1;
        let Block { column, depth, .. } = self.blocks[id as usize];
        if column != NONE {
            self.evicted += 1;
            if self.forget(id) {
                // Of one lineage the shallowest says it all: whoever hits to there hits no further.
                match self.lost.last_mut() {
                    Some((known, least)) if *known == column => *least = depth.min(*least),
                    _ => self.lost.push((column, depth)),
                }
            }
        }
        Some(BlockId(id))
    }

    /// Hands over which last copies the allocations since the last call have taken: of each run of one
    /// lineage the shallowest. To be called before anything is registered again.
    pub(crate) fn take_lost(&mut self, into: &mut Vec<Lost>) {
        for (column, depth) in self.lost.drain(..) {
            let (ident, owner) = self.cache.content(column, depth);
            into.push(Lost { ident, owner });
        }
    }

    /// Whether [`Pool::take_lost`] has anything to hand over.
    #[inline]
    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// The contents that the next `count` allocations take, those that take none left out.
    pub(crate) fn next_taken(&self, count: usize) -> impl Iterator<Item = (Ident, Owner)> {
        self.queue
            .iter()
            .filter(|&&entry| self.counts(entry))
            .take(count)
            .filter_map(|&(id, _)| self.cached(&self.blocks[id as usize]))
    }

    /// One more holder for a block (a hit). A free block leaves the free list.
    pub(crate) fn hold(&mut self, id: BlockId) {
        let Block { refs, pins, .. } = self.blocks[id.0 as usize];
        if refs == 0 {
            self.free -= 1;
        } else if refs == pins {
            self.pin_only -= 1;
        }
        self.block(id.0).refs = refs + 1;
    }

    /// One holder fewer; at none the block goes to the back of the free list, content kept.
    #[inline]
    pub(crate) fn release(&mut self, id: BlockId) {
        let block = self.block(id.0);
        debug_assert!(
            block.refs > block.pins,
            "released a block that only pins hold"
        );
        block.refs -= 1;
        if block.refs == 0 {
            self.link_back(id.0);
        } else if block.refs == block.pins {
            self.pin_only += 1;
        }
    }

    /// A holder becomes a pin: still held, but soft.
    pub(crate) fn pin(&mut self, id: BlockId) {
        let block = self.block(id.0);
        debug_assert!(block.refs > block.pins, "pinned a block that no turn holds");
        block.pins += 1;
        if block.refs == block.pins {
            self.pin_only += 1;
        }
    }

    /// A pin becomes an ordinary holder again.
    pub(crate) fn unpin(&mut self, id: BlockId) {
        let block = self.block(id.0);
        debug_assert!(block.pins > 0, "unpinned a block that no pin holds");
        let only = block.refs == block.pins;
        block.pins -= 1;
        if only {
            self.pin_only -= 1;
        }
    }

    /// Whether nobody holds the block, so that a hit on it takes from the free list.
    #[inline]
    pub(crate) fn is_free(&self, id: BlockId) -> bool {
        self.blocks[id.0 as usize].refs == 0
    }

    /// How many hold the block.
    #[inline]
    pub(crate) fn holders(&self, id: BlockId) -> u32 {
        self.blocks[id.0 as usize].refs
    }

    /// The oldest copy of this content, if any is left.
    #[inline]
    pub(crate) fn lookup(&self, ident: Ident) -> Option<BlockId> {
        self.cache.get(ident).map(BlockId)
    }

    /// How many contents of a lineage are cached from depth `from` on without a gap, at most up to depth
    /// `to`.
    #[inline]
    pub(crate) fn cached_run(&self, lineage: u64, from: u64, to: u64) -> u64 {
        self.cache.run(lineage, from, to)
    }

    /// The oldest copies of a lineage's contents from depth `from` up to depth `to`, up to the first gap.
    pub(crate) fn cached_blocks(
        &self,
        lineage: u64,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = BlockId> {
        self.cache.blocks(lineage, from, to).map(BlockId)
    }

    /// What the block is registered as.
    #[inline]
    pub(crate) fn content(&self, id: BlockId) -> Option<Ident> {
        let block = &self.blocks[id.0 as usize];
        self.cached(block).map(|(ident, _)| ident)
    }

    #[inline]
    fn cached(&self, block: &Block) -> Option<(Ident, Owner)> {
        (block.column != NONE).then(|| self.cache.content(block.column, block.depth))
    }

    /// Makes a held block hittable under this content. True when it is the only copy.
    #[inline]
    pub(crate) fn register(&mut self, id: BlockId, ident: Ident, owner: Owner) -> bool {
        let i = id.0;
        debug_assert!(self.blocks[i as usize].column == NONE, "registered twice");
        let (column, known) = self.cache.enter(ident, owner, i);
        let block = self.block(i);
        block.column = column;
        block.depth = ident.depth_bits();
        let Some(oldest) = known else {
            block.older = i;
            block.newer = i;
            return true;
        };
        // A ring: the newest copy is the one before the oldest.
        let newest = self.blocks[oldest as usize].older;
        self.block(i).older = newest;
        self.block(i).newer = oldest;
        self.block(newest).newer = i;
        self.block(oldest).older = i;
        false
    }

    /// Forgets the content of a block (it was never computed, or the block is taken).
    /// Returns what was lost if no copy is left.
    pub(crate) fn uncache(&mut self, id: BlockId) -> Option<Lost> {
        let Block { column, depth, .. } = self.blocks[id.0 as usize];
        if column == NONE {
            return None;
        }
        let (ident, owner) = self.cache.content(column, depth);
        self.forget(id.0).then_some(Lost { ident, owner })
    }

    /// Forgets the content of a block that has some; whether no copy is left.
    #[inline]
    fn forget(&mut self, i: u32) -> bool {
        let Block {
            older,
            newer,
            column,
            depth,
            ..
        } = self.blocks[i as usize];
        self.block(i).column = NONE;
        if newer == i {
            self.cache.remove(column, depth);
            return true;
        }
        self.block(older).newer = newer;
        self.block(newer).older = older;
        if self.cache.at(column, depth) == Some(i) {
            self.cache.replace(column, depth, newer);
        }
        false
    }

    /// Whether an entry of the free list is of a block that is free since then.
    #[inline]
    fn counts(&self, (id, given_back): (u32, u32)) -> bool {
        let block = &self.blocks[id as usize];
        block.refs == 0 && block.given_back == given_back
    }

    #[inline]
    fn link_back(&mut self, id: u32) {
        if self.queue.len() >= 2 * self.blocks.len() {
            let blocks = &self.blocks;
            self.queue.retain(|&(id, given_back)| {
                let block = &blocks[id as usize];
                block.refs == 0 && block.given_back == given_back
            });
        }
        let block = self.block(id);
        block.given_back = block.given_back.wrapping_add(1);
        let entry = (id, block.given_back);
        self.queue.push_back(entry);
        self.free += 1;
    }

    /// Checks conservation by walking everything; for debug builds and tests only.
    ///
    /// `held` are the blocks of every turn and pin, in any order.
    pub(crate) fn check(&self, held: impl Iterator<Item = BlockId>) -> Result<(), String> {
        let mut refs = vec![0_u32; self.blocks.len()];
        for id in held {
            refs[id.0 as usize] += 1;
        }
        let mut free = 0_u64;
        for &(id, _) in self.queue.iter().filter(|&&entry| self.counts(entry)) {
            free += 1;
            if refs[id as usize] != 0 {
                return Err(format!("block b{id} is free and held"));
            }
        }
        let used = refs.iter().filter(|&&r| r > 0).count() as u64;
        if free != self.free || used + free != self.blocks.len() as u64 {
            return Err(format!(
                "{used} held + {free} free (counter: {}) is not {} blocks",
                self.free,
                self.blocks.len()
            ));
        }
        for (i, (block, &want)) in self.blocks.iter().zip(&refs).enumerate() {
            if block.refs != want {
                return Err(format!(
                    "block b{i} counts {} holders, has {want}",
                    block.refs
                ));
            }
        }
        let pin_only = self
            .blocks
            .iter()
            .filter(|b| b.refs > 0 && b.refs == b.pins)
            .count() as u64;
        if pin_only == self.pin_only {
            Ok(())
        } else {
            Err(format!(
                "{pin_only} blocks are held by pins alone, counter says {}",
                self.pin_only
            ))
        }
    }
}
