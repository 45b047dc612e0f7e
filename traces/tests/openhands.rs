//! The `OpenHands` importer against an independent one, and against each trap on its own.

mod common;

use std::collections::BTreeMap;

use common::{file, oracle, recordings};
use serde_json::{Value, json};
use traces::import::{ImportReport, Imported, OnBadSession, Recording, Skip, openhands};
use traces::{Known, TraceError};
use units::{Nanos, Tokens};

type Read = Result<(Vec<Imported>, ImportReport), TraceError>;

fn read(text: &[u8], on_bad: OnBadSession) -> Read {
    let mut input = text;
    openhands::IMPORTER.read(Recording::new("output.jsonl", &mut input).on_bad(on_bad))
}

fn near(ours: Option<Nanos>, theirs: &Value) {
    let theirs = theirs.as_f64().map(|s| Nanos::from_secs(s).unwrap());
    match (ours, theirs) {
        // The oracle rounds to a millisecond.
        (Some(ours), Some(theirs)) => {
            assert!(
                ours.as_nanos().abs_diff(theirs.as_nanos()) <= 500_001,
                "{ours} {theirs}"
            );
        }
        // `finish` runs nothing; the oracle has no time for it.
        (ours, None) => assert!(ours.is_none_or(|ours| ours == Nanos::ZERO)),
        (None, Some(theirs)) => panic!("no time, but {theirs}"),
    }
}

#[test]
fn every_recording_agrees_with_the_oracle() {
    let Some(folder) = recordings() else { return };
    let oracle = oracle(&folder, "openhands-v0");
    let bytes = file(&folder, "openhands-v0/output.lines1-2.jsonl");
    let (sessions, report) = read(&bytes, OnBadSession::Fail).unwrap();
    assert_eq!((sessions.len(), oracle.len()), (2, 2));
    for ours in &sessions {
        let record = &oracle[&format!("output.lines1-2.jsonl#{}", ours.session.id)][0];
        let theirs = record["turns"].as_array().unwrap();
        assert_eq!(ours.session.turns.len(), theirs.len());
        for (turn, want) in ours.session.turns.iter().zip(theirs) {
            assert_eq!(json!(turn.prompt.0), want["prompt"]);
            assert_eq!(json!(turn.output.value.0), want["output"]);
            assert_eq!(json!(turn.cached.map(|c| c.0)), want["cached"]);
            near(turn.llm, &want["llm_s"]);
            let tools = want["tools"].as_array().unwrap();
            assert_eq!(turn.tools.len(), tools.len());
            for (tool, want) in turn.tools.iter().zip(tools) {
                assert_eq!(json!(&*tool.name), want["name"]);
                near(tool.wall.map(|wall| wall.value), &want["dur_s"]);
            }
        }
        assert_eq!(ours.session.model.as_deref(), record["model"].as_str());
        // The oracle takes the host's clock, which was 8 hours ahead, for UTC. Its session begins
        // with the first event, 57 to 58 ms before the first call.
        let began = record["arrival_epoch"].as_f64().unwrap() - 8.0 * 3600.0
            + theirs[0]["t_submit"].as_f64().unwrap();
        assert!((ours.began.unwrap().as_secs() - began).abs() < 0.002);
    }
    assert_eq!(
        (report.turns, report.tools, report.unknown_walls),
        (56, 56, 0)
    );
    assert!(
        !report.skipped.contains_key(&Skip::UnusedUsage),
        "{report:?}"
    );
}

fn time(ms: u64) -> String {
    format!("2026-01-01T00:00:{:02}.{:03}", ms / 1000, ms % 1000)
}

/// Counts of the calls `r0`, `r1`, ...: (prompt, output, cached), each with 1 s of latency.
fn metrics(prefix: &str, counts: &[(u64, u64, u64)]) -> Value {
    let ids = || (0..).map(|i| format!("{prefix}{i}"));
    let usages = counts
        .iter()
        .zip(ids())
        .map(|(&(prompt, output, cached), id)| {
            json!({"model": "m", "prompt_tokens": prompt, "completion_tokens": output,
               "cache_read_tokens": cached, "cache_write_tokens": 0, "response_id": id})
        });
    let latencies = (0..counts.len())
        .zip(ids())
        .map(|(_, id)| json!({"model": "m", "latency": 1.0, "response_id": id}));
    json!({"token_usages": usages.collect::<Vec<_>>(),
           "response_latencies": latencies.collect::<Vec<_>>(),
           "accumulated_token_usage": {"prompt_tokens": 999_999}})
}

/// V0: an action of the agent.
fn did(id: u64, ms: u64, action: &str, response: Option<&str>) -> Value {
    let mut event = json!({"id": id, "timestamp": time(ms), "source": "agent", "action": action});
    if let Some(response) = response {
        event["tool_call_metadata"] = json!({"function_name": "f", "tool_call_id": "same for all",
            "model_response": {"id": response}});
    }
    event
}

fn saw(id: u64, ms: u64, seen: &str, cause: u64) -> Value {
    json!({"id": id, "timestamp": time(ms), "source": "agent", "observation": seen, "cause": cause})
}

fn evaluated(events: &[Value], metrics: &Value) -> Vec<u8> {
    json!({"instance_id": "i", "history": events, "metrics": metrics})
        .to_string()
        .into_bytes()
}

fn import(events: &[Value], metrics: &Value) -> (Imported, ImportReport) {
    let (mut sessions, report) = read(&evaluated(events, metrics), OnBadSession::Fail).unwrap();
    (sessions.remove(0), report)
}

#[test]
fn parallel_actions_are_one_call_and_repeats_are_none() {
    let counts = metrics("r", &[(100, 5, 0), (200, 5, 90), (300, 9, 0)]);
    let events = [
        did(0, 0, "system", None),
        did(1, 2000, "run", Some("r0")),
        saw(2, 2600, "run", 1),
        did(3, 2600, "read", Some("r0")),
        saw(4, 2700, "read", 3),
        did(1, 2000, "run", Some("r0")),
        did(5, 4000, "run", Some("r1")),
        did(6, 4100, "read", Some("r0")),
        json!({"id": 7, "timestamp": time(4200), "source": "agent", "observation": "error"}),
        did(8, 9000, "finish", Some("lost")),
    ];
    let (ours, report) = import(&events, &counts);
    let turns = &ours.session.turns;
    let walls = |turn: usize| turns[turn].tools.iter().map(|t| t.wall).collect::<Vec<_>>();
    let wall = |ms| Some(Known::recorded(Nanos::from_millis(ms)));
    assert_eq!(
        (walls(0), walls(1)),
        (vec![wall(600), wall(100)], vec![None])
    );
    assert_eq!(
        (turns.len(), turns[1].reused, turns[1].cached),
        (2, Tokens(105), Some(Tokens(90)))
    );
    assert_eq!(turns[0].llm, Some(Nanos::from_millis(1000)));
    assert_eq!(report.skipped[&Skip::Repeated], 2);
    assert_eq!(
        (
            report.skipped[&Skip::NoUsage],
            report.skipped[&Skip::UnusedUsage]
        ),
        (1, 1)
    );
}

#[test]
fn a_call_without_an_id_is_told_by_the_running_total() {
    let counts = metrics("r", &[(100, 5, 0), (150, 7, 0), (200, 5, 0)]);
    let mut said = did(5, 5000, "message", None);
    // 100 + 150 so far.
    said["llm_metrics"] = json!({"accumulated_token_usage": {"prompt_tokens": 250}});
    let user = json!({"id": 6, "timestamp": time(8000), "source": "user", "action": "message"});
    let events = [
        did(1, 2000, "run", Some("r0")),
        saw(2, 2600, "run", 1),
        said,
        user,
        did(7, 10_000, "finish", Some("r2")),
    ];
    let (ours, report) = import(&events, &counts);
    let turns = &ours.session.turns;
    assert_eq!(
        turns.iter().map(|t| t.prompt.0).collect::<Vec<_>>(),
        [100, 150, 200]
    );
    // From the answer to the next call, which was sent 1 s before its answer.
    assert_eq!(turns[1].think, Some(Nanos::from_millis(4000)));
    assert_eq!(turns[2].tools[0].wall, Some(Known::estimated(Nanos::ZERO)));
    assert_eq!(report.skipped.get(&Skip::UnusedUsage), None);
}

/// V1: files of a conversation, by name.
fn conversation(events: &[Value], usages: &Value) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let state = json!({"id": "c", "agent": {"kind": "Agent"}, "workspace": {}, "stats": {
        "usage_to_metrics": usages}});
    files.insert("base_state.json".to_owned(), state.to_string().into_bytes());
    for (i, event) in events.iter().enumerate() {
        let name = format!("events/event-{i:05}-0000000a.json");
        files.insert(name, event.to_string().into_bytes());
    }
    files
}

fn event(kind: &str, id: &str, ms: u64, rest: Value) -> Value {
    let mut event = json!({"kind": kind, "id": id, "timestamp": time(ms), "source": "agent"});
    if let Value::Object(rest) = rest {
        event.as_object_mut().unwrap().extend(rest);
    }
    event
}

fn act(id: &str, ms: u64, response: &str) -> Value {
    event(
        "ActionEvent",
        id,
        ms,
        json!({"tool_name": "terminal", "tool_call_id": format!("call-{id}"),
        "llm_response_id": response, "action": {"kind": "TerminalAction", "command": "ls"}}),
    )
}

fn observe(id: &str, ms: u64, action: &str) -> Value {
    event(
        "ObservationEvent",
        id,
        ms,
        json!({"source": "environment", "action_id": action,
        "tool_name": "terminal", "tool_call_id": format!("call-{action}"), "observation": {"x": 1}}),
    )
}

/// A conversation with parallel tools, a tool that fails, a condensation and an answer in words.
fn events() -> Vec<Value> {
    vec![
        event("SystemPromptEvent", "e0", 0, json!({})),
        event("MessageEvent", "e1", 100, json!({"source": "user"})),
        act("e2", 2000, "r0"),
        act("e3", 2001, "r0"),
        observe("e4", 2600, "e2"),
        observe("e5", 2900, "e3"),
        event("CondensationRequest", "e6", 2910, json!({})),
        event("Condensation", "e7", 4000, json!({"llm_response_id": "k0"})),
        act("e8", 6000, "r1"),
        event(
            "AgentErrorEvent",
            "e9",
            6010,
            json!({"tool_name": "x", "tool_call_id": "call-e8"}),
        ),
        event(
            "MessageEvent",
            "e10",
            8000,
            json!({"llm_response_id": "r2"}),
        ),
    ]
}

fn usages() -> Value {
    let mut agent = metrics("r", &[(1000, 50, 400), (700, 20, 400), (730, 9, 0)]);
    agent["costs"] = json!([{"model": "m", "cost": 0.1, "timestamp": 1_767_218_401.9}]);
    json!({"agent": agent, "condenser": metrics("k", &[(900, 80, 0)])})
}

fn read_folder(main: &str, mut files: BTreeMap<String, Vec<u8>>) -> Read {
    let bytes = files[main].clone();
    let mut input = &bytes[..];
    let recording = Recording::new(main, &mut input).with_folder(&mut files);
    openhands::IMPORTER.read(recording)
}

#[test]
fn a_conversation_is_its_state_and_its_events() {
    let files = conversation(&events(), &usages());
    let (sessions, report) = read_folder("base_state.json", files.clone()).unwrap();
    let session = &sessions[0].session;
    let tokens: Vec<_> = session
        .turns
        .iter()
        .map(|t| (t.prompt.0, t.reused.0))
        .collect();
    // The condenser and the call after it begin anew.
    assert_eq!(tokens, [(1000, 0), (900, 0), (700, 0), (730, 720)]);
    let walls = |turn: usize| {
        session.turns[turn]
            .tools
            .iter()
            .map(|t| t.wall)
            .collect::<Vec<_>>()
    };
    let wall = |ms| Some(Known::recorded(Nanos::from_millis(ms)));
    assert_eq!(walls(0), [wall(600), wall(899)]);
    assert_eq!(
        (walls(1), walls(2), walls(3)),
        (vec![], vec![wall(10)], vec![])
    );
    assert_eq!(&*session.id, "c");
    assert_eq!(session.shared_tokens(), Tokens(400));
    // The host is 2 hours ahead of UTC, by the time of the first cost; r0 was sent at 00:00:01.
    assert_eq!(
        sessions[0].began,
        Some(Nanos::from_millis(1_767_218_401_000))
    );
    assert_eq!(report.skipped.get(&Skip::UnusedUsage), None);

    // The same events in one file.
    let mut one = files.clone();
    one.retain(|name, _| name == "base_state.json");
    one.insert(
        "events.json".to_owned(),
        json!(events()).to_string().into_bytes(),
    );
    // Whichever of the two is named.
    for main in ["events.json", "base_state.json"] {
        let (again, counts) = read_folder(main, one.clone()).unwrap();
        assert_eq!((&again, &counts), (&sessions, &report), "{main}");
    }
}

#[test]
fn a_condensation_without_a_call_cuts_the_context() {
    let mut usages = usages();
    usages["condenser"] = json!({});
    let files = conversation(&events(), &usages);
    let (sessions, _) = read_folder("base_state.json", files).unwrap();
    let reused: Vec<_> = sessions[0]
        .session
        .turns
        .iter()
        .map(|t| t.reused.0)
        .collect();
    assert_eq!(reused, [0, 400, 720]);
}

#[test]
fn faults_name_the_file_or_the_line_and_the_field() {
    let mut files = conversation(&events(), &usages());
    let fault = |files: &BTreeMap<_, _>| {
        read_folder("base_state.json", files.clone())
            .unwrap_err()
            .to_string()
    };
    let name = "events/event-00003-0000000a.json".to_owned();
    let whole = files.insert(name.clone(), br#"{"id":"e3","kind":"ActionEvent""#.to_vec());
    assert!(
        fault(&files).starts_with("`events/event-00003-0000000a.json`, line 1: the JSON ends too"),
    );
    let naked = br#"{"id":"e3","kind":"ActionEvent","timestamp":"noon"}"#;
    files.insert(name.clone(), naked.to_vec());
    assert_eq!(
        fault(&files),
        "`events/event-00003-0000000a.json`, document: `timestamp` is noon (wanted: a time such as \
         2026-02-07T09:44:37.731000)"
    );
    files.insert(name, whole.unwrap());
    files.retain(|name, _| name == "base_state.json");
    assert!(fault(&files).starts_with("document: `events/event-*.json` is missing"));

    let good = evaluated(
        &[did(1, 2000, "run", Some("r0"))],
        &metrics("r", &[(9, 5, 0)]),
    );
    let mut bad = metrics("r", &[(9, 5, 0)]);
    bad["token_usages"][0]["completion_tokens"] = json!(-4);
    let bad = evaluated(&[did(1, 2000, "run", Some("r0"))], &bad);
    let other = String::from_utf8(good.clone())
        .unwrap()
        .replace(r#""i""#, r#""j""#);
    let lines = [
        &good[..],
        &bad[..],
        &good[..],
        &good[..40],
        other.as_bytes(),
    ]
    .join(&b'\n');
    let (sessions, report) = read(&lines, OnBadSession::Skip).unwrap();
    let ids: Vec<&str> = sessions.iter().map(|s| &*s.session.id).collect();
    assert_eq!(
        (ids, report.sessions, report.dropped),
        (vec!["i", "j"], 2, 3)
    );
    assert_eq!(
        report.dropped_because[..2],
        [
            "output.jsonl: line 2: `metrics.token_usages[0].completion_tokens` is -4 (wanted: a \
             whole number of tokens from 0 to 4294967295)",
            "output.jsonl: line 3: `id` is i (wanted: a name that no session before it in the \
             recording has)"
        ]
    );
    assert!(report.dropped_because[2].starts_with("output.jsonl: line 4: the JSON ends too early"));
    let first = read(&lines, OnBadSession::Fail).unwrap_err().to_string();
    assert!(first.starts_with("line 2: `metrics.token_usages[0]"));
}
