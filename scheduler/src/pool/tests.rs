//! The pool against one that treats every block by itself.

use super::*;

use proptest::prelude::*;
use units::SessionId;

const OWNER: Owner = Owner::Session(SessionId(0));

/// The same rules a block at a time, by looking at every block.
#[derive(Debug)]
struct Slow {
    refs: Vec<u32>,
    /// Lineage, depth and when it was registered.
    content: Vec<Option<(u64, u64, usize)>>,
    free: Vec<u32>,
    evicted: u64,
}

impl Slow {
    fn lookup(&self, lineage: u64, depth: u64) -> Option<u32> {
        let copies = (0_u32..).zip(&self.content).filter_map(|(id, content)| {
            let (l, d, at) = (*content)?;
            ((l, d) == (lineage, depth)).then_some((at, id))
        });
        copies.min().map(|(_, id)| id)
    }

    /// The block, and the content whose last copy it was.
    fn allocate(&mut self) -> (u32, Option<(u64, u64)>) {
        let id = self.free.remove(0);
        self.refs[id as usize] = 1;
        let old = self.content[id as usize].take();
        self.evicted += u64::from(old.is_some());
        let last = old.filter(|&(l, d, _)| self.lookup(l, d).is_none());
        (id, last.map(|(l, d, _)| (l, d)))
    }

    fn release(&mut self, ids: &[BlockId]) {
        for id in ids.iter().rev() {
            self.refs[id.0 as usize] -= 1;
            if self.refs[id.0 as usize] == 0 {
                self.free.push(id.0);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Allocate so many; register so many of them from this depth on.
    Compute {
        count: usize,
        fill: usize,
        lineage: u64,
        from: u64,
    },
    /// Hold what of a lineage is there from this depth on.
    Hit { lineage: u64, from: u64 },
    /// Release all that one holder has.
    Give(usize),
    /// Forget the content of a held block.
    Uncache(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let compute = (1_usize..9, 0_usize..9, 0_u64..3, 0_u64..12);
    prop_oneof![
        3 => compute.prop_map(|(count, fill, lineage, from)| Op::Compute {
            count,
            fill,
            lineage,
            from,
        }),
        1 => (0_u64..3, 0_u64..12).prop_map(|(lineage, from)| Op::Hit { lineage, from }),
        3 => (0_usize..100).prop_map(Op::Give),
        1 => (0_usize..100).prop_map(Op::Uncache),
    ]
}

fn lost_of(pool: &mut Pool) -> Vec<(u64, u64)> {
    let mut lost = Vec::new();
    pool.take_lost(&mut lost);
    let place = |l: &Lost| (l.ident.lineage(), l.ident.depth().get());
    lost.iter().map(place).collect()
}

proptest! {
    /// Runs change what a block costs and nothing else: the same blocks in the same order, the same
    /// losses, the same oldest copies as a block at a time.
    #[test]
    fn runs_do_what_blocks_one_by_one_do(ops in prop::collection::vec(op(), 0..150)) {
        const BLOCKS: usize = 24;
        let mut pool = Pool::new(Blocks(BLOCKS as u64));
        let mut slow = Slow {
            refs: vec![0; BLOCKS],
            content: vec![None; BLOCKS],
            free: (0..24).collect(),
            evicted: 0,
        };
        let mut holders: Vec<Vec<BlockId>> = Vec::new();
        for (at, op) in ops.into_iter().enumerate() {
            match op {
                Op::Compute { count, fill, lineage, from } => {
                    let count = count.min(slow.free.len());
                    let mut ids = Vec::new();
                    pool.allocate(Blocks(count as u64), &mut ids);
                    let mut gone: Vec<(u64, u64)> = Vec::new();
                    for &id in &ids {
                        let (want, last) = slow.allocate();
                        prop_assert_eq!(id.0, want);
                        match (last, gone.last_mut()) {
                            (Some((l, d)), Some(g)) if g.0 == l => g.1 = g.1.min(d),
                            (last, _) => gone.extend(last),
                        }
                    }
                    prop_assert_eq!(lost_of(&mut pool), gone);
                    // Something to remember between the two.
                    let there = (2..15).filter_map(|d| slow.lookup(2, d));
                    let held = there.filter(|&b| slow.refs[b as usize] > 0).count() as u64;
                    prop_assert_eq!(pool.cached_held(2, 2, 15), held);
                    let fill = fill.min(count);
                    let mut fresh = Vec::new();
                    for (&id, depth) in ids[..fill].iter().zip(from..) {
                        if slow.lookup(lineage, depth).is_none() {
                            fresh.push(Ident::new(lineage, depth));
                        }
                        slow.content[id.0 as usize] = Some((lineage, depth, at));
                    }
                    if fill > 0 {
                        let mut found = Vec::new();
                        // What is found is told of groups only.
                        let owner = if lineage == 0 { Owner::Group } else { OWNER };
                        pool.register(&ids[..fill], (lineage, from), owner, &mut found);
                        fresh.retain(|_| lineage == 0);
                        prop_assert_eq!(found, fresh);
                    }
                    holders.push(ids);
                }
                Op::Hit { lineage, from } => {
                    let ids: Vec<BlockId> = pool.cached_blocks(lineage, from, 20).collect();
                    let want = (from..20).map_while(|d| slow.lookup(lineage, d));
                    prop_assert!(ids.iter().map(|id| id.0).eq(want));
                    for &id in &ids {
                        pool.hold(id);
                        slow.refs[id.0 as usize] += 1;
                        slow.free.retain(|&free| free != id.0);
                    }
                    holders.push(ids);
                }
                Op::Give(which) if !holders.is_empty() => {
                    let ids = holders.swap_remove(which % holders.len());
                    pool.release(&ids);
                    slow.release(&ids);
                }
                Op::Uncache(which) if !holders.is_empty() => {
                    if let Some(&id) = holders[which % holders.len()].last() {
                        let lost = pool.uncache(id);
                        let old = slow.content[id.0 as usize].take();
                        let last = old.filter(|&(l, d, _)| slow.lookup(l, d).is_none());
                        let lost = lost.map(|l| (l.ident.lineage(), l.ident.depth().get()));
                        prop_assert_eq!(lost, last.map(|(l, d, _)| (l, d)));
                    }
                }
                Op::Give(_) | Op::Uncache(_) => {}
            }
            prop_assert_eq!(pool.free().get(), slow.free.len() as u64);
            prop_assert_eq!(pool.evicted(), slow.evicted);
            // First the one that was asked last.
            for lineage in (0..3).rev().chain(0..3) {
                let oldest = |depth| slow.lookup(lineage, depth);
                for depth in 0..24 {
                    let found = pool.lookup(Ident::new(lineage, depth));
                    prop_assert_eq!(found.map(|id| id.0), oldest(depth));
                }
                let held = (2..15).filter_map(oldest).filter(|&b| slow.refs[b as usize] > 0);
                let held = held.count() as u64;
                prop_assert_eq!(pool.cached_held(lineage, 2, 15), held);
                // What was asked last is remembered, and forgotten when it can have changed.
                prop_assert_eq!(pool.cached_held(lineage, 2, 15), held);
            }
            let all = holders.iter().flatten().copied();
            prop_assert_eq!(pool.check(all), Ok(()));
        }
    }
}
