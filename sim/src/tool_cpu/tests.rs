//! Laws of processor sharing, by hand and against exact rational arithmetic.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[path = "exact.rs"]
mod exact;

use exact::Ratio;

const MS: u64 = 1_000_000;

fn cores(n: u32) -> ToolCpu {
    ToolCpu::shared(NonZeroU32::new(n).expect("not zero"))
}

fn at_ms(ms: u64) -> Time {
    Time::from_nanos(ms * MS)
}

fn demand_ms(wall: u64, cpu: u64, parallelism: u32) -> Demand {
    Demand::new(
        Nanos::from_millis(wall),
        Nanos::from_millis(cpu),
        parallelism,
    )
    .expect("possible")
}

/// Advances from change to change until nothing computes.
fn drain(tools: &mut ToolCpu) -> Vec<CpuEnd> {
    let mut ends = Vec::new();
    while let Some(next) = tools.next_change() {
        let now = tools.advance(next);
        assert!(
            !now.is_empty() && now.iter().all(|end| end.at == next),
            "{now:?} at {next:?}"
        );
        ends.extend(now);
    }
    ends
}

#[test]
fn three_calls_on_two_cores_slow_each_other_alike() {
    let mut tools = cores(2);
    for id in [2, 0, 1] {
        assert_eq!(
            tools.start(at_ms(10), CallId(id), demand_ms(1_500, 1_000, 1)),
            None
        );
    }
    assert_eq!(tools.next_change(), Some(at_ms(1_510)));
    assert_eq!(
        (tools.computing(), tools.threads(), tools.busy_cores()),
        (3, 3, 2)
    );
    let ends = tools.advance(at_ms(1_510));
    let ids: Vec<u64> = ends.iter().map(|end| end.id.0).collect();
    assert_eq!(ids, [0, 1, 2]);
    for end in ends {
        assert_eq!((end.at, end.ends()), (at_ms(1_510), at_ms(2_010)));
        assert_eq!(end.elapsed(), Nanos::from_millis(2_000));
        assert_eq!(end.queue_delay(), Nanos::from_millis(500));
        assert_eq!(end.stretch(), Some(2.0 / 1.5));
    }
    assert_eq!(tools.next_change(), None);
}

#[test]
fn unlimited_cores_let_every_call_run_as_if_alone() {
    let mut tools = ToolCpu::unlimited();
    for s in 1..=3 {
        tools.start(at_ms(10), CallId(s), demand_ms(1_000 * s, 1_000 * s, 1));
    }
    let ends: Vec<Time> = drain(&mut tools).iter().map(CpuEnd::ends).collect();
    assert_eq!(ends, [at_ms(1_010), at_ms(2_010), at_ms(3_010)]);
}

#[test]
fn the_rate_follows_the_load() {
    // One core. A (600 ms) alone 0-200, then shares with B (100 ms) at rate 1/2: B ends at 400,
    // A has 300 of 600 by then and runs alone again until 700.
    let mut tools = cores(1);
    tools.start(at_ms(0), CallId(0), demand_ms(600, 600, 1));
    tools.start(at_ms(200), CallId(1), demand_ms(100, 100, 1));
    let ends: Vec<(u64, Time)> = drain(&mut tools)
        .iter()
        .map(|end| (end.id.0, end.at))
        .collect();
    assert_eq!(ends, [(1, at_ms(400)), (0, at_ms(700))]);
}

#[test]
fn a_call_with_threads_takes_a_share_per_thread() {
    // Two cores, 3 + 1 threads: each runs at 1/2. A needs 300 ms per thread, B 200 ms.
    // B ends at 400; A's three threads then run at 2/3 for the last 100: 400 + 150.
    let mut tools = cores(2);
    tools.start(at_ms(0), CallId(0), demand_ms(300, 900, 3));
    tools.start(at_ms(0), CallId(1), demand_ms(200, 200, 1));
    let ends: Vec<(u64, Time)> = drain(&mut tools)
        .iter()
        .map(|end| (end.id.0, end.at))
        .collect();
    assert_eq!(ends, [(1, at_ms(400)), (0, at_ms(550))]);
}

#[test]
fn a_call_without_cpu_goes_straight_to_io() {
    let mut tools = cores(1);
    let end = tools
        .start(at_ms(5), CallId(9), demand_ms(70, 0, 1))
        .expect("no CPU phase");
    assert_eq!((end.at, end.ends()), (at_ms(5), at_ms(75)));
    assert_eq!((end.queue_delay(), end.stretch()), (Nanos::ZERO, Some(1.0)));
    assert_eq!((tools.next_change(), tools.computing()), (None, 0));
    let none = tools
        .start(at_ms(6), CallId(9), demand_ms(0, 0, 1))
        .expect("no CPU phase");
    assert_eq!((none.ends(), none.stretch()), (at_ms(6), None));
}

#[test]
fn an_end_that_a_start_overtakes_is_reported_at_its_own_time() {
    let mut tools = cores(1);
    tools.start(at_ms(0), CallId(0), demand_ms(10, 10, 1));
    tools.start(at_ms(10), CallId(1), demand_ms(5, 5, 1));
    assert_eq!(tools.next_change(), Some(at_ms(10)));
    let ends: Vec<(u64, Time)> = drain(&mut tools)
        .iter()
        .map(|end| (end.id.0, end.at))
        .collect();
    assert_eq!(ends, [(0, at_ms(10)), (1, at_ms(15))]);
}

#[test]
fn a_late_caller_gets_every_end_at_its_own_time() {
    let mut tools = cores(1);
    tools.start(at_ms(0), CallId(0), demand_ms(10, 10, 1));
    tools.start(at_ms(0), CallId(1), demand_ms(20, 20, 1));
    let ends: Vec<Time> = tools.advance(at_ms(99)).iter().map(|end| end.at).collect();
    assert_eq!(ends, [at_ms(20), at_ms(30)]);
}

#[test]
fn asking_in_between_changes_nothing() {
    // 3 threads on 2 cores, asked at every one of 1,500 ns.
    let mut tools = cores(2);
    let demand = Demand::new(Nanos::new(1_000), Nanos::new(1_000), 1).expect("possible");
    for id in 0..3 {
        tools.start(Time::ZERO, CallId(id), demand);
    }
    for ns in 0..1_500 {
        assert_eq!(tools.advance(Time::from_nanos(ns)), []);
    }
    assert_eq!(tools.advance(Time::from_nanos(1_500)).len(), 3);
}

#[test]
#[should_panic(expected = "tool CPUs were asked to go back in time")]
fn time_does_not_go_back() {
    let mut tools = cores(1);
    tools.start(at_ms(5), CallId(0), demand_ms(10, 10, 1));
    tools.start(at_ms(4), CallId(1), demand_ms(10, 10, 1));
}

/// A call as (start in ns, CPU time in ns, threads).
type Call = (u64, u64, u32);

/// Runs the calls through [`ToolCpu`] as an event loop would; ends by position in `calls`.
fn run(tools: &mut ToolCpu, calls: &[Call], order: &[usize]) -> BTreeMap<u64, CpuEnd> {
    let mut order = order.to_vec();
    order.sort_by_key(|&i| calls[i].0); // stable: simultaneous starts keep the given order
    let mut ends = Vec::new();
    for i in order {
        let (start, cpu, threads) = calls[i];
        let now = Time::from_nanos(start);
        while let Some(next) = tools.next_change().filter(|&next| next <= now) {
            ends.extend(tools.advance(next));
        }
        let demand = Demand::new(Nanos::new(cpu), Nanos::new(cpu), threads).expect("possible");
        let id = CallId(u64::try_from(i).expect("small"));
        ends.extend(tools.start(now, id, demand));
    }
    ends.extend(drain(tools));
    ends.into_iter().map(|end| (end.id.0, end)).collect()
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec((0_u64..400, 1_u64..1_000, 1_u32..4), 1..7)
}

proptest! {
    /// Ends agree with exact rational arithmetic: rounded up to a whole nanosecond, so less than
    /// 1 ns late, and early by no more than the fixed point allows.
    #[test]
    fn ends_are_the_exact_ones_rounded_up(n in 1_u32..5, calls in calls()) {
        let order: Vec<usize> = (0..calls.len()).collect();
        let ours = run(&mut cores(n), &calls, &order);
        let threads: u32 = calls.iter().map(|call| call.2).sum();
        // Each start or end rounds twice by at most 2^-32 ns of virtual time, which lasts up to
        // `threads` times longer in real time.
        let changes = 2 * u64::try_from(calls.len()).expect("small");
        let early = Ratio::new(i128::from(2 * changes * u64::from(threads)), 1 << 32);
        for (id, exact) in exact::ends(n, &calls).into_iter().enumerate() {
            let id = u64::try_from(id).expect("small");
            let ours = Ratio::whole(ours[&id].at.as_nanos());
            prop_assert!(ours < exact + Ratio::whole(1), "{ours:?} {exact:?}");
            prop_assert!(ours + early >= exact, "{ours:?} {exact:?}");
        }
    }

    /// The order in which simultaneous calls start does not matter.
    #[test]
    fn insertion_order_is_irrelevant(
        n in 1_u32..5,
        calls in calls(),
        order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let calls: Vec<Call> = calls.into_iter().map(|call| (call.0 / 100 * 100, call.1, call.2)).collect();
        let order: Vec<usize> = order.into_iter().filter(|&i| i < calls.len()).collect();
        let sorted: Vec<usize> = (0..calls.len()).collect();
        prop_assert_eq!(run(&mut cores(n), &calls, &order), run(&mut cores(n), &calls, &sorted));
    }

    /// Cores never idle while a thread waits, and never do more than was asked: the integral of
    /// busy cores is the CPU time, but for ends reported up to 1 ns late per thread.
    #[test]
    fn work_is_conserved(n in 1_u32..5, calls in calls()) {
        let order: Vec<usize> = (0..calls.len()).collect();
        let ends = run(&mut cores(n), &calls, &order);
        let last = ends.values().map(|end| end.at.as_nanos()).max().expect("some call");
        let busy: u64 = (0..last)
            .map(|ns| {
                let runs = |end: &&CpuEnd| end.started.as_nanos() <= ns && ns < end.at.as_nanos();
                let threads: u32 = ends.values().filter(runs).map(|end| end.demand.parallelism()).sum();
                u64::from(threads.min(n))
            })
            .sum();
        let asked: u64 = calls.iter().map(|call| call.1).sum();
        let threads: u32 = calls.iter().map(|call| call.2).sum();
        prop_assert!((asked..=asked + u64::from(threads)).contains(&busy), "{busy} for {asked}");
    }

    /// Nobody gains from company: no call ends before it would alone.
    #[test]
    fn no_call_beats_its_time_alone(n in 1_u32..5, calls in calls()) {
        let order: Vec<usize> = (0..calls.len()).collect();
        for end in run(&mut cores(n), &calls, &order).values() {
            prop_assert!(end.elapsed() >= end.alone());
        }
    }
}
