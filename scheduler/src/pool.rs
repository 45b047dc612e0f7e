//! The KV block pool: reference counts, the LRU free list, and the prefix cache over it.
//!
//! What: integer block ids; a block is *held* (by turns, by pins, or both) or *free*. A free block
//! keeps its content until an allocation takes it, so it can still be hit.
//! Why: nothing ever walks the pool, and blocks are taken, made hittable and given back in runs, so that
//! a block costs a look at its own record and everything else is paid once per run.
//! Limits: content is named, not stored ([`Ident`]); the engine owns the tensors behind the ids.
//!
//! Rules (reference: vLLM V1 block pool): allocation takes the front of the free list and drops what
//! was cached there; a released block goes to the back, so callers release a turn's blocks tail
//! first and deeper blocks are lost first; content computed twice keeps both copies, the older hits.

use std::cell::Cell;
use std::collections::VecDeque;

use units::{BlockId, Blocks};

use crate::cache::Index;
use crate::copies::Copies;
use crate::lineage::{Ident, Owner};

/// No column.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Block {
    /// Holders of any kind.
    refs: u32,
    /// Times it was given back: which of its entries in the free list counts.
    given_back: u32,
    /// The column of its content in the index, [`NONE`] while not cached.
    column: u32,
    /// Its depth there, with [`COPIED`] set while other blocks have the same content.
    place: u32,
}

/// Depths have 24 bits. In the place of a bool, so that four blocks fill a cache line.
const COPIED: u32 = 1 << 31;

impl Block {
    #[inline]
    fn depth(&self) -> u32 {
        self.place & !COPIED
    }

    #[inline]
    fn is_copied(&self) -> bool {
        self.place & COPIED != 0
    }

    /// Whether its entry in the free list with this count is that of a block that is free since then.
    #[inline]
    fn is_free_since(&self, given_back: u32) -> bool {
        self.refs == 0 && self.given_back == given_back
    }
}

/// Content that allocations take one after the other: the only copies of a column's depths from `low` up
/// to `high`, deepest first, as they were released.
#[derive(Clone, Copy, Debug)]
struct Run {
    column: u32,
    low: u32,
    high: u32,
}

impl Run {
    const EMPTY: Self = Self {
        column: NONE,
        low: 0,
        high: 0,
    };
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
    /// How many of a block's holders are pins.
    pins: Vec<u32>,
    /// The free list: block and how often it had been given back. A block that was hit since leaves its
    /// entry behind; such entries are passed over and swept out now and then. An array, because a chain
    /// through the blocks themselves waits for memory at every link.
    queue: VecDeque<(u32, u32)>,
    free: u64,
    /// Blocks held by pins alone.
    pin_only: u64,
    /// Oldest copy of each cached content.
    cache: Index,
    /// The other copies.
    copies: Copies,
    /// Cached blocks dropped by an allocation, over the whole run.
    evicted: u64,
    /// Columns and depths of the last copies that allocations took, until somebody asks.
    lost: Vec<(u32, u32)>,
    /// What was counted last of a shared opening: lineage, depths and sum. Everybody who waits for it asks
    /// when it changes; `None` since the last change of a holder or of content.
    counted: Cell<Option<([u64; 3], u64)>>,
}

impl Pool {
    /// A pool of `usable` blocks, all free, in order of id.
    ///
    /// # Panics
    /// If `usable` does not fit 32 bits; [`crate::Config`] is validated before.
    pub(crate) fn new(usable: Blocks) -> Self {
        let n = u32::try_from(usable.get()).expect("validated: below 2^32 blocks");
        let block = Block {
            refs: 0,
            given_back: 0,
            column: NONE,
            place: 0,
        };
        Self {
            blocks: vec![block; n as usize],
            pins: vec![0; n as usize],
            queue: (0..n).map(|i| (i, 0)).collect(),
            free: u64::from(n),
            pin_only: 0,
            cache: Index::default(),
            copies: Copies::new(n),
            evicted: 0,
            lost: Vec::new(),
            counted: Cell::new(None),
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

    /// Takes `count` blocks from the front of the free list for one holder, first come first, and drops
    /// what was cached there.
    ///
    /// # Panics
    /// If fewer are free.
    pub(crate) fn allocate(&mut self, count: Blocks, into: &mut Vec<BlockId>) {
        assert!(count <= self.free(), "room was made before");
        self.counted.set(None);
        self.free -= count.get();
        let mut left = count.get();
        let mut seen = 0;
        let mut run = Run::EMPTY;
        for &(id, given_back) in &self.queue {
            if left == 0 {
                break;
            }
            seen += 1;
            let block = &mut self.blocks[id as usize];
            if !block.is_free_since(given_back) {
                continue;
            }
            left -= 1;
            block.refs = 1;
            into.push(BlockId(id));
            let (column, depth) = (block.column, block.depth());
            if column == NONE {
                continue;
            }
            self.evicted += 1;
            if block.is_copied() {
                // Another copy stands in for it; what was taken before comes first.
                end_run(
                    &mut self.cache,
                    &mut self.lost,
                    std::mem::replace(&mut run, Run::EMPTY),
                );
                forget_copy(&mut self.blocks, &mut self.copies, &mut self.cache, id);
                continue;
            }
            block.column = NONE;
            if run.column == column && depth + 1 == run.low {
                run.low = depth;
                continue;
            }
            end_run(&mut self.cache, &mut self.lost, run);
            run = Run {
                column,
                low: depth,
                high: depth + 1,
            };
        }
        end_run(&mut self.cache, &mut self.lost, run);
        self.queue.drain(..seen);
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
            .filter(|&&(id, given_back)| self.blocks[id as usize].is_free_since(given_back))
            .take(count)
            .filter_map(|&(id, _)| self.cached(&self.blocks[id as usize]))
    }

    /// One more holder for a block (a hit). A free block leaves the free list.
    pub(crate) fn hold(&mut self, id: BlockId) {
        self.counted.set(None);
        let refs = self.blocks[id.0 as usize].refs;
        if refs == 0 {
            self.free -= 1;
        } else if refs == self.pins[id.0 as usize] {
            self.pin_only -= 1;
        }
        self.block(id.0).refs = refs + 1;
    }

    /// One holder fewer for each block, last first; at none a block goes to the back of the free list,
    /// content kept.
    pub(crate) fn release(&mut self, ids: &[BlockId]) {
        self.counted.set(None);
        if self.queue.len() + ids.len() > 2 * self.blocks.len() {
            let blocks = &self.blocks;
            self.queue
                .retain(|&(id, given_back)| blocks[id as usize].is_free_since(given_back));
        }
        for &BlockId(id) in ids.iter().rev() {
            let block = &mut self.blocks[id as usize];
            debug_assert!(
                block.refs > self.pins[id as usize],
                "released a block that only pins hold"
            );
            block.refs -= 1;
            if block.refs == 0 {
                block.given_back = block.given_back.wrapping_add(1);
                self.queue.push_back((id, block.given_back));
                self.free += 1;
            } else if block.refs == self.pins[id as usize] {
                self.pin_only += 1;
            }
        }
    }

    /// A holder becomes a pin: still held, but soft.
    pub(crate) fn pin(&mut self, id: BlockId) {
        let refs = self.blocks[id.0 as usize].refs;
        let pins = &mut self.pins[id.0 as usize];
        debug_assert!(refs > *pins, "pinned a block that no turn holds");
        *pins += 1;
        if refs == *pins {
            self.pin_only += 1;
        }
    }

    /// A pin becomes an ordinary holder again.
    pub(crate) fn unpin(&mut self, id: BlockId) {
        let refs = self.blocks[id.0 as usize].refs;
        let pins = &mut self.pins[id.0 as usize];
        debug_assert!(*pins > 0, "unpinned a block that no pin holds");
        if refs == *pins {
            self.pin_only -= 1;
        }
        *pins -= 1;
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
        (block.column != NONE).then(|| self.cache.content(block.column, block.depth()))
    }

    /// How many blocks that hold a lineage's contents from depth `from` up to depth `to` somebody holds,
    /// counted over the oldest copies.
    pub(crate) fn cached_held(&self, lineage: u64, from: u64, to: u64) -> u64 {
        let asked = [lineage, from, to];
        if let Some((known, sum)) = self.counted.get()
            && known == asked
        {
            return sum;
        }
        let held = |&id: &u32| self.blocks[id as usize].refs > 0;
        let sum = self.cache.some(lineage, from, to).filter(held).count() as u64;
        self.counted.set(Some((asked, sum)));
        sum
    }

    /// Makes held blocks hittable under the content of a lineage from depth `from` on, a block a depth.
    /// Of a group's content, what had no copy before goes into `found`, shallow to deep.
    pub(crate) fn register(
        &mut self,
        ids: &[BlockId],
        (lineage, from): (u64, u64),
        owner: Owner,
        found: &mut Vec<Ident>,
    ) {
        self.counted.set(None);
        let column = self.cache.column_of(Ident::new(lineage, from), owner);
        let mut ids = ids;
        let mut depth = from;
        // Where the lineage had content before, a look at each depth; beyond that all is new.
        let known = self.cache.end(column).saturating_sub(from);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let (before, new) = ids.split_at(known.min(ids.len()));
        for &BlockId(id) in before {
            let place = Ident::new(lineage, depth).depth_bits();
            let oldest = self.cache.enter(column, place, id);
            let block = self.block(id);
            debug_assert!(block.column == NONE, "registered twice");
            (block.column, block.place) = (column, place);
            if let Some(oldest) = oldest {
                block.place |= COPIED;
                let oldest_block = self.block(oldest);
                if !oldest_block.is_copied() {
                    oldest_block.place |= COPIED;
                    self.copies.begin(oldest);
                }
                self.copies.join(oldest, id);
            } else if owner == Owner::Group {
                found.push(Ident::new(lineage, depth));
            }
            depth += 1;
        }
        ids = new;
        if ids.is_empty() {
            return;
        }
        self.cache
            .append(column, Ident::new(lineage, depth).depth_bits(), ids);
        for (place, &BlockId(id)) in (Ident::new(lineage, depth).depth_bits()..).zip(ids) {
            let block = &mut self.blocks[id as usize];
            debug_assert!(block.column == NONE, "registered twice");
            (block.column, block.place) = (column, place);
        }
        if owner == Owner::Group {
            let depths = depth..depth + ids.len() as u64;
            found.extend(depths.map(|depth| Ident::new(lineage, depth)));
        }
    }

    /// Forgets the content of a block (it was never computed).
    /// Returns what was lost if no copy is left.
    pub(crate) fn uncache(&mut self, id: BlockId) -> Option<Lost> {
        self.counted.set(None);
        let block = &self.blocks[id.0 as usize];
        let (column, depth) = (block.column, block.depth());
        if column == NONE {
            return None;
        }
        if block.is_copied() {
            forget_copy(&mut self.blocks, &mut self.copies, &mut self.cache, id.0);
            return None;
        }
        let (ident, owner) = self.cache.content(column, depth);
        self.block(id.0).column = NONE;
        self.cache.remove(column, depth, depth + 1);
        Some(Lost { ident, owner })
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
        for &(id, given_back) in &self.queue {
            if !self.blocks[id as usize].is_free_since(given_back) {
                continue;
            }
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
            .zip(&self.pins)
            .filter(|&(block, &pins)| block.refs > 0 && block.refs == pins)
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

/// Takes a run out of the index and notes that it is lost.
#[inline]
fn end_run(cache: &mut Index, lost: &mut Vec<(u32, u32)>, Run { column, low, high }: Run) {
    if column == NONE {
        return;
    }
    cache.remove(column, low, high);
    // Of one lineage the shallowest says it all: whoever hits to there hits no further.
    match lost.last_mut() {
        Some((known, least)) if *known == column => *least = low.min(*least),
        _ => lost.push((column, low)),
    }
}

/// Forgets the content of a block that has copies; the oldest of those that are left stands for it.
fn forget_copy(blocks: &mut [Block], copies: &mut Copies, cache: &mut Index, id: u32) {
    let block = &mut blocks[id as usize];
    let (column, depth) = (block.column, block.depth());
    block.column = NONE;
    let (next, is_last) = copies.leave(id);
    if is_last {
        blocks[next as usize].place &= !COPIED;
    }
    if cache.at(column, depth) == Some(id) {
        cache.replace(column, depth, next);
    }
}

#[cfg(test)]
mod tests;
