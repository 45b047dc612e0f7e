//! Laws that hold for every policy and every load. Loads are tiny and legal by construction.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use scheduler::{Direction, Info, Then, ToolClass};
use sim::world::{Status, alone};
use units::{Nanos, Time};
use workspace_tests::account::{load, setup};
use workspace_tests::loads::{case, fixed, full_case};
use workspace_tests::machine::{Record, preset, run};
use workspace_tests::mixes::{any_policy, policy_that_circles, policy_that_ends};

/// Starts of a turn and what they found, by session and turn.
fn starts(record: &Record, session: u32, turn: u32) -> Vec<u64> {
    record
        .infos
        .iter()
        .filter_map(|(_, info)| match info {
            Info::TurnStarted {
                session: s,
                turn: t,
                hit,
                ..
            } => (s.0 == session && *t == turn).then_some(hit.get()),
            _ => None,
        })
        .collect()
}

proptest! {
    #![proptest_config(fixed(3000, 2))]

    /// Nobody is lost: every session completes or is rejected, whatever the policy, and is reported
    /// once; one is rejected if and only if it can never fit. No livelock: alone, one after the other,
    /// these loads take less than 10 s; they must be done within the horizon of 100.
    #[test]
    fn no_session_is_lost((setup, load) in full_case(), policy in policy_that_ends()) {
        let record = run(&setup, &policy, &load);
        let record = record.map_err(|e| TestCaseError::fail(format!("{}: {e}", policy.name)))?;
        let s = record.summary;
        prop_assert_eq!(s.offered, load.len() as u64);
        prop_assert_eq!(s.completed + s.rejected, s.offered);
        prop_assert_eq!(s.unfinished, 0);
        let mut ids: Vec<u32> = record.sessions.iter().map(|s| s.session.0).collect();
        ids.sort_unstable();
        prop_assert!(ids.iter().zip(0_u32..).all(|(a, b)| *a == b) && ids.len() == load.len());
        for one in &record.sessions {
            let needs = setup.engine.block_size.to_hold(one.trace.peak_tokens());
            let fits = needs <= setup.engine.usable_blocks;
            let end = if fits { Status::Completed } else { Status::Rejected };
            prop_assert_eq!(one.status, end);
        }
    }

    /// No livelock either where turns take each other's blocks in a circle. Each circle may take 256
    /// preemptions until it is ended, a few seconds here, and every turn may be in one.
    #[test]
    fn circles_are_ended((mut setup, load) in full_case(), policy in policy_that_circles()) {
        setup.horizon = Some(Time::ZERO + Nanos::from_millis(1_000_000));
        let record = run(&setup, &policy, &load);
        let record = record.map_err(|e| TestCaseError::fail(format!("{}: {e}", policy.name)))?;
        prop_assert_eq!(record.summary.unfinished, 0);
    }

    /// With a horizon, what is open then is unfinished; nothing is counted twice.
    #[test]
    fn every_session_ends_as_something(
        (mut setup, load) in full_case(),
        policy in any_policy(),
        horizon_ms in 0_u64..600,
    ) {
        setup.horizon = Some(Time::ZERO + Nanos::from_millis(horizon_ms));
        let record = run(&setup, &policy, &load);
        let record = record.map_err(|e| TestCaseError::fail(format!("{}: {e}", policy.name)))?;
        let s = record.summary;
        let arrived = load.iter().filter(|o| Some(o.arrival) <= setup.horizon).count();
        prop_assert_eq!(s.offered, arrived as u64);
        prop_assert_eq!(s.completed + s.rejected + s.unfinished, s.offered);
        prop_assert_eq!(record.sessions.len() as u64, s.offered);
        let late = record.sessions.iter().filter_map(|s| s.finished).any(|t| Some(t) > setup.horizon);
        prop_assert!(!late, "completed past the horizon");
    }

    /// A session's phases add up to its latency.
    #[test]
    fn phases_add_up((setup, load) in full_case(), policy in any_policy()) {
        let record = run(&setup, &policy, &load).expect("checked above");
        for s in record.sessions.iter().filter(|s| s.status == Status::Completed) {
            let p = s.phases;
            let parts = [
                p.admission, p.queue, p.prefill, p.decode, p.tool_run, p.tool_wait, p.think,
            ];
            let latency = s.finished.expect("completed").since(s.arrival);
            prop_assert_eq!(parts.into_iter().sum::<Nanos>(), latency);
        }
    }

    /// Tokens balance. A start of a turn finds `hit` and computes from there; the last start computes
    /// up to prompt + output - 1, an earlier one up to where it was preempted. With `lost` what an
    /// earlier start had in KV when it was preempted:
    /// `scheduled = prompt + output - 1 - (sum of hits) + (sum of lost)`.
    /// And at most `scheduled` of it is recomputation.
    #[test]
    fn tokens_balance((setup, load) in full_case(), policy in policy_that_ends()) {
        let record = run(&setup, &policy, &load).expect("checked above");
        let mut sum = 0;
        for t in &record.turns {
            let hits = starts(&record, t.session.0, t.turn);
            prop_assert_eq!(hits.len() as u64, u64::from(t.preemptions) + 1);
            prop_assert_eq!(hits[0], t.hit.get());
            prop_assert!(t.recomputed <= t.scheduled);
            prop_assert!(t.hit < t.prompt, "a hit covered the whole prompt");
            // What each lost start had: the end of its last executed chunk, or only its hit.
            let lost = lost(&record, t.session.0, t.turn);
            prop_assert_eq!(lost.len(), hits.len() - 1);
            let want = t.prompt.get() + t.output.get() - 1 + lost.iter().sum::<u64>()
                - hits.iter().sum::<u64>();
            prop_assert_eq!(t.scheduled.get(), want);
            if t.preemptions == 0 {
                prop_assert_eq!(t.scheduled.get(), t.prompt.get() - t.hit.get() + t.output.get() - 1);
            }
            sum += t.scheduled.get();
        }
        prop_assert_eq!(record.summary.counters.scheduled, sum);
        prop_assert!(record.summary.counters.recomputed <= sum);
    }

    /// No step is over the budget, runs too many turns, or has a session twice or in no order.
    #[test]
    fn steps_stay_within_limits((setup, load) in full_case(), policy in any_policy()) {
        let record = run(&setup, &policy, &load).expect("checked above");
        let engine = &setup.engine;
        let mut free_from = Time::ZERO;
        for (at, time, chunks) in &record.steps {
            prop_assert!(*at >= free_from, "two steps at once");
            free_from = *at + *time;
            let tokens: u64 = chunks.iter().map(|c| c.2).sum();
            prop_assert!(tokens <= engine.token_budget.get());
            prop_assert!(!chunks.is_empty() && chunks.len() <= engine.max_running);
            let mut ids: Vec<_> = chunks.iter().map(|c| c.0).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), chunks.len());
            // What one step reads and writes is in the pool at once, but for shared openings.
            if load.iter().all(|o| o.session.shared.is_empty()) {
                let ends = chunks.iter().map(|c| units::Tokens(c.1 + c.2));
                let blocks: units::Blocks = ends.map(|n| engine.block_size.to_hold(n)).sum();
                prop_assert!(blocks <= engine.usable_blocks);
            }
        }
    }

    /// Nobody is faster than alone on the machine. This is a law only here: every step takes as long as
    /// any other, tools wait for no core, and without groups nobody warms another's prompt. Alone,
    /// nothing is ever evicted between two turns, so each hits all it can and prefills in
    /// `ceil(missing / budget)` steps; in company it hits no more and gets no more per step.
    #[test]
    fn nobody_beats_the_empty_machine(case in case(false), policy in policy_that_ends()) {
        let setup = setup(&case);
        let record = run(&setup, &policy, &load(&case)).expect("checked above");
        for s in record.sessions.iter().filter(|s| s.status == Status::Completed) {
            let fcfs = preset("fcfs", &[]).build().expect("a preset");
            let ideal = alone(&setup, fcfs, &s.trace).expect("it ran").expect("it fits");
            prop_assert!(s.finished.expect("completed").since(s.arrival) >= ideal);
        }
    }

    /// The same input gives the same facts, steps and totals.
    #[test]
    fn twice_is_the_same((setup, load) in full_case(), policy in any_policy()) {
        let first = run(&setup, &policy, &load).expect("checked above");
        let second = run(&setup, &policy, &load).expect("checked above");
        prop_assert_eq!(first.infos, second.infos);
        prop_assert_eq!(first.steps, second.steps);
        prop_assert_eq!(first.summary, second.summary);
    }

    /// Nobody sees the future. Change what a session does from one turn on (outputs, tools, later
    /// prompts): everything before the first moment at which that shows is as it was. It shows no
    /// earlier than when the shorter of the two outputs of that turn is sampled, that is, when the
    /// turn has ended in one of the two runs.
    #[test]
    fn the_future_is_not_seen(
        (setup, load) in full_case(),
        policy in any_policy(),
        pick in any::<prop::sample::Index>(),
        which in any::<prop::sample::Index>(),
        more in 1_u64..9,
        tool_ms in 0_u64..90,
    ) {
        let victim = pick.index(load.len());
        let mut other = load.clone();
        let changed = which.index(load[victim].session.turns.len());
        {
            let session = std::sync::Arc::make_mut(&mut other[victim].session);
            let turn = &mut session.turns[changed];
            turn.output.value += units::Tokens(more);
            *turn = workspace_tests::machine::with_tool(turn.clone(), "new", f64::from(
                u32::try_from(tool_ms).expect("small")) / 1e3, 0.0);
        }
        // A longer output may make it too large to fit: that is told on arrival (declared limit).
        let size = setup.engine.block_size;
        let fits = |o: &sim::world::Offered| size.to_hold(o.session.peak_tokens()) <= setup.engine.usable_blocks;
        prop_assume!(fits(&load[victim]) && fits(&other[victim]));
        let a = run(&setup, &policy, &load).expect("checked above");
        let b = run(&setup, &policy, &other).expect("as legal as the other");
        let id = u32::try_from(victim).expect("few");
        let changed = u32::try_from(changed).expect("few");
        let end = |r: &Record| {
            let turn = r.turns.iter().find(|t| t.session.0 == id && t.turn == changed);
            turn.map_or(Time::NEVER, |t| t.ended)
        };
        let until = end(&a).min(end(&b));
        let facts = |r: &Record| -> Vec<_> {
            r.infos.iter().filter(|(t, _)| *t < until).cloned().map(without_class).collect()
        };
        prop_assert_eq!(facts(&a), facts(&b));
        let steps = |r: &Record| -> Vec<_> { r.steps.iter().filter(|s| s.0 < until).cloned().collect() };
        prop_assert_eq!(steps(&a), steps(&b));
    }
}

/// The world numbers tools by the order in which it meets them; the number itself means nothing.
fn without_class((at, mut info): (Time, Info)) -> (Time, Info) {
    if let Info::TurnEnded {
        then: Then::Yield { tool, .. },
        ..
    } = &mut info
    {
        *tool = ToolClass(0);
    }
    (at, info)
}

/// What a turn had in KV at each of its preemptions, from the steps that were executed.
fn lost(record: &Record, session: u32, turn: u32) -> Vec<u64> {
    let mut lost = Vec::new();
    let mut had = None;
    let mut current = None;
    let mut step = 0;
    for (at, info) in &record.infos {
        // Steps that started before this fact count towards it.
        while record.steps.get(step).is_some_and(|s| s.0 < *at) {
            for (s, context, tokens, _) in &record.steps[step].2 {
                if s.0 == session && current == Some(turn) {
                    had = Some(context + tokens);
                }
            }
            step += 1;
        }
        match info {
            Info::TurnStarted {
                session: s,
                turn: t,
                hit,
                ..
            } if s.0 == session => {
                current = Some(*t);
                had = Some(hit.get());
            }
            Info::Preempted { session: s, .. } if s.0 == session && current == Some(turn) => {
                lost.push(had.expect("it had started"));
            }
            _ => {}
        }
    }
    lost
}

/// The draws above reach preempted turns that are swapped, and their way back.
#[test]
fn the_random_loads_swap_victims() {
    let mut runner = TestRunner::new(fixed(1, 3));
    let (mut swapped, mut back) = (0, 0);
    for _ in 0..2000 {
        let (setup, load) = full_case().new_tree(&mut runner).expect("a case").current();
        let set = [
            ("retention.kind", "min-waste"),
            ("retention.swap", "true"),
            ("retention.reload_s_per_token", "0.02"),
        ];
        let record = run(&setup, &preset("fcfs", &set), &load).expect("a run");
        let mut victims = Vec::new();
        for pair in record.infos.windows(3) {
            if let [
                (at, Info::Preempted { session, .. }),
                _,
                (then, Info::CopyStarted { session: s, .. }),
            ] = pair
                && (at, session) == (then, s)
            {
                victims.push(*session);
            }
        }
        let returns = |(_, info): &(Time, Info)| matches!(info, Info::CopyStarted { session, direction: Direction::ToGpu, .. } if victims.contains(session));
        swapped += usize::from(!victims.is_empty());
        back += usize::from(record.infos.iter().any(returns));
    }
    assert!(
        swapped >= 40 && back >= 20,
        "{swapped} swap, {back} come back"
    );
}
