//! What a repetition must see about turns that wait: content which one of them would have hit is taken, and
//! that lets somebody start who could not before.
//!
//! No shipped order ranks by what is missing alone, so these are orders of the test's own. Each load is made
//! so that the only thing that happens for a second is the loss of one block; when the turn starts is
//! computed by hand.

use policies::PolicySpec;
use proptest::prelude::*;
use scheduler::HeadOfLine;
use scheduler::policy::{Order, Policy, Quantum, Rank, Repeat, TurnView};
use sim::world::{Offered, Setup};
use units::{SessionId, Time, Tokens};
use workspace_tests::both_ways::same;
use workspace_tests::loads::{fixed, full_case};
use workspace_tests::machine::{
    TEN_MS, in_group, machine, offered, run_policy, turn, with_pool, with_tool,
};

/// Who misses least goes first, or who misses most; who misses more than a limit gets a block at a time.
#[derive(Clone, Copy, Debug)]
struct ByMissing {
    most_first: bool,
    small_beyond: Option<u64>,
}

impl Order for ByMissing {
    fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
        let missing = i64::try_from(turn.missing.get()).expect("a few tokens");
        Rank {
            key: [if self.most_first { -missing } else { missing }, 0, 0],
            until: Time::NEVER,
        }
    }

    fn running(&self, _now: Time, turn: &TurnView) -> Rank {
        let start = i64::try_from(turn.start_seq).expect("a few starts");
        Rank {
            key: [start, 0, 0],
            until: Time::NEVER,
        }
    }

    fn quantum(&self, _now: Time, turn: &TurnView) -> Quantum {
        match self.small_beyond {
            Some(most) if turn.missing.get() > most => Quantum::Fixed(Tokens(16)),
            _ => Quantum::Unlimited,
        }
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        [i64::try_from(turn.start_seq).expect("a few starts"), 0, 0]
    }

    fn repeat(&self, _batch: &mut dyn Iterator<Item = TurnView>) -> Repeat {
        // Running turns keep the order of their starts; nothing here depends on time.
        Repeat::InThisOrder(u64::MAX)
    }
}

fn policy(order: ByMissing) -> Policy {
    let fcfs = PolicySpec::preset("fcfs").expect("ships");
    Policy {
        order: Box::new(order),
        ..fcfs.build().expect("a policy")
    }
}

/// Steps of 10 ms, blocks of 16.
fn machine_of(blocks: u64) -> Setup {
    with_pool(machine(&TEN_MS, 1.0, 0.0), blocks)
}

/// One turn that decodes for a second: it takes its second block at 10 ms, then one every 160 ms.
fn runner() -> Offered {
    offered(0.0, vec![turn(16, 0, 100)])
}

/// Checks that both ways are the same, that steps are repeated, and when the session's last turn starts.
fn starts_at(setup: &Setup, order: ByMissing, load: &[Offered], session: u32, ms: u64) {
    let (steps, repeated) = same(setup, &|| policy(order), load).expect("the same both ways");
    assert!(repeated * 2 > steps, "{repeated} of {steps} repeated");
    let record = run_policy(setup, policy(order), load).expect("goes through");
    let turns = record
        .turns
        .iter()
        .filter(|t| t.session == SessionId(session));
    let started = turns.map(|t| t.started).max().expect("it ran");
    assert_eq!(started, Time::from_nanos(ms * 1_000_000));
}

#[test]
fn who_loses_a_shared_block_lets_the_next_go_first() {
    // 8 blocks. Session 0 computes the group's opening, blocks 0-4, and is gone at 10; the runner has 5, 6
    // from 10 on, 7 from 170 on, and at 330 takes 4, the opening's last. Session 2 misses 40 behind the
    // opening and needs 8 blocks in all, more than are free; session 3 misses 50, needs 4, and is behind it.
    // With 4 lost, session 2 misses 56: now session 3 is first, and 4 blocks are free.
    let load = [
        in_group(offered(0.0, vec![turn(80, 0, 1)]), "g", 80),
        runner(),
        in_group(offered(0.005, vec![turn(120, 0, 1)]), "g", 80),
        offered(0.005, vec![turn(50, 0, 1)]),
    ];
    let order = ByMissing {
        most_first: false,
        small_beyond: None,
    };
    starts_at(&machine_of(8), order, &load, 3, 330);
}

/// Two sessions with a tool each beside the runner, on 17 blocks. Session 0 leaves 4 blocks at 10, session 2
/// 11 at 20; its second turn is ready at 25, that of session 0 at 30. The runner takes a block at 170: none
/// is unused, so it is the deepest of session 0, and 14 are free.
fn two_sessions(prompt_of_0: u64, prompt_of_2: u64) -> [Offered; 3] {
    let second = |first: u64, wall: f64, prompt: u64| {
        vec![
            with_tool(turn(first, 0, 1), "t", wall, 0.0),
            turn(prompt, first + 1, 1),
        ]
    };
    [
        offered(0.0, second(64, 0.020, prompt_of_0)),
        runner(),
        offered(0.005, second(176, 0.005, prompt_of_2)),
    ]
}

#[test]
fn who_loses_a_block_of_its_own_may_overtake_the_head() {
    // Most missing first: session 2 misses 72 and is the head; its 16 blocks do not fit. Session 0 misses 60,
    // and 76 when it has lost a block: it passes, and its 8 fit.
    let order = ByMissing {
        most_first: true,
        small_beyond: None,
    };
    starts_at(&machine_of(17), order, &two_sessions(124, 248), 0, 170);
}

#[test]
fn who_is_skipped_may_fit_after_a_loss() {
    // Least missing first: session 2 misses 72, needs 16 blocks and is skipped; so is session 0, which misses
    // 184 and needs 16. With a block lost it misses 200, starts with a chunk of 16 and needs 4.
    let mut setup = machine_of(17);
    setup.engine.head_of_line = HeadOfLine::Skip;
    let order = ByMissing {
        most_first: false,
        small_beyond: Some(190),
    };
    let load = two_sessions(248, 248);
    let record = run_policy(&setup, policy(order), &load).expect("goes through");
    let first_chunk = |at: u64| {
        let step = record.steps.iter().find(|s| s.0 == Time::from_nanos(at));
        let chunks = &step.expect("a step").2;
        chunks
            .iter()
            .find(|c| c.0 == SessionId(0))
            .map(|c| (c.1, c.2))
    };
    // It finds 3 blocks, and 16 tokens come on top.
    assert_eq!(first_chunk(170_000_000), Some((48, 16)));
    let (steps, repeated) = same(&setup, &|| policy(order), &load).expect("the same both ways");
    assert!(repeated > 0, "none of {steps} repeated");
}

proptest! {
    #![proptest_config(fixed(1500, 12))]

    /// The same orders on random tiny machines, with outputs long enough to repeat.
    #[test]
    fn orders_by_what_is_missing_are_the_same_both_ways(
        (mut setup, mut load) in full_case(),
        most_first in any::<bool>(),
        small_beyond in prop::option::of(1_u64..60),
        longer in 1_u64..12,
    ) {
        setup.engine.usable_blocks.0 *= 2;
        for one in &mut load {
            for turn in &mut std::sync::Arc::make_mut(&mut one.session).turns {
                turn.output.value = Tokens(turn.output.value.get() * longer);
            }
        }
        let order = ByMissing { most_first, small_beyond };
        if let Err(what) = same(&setup, &|| policy(order), &load) {
            return Err(TestCaseError::fail(what));
        }
    }
}
