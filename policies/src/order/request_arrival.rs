//! `InferCept`'s order: first come, first served, by the request, which lives through all its calls.
//!
//! Rule: waiting turns whose session's KV is on the GPU first, then those whose KV is in host memory,
//! then all others; within each, the session that arrived first. Running turns in order of their
//! session's arrival too, and the session that arrived last gives way.
//! Source: the public code of `InferCept` (WukLab/InferCept, `vllm/core/policy.py` and
//! `scheduler_v2.py`). A request is one object over all its interceptions and keeps the arrival time
//! of its first call; running, swapped and waiting requests are each sorted by it at every step and
//! served in that order of lists. A request that resumes with its KV kept joins the running list, one
//! that was swapped the swapped list, one that was discarded the waiting list. Victims are taken from
//! the end of the sorted running list; a preempted request gets no place in front.
//! Limits: there a resumed request with kept KV runs at once; here it starts in the waiting pass of
//! the same step, before everybody else that waits.

use scheduler::policy::{Order, Rank, Repeat, TurnView};
use units::Time;

use super::signed;

/// Sessions in order of arrival, those with KV first. No state.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestArrival;

/// A rank that nothing but a change of the turn can change.
fn lasting(key: [i64; 3]) -> Rank {
    Rank {
        key,
        until: Time::NEVER,
    }
}

impl Order for RequestArrival {
    fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
        let list = if turn.pinned {
            0
        } else if turn.swapped {
            1
        } else {
            2
        };
        lasting([list, signed(turn.arrival.as_nanos()), 0])
    }

    fn running(&self, _now: Time, turn: &TurnView) -> Rank {
        lasting([signed(turn.arrival.as_nanos()), 0, 0])
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        [signed(turn.arrival.as_nanos()), 0, 0]
    }

    fn repeat(&self, _batch: &mut dyn Iterator<Item = TurnView>) -> Repeat {
        Repeat::WhileRanksHold(u64::MAX)
    }
}
