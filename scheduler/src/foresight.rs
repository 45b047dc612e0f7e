//! The one door to the future, and who may look through it.
//!
//! What: facts about a session's future, in [`Foresight`], which the world attaches to every turn it
//! hands over, but only for a policy that asks ([`crate::policy::Policy::needs_foresight`]).
//! Why: oracles show how far a policy is from one that knows. They take what they know through an
//! explicit, named field, so that what a policy cannot know is absent from what it is given.
//! Limits: a replay has a future, an online server has none: its world attaches nothing.

use units::{Blocks, Nanos};

use crate::policy::Policy;

/// What an oracle may know of a session when one of its turns becomes ready.
///
/// Times are of the session alone on the machine (its cost model): what company will cost is not a
/// fact of the session. How the world computes them is said there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foresight {
    /// From the start of this turn to the session's completion, tools and pauses included.
    pub remaining: Nanos,
    /// GPU work left, this turn included: time at the price of a share in the fullest batch.
    pub gpu_work: Nanos,
    /// Most KV blocks the session will hold at once from this turn on.
    pub peak: Blocks,
    /// Tools and pause after this turn. At the yield, the next use of its KV is this far away.
    pub idle_after: Nanos,
}

/// Which parts of the policy asked, taken once: a part that did not ask sees `None` even when another
/// part of the same policy did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    pub(crate) admission: bool,
    pub(crate) order: bool,
    pub(crate) retention: bool,
}

impl Doors {
    pub(crate) fn of(policy: &Policy) -> Self {
        Self {
            admission: policy.admission.needs_foresight(),
            order: policy.order.needs_foresight(),
            retention: policy.retention.needs_foresight(),
        }
    }

    /// What a part behind this door sees.
    pub(crate) fn through(door: bool, foresight: Option<Foresight>) -> Option<Foresight> {
        foresight.filter(|_| door)
    }
}
