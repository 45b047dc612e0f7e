//! Nobody but an oracle sees the future: the door is shut for every part that did not ask, and a change
//! of what is yet to come changes nothing that was decided before.

use std::collections::BTreeMap;
use std::sync::Arc;

use policies::{PRESETS, PolicySpec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use scheduler::policy::{
    Admission, Backlog, Candidate, Choice, Claim, InFlight, Keep, Order, PinView, Rank, Retention,
    Trigger, TurnView, Yielding,
};
use scheduler::{Info, Reason, Telemetry, Then, ToolClass, Window};
use sim::world::{Offered, Setup};
use traces::model::{Known, ToolCall, Turn};
use units::{Blocks, Nanos, Time, Tokens};
use workspace_tests::loads::{fixed, full_case};
use workspace_tests::machine::{
    Record, TEN_MS, machine, offered, preset, run, run_policy, turn, with_pool, with_tool,
};

/// What asks for foresight, by the presets' names.
const ORACLES: [&str; 1] = ["srpt-oracle"];

#[test]
fn only_the_oracles_ask() {
    for (name, _) in PRESETS {
        let policy = preset(name, &[]).build().expect("a preset");
        let parts = [
            policy.admission.needs_foresight(),
            policy.order.needs_foresight(),
            policy.retention.needs_foresight(),
        ];
        assert_eq!(parts, [ORACLES.contains(name); 3], "{name}");
        assert_eq!(policy.needs_foresight(), ORACLES.contains(name), "{name}");
    }
}

/// A part that looks at whatever it is given and does not ask; or asks.
#[derive(Debug)]
struct Spy {
    asks: bool,
}

impl Spy {
    fn sees(&self, something: bool) {
        assert_eq!(something, self.asks, "shown without asking, or not shown");
    }
}

impl Admission for Spy {
    fn needs_foresight(&self) -> bool {
        self.asks
    }

    fn admit(
        &mut self,
        _now: Time,
        _why: Trigger,
        _telemetry: &Telemetry,
        backlog: &Backlog,
        _in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window> {
        for candidate in backlog.by_arrival() {
            self.sees(candidate.foresight.is_some());
            admit.push(Choice::new(candidate.session, Reason::Unstated));
        }
        None
    }

    fn arrived(&mut self, _now: Time, candidate: &Candidate) {
        self.sees(candidate.foresight.is_some());
    }
}

impl Order for Spy {
    fn needs_foresight(&self) -> bool {
        self.asks
    }

    fn waiting(&self, now: Time, turn: &TurnView) -> Rank {
        self.sees(turn.foresight.is_some());
        Rank {
            key: [i64::from(turn.session.0), 0, 0],
            until: now + Nanos::new(1),
        }
    }

    fn running(&self, now: Time, turn: &TurnView) -> Rank {
        self.waiting(now, turn)
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        self.sees(turn.foresight.is_some());
        [i64::from(turn.session.0), 0, 0]
    }

    fn wants_feedback(&self) -> bool {
        true
    }

    fn planned(&mut self, step: &[(TurnView, Tokens)]) {
        for (turn, _) in step {
            self.sees(turn.foresight.is_some());
        }
    }
}

impl Retention for Spy {
    fn needs_foresight(&self) -> bool {
        self.asks
    }

    fn on_yield(&mut self, _now: Time, yielding: &Yielding, _telemetry: &Telemetry) -> Keep {
        self.sees(yielding.next_use.is_some());
        Keep::Pin { until: None }
    }

    fn reconsider(&mut self, _now: Time, pin: &PinView, _telemetry: &Telemetry) -> Keep {
        self.sees(pin.next_use.is_some());
        pin.keep
    }

    fn stale_from(&self, pin: &PinView) -> Option<Time> {
        self.sees(pin.next_use.is_some());
        None
    }

    fn yields_to(&self, _claim: Claim) -> bool {
        true
    }

    fn value(&self, _now: Time, pin: &PinView) -> f64 {
        self.sees(pin.next_use.is_some());
        0.0
    }

    fn tick(&self) -> Option<Nanos> {
        Some(Nanos::from_millis(20))
    }
}

/// One part spies; the others ask or not. Three sessions with a pool for two.
#[test]
fn a_part_that_does_not_ask_is_shown_nothing_beside_one_that_does() {
    let session = |arrival: f64| {
        let first = with_tool(turn(40, 0, 3), "tool", 0.1, 0.0);
        offered(arrival, vec![first, turn(60, 43, 2)])
    };
    let load = [session(0.0), session(0.02), session(0.05)];
    let setup = with_pool(machine(&TEN_MS, 1.0, 0.0), 8);
    for number in 0..8 {
        let asks = |part: u32| Spy {
            asks: number >> part & 1 == 1,
        };
        let mut policy = preset("fcfs", &[]).build().expect("a preset");
        policy.admission = Box::new(asks(0));
        policy.order = Box::new(asks(1));
        policy.retention = Box::new(asks(2));
        assert_eq!(policy.needs_foresight(), number != 0);
        let record = run_policy(&setup, policy, &load).expect("a run");
        assert_eq!(record.summary.completed, 3);
    }
}

/// An oracle is told the truth: remaining time is the time alone, the next use is when it comes.
#[test]
fn foresight_of_a_session_is_what_it_does_alone() {
    #[derive(Debug)]
    struct Told;
    impl Order for Told {
        fn needs_foresight(&self) -> bool {
            true
        }
        fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
            let ahead = turn.foresight.expect("asked");
            // Turn 0: 3 steps of 10 ms, 1 s of tools, then 2 steps. 42 and 71 tokens at the ends.
            let first = turn.prompt == Tokens(40);
            let (left, idle) = if first { (1_050, 1_000) } else { (20, 0) };
            assert_eq!(ahead.remaining, Nanos::from_millis(left));
            assert_eq!(ahead.idle_after, Nanos::from_millis(idle));
            assert_eq!(ahead.peak, Blocks(5));
            Rank {
                key: [0; 3],
                until: Time::NEVER,
            }
        }
        fn running(&self, now: Time, turn: &TurnView) -> Rank {
            self.waiting(now, turn)
        }
        fn victim(&self, _turn: &TurnView) -> [i64; 3] {
            [0; 3]
        }
    }
    let mut policy = preset("fcfs", &[]).build().expect("a preset");
    policy.order = Box::new(Told);
    let turns = vec![with_tool(turn(40, 0, 3), "tool", 1.0, 0.0), turn(70, 42, 2)];
    let setup = machine(&TEN_MS, 1.0, 0.0);
    let record = run_policy(&setup, policy, &[offered(0.0, turns)]).expect("a run");
    assert_eq!(record.finish_ms(), [Some(1_050.0)]);
}

/// New things that a session may do from here on.
#[derive(Clone, Debug)]
struct Otherwise {
    output: u64,
    tool_ms: u64,
    name: &'static str,
    calls: usize,
    fresh: u64,
    more_turns: usize,
    drop_turns: bool,
}

fn otherwise() -> impl Strategy<Value = Otherwise> {
    let name = prop::sample::select(vec!["tool", "other", "third"]);
    (
        1..30_u64,
        1..300_u64,
        name,
        1..3_usize,
        1..40_u64,
        0..3_usize,
        any::<bool>(),
    )
        .prop_map(
            |(output, tool_ms, name, calls, fresh, more_turns, drop_turns)| Otherwise {
                output,
                tool_ms,
                name,
                calls,
                fresh,
                more_turns,
                drop_turns,
            },
        )
}

impl Otherwise {
    fn tools(&self) -> Vec<ToolCall> {
        let wall = Known::recorded(Nanos::from_millis(self.tool_ms));
        let call = ToolCall {
            name: Arc::from(self.name),
            wall: Some(wall),
            cpu: Some(Known::recorded(Nanos::new(wall.value.as_nanos() / 3))),
            parallelism: 1,
            command: None,
        };
        vec![call; self.calls]
    }

    fn turn_after(&self, before: &Turn) -> Turn {
        let kept = before.prompt.get() + before.output.value.get();
        let mut next = turn(kept + self.fresh, kept, self.output);
        next.tools = self.tools();
        next
    }

    /// Everything after the cut becomes different: the rest of the current turn's output and its tools
    /// (or only how long the tools that run still take), and all later turns.
    fn rewrite(&self, turns: &mut Vec<Turn>, at: Progress) {
        let (current, generated, tools_run_for) = match at {
            // The session is yet to come: its first prompt too may be anything.
            Progress::NotHere => {
                turns[0].prompt += Tokens(self.fresh);
                (0, 0, None)
            }
            Progress::InTurn { turn, generated } => (turn, generated, None),
            Progress::InTools { turn, elapsed } => (turn, 0, Some(elapsed)),
        };
        let more = turns.len() - 1 - current;
        turns.truncate(current + 1);
        let turn = &mut turns[current];
        if let Some(elapsed) = tools_run_for {
            // A single tool without a pause after it still runs: it may take longer than it did. Of
            // several, some may be over already.
            if let ([tool], None) = (&mut turn.tools[..], turn.think) {
                let wall = tool.wall.as_mut().expect("built with one");
                wall.value = wall.value + elapsed + Nanos::from_millis(self.tool_ms);
            }
        } else {
            // What was generated before the cut stays; at least one more follows.
            turn.output = Known::recorded(Tokens(generated + self.output));
            if more > 0 || !turn.tools.is_empty() {
                turn.tools = self.tools();
            }
        }
        // Whether a turn is the last is flagged by its client: a fact of the present. So the current
        // turn stays last or not last.
        let wanted = match (more, self.drop_turns) {
            (0, _) if matches!(at, Progress::NotHere) => 0,
            (0, _) => return,
            (_, true) => 1,
            (more, false) => more + self.more_turns,
        };
        for _ in 0..wanted {
            let next = self.turn_after(turns.last().expect("at least one"));
            turns.push(next);
        }
    }
}

/// Where a session is at the cut.
#[derive(Clone, Copy, Debug)]
enum Progress {
    NotHere,
    InTurn { turn: usize, generated: u64 },
    InTools { turn: usize, elapsed: Nanos },
}

/// Where each session is just before `cut`, and whether it is still open.
fn progress(record: &Record, load: &[Offered], cut: Time) -> Vec<Option<Progress>> {
    let mut at: Vec<Option<Progress>> = load
        .iter()
        .map(|o| {
            Some(if o.arrival >= cut {
                Progress::NotHere
            } else {
                Progress::InTurn {
                    turn: 0,
                    generated: 0,
                }
            })
        })
        .collect();
    for t in &record.turns {
        let (id, turn) = (t.session.0 as usize, t.turn as usize);
        if t.ready < cut && t.ended >= cut {
            // As many as it could have by then; the recorded number is generated at the cut or later.
            at[id] = Some(Progress::InTurn {
                turn,
                generated: t.output.get(),
            });
        } else if t.ended < cut {
            let elapsed = cut.since(t.ended);
            at[id] = Some(Progress::InTools { turn, elapsed });
        }
    }
    for s in &record.sessions {
        if s.finished.is_some_and(|t| t < cut) {
            at[s.session.0 as usize] = None;
        }
    }
    at
}

/// Facts and steps before the cut. Tool classes are numbered as the world meets their names, which it
/// reads ahead, so they count by their first appearance here.
fn before(record: &Record, cut: Time) -> Vec<String> {
    let mut seen: BTreeMap<ToolClass, u32> = BTreeMap::new();
    let mut lines = Vec::new();
    for (at, info) in record.infos.iter().filter(|(at, _)| *at < cut) {
        let mut info = info.clone();
        if let Info::TurnEnded {
            then: Then::Yield { tool, .. },
            ..
        } = &mut info
        {
            let next = u32::try_from(seen.len()).expect("a few");
            *tool = ToolClass(*seen.entry(*tool).or_insert(next));
        }
        lines.push(format!("{at:?} {info:?}"));
    }
    let steps = record.steps.iter().filter(|(at, ..)| *at < cut);
    // How long the last step takes is a fact of its plan, so it may be compared too.
    lines.extend(steps.map(|step| format!("{step:?}")));
    lines
}

/// Runs the load, cuts it somewhere, changes all that is to come, runs it again: what happened before
/// the cut, both times.
fn twice(
    setup: &Setup,
    policy: &PolicySpec,
    load: &[Offered],
    cut_percent: u64,
    new: &[Otherwise],
) -> Option<(Vec<String>, Vec<String>, bool)> {
    let first = run(setup, policy, load).ok()?;
    if first.summary.unfinished > 0 {
        return None;
    }
    let end = first.infos.last()?.0.as_nanos();
    let cut = Time::from_nanos(end / 100 * cut_percent + 1);
    let mut changed = load.to_vec();
    let mut differs = false;
    for ((one, at), new) in changed.iter_mut().zip(progress(&first, load, cut)).zip(new) {
        if let Some(at) = at {
            let mut session = (*one.session).clone();
            new.rewrite(&mut session.turns, at);
            // Whether a session can ever fit is a fact of its arrival.
            let fits = |peak| setup.engine.block_size.to_hold(peak) <= setup.engine.usable_blocks;
            if fits(session.peak_tokens()) && fits(one.session.peak_tokens()) {
                differs |= session != *one.session;
                one.session = Arc::new(session);
            }
        }
    }
    let second = run(setup, policy, &changed).ok()?;
    Some((before(&first, cut), before(&second, cut), differs))
}

#[test]
fn a_different_future_changes_nothing_that_was_decided_before() {
    let draws = (
        full_case(),
        1..100_u64,
        prop::collection::vec(otherwise(), 4),
    );
    let mut compared: BTreeMap<&str, u64> = BTreeMap::new();
    let mut oracle_moved = 0;
    let mut runner = TestRunner::new(fixed(1, 13));
    for _ in 0..300 {
        let ((setup, load), cut, new) = draws.new_tree(&mut runner).expect("a draw").current();
        let mut setup = setup;
        // Room for the larger ones among the sessions that this test makes up.
        setup.engine.usable_blocks += Blocks(10);
        setup.horizon = Some(Time::ZERO + Nanos::from_millis(100_000));
        for (name, _) in PRESETS {
            let policy = preset(name, &[]);
            let Some((first, second, differs)) = twice(&setup, &policy, &load, cut, &new) else {
                continue;
            };
            if !differs {
                continue;
            }
            if ORACLES.contains(name) {
                oracle_moved += u32::from(first != second);
                continue;
            }
            let parted = first.iter().zip(&second).find(|(a, b)| a != b);
            assert_eq!(first.len(), second.len(), "{name}: {parted:?}");
            assert_eq!(parted, None, "{name}");
            *compared.entry(name).or_default() += 1;
        }
    }
    for (name, _) in PRESETS.iter().filter(|(name, _)| !ORACLES.contains(name)) {
        let compared = compared.get(name).copied().unwrap_or(0);
        eprintln!("{name}: {compared} pairs of futures");
        assert!(compared >= 250, "{name}: only {compared} pairs");
    }
    // The pairs can tell: whoever does look ahead decides otherwise.
    assert!(oracle_moved > 0, "no change of the future moved the oracle");
    eprintln!("the oracle decided otherwise {oracle_moved} times");
}
