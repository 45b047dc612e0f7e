//! KV in host memory, one copy a session.

use std::collections::BTreeMap;

use units::SessionId;

use super::kv::{Cache, Element};
use super::simd::LANES;
use crate::executor::{Copy, ExecutorError, Way};

/// A session's blocks, as they were on the device.
#[derive(Debug)]
struct Held<E> {
    blocks: usize,
    values: Vec<[E; LANES]>,
}

/// What host memory holds.
#[derive(Debug)]
pub(crate) struct Host<E> {
    held: BTreeMap<SessionId, Held<E>>,
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
    /// [`ExecutorError::Copy`] if it is to the device and host memory has nothing of the session, or
    /// not as many blocks.
    pub(crate) fn copy(&mut self, cache: &mut Cache<E>, copy: &Copy) -> Result<(), ExecutorError> {
        match copy.way {
            Way::ToHost => {
                let mut values = Vec::new();
                cache.read(&copy.blocks, &mut values);
                let held = Held {
                    blocks: copy.blocks.len(),
                    values,
                };
                self.held.insert(copy.session, held);
                Ok(())
            }
            Way::ToDevice => {
                let held = self.held.get(&copy.session);
                match held {
                    Some(held) if held.blocks >= copy.blocks.len() => {
                        cache.write(&copy.blocks, &held.values);
                        Ok(())
                    }
                    _ => Err(ExecutorError::Copy {
                        id: copy.id,
                        session: copy.session,
                        what: format!(
                            "{} blocks are wanted, host memory holds {}",
                            copy.blocks.len(),
                            held.map_or(0, |held| held.blocks)
                        ),
                    }),
                }
            }
        }
    }

    pub(crate) fn forget(&mut self, session: SessionId) {
        self.held.remove(&session);
    }
}
