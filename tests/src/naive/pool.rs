//! Blocks by plain lists: the free list is a list, content is the tokens themselves.

use super::Token;

#[derive(Clone, Debug, Default)]
struct Block {
    holders: usize,
    /// All tokens from the start of the context to the end of this block.
    content: Option<Vec<Token>>,
    /// When it was registered: the older copy is hit.
    since: u64,
}

/// The pool, scanned from end to end at every question.
#[derive(Clone, Debug)]
pub(super) struct NaivePool {
    blocks: Vec<Block>,
    free: Vec<usize>,
    registered: u64,
    pub(super) evicted: u64,
}

impl NaivePool {
    pub(super) fn new(usable: usize) -> Self {
        Self {
            blocks: vec![Block::default(); usable],
            free: (0..usable).collect(),
            registered: 0,
            evicted: 0,
        }
    }

    pub(super) fn usable(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    pub(super) fn holders(&self, block: usize) -> usize {
        self.blocks[block].holders
    }

    pub(super) fn holds(&self, block: usize, prefix: &[Token]) -> bool {
        self.blocks[block].content.as_deref() == Some(prefix)
    }

    /// The oldest block with exactly this content.
    pub(super) fn find(&self, prefix: &[Token]) -> Option<usize> {
        (0..self.blocks.len())
            .filter(|&b| self.holds(b, prefix))
            .min_by_key(|&b| self.blocks[b].since)
    }

    /// The front of the free list; what was cached there is dropped.
    pub(super) fn take(&mut self) -> usize {
        let block = self.free.remove(0);
        if self.blocks[block].content.take().is_some() {
            self.evicted += 1;
        }
        self.blocks[block].holders = 1;
        block
    }

    pub(super) fn hold(&mut self, block: usize) {
        self.free.retain(|&b| b != block);
        self.blocks[block].holders += 1;
    }

    pub(super) fn let_go(&mut self, block: usize) {
        self.blocks[block].holders -= 1;
        if self.blocks[block].holders == 0 {
            self.free.push(block);
        }
    }

    pub(super) fn register(&mut self, block: usize, prefix: &[Token]) {
        self.registered += 1;
        self.blocks[block].content = Some(prefix.to_vec());
        self.blocks[block].since = self.registered;
    }

    pub(super) fn forget(&mut self, block: usize) {
        self.blocks[block].content = None;
    }
}
