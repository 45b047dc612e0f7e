//! First come, first served, by turn: the order of stock vLLM.
//!
//! Rule: waiting turns in order of readiness, preempted ones before all others and the latest of
//! those first; running turns in order of start; the last one started gives way.
//! Source: vLLM V1 scheduler, FCFS.

use scheduler::policy::{Order, Rank, Repeat, TurnView};
use units::Time;

use super::signed;

/// Turns in order of arrival. No state.
#[derive(Clone, Copy, Debug, Default)]
pub struct TurnArrival;

impl Order for TurnArrival {
    fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
        let key = match turn.preempted_seq {
            Some(sequence) => [0, -signed(sequence), 0],
            None => [1, signed(turn.ready_seq), 0],
        };
        Rank {
            key,
            until: Time::NEVER,
        }
    }

    fn running(&self, _now: Time, turn: &TurnView) -> Rank {
        Rank {
            key: [signed(turn.start_seq), 0, 0],
            until: Time::NEVER,
        }
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        [signed(turn.start_seq), 0, 0]
    }

    fn repeat(&self, _batch: &mut dyn Iterator<Item = TurnView>) -> Repeat {
        Repeat::WhileRanksHold(u64::MAX)
    }
}
