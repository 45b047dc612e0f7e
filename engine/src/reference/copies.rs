//! Host memory for KV. Device and host are the same memory here, so a copy is done when it has begun.

use candle_core::Tensor;
use rustc_hash::FxHashMap;
use units::SessionId;

use super::kv::Pool;
use crate::executor::{Copy, ExecutorError, Way};

/// One block: keys and values by layer.
type Block = Vec<[Tensor; 2]>;

/// What host memory holds, by session and depth.
#[derive(Debug, Default)]
pub(super) struct Host {
    sessions: FxHashMap<SessionId, Vec<Block>>,
    ended: Vec<u64>,
}

impl Host {
    pub(super) fn copy(&mut self, pool: &Pool, copy: &Copy) -> Result<(), ExecutorError> {
        let bad = |what: String| ExecutorError::Copy {
            id: copy.id,
            session: copy.session,
            what,
        };
        let beyond = |block: &&u32| pool.first_slot(**block) >= pool.slots();
        if let Some(block) = copy.blocks.iter().find(beyond) {
            return Err(bad(format!("the pool has no block {block}")));
        }
        let first = copy.first as usize;
        match copy.way {
            Way::ToHost => {
                let blocks = copy.blocks.iter().map(|block| pool.take(*block));
                let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
                let held = self.sessions.entry(copy.session).or_default();
                if held.len() < first {
                    return Err(bad(format!(
                        "it begins at block {} and host memory has {}",
                        copy.first,
                        held.len()
                    )));
                }
                held.truncate(first);
                held.extend(blocks);
            }
            Way::ToDevice => {
                let held = self.sessions.get(&copy.session).map_or(&[][..], |v| v);
                let end = first + copy.blocks.len();
                let Some(from) = held.get(first..end) else {
                    return Err(bad(format!(
                        "it takes blocks {} to {end} and host memory has {}",
                        copy.first,
                        held.len()
                    )));
                };
                for (block, kv) in copy.blocks.iter().zip(from) {
                    pool.put(*block, kv)?;
                }
            }
        }
        self.ended.push(copy.id);
        Ok(())
    }

    pub(super) fn ended(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }
}
