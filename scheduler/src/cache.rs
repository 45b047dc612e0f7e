//! The index of the prefix cache: which block holds which content.
//!
//! What: one column of blocks per lineage, by depth. Content is named by lineage and depth, and turns
//! fill, hit and lose it in runs of depths, so a run costs one hash and then a walk along an array.
//! Why: a hash per block was what most of a simulation under memory pressure did.
//! Limits: a column spans from the shallowest content it ever had to the deepest it has; it is given up
//! when the last is gone. Contents beside each other in a lineage are beside each other in memory, and
//! gaps take four bytes each.

use rustc_hash::FxHashMap;
use units::BlockId;

use crate::lineage::{Ident, Owner};

/// No block.
const NONE: u32 = u32::MAX;

/// A column with more room than this is made smaller when most of it is empty.
const ROOM_KEPT: usize = 256;

/// The cached content of one lineage.
#[derive(Clone, Debug)]
struct Column {
    lineage: u64,
    /// A lineage is a session's own, or a shared opening's.
    owner: Owner,
    /// Depth of the first entry.
    first: u64,
    /// Oldest copy per depth; the last entry is always one.
    oldest: Vec<u32>,
    /// Entries that are there.
    count: usize,
}

/// Oldest copy of each cached content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    columns: Vec<Column>,
    by_lineage: FxHashMap<u64, u32>,
    /// Columns that nobody uses.
    idle: Vec<u32>,
    /// The column that was entered last.
    last: u32,
}

impl Index {
    /// The block that holds this content.
    #[inline]
    pub(crate) fn get(&self, ident: Ident) -> Option<u32> {
        let &column = self.by_lineage.get(&ident.lineage())?;
        self.columns[column as usize].get(ident.depth().get())
    }

    /// How many contents of the lineage are there from depth `from` on without a gap, at most up to
    /// depth `to`.
    pub(crate) fn run(&self, lineage: u64, from: u64, to: u64) -> u64 {
        self.blocks(lineage, from, to).count() as u64
    }

    /// The blocks that hold them.
    pub(crate) fn blocks(&self, lineage: u64, from: u64, to: u64) -> impl Iterator<Item = u32> {
        let column = self.column(lineage).filter(|column| column.first <= from);
        let part = column.map_or(&[][..], |column| column.part(from, to));
        part.iter().copied().take_while(|&block| block != NONE)
    }

    /// Those of the lineage's contents from depth `from` up to depth `to` that are there, gaps or not.
    pub(crate) fn some(&self, lineage: u64, from: u64, to: u64) -> impl Iterator<Item = u32> {
        let column = self.column(lineage);
        let part = column.map_or(&[][..], |column| column.part(from, to));
        part.iter().copied().filter(|&block| block != NONE)
    }

    fn column(&self, lineage: u64) -> Option<&Column> {
        let index = self.by_lineage.get(&lineage)?;
        Some(&self.columns[*index as usize])
    }

    /// Enters a block under the content of this depth if nobody holds that yet, else says who does.
    #[inline]
    pub(crate) fn enter(&mut self, column: u32, depth: u32, block: u32) -> Option<u32> {
        let column = &mut self.columns[column as usize];
        let entry = column.reach(u64::from(depth));
        if *entry != NONE {
            return Some(*entry);
        }
        *entry = block;
        column.count += 1;
        None
    }

    /// The depth after the deepest content of the column; of a column without content, where it begins.
    #[inline]
    pub(crate) fn end(&self, column: u32) -> u64 {
        let column = &self.columns[column as usize];
        column.first + column.oldest.len() as u64
    }

    /// Enters blocks under the contents from this depth on, at or beyond the column's end.
    pub(crate) fn append(&mut self, column: u32, depth: u32, blocks: &[BlockId]) {
        let column = &mut self.columns[column as usize];
        let place = usize::try_from(u64::from(depth) - column.first).expect("depths are 24 bits");
        debug_assert!(place >= column.oldest.len(), "appended into a column");
        column.oldest.resize(place, NONE);
        column.oldest.extend(blocks.iter().map(|block| block.0));
        column.count += blocks.len();
    }

    /// Replaces the block that stands for the content of this depth.
    pub(crate) fn replace(&mut self, column: u32, depth: u32, block: u32) {
        *self.columns[column as usize].reach(u64::from(depth)) = block;
    }

    /// The block that stands for the content of this depth.
    #[inline]
    pub(crate) fn at(&self, column: u32, depth: u32) -> Option<u32> {
        self.columns[column as usize].get(u64::from(depth))
    }

    /// What is at this depth of a column, and whose.
    #[inline]
    pub(crate) fn content(&self, column: u32, depth: u32) -> (Ident, Owner) {
        let column = &self.columns[column as usize];
        (Ident::new(column.lineage, u64::from(depth)), column.owner)
    }

    /// Forgets the contents from depth `low` up to depth `high`, all of which are there.
    pub(crate) fn remove(&mut self, index: u32, low: u32, high: u32) {
        let column = &mut self.columns[index as usize];
        let place = |depth: u32| {
            usize::try_from(u64::from(depth) - column.first).expect("depths are 24 bits")
        };
        let (from, to) = (place(low), place(high));
        column.count -= to - from;
        if column.count == 0 {
            self.by_lineage.remove(&column.lineage);
            column.oldest.clear();
            self.idle.push(index);
        } else if to == column.oldest.len() {
            column.oldest.truncate(from);
            while column.oldest.last() == Some(&NONE) {
                column.oldest.pop();
            }
        } else {
            column.oldest[from..to].fill(NONE);
            return;
        }
        let (length, room) = (column.oldest.len(), column.oldest.capacity());
        if room > ROOM_KEPT && length < room / 4 {
            column.oldest.shrink_to(length * 2);
        }
    }

    /// The column of this content's lineage, made if it is not there; somebody must enter something then.
    #[inline]
    pub(crate) fn column_of(&mut self, ident: Ident, owner: Owner) -> u32 {
        let (lineage, depth) = (ident.lineage(), ident.depth().get());
        let last = self.columns.get(self.last as usize);
        if last.is_some_and(|c| c.lineage == lineage && c.count > 0) {
            return self.last;
        }
        if let Some(&known) = self.by_lineage.get(&lineage) {
            self.last = known;
            return known;
        }
        let index = if let Some(index) = self.idle.pop() {
            let column = &mut self.columns[index as usize];
            (column.lineage, column.owner, column.first) = (lineage, owner, depth);
            index
        } else {
            self.columns.push(Column {
                lineage,
                owner,
                first: depth,
                oldest: Vec::new(),
                count: 0,
            });
            u32::try_from(self.columns.len() - 1).expect("fewer columns than blocks")
        };
        self.by_lineage.insert(lineage, index);
        self.last = index;
        index
    }
}

impl Column {
    #[inline]
    fn get(&self, depth: u64) -> Option<u32> {
        let place = usize::try_from(depth.checked_sub(self.first)?).ok()?;
        self.oldest.get(place).copied().filter(|&b| b != NONE)
    }

    /// The entries from depth `from` up to depth `to`, as far as there are any.
    fn part(&self, from: u64, to: u64) -> &[u32] {
        let place = |depth: u64| {
            let place = usize::try_from(depth.saturating_sub(self.first));
            place.map_or(self.oldest.len(), |place| place.min(self.oldest.len()))
        };
        &self.oldest[place(from)..place(to.max(from))]
    }

    /// The entry of that depth, made if it is not there.
    #[inline]
    fn reach(&mut self, depth: u64) -> &mut u32 {
        if depth < self.first {
            let more = usize::try_from(self.first - depth).expect("depths are 24 bits");
            self.oldest.splice(0..0, std::iter::repeat_n(NONE, more));
            self.first = depth;
        }
        let place = usize::try_from(depth - self.first).expect("depths are 24 bits");
        if place == self.oldest.len() {
            self.oldest.push(NONE);
        } else if place > self.oldest.len() {
            self.oldest.resize(place + 1, NONE);
        }
        &mut self.oldest[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    proptest! {
        /// It says what a map from content to block says, whatever is entered and removed.
        #[test]
        fn it_is_a_map(ops in prop::collection::vec((0_u64..3, 0_u64..40, any::<bool>()), 0..300)) {
            let mut index = Index::default();
            let mut map: BTreeMap<(u64, u64), (u32, u32)> = BTreeMap::new();
            for (block, (lineage, depth, enters)) in (0_u32..).zip(ops) {
                let ident = Ident::new(lineage, depth);
                let known = map.get(&(lineage, depth)).copied();
                if enters {
                    let column = index.column_of(ident, Owner::Group);
                    let holder = index.enter(column, ident.depth_bits(), block);
                    prop_assert_eq!(holder, known.map(|(_, b)| b));
                    map.entry((lineage, depth)).or_insert((column, block));
                } else if let Some((column, b)) = known {
                    let depth = ident.depth_bits();
                    prop_assert_eq!(index.at(column, depth), Some(b));
                    prop_assert_eq!(index.content(column, depth), (ident, Owner::Group));
                    if block % 3 == 0 {
                        index.replace(column, depth, block);
                        map.insert((lineage, ident.depth().get()), (column, block));
                    } else {
                        index.remove(column, depth, depth + 1);
                        map.remove(&(lineage, ident.depth().get()));
                    }
                }
                for lineage in 0..3 {
                    for depth in 0..40 {
                        let want = map.get(&(lineage, depth)).map(|&(_, b)| b);
                        prop_assert_eq!(index.get(Ident::new(lineage, depth)), want);
                    }
                    let run = (5..30).take_while(|&d| map.contains_key(&(lineage, d))).count();
                    prop_assert_eq!(index.run(lineage, 5, 30), run as u64);
                }
            }
        }
    }
}
