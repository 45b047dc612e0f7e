//! Planning a step while the one before runs, and starting only with room for the whole context: timelines
//! computed by hand.

use scheduler::{Planning, StartRoom};
use sim::world::{Offered, Setup};
use workspace_tests::machine::{TEN_MS, machine, offered, preset, run, turn, with_pool, with_tool};

/// Every step takes 10 ms.
fn ahead() -> Setup {
    let mut setup = machine(&TEN_MS, 1.0, 0.0);
    setup.engine.planning = Planning::Ahead;
    setup
}

fn first_tokens_ms(setup: &Setup, load: &[Offered]) -> Vec<f64> {
    let record = run(setup, &preset("fcfs", &[]), load).expect("goes through");
    let mut turns = record.turns;
    turns.sort_by_key(|t| (t.session, t.turn));
    turns
        .iter()
        .map(|t| t.first_token.as_secs() * 1e3)
        .collect()
}

#[test]
fn who_arrives_during_a_step_waits_for_the_one_after() {
    // Steps 0-10, 10-20, ... of the first session. The second arrives at 15: the plan for 20-30 was made
    // at 10, so it is in 30-40. Between steps it would be in 20-30.
    let load = [
        offered(0.0, vec![turn(16, 0, 20)]),
        offered(0.015, vec![turn(16, 0, 1)]),
    ];
    assert_eq!(first_tokens_ms(&ahead(), &load), [10.0, 40.0]);
    let between = machine(&TEN_MS, 1.0, 0.0);
    assert_eq!(first_tokens_ms(&between, &load), [10.0, 30.0]);
}

#[test]
fn an_idle_engine_waits_for_nobody() {
    // The first session's only step ends at 10; nothing else is planned, so the second, there since 5,
    // starts at once. The third finds the engine idle.
    let load = [
        offered(0.0, vec![turn(16, 0, 1)]),
        offered(0.005, vec![turn(16, 0, 1)]),
        offered(0.1, vec![turn(16, 0, 1)]),
    ];
    assert_eq!(first_tokens_ms(&ahead(), &load), [10.0, 20.0, 110.0]);
}

#[test]
fn a_turn_after_a_tool_waits_as_an_arrival_does() {
    // Session 0 decodes throughout. Session 1: prefill 0-10 with session 0, one token, a tool of 7 ms on
    // the CPU until 17, during step 10-20. The plan for 20-30 is made; its second turn is in 30-40.
    let load = [
        offered(0.0, vec![turn(16, 0, 20)]),
        offered(
            0.0,
            vec![
                with_tool(turn(16, 0, 1), "t", 0.007, 0.007),
                turn(32, 17, 1),
            ],
        ),
    ];
    assert_eq!(first_tokens_ms(&ahead(), &load), [10.0, 10.0, 40.0]);
}

#[test]
fn a_start_needs_room_for_the_whole_context() {
    // 10 blocks of 16. The first session takes 4 for 64 tokens and ends at 10. The second has 112 tokens,
    // 7 blocks: its first chunk of 32 tokens fits the 6 that are free at 0, the whole does not.
    let mut setup = with_pool(machine(&TEN_MS, 1.0, 0.0), 10);
    setup.engine.token_budget = units::Tokens(96);
    let load = [
        offered(0.0, vec![turn(64, 0, 1)]),
        offered(0.0, vec![turn(112, 0, 1)]),
    ];
    // First chunk at once: 32 beside 64 in 0-10, the other 80 in 10-20.
    assert_eq!(first_tokens_ms(&setup, &load), [10.0, 20.0]);
    // Whole: it waits until the first has ended at 10, then 96 in 10-20 and 16 in 20-30.
    setup.engine.start_room = StartRoom::WholeContext;
    assert_eq!(first_tokens_ms(&setup, &load), [10.0, 30.0]);
}
