//! Names of tool calls.

use units::SessionId;

/// Calls that one turn may have: the low bits of a [`CallId`].
const CALL_BITS: u32 = 20;
/// The "call" that stands for a human's pause.
const THINK: u64 = (1 << CALL_BITS) - 1;

/// A tool call in flight: its session, and which of the turn's calls it is.
///
/// Ids order by session, then by call. No two calls in flight have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

impl CallId {
    /// Call number `call` of the session's turn, from 0.
    pub fn new(session: SessionId, call: u64) -> Self {
        Self(u64::from(session.0) << CALL_BITS | call)
    }

    /// The session's pause.
    pub(crate) fn pause(session: SessionId) -> Self {
        Self::new(session, THINK)
    }

    /// Whose it is.
    ///
    /// # Panics
    /// If the id was not made by [`CallId::new`].
    pub fn session(self) -> SessionId {
        SessionId(u32::try_from(self.0 >> CALL_BITS).expect("built from a 32-bit id"))
    }

    /// Which of the turn's calls, from 0.
    pub fn call(self) -> usize {
        // 20 bits fit any `usize`.
        usize::try_from(self.0 & THINK).unwrap_or(usize::MAX)
    }

    pub(crate) fn is_pause(self) -> bool {
        self.0 & THINK == THINK
    }
}
