//! What an oracle is shown: a session's future, read from its recording.
//!
//! What: one [`Foresight`] per turn, computed when the session arrives. Times are estimates of the
//! session alone: prefill of what its own turns have not left behind, in chunks of the token budget, one
//! decode per further token, tools and pauses one after the other. GPU work is priced as in
//! [`crate::bound`] (the first list), or is the time alone where the cost model has no such prices.
//! Limits: no company, no eviction, no shared opening that others warmed.

use scheduler::Foresight;
use traces::model::Session;
use units::{Blocks, Nanos, Tokens};

use super::drive::Setup;
use crate::bound::{floors, idle_after, most_hit, turn_price};
use crate::cost::BatchShape;

/// The future of every turn, by index.
pub(super) fn foresee(setup: &Setup, session: &Session) -> Vec<Foresight> {
    let engine = &setup.engine;
    let floors = floors(setup);
    let list = floors.as_ref().and_then(|floors| floors.shares.first());
    let mut ahead = Foresight {
        remaining: Nanos::ZERO,
        gpu_work: Nanos::ZERO,
        peak: Blocks::ZERO,
        idle_after: Nanos::ZERO,
    };
    let mut all = Vec::with_capacity(session.turns.len());
    for index in (0..session.turns.len()).rev() {
        let gpu = gpu_alone(setup, session, index);
        let share = list.map_or(gpu, |list| {
            let half_picos = turn_price(engine, session, index, list);
            Nanos::new(u64::try_from(half_picos / 2_000).unwrap_or(u64::MAX))
        });
        let end = session.turns[index].tokens_at_end();
        ahead = Foresight {
            idle_after: idle_after(session, index),
            remaining: gpu + idle_after(session, index) + ahead.remaining,
            gpu_work: share + ahead.gpu_work,
            peak: engine.block_size.to_hold(end).max(ahead.peak),
        };
        all.push(ahead);
    }
    all.reverse();
    all
}

/// GPU time of a turn that has the machine to itself.
fn gpu_alone(setup: &Setup, session: &Session, index: usize) -> Nanos {
    let turn = &session.turns[index];
    // Alone, nobody has computed the opening before.
    let hit = match index {
        0 => Tokens::ZERO,
        _ => most_hit(&setup.engine, session, index),
    };
    let budget = setup.engine.token_budget.get().try_into();
    let budget = budget.expect("validated: at least 1 token");
    let prefill = setup.cost.prefill_alone(hit, turn.prompt - hit, budget);
    let decode = (1..turn.output.value.get()).map(|k| {
        let mut shape = BatchShape::default();
        shape.add_decode(turn.prompt + Tokens(k));
        setup.cost.step(&shape)
    });
    prefill + decode.sum()
}
