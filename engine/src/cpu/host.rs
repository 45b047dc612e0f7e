//! KV in host memory, one copy a session.

use std::collections::BTreeMap;

use units::SessionId;

use super::kv::{Cache, Element};
use super::simd::LANES;
use crate::executor::{Copy, ExecutorError, Way};

/// What host memory holds of each session: blocks from the start of its context, as they were on the
/// device.
#[derive(Debug)]
pub(crate) struct Host<E> {
    held: BTreeMap<SessionId, Vec<[E; LANES]>>,
}

impl<E> Default for Host<E> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
        }
    }
}

impl<E: Element> Host<E> {
    /// Does a copy whose blocks are of the pool.
    ///
    /// # Errors
    /// [`ExecutorError::Copy`] if host memory lacks blocks before the first, or blocks to bring back.
    pub(crate) fn copy(&mut self, cache: &mut Cache<E>, copy: &Copy) -> Result<(), ExecutorError> {
        let each = cache.shape.block_vectors();
        let first = copy.first as usize;
        let end = match copy.way {
            Way::ToHost => first,
            Way::ToDevice => first + copy.blocks.len(),
        };
        let have = self
            .held
            .get(&copy.session)
            .map_or(0, |held| held.len() / each);
        if have < end {
            return Err(ExecutorError::Copy {
                id: copy.id,
                session: copy.session,
                what: match copy.way {
                    Way::ToHost => format!("it begins at block {first} and host memory has {have}"),
                    Way::ToDevice => {
                        format!("it takes blocks {first} to {end} and host memory has {have}")
                    }
                },
            });
        }
        let held = self.held.entry(copy.session).or_default();
        match copy.way {
            Way::ToHost => {
                held.truncate(first * each);
                cache.read(&copy.blocks, held);
            }
            Way::ToDevice => cache.write(&copy.blocks, &held[first * each..]),
        }
        Ok(())
    }

    pub(crate) fn forget(&mut self, session: SessionId) {
        self.held.remove(&session);
    }
}
