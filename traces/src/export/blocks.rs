//! Ids for the blocks of prompts, so that equal ids mean equal leading tokens.
//!
//! A block belongs to the first group that covers all of it, as in a KV cache; one that no group covers
//! is the session's own. A later turn keeps the ids of the whole blocks that it reuses of the prompt
//! before. What it reuses of the answer has no ids: these formats name blocks of prompts alone.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use units::Tokens;

use super::report::ExportReport;
use crate::model::{Session, SharedPrefix, Turn};

/// Group, place of the block, and tokens in it: the last block of a prompt may be part full.
type Block = (Arc<str>, u64, u64);

/// Numbers blocks in order of appearance.
#[derive(Debug)]
pub(super) struct BlockIds {
    size: u64,
    known: FxHashMap<Block, u64>,
    next: u64,
}

impl BlockIds {
    /// For blocks of `size` tokens, at least 1.
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            known: FxHashMap::default(),
            next: 0,
        }
    }

    /// The ids of each turn's prompt, in order. `scope` tells apart groups that may not be shared.
    pub(super) fn prompts<'a>(
        &'a mut self,
        scope: &'a str,
        session: &'a Session,
        report: &mut ExportReport,
    ) -> Vec<Vec<u64>> {
        let mut prompts: Vec<Vec<u64>> = Vec::with_capacity(session.turns.len());
        let mut before: Option<&Turn> = None;
        for turn in &session.turns {
            let (kept, openings) = match (before, prompts.last()) {
                (Some(before), Some(ids)) => {
                    let whole = turn.reused.min(before.prompt).get() / self.size;
                    // Equal to the end, the part-full block included.
                    let same = turn.reused == turn.prompt && turn.prompt == before.prompt;
                    let kept = if same { ids.len() as u64 } else { whole };
                    let told = Tokens(kept.saturating_mul(self.size)).min(turn.reused);
                    report.lose_tokens(turn.reused - told);
                    let kept = usize::try_from(kept).unwrap_or(usize::MAX).min(ids.len());
                    (ids[..kept].to_vec(), &[][..])
                }
                _ => (Vec::new(), &session.shared[..]),
            };
            let ids = self.prompt(scope, turn.prompt, kept, openings);
            prompts.push(ids);
            before = Some(turn);
        }
        if let (Some(first), Some(last)) = (session.turns.first(), session.shared.last())
            && last.tokens < first.prompt
        {
            report.lose_tokens(Tokens(last.tokens.get() % self.size));
        }
        prompts
    }

    fn prompt(
        &mut self,
        scope: &str,
        prompt: Tokens,
        mut ids: Vec<u64>,
        openings: &[SharedPrefix],
    ) -> Vec<u64> {
        let blocks = prompt.get().div_ceil(self.size);
        let mut openings = openings.iter().peekable();
        for k in ids.len() as u64..blocks {
            let (begin, end) = (k * self.size, ((k + 1) * self.size).min(prompt.get()));
            while openings.next_if(|group| group.tokens.get() < end).is_some() {}
            let fresh = self.next;
            let id = match openings.peek() {
                Some(group) => {
                    let name = if scope.is_empty() {
                        Arc::clone(&group.group)
                    } else {
                        format!("{scope}\n{}", group.group).into()
                    };
                    *self.known.entry((name, k, end - begin)).or_insert(fresh)
                }
                None => fresh,
            };
            self.next += u64::from(id == fresh);
            ids.push(id);
        }
        ids
    }
}
