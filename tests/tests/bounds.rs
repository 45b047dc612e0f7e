//! Nothing is faster than the bound: hand-computed numbers, every schedule of tiny loads, and every
//! preset on random ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use policies::PRESETS;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sim::bound::{bound, least_latency, srpt_flow};
use sim::cost::{ClosedForm, Coefficients, Host, InMillis};
use sim::world::{Offered, Setup, Status};
use units::{Blocks, Nanos, Time, Tokens};
use workspace_tests::account::{load, setup};
use workspace_tests::loads::{case, fixed, full_case};
use workspace_tests::machine::{
    Record, TEN_MS, in_group, machine, offered, preset, run, run_policy, turn, with_tool,
};
use workspace_tests::scripted::Script;

/// Every term counts, and every step is a whole number of nanoseconds.
const ROUND: InMillis = InMillis {
    p0: 10.0,
    p1: 0.001,
    p2: 2e-6,
    d0: 5.0,
    e: 0.0,
    d1: 0.5,
    d2: 0.001,
};

/// Fractions of nanoseconds, experts, and attention that is dearer in a decode than in a prefill.
const RAGGED: InMillis = InMillis {
    p0: 8.123_456_789,
    p1: 0.010_78,
    p2: 1.199e-6,
    d0: 1.1,
    e: 6.6,
    d1: 0.031,
    d2: 0.05,
};

/// Decodes cost a lot alone and almost nothing beside a prefill: company makes a turn faster.
const COMPANY_HELPS: InMillis = InMillis {
    p0: 1.0,
    p1: 0.000_1,
    p2: 0.0,
    d0: 2.0,
    e: 0.0,
    d1: 6.0,
    d2: 0.0,
};

/// A decode costs as much as its context is long, recomputing next to nothing: a turn that is preempted
/// before every token is the fastest.
const READING_IS_DEAR: InMillis = InMillis {
    p0: 1.0,
    p1: 0.000_1,
    p2: 0.0,
    d0: 1.0,
    e: 0.0,
    d1: 0.0,
    d2: 10.0,
};

fn with_cost(mut setup: Setup, cost: &InMillis) -> Setup {
    let coefficients = Coefficients::from_ms(cost, 0.25).expect("coefficients");
    let host = Host {
        per_step: Nanos::new(300_000),
        per_running: Nanos::new(7_000),
        overlapped: false,
    };
    setup.cost = Arc::new(ClosedForm::new(coefficients, host).expect("a cost model"));
    setup
}

/// What the record says against the bound, if every session that fits completed.
fn holds(setup: &Setup, load: &[Offered], record: &Record) -> Result<(), String> {
    let Some(bound) = bound(setup, load) else {
        return Ok(());
    };
    let mut sum = 0;
    for s in record
        .sessions
        .iter()
        .filter(|s| s.status == Status::Completed)
    {
        let latency = s.finished.expect("completed").since(s.arrival);
        let least = least_latency(setup, &s.trace);
        if latency < least {
            return Err(format!(
                "{} took {latency}, the least is {least}",
                s.session
            ));
        }
        sum += u128::from(latency.as_nanos());
    }
    let mean = sum / u128::from(bound.sessions);
    if mean < u128::from(bound.mean().as_nanos()) {
        return Err(format!("mean {mean} ns below {bound:?}"));
    }
    Ok(())
}

fn complete(record: &Record) -> bool {
    record.summary.unfinished == 0
}

#[test]
fn the_least_of_a_session_is_what_no_cache_can_spare_it() {
    // Turn 0: 40 tokens prefilled, 2 decodes: 3 steps. Its KV: 42 tokens, 2 full blocks. The tool: 1 s.
    // Turn 1: 70 - 32 = 38 tokens: 1 step of at most 256, and none to decode. 4 steps of 10 ms, each
    // rounded by at most half a nanosecond: 1.04 s - 2 ns.
    let mut setup = machine(&TEN_MS, 1.0, 0.0);
    setup.engine.token_budget = Tokens(256);
    let turns = vec![with_tool(turn(40, 0, 3), "tool", 1.0, 0.0), turn(70, 42, 1)];
    let one = offered(0.0, turns);
    assert_eq!(
        least_latency(&setup, &one.session),
        Nanos::new(1_039_999_998)
    );
    // A budget of 16: 3 + 2 + 3 steps. A shared opening of 33 tokens may be warm for 32: 1 + 2 + 3.
    setup.engine.token_budget = Tokens(16);
    assert_eq!(
        least_latency(&setup, &one.session),
        Nanos::new(1_079_999_996)
    );
    let shared = in_group(one, "g", 33);
    assert_eq!(
        least_latency(&setup, &shared.session),
        Nanos::new(1_059_999_997)
    );
}

#[test]
fn the_relaxed_server_counts_the_fullest_batch() {
    // At most 4 turns and 4 tokens a step of 10 ms, so no token costs less than 2.5 ms. Sessions of 9
    // prompt tokens and 9 generated, of which 8 are computed: 17 * 2.5 = 42.5 ms each. Three at once,
    // served one by one: 42.5 * (1 + 2 + 3) / 3 = 85 ms. Alone each takes 3 + 8 steps: 110 ms, which is
    // the bound. Thirty: 42.5 * 15.5 = 658.75 ms, more than 110.
    // All prices are those of a step less half a nanosecond, rounded down: a token loses 1/8 ns, a
    // session 2 1/8 and then 3 ns, and the mean of thirty 15.5 * 3 = 46.5.
    let mut setup = machine(&TEN_MS, 1.0, 0.0);
    setup.engine.token_budget = Tokens(4);
    setup.engine.max_running = 4;
    let load = |n: usize| -> Vec<Offered> { vec![offered(0.0, vec![turn(9, 0, 9)]); n] };
    let three = bound(&setup, &load(3)).expect("they fit");
    assert_eq!(three.shared, Nanos::new(85_000_000 - 6));
    assert_eq!(three.alone, Nanos::new(110_000_000 - 5));
    assert_eq!(three.mean(), three.alone);
    let thirty = bound(&setup, &load(30)).expect("they fit");
    assert_eq!(thirty.shared, Nanos::new(658_750_000 - 47));
    assert_eq!(thirty.mean(), thirty.shared);
}

#[test]
fn a_session_that_never_fits_does_not_count() {
    let mut setup = machine(&TEN_MS, 1.0, 0.0);
    setup.engine.usable_blocks = Blocks(2);
    let load = [
        offered(0.0, vec![turn(40, 0, 1)]),
        offered(0.0, vec![turn(9, 0, 1)]),
    ];
    assert_eq!(bound(&setup, &load[..1]), None);
    assert_eq!(bound(&setup, &load).expect("one fits").sessions, 1);
}

/// The least sum of completion times over all ways to serve unit by unit, idling included.
fn brute_force(now: u64, left: &mut Vec<(u64, u64)>, known: &mut Memo) -> u64 {
    if left.iter().all(|&(_, work)| work == 0) {
        return 0;
    }
    if let Some(&least) = known.get(&(now, left.clone())) {
        return least;
    }
    // Idling helps nobody once all are here; before that it is one of the choices.
    let waits = left
        .iter()
        .any(|&(release, work)| work > 0 && release > now);
    let mut least = if waits {
        brute_force(now + 1, left, known)
    } else {
        u64::MAX
    };
    for i in 0..left.len() {
        let (release, work) = left[i];
        if work == 0 || release > now {
            continue;
        }
        left[i].1 -= 1;
        let done = if work == 1 { now + 1 } else { 0 };
        least = least.min(done + brute_force(now + 1, left, known));
        left[i].1 += 1;
    }
    known.insert((now, left.clone()), least);
    least
}

type Memo = BTreeMap<(u64, Vec<(u64, u64)>), u64>;

#[test]
fn shortest_remaining_first_is_the_least_of_all_preemptive_schedules() {
    // By hand: 10 units from 0, 2 from 1, 1 from 2. Served 0-1, 1-3, 3-4, 4-13: flows 13 + 2 + 2.
    let jobs = |list: &[(u64, u64)]| -> Vec<(Time, Nanos)> {
        let job = |&(release, work)| (Time::from_nanos(release), Nanos::new(work));
        list.iter().map(job).collect()
    };
    assert_eq!(srpt_flow(&jobs(&[(0, 10), (1, 2), (2, 1)])), 17);
    // All instances of three jobs with releases 0 to 4 and work 1 to 4, and of four with 0 to 2, 1 to 3.
    let mut instances = 0;
    for (n, releases, works) in [(1, 5, 4), (2, 5, 4), (3, 5, 4), (4, 3, 3)] {
        let kinds: u64 = releases * works;
        for number in 0..kinds.pow(n) {
            let mut rest = number;
            let mut list: Vec<(u64, u64)> = (0..n)
                .map(|_| {
                    let kind = rest % kinds;
                    rest /= kinds;
                    (kind % releases, kind / releases + 1)
                })
                .collect();
            if !list.is_sorted() {
                continue;
            }
            let arrivals: u64 = list.iter().map(|&(release, _)| release).sum();
            let srpt = srpt_flow(&jobs(&list));
            let least = brute_force(0, &mut list, &mut Memo::new()) - arrivals;
            assert_eq!(srpt, u128::from(least), "{list:?}");
            instances += 1;
        }
    }
    // 20 + C(21,2) + C(22,3) + C(12,4) multisets.
    assert_eq!(instances, 20 + 210 + 1540 + 495);
}

/// Three sessions that share a tight pool, an opening and a tool each.
fn three(block: u64) -> (Setup, Vec<Offered>) {
    let mut setup = machine(&TEN_MS, 1.0, 0.0);
    setup.engine.block_size = units::BlockSize::new(block).expect("not zero");
    setup.engine.usable_blocks = Blocks(7);
    setup.engine.token_budget = Tokens(12);
    setup.engine.max_running = 2;
    let session = |arrival: f64, prompt: u64, output: u64, more: u64| {
        let first = with_tool(turn(prompt, 0, output), "tool", 0.015, 0.0);
        let kept = prompt + output;
        in_group(
            offered(arrival, vec![first, turn(kept + more, kept, 2)]),
            "g",
            5,
        )
    };
    let load = vec![
        session(0.0, 9, 3, 4),
        session(0.0, 14, 1, 1),
        session(0.012, 6, 4, 6),
    ];
    (setup, load)
}

#[test]
fn no_enumerated_schedule_is_below_the_bound() {
    let (base, load) = three(4);
    let mut runs = 0;
    let costs = [
        ("ragged", &RAGGED),
        ("company", &COMPANY_HELPS),
        ("reading", &READING_IS_DEAR),
    ];
    for (name, cost) in costs {
        let setup = with_cost(base.clone(), cost);
        // All orders of three sessions at each of the first four plans, repeated to the end of a run.
        for number in 0..6_u32.pow(4) {
            let orders: Vec<u32> = (0..4).map(|k| number / 6_u32.pow(k) % 6).collect();
            for variant in 0..8_u32 {
                let script = Script {
                    orders: orders.repeat(12),
                    chunks: vec![if variant & 1 == 0 { 0 } else { 4 }; 48],
                    pins: vec![u32::from(variant & 2 != 0); 6],
                    entries: if variant & 4 == 0 {
                        Vec::new()
                    } else {
                        vec![1, 0, 1, 0]
                    },
                    worths: orders.clone(),
                };
                let record = run_policy(&setup, script.policy(3), &load).expect("a run");
                assert!(complete(&record), "{script:?}");
                holds(&setup, &load, &record).unwrap_or_else(|e| panic!("{name}: {e}: {script:?}"));
                runs += 1;
            }
        }
    }
    assert_eq!(runs, 3 * 1296 * 8);
}

fn tape(digits: u32, length: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..digits, 0..length)
}

fn script() -> impl Strategy<Value = Script> {
    (
        tape(24, 60),
        tape(9, 60),
        tape(3, 12),
        tape(2, 12),
        tape(24, 20),
    )
        .prop_map(|(orders, chunks, entries, pins, worths)| Script {
            orders,
            chunks,
            entries,
            pins,
            worths,
        })
}

fn cost() -> impl Strategy<Value = &'static InMillis> {
    prop::sample::select(vec![
        &TEN_MS,
        &ROUND,
        &RAGGED,
        &COMPANY_HELPS,
        &READING_IS_DEAR,
    ])
}

proptest! {
    #![proptest_config(fixed(4000, 11))]

    /// Up to four sessions, decisions drawn at random: who is served, in which chunks, who gives way,
    /// who enters when, what is kept.
    #[test]
    fn no_random_schedule_is_below_the_bound(
        (setup, load) in full_case(),
        script in script(),
        cost in cost(),
    ) {
        let mut setup = with_cost(setup, cost);
        setup.horizon = Some(Time::ZERO + Nanos::from_millis(1_000_000));
        let record = run_policy(&setup, script.policy(load.len()), &load);
        let record = record.map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(complete(&record));
        holds(&setup, &load, &record).map_err(TestCaseError::fail)?;
    }

    /// Alone, a session takes exactly its least, but for the half nanosecond that every step's rounding
    /// may take off. A law only where a step costs a whole number of nanoseconds, where a preempted
    /// decode is not cheaper than a decode, and where nothing is shared.
    #[test]
    fn alone_a_session_takes_its_least((setup, load) in case(false).prop_map(|c| (setup(&c), load(&c)))) {
        let setup = with_cost(setup, &ROUND);
        let fcfs = preset("fcfs", &[]);
        for one in &load {
            let mut one = one.clone();
            one.arrival = Time::ZERO;
            let record = run(&setup, &fcfs, std::slice::from_ref(&one)).expect("a run");
            let Some(finished) = record.sessions[0].finished else { continue };
            let steps = record.steps.len() as u64;
            let least = least_latency(&setup, &one.session);
            prop_assert_eq!(finished.since(Time::ZERO), least + Nanos::new(steps / 2));
        }
    }
}

/// Random small loads under every shipped preset: the mean is never below the bound, no session is
/// below its least. And where nothing is shared and company never shortens a step, no session is faster
/// than alone under `fcfs`: its steps are those of [`least_latency`], and the machine above makes that
/// exact.
#[test]
fn no_preset_is_below_the_bound_or_faster_than_isolated() {
    let fcfs = preset("fcfs", &[]);
    let runs: RefCell<BTreeMap<&str, u64>> = RefCell::default();
    let draws = (full_case(), cost());
    TestRunner::new(fixed(400, 12))
        .run(&draws, |((setup, load), cost)| {
            let mut setup = with_cost(setup, cost);
            setup.horizon = Some(Time::ZERO + Nanos::from_millis(1_000_000));
            let apart = load.iter().all(|o| o.session.shared.is_empty());
            let exact = apart && *cost == ROUND && setup.engine.prefix_caching;
            let alone: Vec<Option<Time>> = load
                .iter()
                .map(|o| {
                    let one = Offered {
                        arrival: Time::ZERO,
                        ..o.clone()
                    };
                    run(&setup, &fcfs, &[one]).expect("a run").sessions[0].finished
                })
                .collect();
            for (name, _) in PRESETS {
                let record = run(&setup, &preset(name, &[]), &load);
                let record = record.map_err(|e| TestCaseError::fail(format!("{name}: {e}")))?;
                // Turns that take each other's blocks for ever have no mean.
                if !complete(&record) {
                    continue;
                }
                *runs.borrow_mut().entry(name).or_default() += 1;
                holds(&setup, &load, &record)
                    .map_err(|e| TestCaseError::fail(format!("{name}: {e}")))?;
                for s in record
                    .sessions
                    .iter()
                    .filter(|s| exact && s.finished.is_some())
                {
                    let took = s.finished.map(|t| t.since(s.arrival));
                    let isolated = alone[s.session.0 as usize].map(|t| t.since(Time::ZERO));
                    prop_assert!(
                        took >= isolated,
                        "{name}: {} {took:?} {isolated:?}",
                        s.session
                    );
                }
            }
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
    for (name, runs) in runs.into_inner() {
        eprintln!("{name}: {runs} of 400 loads ran to their end");
        assert!(runs >= 360, "{name} completed only {runs} of 400 loads");
    }
}
