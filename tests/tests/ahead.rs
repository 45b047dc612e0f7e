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

#[test]
fn blocks_of_a_turn_that_ends_are_free_one_plan_later() {
    // 5 blocks. Session 0 holds 4 and ends at 10, in step 0-10; session 1 holds one and decodes. Session 2
    // is there at 0 and needs 4. Between steps it would be in 10-20. But the plan for 10-20 was made when
    // session 0 still held its blocks, so it is in 20-30.
    let load = [
        offered(0.0, vec![turn(64, 0, 1)]),
        offered(0.0, vec![turn(8, 0, 5)]),
        offered(0.0, vec![turn(64, 0, 1)]),
    ];
    let pool = |setup| with_pool(setup, 5);
    assert_eq!(first_tokens_ms(&pool(ahead()), &load), [10.0, 10.0, 30.0]);
    let between = pool(machine(&TEN_MS, 1.0, 0.0));
    assert_eq!(first_tokens_ms(&between, &load), [10.0, 10.0, 20.0]);
}

#[test]
fn a_turn_that_ends_still_has_its_place() {
    // One place. Session 0 has its last token at 20; the plan for 20-30 is empty without session 1, so the
    // engine looks again at 20 and finds the place free. With a third that runs, on two places, it does not:
    // session 2 is in 30-40.
    let mut setup = ahead();
    setup.engine.max_running = 1;
    let alone = [
        offered(0.0, vec![turn(16, 0, 2)]),
        offered(0.0, vec![turn(16, 0, 1)]),
    ];
    assert_eq!(first_tokens_ms(&setup, &alone), [10.0, 30.0]);
    setup.engine.max_running = 2;
    let three = [
        offered(0.0, vec![turn(16, 0, 2)]),
        offered(0.0, vec![turn(16, 0, 9)]),
        offered(0.0, vec![turn(16, 0, 1)]),
    ];
    assert_eq!(first_tokens_ms(&setup, &three), [10.0, 10.0, 40.0]);
}

#[test]
fn a_turn_that_ends_may_be_preempted_in_its_last_plan() {
    // 3 blocks. Session 0, of 16 tokens, needs its second block for the second token, at 10. Session 1, of 32
    // tokens and one more to generate, holds two and has its only token at 10: it is the youngest, so it gives
    // way, which costs it nothing. Session 2 fits at 10 but waits, as after any preemption, and is in 20-30.
    let load = [
        offered(0.0, vec![turn(16, 0, 3)]),
        offered(0.0, vec![turn(32, 0, 1)]),
        offered(0.0, vec![turn(8, 0, 1)]),
    ];
    let setup = with_pool(ahead(), 3);
    let record = run(&setup, &preset("fcfs", &[]), &load).expect("goes through");
    assert_eq!(record.finish_ms(), [Some(30.0), Some(10.0), Some(30.0)]);
    assert_eq!(record.summary.counters.preemptions, 0);
}
