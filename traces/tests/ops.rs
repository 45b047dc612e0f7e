//! Sampling, merging and scaling: each law by property, each rule by hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use traces::ops::merge::{Arrivals, MergeError, Part, Rules, merge};
use traces::ops::sample::{Filter, Sampler};
use traces::ops::scale::{Factors, ScaleError};
use traces::{Evidence, Known, Session, ToolCall, Turn};
use units::{Nanos, Tokens};

fn ms(ms: u64) -> Nanos {
    Nanos::from_millis(ms)
}

fn turn(prompt: u64, reused: u64, output: u64) -> Turn {
    Turn {
        prompt: Tokens(prompt),
        reused: Tokens(reused),
        output: Known::recorded(Tokens(output)),
        cached: None,
        llm: None,
        tools: Vec::new(),
        think: None,
    }
}

fn bash(wall_ms: u64) -> ToolCall {
    ToolCall {
        name: "Bash".into(),
        wall: Some(Known::recorded(ms(wall_ms))),
        cpu: Some(Known::drawn(ms(wall_ms))),
        parallelism: 1,
        command: None,
    }
}

fn session(id: &str, turns: Vec<Turn>) -> Session {
    Session {
        id: id.into(),
        model: None,
        arrival: None,
        shared: vec![],
        parent: None,
        turns,
    }
}

/// Prompt added and output, share reused of what can be, wall time, threads, pause.
type Step = (u64, u64, u64, Option<u64>, u32, Option<u64>);

fn built(id: &str, arrival: Option<u64>, steps: Vec<Step>) -> Session {
    let mut turns: Vec<Turn> = Vec::new();
    for (added, output, share, wall, threads, think) in steps {
        let reached = turns
            .last()
            .map_or(0, |t| (t.prompt + t.output.value).get());
        let reused = reached * share.min(100) / 100;
        let mut turn = turn(reused + added, reused, output);
        turn.cached = think.map(|_| Tokens(reused));
        turn.think = think.map(Nanos::new);
        turn.tools.extend(wall.map(|wall| ToolCall {
            wall: Some(Known::recorded(Nanos::new(wall))),
            cpu: Some(Known::drawn(Nanos::new(wall * u64::from(threads)))),
            parallelism: threads,
            ..bash(0)
        }));
        turns.push(turn);
    }
    Session {
        arrival: arrival.map(ms),
        ..session(id, turns)
    }
}

fn step() -> impl Strategy<Value = Step> {
    (
        1..20_000_u64,
        1..5_000_u64,
        // Half of the turns reuse everything.
        0..200_u64,
        option::of(0..1_000_000_000_000_u64),
        1..9_u32,
        option::of(0..1_000_000_000_u64),
    )
}

fn sessions(most: usize) -> impl Strategy<Value = Vec<Session>> {
    vec((option::of(0..1_000_000_u64), vec(step(), 1..8)), 1..most).prop_map(|all| {
        let numbered = all.into_iter().enumerate();
        numbered
            .map(|(i, (arrival, steps))| built(&format!("s{i}"), arrival, steps))
            .collect()
    })
}

fn draw(from: &[Session], filter: &Filter, count: Option<usize>, seed: u64) -> Vec<Session> {
    let mut sampler = Sampler::new(filter.clone(), count, seed);
    for session in from {
        sampler.offer(session.clone());
    }
    assert_eq!(sampler.offered(), from.len() as u64);
    sampler.finish()
}

fn ids(sessions: &[Session]) -> Vec<Arc<str>> {
    sessions.iter().map(|s| Arc::clone(&s.id)).collect()
}

proptest! {
    /// A sample has the size asked for where there are enough, is in the file's order, holds only
    /// what passes, and lies within every larger sample of its seed.
    #[test]
    fn samples_are_nested(
        from in sessions(40),
        count in 0..40_usize,
        least in 1..4_usize,
        seed in any::<u64>(),
    ) {
        let filter = Filter { min_turns: Some(least), ..Filter::default() };
        let passing = draw(&from, &filter, None, seed);
        prop_assert!(from.iter().filter(|s| s.turns.len() >= least).eq(&passing));
        let small = draw(&from, &filter, Some(count), seed);
        let large = draw(&from, &filter, Some(count + 1), seed);
        prop_assert_eq!(small.len(), count.min(passing.len()));
        let large: BTreeSet<_> = ids(&large).into_iter().collect();
        prop_assert!(ids(&small).iter().all(|id| large.contains(id)));
        // A subsequence of the file.
        let mut rest = from.iter();
        prop_assert!(small.iter().all(|s| rest.any(|other| other == s)));
    }

    /// Factors of 1 change nothing; any others give a lawful session.
    #[test]
    fn scaled_sessions_keep_the_laws(
        from in sessions(4),
        time in 0.01..50.0_f64,
        length in 0.001..20.0_f64,
        turns in 0.05..6.0_f64,
    ) {
        for session in &from {
            prop_assert!(session.check().is_ok());
            prop_assert_eq!(&Factors::default().session(session).unwrap(), session);
            let scaled = Factors { time, length, turns }.session(session).unwrap();
            prop_assert!(scaled.check().is_ok());
            prop_assert_eq!(&scaled.id, &session.id);
            prop_assert_eq!(scaled.arrival, session.arrival);
        }
    }

    /// Whole factors undo themselves: n times as many turns begin with the recorded ones (but for
    /// the tools of the last), and 1/n of those turns are the recorded ones.
    #[test]
    fn more_turns_begin_as_recorded(from in sessions(4), times in 2..5_u32) {
        for session in &from {
            let factor = |turns| Factors { turns, ..Factors::default() };
            let more = factor(f64::from(times)).session(session).unwrap();
            let n = session.turns.len();
            if n == 1 {
                prop_assert_eq!(&more, session);
                continue;
            }
            prop_assert_eq!(more.turns.len(), n * times as usize);
            prop_assert_eq!(&more.turns[..n - 1], &session.turns[..n - 1]);
            let last = more.turns.last().unwrap();
            prop_assert_eq!(&last.tools, &session.turns[n - 1].tools);
            let back = factor(1.0 / f64::from(times)).session(&more).unwrap();
            prop_assert_eq!(&back.turns[..n - 1], &session.turns[..n - 1]);
            prop_assert_eq!(back.turns.len(), n);
        }
    }

    /// Every session of every part is there once; ids are unique; arrivals rise.
    #[test]
    fn merged_traces_hold_everything(
        parts in vec(sessions(6), 1..4),
        after in any::<bool>(),
    ) {
        let arrivals = if after { Arrivals::OneAfterAnother } else { Arrivals::Kept };
        let rules = Rules { arrivals, own_groups: false };
        let total: usize = parts.iter().map(Vec::len).sum();
        let parts = parts.into_iter().enumerate();
        let parts = parts.map(|(i, sessions)| Part { label: format!("t{i}"), sessions });
        let parts: Vec<Part> = parts.collect();
        let merged = merge(parts.clone(), rules).unwrap();
        prop_assert_eq!(merged.sessions.len(), total);
        let unique: BTreeSet<_> = ids(&merged.sessions).into_iter().collect();
        prop_assert_eq!(unique.len(), total);
        let keys = merged.sessions.iter().map(|s| (s.arrival.is_none(), s.arrival));
        prop_assert!(keys.is_sorted());
        let turns = |sessions: &[Session]| -> u64 {
            sessions.iter().map(|s| s.prompt_tokens().get()).sum()
        };
        let before: u64 = parts.iter().map(|p| turns(&p.sessions)).sum();
        prop_assert_eq!(turns(&merged.sessions), before);
        // The same again.
        prop_assert_eq!(merge(parts, rules).unwrap(), merged);
    }
}

#[test]
fn another_seed_is_another_sample() {
    let from: Vec<Session> = (0..100)
        .map(|i| session(&format!("s{i}"), vec![turn(10, 0, 1)]))
        .collect();
    let drawn = |seed| ids(&draw(&from, &Filter::default(), Some(10), seed));
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
}

#[test]
fn filters_by_hand() {
    let mut big = session("big", vec![turn(100, 0, 11), turn(111, 111, 1)]);
    big.model = Some("opus".into());
    let small = session("small", vec![turn(10, 0, 1)]);
    let pass = |filter: &Filter| (filter.passes(&big), filter.passes(&small));
    let none = Filter::default;
    assert_eq!(pass(&none()), (true, true));
    let min_turns = Some(2);
    assert_eq!(
        pass(&Filter {
            min_turns,
            ..none()
        }),
        (true, false)
    );
    let max_turns = Some(1);
    assert_eq!(
        pass(&Filter {
            max_turns,
            ..none()
        }),
        (false, true)
    );
    // The largest KV: 111 + 1 - 1.
    for (most, big_passes) in [(110, false), (111, true)] {
        let max_peak = Some(Tokens(most));
        assert_eq!(pass(&Filter { max_peak, ..none() }), (big_passes, true));
    }
    let model = Some("opus".to_owned());
    assert_eq!(pass(&Filter { model, ..none() }), (true, false));
}

/// Steps of the recording: after turn 0 a tool of 2 s, 30 tokens observed, 5 out; after turn 1 a
/// pause of 9 s, 40 of the 145 tokens dropped and 50 added, 7 out. After the last turn a tool of 4 s.
fn three_turns() -> Session {
    let mut turns = vec![turn(100, 0, 10), turn(140, 110, 5), turn(155, 105, 7)];
    turns[0].tools.push(bash(2_000));
    turns[1].think = Some(ms(9_000));
    turns[1].llm = Some(ms(500));
    turns[2].tools.push(bash(4_000));
    session("three", turns)
}

#[test]
fn turns_by_hand() {
    let factors = Factors {
        turns: 5.0 / 3.0,
        ..Factors::default()
    };
    let scaled = factors.session(&three_turns()).unwrap();
    let of = |turn: &Turn| {
        (
            turn.prompt.get(),
            turn.reused.get(),
            turn.output.value.get(),
        )
    };
    let turns: Vec<_> = scaled.turns.iter().map(of).collect();
    assert_eq!(
        turns,
        [
            (100, 0, 10),
            (140, 110, 5),
            (155, 105, 7),
            // Step 1 again: all 162 tokens reused, 30 observed.
            (192, 162, 5),
            // Step 2 again: 40 of 197 dropped, 50 added.
            (207, 157, 7),
        ]
    );
    let idle = |turn: &Turn| (turn.tool_time().unwrap(), turn.think);
    let idle: Vec<_> = scaled.turns.iter().map(idle).collect();
    assert_eq!(
        idle,
        [
            (ms(2_000), None),
            (ms(0), Some(ms(9_000))),
            (ms(2_000), None),
            (ms(0), Some(ms(9_000))),
            (ms(4_000), None),
        ]
    );
    assert_eq!(scaled.turns[3].output.evidence, Evidence::Estimated);
    assert_eq!(scaled.turns[2].output.evidence, Evidence::Recorded);
    let repeated = &scaled.turns[2].tools[0];
    assert_eq!(repeated.wall.unwrap().evidence, Evidence::Estimated);
    assert_eq!(repeated.cpu.unwrap().evidence, Evidence::Drawn);
    assert_eq!(
        (scaled.turns[1].llm, scaled.turns[3].llm),
        (Some(ms(500)), None)
    );
    // Fewer: the first ones, as they are.
    let factors = Factors {
        turns: 0.5,
        ..Factors::default()
    };
    assert_eq!(
        factors.session(&three_turns()).unwrap().turns,
        three_turns().turns[..2]
    );
}

#[test]
fn length_and_time_by_hand() {
    let factors = Factors {
        length: 1.5,
        time: 0.25,
        ..Factors::default()
    };
    let scaled = factors.session(&three_turns()).unwrap();
    let of = |turn: &Turn| {
        (
            turn.prompt.get(),
            turn.reused.get(),
            turn.output.value.get(),
        )
    };
    let turns: Vec<_> = scaled.turns.iter().map(of).collect();
    // 7.5 rounds up to 8. Turn 1 reused all of 110 and reuses all of 165; turn 2 reused 105 of 145
    // and reuses 157.5, rounded.
    assert_eq!(turns, [(150, 0, 15), (210, 165, 8), (233, 158, 11)]);
    assert_eq!(scaled.turns[0].tool_time(), Some(ms(500)));
    assert_eq!(scaled.turns[1].think, Some(ms(2_250)));
    assert_eq!(scaled.turns[1].llm, None);
    assert!(
        scaled
            .turns
            .iter()
            .all(|t| t.output.evidence == Evidence::Estimated)
    );
    // Nothing is scaled away.
    let tiny = Factors {
        length: 0.001,
        ..Factors::default()
    };
    let tiny = tiny.session(&three_turns()).unwrap();
    assert!(
        tiny.turns
            .iter()
            .all(|t| t.prompt >= Tokens(1) && t.output.value >= Tokens(1))
    );
}

#[test]
fn impossible_factors_are_refused() {
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 1000.1] {
        for what in ["time", "length", "turns"] {
            let mut factors = Factors::default();
            match what {
                "time" => factors.time = value,
                "length" => factors.length = value,
                _ => factors.turns = value,
            }
            let error = factors.session(&three_turns()).unwrap_err();
            let words = format!("the factor of {what} is {value} (wanted: above 0, at most 1000)");
            assert_eq!(error.to_string(), words);
        }
    }
    let long = session("long", vec![turn(4_000_000_000, 0, 1)]);
    let double = Factors {
        length: 2.0,
        ..Factors::default()
    };
    let error = double.session(&long).unwrap_err();
    assert!(
        matches!(&error, ScaleError::Unlawful { id, .. } if id == "long"),
        "{error}"
    );
}

#[test]
fn merging_by_hand() {
    let at = |id: &str, arrival: Option<u64>| Session {
        arrival: arrival.map(ms),
        ..session(id, vec![turn(10, 0, 1)])
    };
    let mut child = at("fix/side", Some(5));
    child.parent = Some("fix".into());
    let part = |label: &str, sessions| Part {
        label: label.to_owned(),
        sessions,
    };
    let parts = vec![
        part(
            "monday",
            vec![at("fix", Some(0)), child.clone(), at("idle", None)],
        ),
        part("tuesday", vec![at("fix", Some(0)), at("new", Some(3))]),
    ];
    let merged = merge(parts.clone(), Rules::default()).unwrap();
    let ids: Vec<&str> = merged.sessions.iter().map(|s| &*s.id).collect();
    assert_eq!(
        ids,
        ["monday/fix", "tuesday/fix", "new", "fix/side", "idle"]
    );
    assert_eq!(merged.sessions[3].parent.as_deref(), Some("monday/fix"));
    assert_eq!(merged.renamed, 2);
    let rules = Rules {
        arrivals: Arrivals::OneAfterAnother,
        ..Rules::default()
    };
    let merged = merge(parts.clone(), rules).unwrap();
    let placed: Vec<_> = merged
        .sessions
        .iter()
        .map(|s| (&*s.id, s.arrival))
        .collect();
    assert_eq!(
        placed,
        [
            ("monday/fix", Some(ms(0))),
            ("fix/side", Some(ms(5))),
            ("tuesday/fix", Some(ms(5))),
            ("new", Some(ms(8))),
            ("idle", None),
        ]
    );
    let same = vec![parts[0].clone(), parts[0].clone()];
    assert_eq!(
        merge(same, Rules::default()).unwrap_err().to_string(),
        "two of the traces are labelled `monday` (wanted: a label for each)"
    );
    let late = vec![
        part("a", vec![at("x", Some(999_999_999_000))]),
        part("b", vec![at("y", Some(2_000))]),
    ];
    assert!(merge(late.clone(), Rules::default()).is_ok());
    assert!(matches!(
        merge(late, rules),
        Err(MergeError::TooLate { .. })
    ));
    let taken = vec![
        part("a", vec![at("x", None), at("b/x", None)]),
        part("b", vec![at("x", None)]),
    ];
    assert!(matches!(
        merge(taken, Rules::default()),
        Err(MergeError::SameId { id }) if id == "b/x"
    ));
}
