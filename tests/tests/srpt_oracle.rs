//! The oracle's rules, in numbers worked out by hand. Every step takes 10 ms.

use scheduler::{Info, Unpin};
use sim::world::{Offered, Setup};
use units::Tokens;
use workspace_tests::machine::{
    Record, TEN_MS, machine, offered, preset, run, turn, with_pool, with_tool,
};

fn oracle(setup: &Setup, overrides: &[(&str, &str)], load: &[Offered]) -> Record {
    run(setup, &preset("srpt-oracle", overrides), load).expect("a run")
}

#[test]
fn the_shortest_session_goes_first() {
    // One place. Steps left: 5, 1 and 3. So session 1 ends at 10 ms, 2 at 40, 0 at 90.
    let mut setup = machine(&TEN_MS, 1.0, 0.0);
    setup.engine.max_running = 1;
    let load = [5, 1, 3].map(|output| offered(0.0, vec![turn(10, 0, output)]));
    let record = oracle(&setup, &[], &load);
    assert_eq!(record.finish_ms(), [Some(90.0), Some(10.0), Some(40.0)]);
}

#[test]
fn work_may_be_counted_with_or_without_tools() {
    // Session 0: 1 step, 1 s of tools, 1 step. Session 1: 9 steps. Alone that is 1020 ms and 90 ms. Of
    // GPU work session 0 has none: its steps are prefill, whose tokens cost nothing here (p1 = 0).
    let mut setup = machine(&TEN_MS, 1.0, 0.0);
    setup.engine.max_running = 1;
    let load = [
        offered(
            0.0,
            vec![with_tool(turn(10, 0, 1), "tool", 1.0, 0.0), turn(20, 11, 1)],
        ),
        offered(0.0, vec![turn(10, 0, 9)]),
    ];
    let by_time = oracle(&setup, &[], &load);
    assert_eq!(by_time.finish_ms(), [Some(1_110.0), Some(90.0)]);
    let by_work = [("admission.by", "gpu-work"), ("order.by", "gpu-work")];
    let by_work = oracle(&setup, &by_work, &load);
    assert_eq!(by_work.finish_ms(), [Some(1_020.0), Some(100.0)]);
}

#[test]
fn the_longest_session_gives_way() {
    // 4 blocks of 16. Session 0: 30 tokens and 20 steps; session 1: 15 tokens and 10 steps. After three
    // steps they hold 2 and 2 blocks with 32 and 17 tokens. The 33rd of session 0 finds no block: it has
    // most left and gives way at 30 ms. Session 1 ends at 100 ms; then session 0 finds its 32 tokens and
    // makes its last 17 steps: 270 ms. Stock FCFS would have evicted session 1, which started last.
    let setup = with_pool(machine(&TEN_MS, 1.0, 0.0), 4);
    let load =
        [(30, 20), (15, 10)].map(|(prompt, output)| offered(0.0, vec![turn(prompt, 0, output)]));
    let record = oracle(&setup, &[("admission.kind", "open")], &load);
    assert_eq!(record.finish_ms(), [Some(270.0), Some(100.0)]);
    let preempted = record.infos.iter().filter_map(|(at, info)| match info {
        Info::Preempted { session, .. } => Some((at.as_secs(), session.0)),
        _ => None,
    });
    assert_eq!(preempted.collect::<Vec<_>>(), [(0.03, 0)]);

    // With the oracle's own admission nobody is preempted: 4 blocks for session 0 and 2 for session 1 do
    // not fit, so session 0, which arrived first, enters an empty machine; session 1 waits for its end.
    let record = oracle(&setup, &[], &load);
    assert_eq!(record.finish_ms(), [Some(200.0), Some(300.0)]);
    assert_eq!(record.summary.counters.preemptions, 0);
}

/// Contexts of 31 tokens, 2 blocks each, in a pool for two. Session 0 yields at 10 ms for 10 s, session 1
/// at 510 ms for 1 s; session 2 comes at 1 s.
fn three_contexts() -> [Offered; 3] {
    [(0.0, 10.0), (0.5, 1.0), (1.0, 2.0)].map(|(arrival, wall)| {
        let first = with_tool(turn(31, 0, 1), "tool", wall, 0.0);
        offered(arrival, vec![first, turn(31, 31, 1)])
    })
}

#[test]
fn the_farthest_next_use_is_reclaimed_first() {
    let setup = with_pool(machine(&TEN_MS, 1.0, 0.0), 4);
    let record = oracle(&setup, &[("admission.kind", "open")], &three_contexts());
    let pins = record.infos.iter().filter_map(|(at, info)| match info {
        Info::Pinned { session, .. } => Some((at.as_secs(), session.0, None)),
        Info::Unpinned { session, why } => Some((at.as_secs(), session.0, Some(*why))),
        _ => None,
    });
    let want = [
        (0.01, 0, None),
        (0.51, 1, None),
        // Next uses: 10.01 s and 1.51 s.
        (1.0, 0, Some(Unpin::ReclaimedForWaiting)),
        (1.01, 2, None),
        (1.51, 1, Some(Unpin::Resumed)),
        (3.01, 2, Some(Unpin::Resumed)),
    ];
    assert_eq!(pins.collect::<Vec<_>>(), want);
    let hits: Vec<(u32, u64)> = record
        .turns
        .iter()
        .filter(|t| t.turn == 1)
        .map(|t| (t.session.0, t.hit.get()))
        .collect();
    assert_eq!(hits, [(1, 16), (2, 16), (0, 0)]);
}

#[test]
fn peaks_that_do_not_fit_wait_outside() {
    // Session 2 would be the third context: it enters when session 1 is over at 1.52 s, and nothing is
    // ever reclaimed. Where the peaks may fill the pool one and a half times, it enters at once.
    let setup = with_pool(machine(&TEN_MS, 1.0, 0.0), 4);
    let admitted = |record: &Record| -> Vec<f64> {
        let mut all: Vec<(u32, f64)> = record
            .sessions
            .iter()
            .map(|s| (s.session.0, s.admitted.expect("completed").as_secs()))
            .collect();
        all.sort_by_key(|&(id, _)| id);
        all.into_iter().map(|(_, at)| at).collect()
    };
    let record = oracle(&setup, &[], &three_contexts());
    assert_eq!(admitted(&record), [0.0, 0.5, 1.52]);
    assert_eq!(record.summary.counters.recomputed, 3 * 15);
    assert!(
        record
            .turns
            .iter()
            .all(|t| t.turn == 0 || t.hit == Tokens(16))
    );
    let record = oracle(
        &setup,
        &[("admission.peak_percent", "150")],
        &three_contexts(),
    );
    assert_eq!(admitted(&record), [0.0, 0.5, 1.0]);
}
