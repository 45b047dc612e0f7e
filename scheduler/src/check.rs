//! The invariants, checked by walking everything: for tests and, now and then, debug builds.

use std::collections::BTreeSet;

use units::{BlockId, Blocks, Time};

use crate::error::SchedulerError;
use crate::scheduler::Scheduler;
use crate::session::{Session, State};

impl Scheduler {
    /// Checks that no block is lost or held twice by one holder, and that the sums of blocks still to
    /// be allocated are those of the turns.
    ///
    /// # Errors
    /// [`SchedulerError::Blocks`] with what does not add up.
    pub fn check(&self, now: Time) -> Result<(), SchedulerError> {
        let fail = |what| Err(SchedulerError::Blocks { at: now, what });
        let (mut owed, mut waiting) = (Blocks::ZERO, Blocks::ZERO);
        for session in self.sessions.iter() {
            let distinct: BTreeSet<BlockId> = session.blocks.iter().copied().collect();
            if distinct.len() != session.blocks.len() {
                return fail(format!("{} holds a block twice", session.id));
            }
            if session.owed > self.owes_at_most(session) {
                return fail(format!("{} owes blocks that it does not need", session.id));
            }
            owed += session.owed;
            if session.state == State::Waiting {
                waiting += session.owed;
            }
        }
        if (owed, waiting) != (self.owed, self.owed_waiting) {
            return fail(format!(
                "{owed} blocks are owed, {waiting} of them by waiting turns, but {} and {} are \
                 counted",
                self.owed, self.owed_waiting
            ));
        }
        let held = self.sessions.iter().flat_map(|s| s.blocks.iter().copied());
        self.pool.check(held).or_else(fail)
    }

    fn owes_at_most(&self, s: &Session) -> Blocks {
        let whole = self.config.block_size.to_hold(s.total());
        match s.state {
            State::Waiting => whole,
            State::Running => whole.saturating_sub(Blocks(s.blocks.len() as u64)),
            _ => Blocks::ZERO,
        }
    }
}
