//! Exports: what a format can hold comes back, and what it cannot is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use traces::export::{self, EXPORTERS, ExportReport, Lost};
use traces::import::{self, Imported, Recording, guess};
use traces::{Command, Evidence, Known, Session, SharedPrefix, ToolCall, TraceError, Turn};
use units::{Nanos, Tokens};

fn write(format: &str, sessions: &[Session]) -> Result<(Vec<u8>, ExportReport), TraceError> {
    let mut bytes = Vec::new();
    let report = export::by_name(format)
        .unwrap()
        .write(sessions, &mut bytes)?;
    Ok((bytes, report))
}

fn read(format: &str, bytes: &[u8]) -> Vec<Imported> {
    let mut input = bytes;
    let importer = import::by_name(format).unwrap();
    importer.read(Recording::new("f", &mut input)).unwrap().0
}

/// There and back.
fn back(format: &str, sessions: &[Session]) -> Vec<Imported> {
    let (bytes, report) = write(format, sessions).unwrap();
    assert_eq!(report.sessions, sessions.len() as u64);
    // The importer of the name is the one that takes the file for its own.
    let name = guess("f", &bytes).unwrap().name;
    assert_eq!(name, format);
    let reader = if format == "mooncake" {
        "mooncake-exact"
    } else {
        format
    };
    read(reader, &bytes)
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

fn tool(name: &str, wall: Known<Nanos>) -> ToolCall {
    ToolCall {
        name: name.into(),
        wall: Some(wall),
        cpu: None,
        parallelism: 1,
        command: None,
    }
}

fn session(id: &str, turns: Vec<Turn>) -> Session {
    Session {
        id: id.into(),
        model: None,
        arrival: None,
        shared: Vec::new(),
        parent: None,
        turns,
    }
}

/// Any time below 11 days, to the nanosecond.
fn span() -> impl Strategy<Value = Nanos> {
    prop_oneof![
        (1..1_000_000_000_000_000_u64).prop_map(Nanos::new),
        (1..900_000_u64).prop_map(Nanos::from_millis),
    ]
}

/// Turns that reuse whole blocks of `block` tokens of the prompt before, or (block 1) anything.
fn turns(block: u64) -> impl Strategy<Value = Vec<Turn>> {
    vec((1..4000_u64, 0..=100_u64, 1..700_u64), 1..6).prop_map(move |drafts| {
        let mut turns: Vec<Turn> = Vec::new();
        for (fresh, percent, output) in drafts {
            let left = turns.last().map_or(0, |last| {
                let context = last.prompt.0 + last.output.value.0;
                if block == 1 { context } else { last.prompt.0 }
            });
            let reused = left * percent / 100 / block * block;
            turns.push(turn(reused + fresh, reused, output));
        }
        turns
    })
}

fn with_gaps(
    mut turns: Vec<Turn>,
    gaps: &[Option<Nanos>],
    put: impl Fn(&mut Turn, usize, Nanos),
) -> Vec<Turn> {
    let last = turns.len() - 1;
    for (at, (turn, gap)) in turns[..last].iter_mut().zip(gaps).enumerate() {
        if let Some(gap) = gap {
            put(turn, at, *gap);
        }
    }
    turns
}

fn gaps() -> impl Strategy<Value = Vec<Option<Nanos>>> {
    vec(option::of(span()), 6)
}

/// A path in a tree of openings. Where a group gives way to the next is a matter of the groups alone.
fn openings() -> impl Strategy<Value = Vec<SharedPrefix>> {
    (vec(0..2_u64, 0..4), 1..2500_u64).prop_map(|(steps, last)| {
        let (mut group, mut end) = (0, 0);
        let mut list = Vec::new();
        for (depth, step) in steps.iter().enumerate() {
            group = 2 * group + 1 + step;
            end += match steps.get(depth + 1) {
                Some(next) => 1 + (5 * group + 3 * next) * 197 % 1500,
                None => last,
            };
            list.push(SharedPrefix {
                group: format!("g{group}").into(),
                tokens: Tokens(end),
            });
        }
        list
    })
}

/// Leading tokens that two first prompts have in common, as their segments say.
fn common(a: &Session, b: &Session) -> u64 {
    let mut common = 0;
    for (x, y) in a.shared.iter().zip(&b.shared) {
        if x.group != y.group {
            break;
        }
        common = x.tokens.min(y.tokens).0;
        if x.tokens != y.tokens {
            break;
        }
    }
    common
}

proptest! {
    /// Names, counts, reuse to the token, gaps with their cause.
    #[test]
    fn inference_lab_returns(
        drafts in vec((turns(1), gaps(), vec(any::<bool>(), 6)), 1..5),
    ) {
        let sessions: Vec<Session> = drafts.into_iter().enumerate().map(|(i, (turns, gaps, human))| {
            let turns = with_gaps(turns, &gaps, |turn, at, gap| {
                if human[at] {
                    turn.think = Some(gap);
                } else {
                    turn.tools.push(tool("Bash", Known::recorded(gap)));
                }
            });
            session(&format!("s{i}"), turns)
        }).collect();
        let (_, report) = write("inference-lab", &sessions).unwrap();
        prop_assert_eq!(report.lost, BTreeMap::new());
        let returned: Vec<Session> = back("inference-lab", &sessions).into_iter().map(|i| i.session).collect();
        prop_assert_eq!(returned, sessions);
    }

    /// Names, arrivals, counts, reuse of whole blocks, pauses.
    #[test]
    fn mooncake_returns(
        drafts in vec((turns(512), gaps(), option::of(span())), 1..5),
    ) {
        let sessions: Vec<Session> = drafts.into_iter().enumerate().map(|(i, (turns, gaps, arrival))| {
            let turns = with_gaps(turns, &gaps, |turn, _, gap| turn.think = Some(gap));
            Session { arrival, ..session(&format!("s{i}"), turns) }
        }).collect();
        let (_, report) = write("mooncake", &sessions).unwrap();
        prop_assert_eq!(report.lost, BTreeMap::new());
        for (returned, sent) in back("mooncake", &sessions).into_iter().zip(&sessions) {
            prop_assert_eq!(returned.began, sent.arrival);
            let returned = Session { arrival: sent.arrival, ..returned.session };
            prop_assert_eq!(&returned, sent);
        }
    }

    /// What two first prompts have in common, in whole blocks, and all of them if they are equal.
    #[test]
    fn mooncake_shares_what_was_shared(
        drafts in vec((openings(), 1..3000_u64, any::<bool>()), 2..7),
    ) {
        let sessions: Vec<Session> = drafts.into_iter().enumerate().map(|(i, (shared, own, whole))| {
            let opening = shared.last().map_or(0, |s| s.tokens.0);
            // Now and then the whole prompt is an opening.
            let own = if whole && opening > 0 { 0 } else { own };
            Session { shared, ..session(&format!("s{i}"), vec![turn(opening + own, 0, 1)]) }
        }).collect();
        let returned = back("mooncake", &sessions);
        for (i, a) in sessions.iter().enumerate() {
            for (j, b) in sessions.iter().enumerate().filter(|(j, _)| *j != i) {
                let tokens = common(a, b);
                let (ends, prompts) = (tokens % 512, [a, b].map(|s| s.turns[0].prompt.0));
                let equal = prompts == [tokens, tokens];
                let told = if equal { tokens } else { tokens - ends };
                let got = common(&returned[i].session, &returned[j].session);
                prop_assert_eq!(got, told, "{} {}", i, j);
            }
        }
    }

    /// Names, models, arrivals, call times, counts, reuse of whole blocks, tools, sub-agents.
    #[test]
    fn agentic_mooncake_returns(
        drafts in vec((turns(64), gaps(), vec(option::of(span()), 6), span(), any::<bool>()), 1..6),
    ) {
        let mut sessions: Vec<Session> = Vec::new();
        for (i, (turns, gaps, llm, arrival, child)) in drafts.into_iter().enumerate() {
            let mut turns = with_gaps(turns, &gaps, |turn, _, gap| {
                turn.tools.push(tool("tool", Known::estimated(gap)));
            });
            for (turn, llm) in turns.iter_mut().zip(llm) {
                turn.llm = llm;
            }
            let parent = sessions.iter().find(|s| s.parent.is_none()).filter(|_| child);
            let (id, parent, arrival) = match parent {
                Some(parent) => {
                    let begins = parent.arrival.unwrap() + arrival;
                    (format!("{}/c{i}", parent.id), Some(Arc::clone(&parent.id)), begins)
                }
                None => (format!("s{i}"), None, arrival),
            };
            let model = (i % 2 == 0).then(|| Arc::from("some-model"));
            sessions.push(Session { parent, model, arrival: Some(arrival), ..session(&id, turns) });
        }
        let (_, report) = write("agentic-mooncake", &sessions).unwrap();
        let lost: Vec<Lost> = report.lost.keys().copied().filter(|l| *l != Lost::Evidence).collect();
        let tools = sessions.iter().flat_map(|s| &s.turns).any(|t| !t.tools.is_empty());
        prop_assert_eq!(lost, if tools { vec![Lost::ToolName] } else { vec![] });
        for (returned, sent) in back("agentic-mooncake", &sessions).into_iter().zip(&sessions) {
            prop_assert_eq!(returned.began, sent.arrival);
            let returned = Session { arrival: sent.arrival, ..returned.session };
            prop_assert_eq!(&returned, sent);
        }
    }

    /// When each call came, and its counts.
    #[test]
    fn azure_llm_returns(
        drafts in vec((turns(1), gaps(), vec(span(), 6), span()), 1..5),
    ) {
        let mut calls = Vec::new();
        let sessions: Vec<Session> = drafts.into_iter().enumerate().map(|(i, (turns, gaps, llm, arrival))| {
            let mut turns = with_gaps(turns, &gaps, |turn, _, gap| turn.think = Some(gap));
            let mut at = arrival;
            for (turn, llm) in turns.iter_mut().zip(llm) {
                turn.llm = Some(llm);
                calls.push((at.as_nanos() / 100 * 100, turn.prompt, turn.output));
                at = at + llm + turn.think.unwrap_or(Nanos::ZERO);
            }
            Session { arrival: Some(arrival), ..session(&format!("s{i}"), turns) }
        }).collect();
        calls.sort_by_key(|call| call.0);
        let returned: Vec<_> = back("azure-llm", &sessions).into_iter().map(|one| {
            let turn = &one.session.turns[0];
            (one.began.unwrap().as_nanos(), turn.prompt, turn.output)
        }).collect();
        let times = |calls: &[(u64, Tokens, Known<Tokens>)]| calls.iter().map(|c| c.0).collect::<Vec<_>>();
        prop_assert_eq!(times(&returned), times(&calls));
        let mut same = [returned, calls];
        for calls in &mut same {
            calls.sort_by_key(|(at, prompt, output)| (*at, *prompt, output.value));
        }
        prop_assert_eq!(&same[0], &same[1]);
    }
}

/// A session with something of everything.
fn rich() -> Session {
    let second = Nanos::from_millis(1000);
    let mut first = turn(1000, 0, 30);
    first.cached = Some(Tokens(5));
    first.llm = Some(second);
    first.tools = vec![
        tool("Bash", Known::drawn(second)),
        tool("Read", Known::recorded(second)),
    ];
    first.tools[0].cpu = Some(Known::drawn(second));
    first.think = Some(second);
    let mut last = turn(1100, 1020, 1);
    last.output.evidence = Evidence::Estimated;
    last.tools = vec![tool("Bash", Known::recorded(second))];
    let shared = SharedPrefix {
        group: "g".into(),
        tokens: Tokens(600),
    };
    Session {
        model: Some("m".into()),
        arrival: Some(Nanos::new(1)),
        parent: Some("elsewhere".into()),
        shared: vec![shared],
        ..session("s", vec![first, last])
    }
}

#[test]
fn no_other_format_holds_commands() {
    let mut sent = rich();
    sent.turns[0].tools[0].command = Some(Arc::new(Command {
        argv: ["ls".into()].into(),
    }));
    for exporter in EXPORTERS {
        let (_, report) = write(exporter.name, std::slice::from_ref(&sent)).unwrap();
        assert_eq!(report.lost[&Lost::Command], 1, "{}", exporter.name);
    }
}

#[test]
fn what_is_lost_is_counted() {
    let lost = |format: &str| {
        let (_, report) = write(format, &[rich()]).unwrap();
        assert_eq!((report.sessions, report.turns), (1, 2));
        report.lost.into_iter().collect::<Vec<_>>()
    };
    // One answer is estimated and one tool drawn.
    assert_eq!(
        lost("inference-lab"),
        [
            (Lost::Model, 1),
            (Lost::Arrival, 1),
            (Lost::Opening, 1),
            (Lost::Parent, 1),
            (Lost::Cached, 1),
            (Lost::CallTime, 1),
            (Lost::ToolCpu, 1),
            (Lost::SideBySide, 1),
            (Lost::Cause, 1),
            (Lost::AfterLast, 1),
            (Lost::Evidence, 2),
        ]
    );
    // Of 1020 reused tokens one block of 512 is told, of an opening of 600 one too.
    assert_eq!(
        lost("mooncake"),
        [
            (Lost::Model, 1),
            (Lost::Parent, 1),
            (Lost::Reuse, 508 + 88),
            (Lost::Cached, 1),
            (Lost::CallTime, 1),
            (Lost::ToolName, 2),
            (Lost::ToolCpu, 1),
            (Lost::SideBySide, 1),
            (Lost::Cause, 1),
            (Lost::AfterLast, 1),
            (Lost::Evidence, 2),
        ]
    );
    // Blocks of 64: of 1020 tokens in common, 1000 are in the prompt before, 960 in whole blocks.
    assert_eq!(
        lost("agentic-mooncake"),
        [
            (Lost::Opening, 1),
            (Lost::Parent, 1),
            (Lost::Reuse, 60 + 24),
            (Lost::Cached, 1),
            (Lost::ToolName, 2),
            (Lost::ToolCpu, 1),
            (Lost::SideBySide, 1),
            (Lost::Cause, 1),
            (Lost::AfterLast, 1),
            (Lost::Evidence, 2),
        ]
    );
    assert_eq!(
        lost("azure-llm"),
        [
            (Lost::Model, 1),
            (Lost::Name, 1),
            (Lost::Opening, 1),
            (Lost::Parent, 1),
            (Lost::Order, 1),
            (Lost::Reuse, 1020),
            (Lost::Cached, 1),
            (Lost::CallTime, 1),
            (Lost::ToolName, 2),
            (Lost::ToolCpu, 1),
            (Lost::SideBySide, 1),
            (Lost::AfterLast, 1),
            (Lost::Evidence, 2),
            // Arrival and second call at 1 ns past a digit that the format has.
            (Lost::Digits, 2),
        ]
    );
}

#[test]
fn nothing_unknown_is_made_up() {
    let fault = |format: &str, session: Session| write(format, &[session]).unwrap_err().to_string();
    let mut timeless = rich();
    timeless.turns[0].tools[1].wall = None;
    timeless.turns[0].tools[1].cpu = None;
    for exporter in EXPORTERS {
        let got = fault(exporter.name, timeless.clone());
        let want = format!(
            "session `s`: `turns[0].tools[1].wall_s` is unknown, and {}",
            exporter.name
        );
        assert!(got.starts_with(&want), "{got}");
    }
    let mut unplaced = rich();
    unplaced.turns[0].llm = None;
    assert!(fault("azure-llm", unplaced).contains("`turns[0].llm_s` is unknown"));
    let nowhere = Session {
        arrival: None,
        ..rich()
    };
    assert!(fault("azure-llm", nowhere.clone()).contains("`arrival_s` is unknown"));
    let (text, report) = write("agentic-mooncake", std::slice::from_ref(&nowhere)).unwrap();
    assert_eq!(report.lost[&Lost::UnknownArrival], 1);
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("\"not_before_ms\":0,")
    );
    let (text, report) = write("mooncake", &[nowhere]).unwrap();
    assert!(!String::from_utf8(text).unwrap().contains("timestamp"));
    assert!(!report.lost.contains_key(&Lost::UnknownArrival));
    let mut late = rich();
    late.shared.clear();
    late.turns = vec![turn(1, 0, 1); 3000];
    for turn in &mut late.turns {
        turn.llm = Some(Nanos::from_secs(1e7).unwrap());
    }
    let got = fault("azure-llm", late);
    assert!(
        got.contains("session 1: `turns[1673]`") && got.contains("before the year 2500"),
        "{got}"
    );
    let mut unlawful = rich();
    unlawful.turns.clear();
    assert!(fault("mooncake", unlawful).starts_with("session 1: `turns` is empty"));
}

#[test]
fn a_sub_agent_shares_its_parents_opening_in_its_play() {
    let shared = |id: &str, parent: Option<&str>| Session {
        parent: parent.map(Arc::from),
        arrival: Some(Nanos::from_millis(5)),
        shared: vec![SharedPrefix {
            group: "g".into(),
            tokens: Tokens(128),
        }],
        ..session(id, vec![turn(200, 0, 1)])
    };
    let sent = [
        shared("a", None),
        shared("a/x", Some("a")),
        shared("b", None),
    ];
    let back = back("agentic-mooncake", &sent);
    let [a, x, b] = &back[..] else { panic!() };
    assert_eq!(a.session.shared[0].tokens, Tokens(128));
    assert_eq!(a.session.shared, x.session.shared);
    // Ids hold within a play.
    assert!(b.session.shared.is_empty());
    assert_eq!(x.session.parent.as_deref(), Some("a"));
}

#[test]
fn names_are_unique_and_have_an_importer() {
    for exporter in EXPORTERS {
        assert_eq!(
            export::by_name(exporter.name).unwrap().holds,
            exporter.holds
        );
        assert!(import::by_name(exporter.name).is_some());
    }
    assert!(export::by_name("weka").is_none());
}
