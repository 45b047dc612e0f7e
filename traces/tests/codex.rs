//! The Codex importer against derived records of another project, and against each trap on its own.

#![allow(
    clippy::needless_pass_by_value,
    reason = "JSON literals read best by value"
)]

mod common;

use std::collections::BTreeMap;

use common::{expanded, file, recordings};
use serde_json::{Value, json};
use traces::import::{ImportReport, Imported, OnBadSession, Recording, Skip, codex};
use traces::{Known, TraceError};
use units::{Nanos, Tokens};

type Read = Result<(Vec<Imported>, ImportReport), TraceError>;

fn read(text: &[u8], on_bad: OnBadSession) -> Read {
    let mut input = text;
    codex::IMPORTER.read(Recording::new("file", &mut input).on_bad(on_bad))
}

/// `TraceLab`'s own extraction of its example is the oracle.
#[test]
fn the_example_agrees_with_its_derived_rounds() {
    let Some(folder) = recordings() else { return };
    let folder = folder.join("tracelab-examples/example_sessions");
    let (sessions, report) = read(
        &expanded(&file(&folder, "codex/trace.json")),
        OnBadSession::Fail,
    )
    .unwrap();
    eprintln!("codex: {report:#?}");
    let session = &sessions[0].session;
    let rounds = file(&folder, "derived/round_trace.jsonl");
    let rounds: Vec<Value> = String::from_utf8(rounds)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|round: &Value| round["provider"] == "codex")
        .collect();
    assert_eq!(
        (sessions.len(), session.turns.len(), rounds.len()),
        (1, 9, 9)
    );
    assert_eq!(
        json!(format!("codex:{}", session.id)),
        rounds[0]["session_id"]
    );
    assert_eq!(json!(session.model.as_deref()), rounds[0]["model"]);
    for (turn, round) in session.turns.iter().zip(&rounds) {
        assert_eq!(json!(turn.prompt.0), round["input_tokens_total"]);
        assert_eq!(json!(turn.cached.map(|c| c.0)), round["prefix_tokens"]);
        assert_eq!(json!(turn.output.value.0), round["output_tokens"]);
        let tools = round["tools"].as_array().unwrap();
        assert_eq!(turn.tools.len(), tools.len());
        for (tool, want) in turn.tools.iter().zip(tools) {
            assert_eq!(json!(&*tool.name), want["tool_name"]);
            let ms = tool.wall.map(|wall| wall.value.as_nanos() / 1_000_000);
            assert_eq!(json!(ms), want["tool_wall_latency_ms"]);
        }
        // From the last thing the model was given to the last that it gave.
        let times = |types: &[&str]| {
            let events = round["timing_events"].as_array().unwrap().iter();
            let times = events.filter(|e| types.contains(&e["event_type"].as_str().unwrap()));
            times.filter_map(|e| millis(&e["timestamp"])).max()
        };
        let llm = times(&["reasoning", "text", "tool_call"])
            .zip(times(&["user_message", "tool_result"]))
            .map(|(end, start)| end - start);
        assert_eq!(turn.llm.map(|llm| llm.as_nanos() / 1_000_000), llm);
    }
    let thinks = session
        .turns
        .iter()
        .filter(|turn| turn.think.is_some())
        .count();
    assert_eq!((thinks, report.unknown_walls), (2, 0));
}

/// Milliseconds into the day.
fn millis(time: &Value) -> Option<u64> {
    let time = time.as_str()?.split_once('T')?.1.strip_suffix('Z')?;
    let parts: Vec<u64> = time
        .split([':', '.'])
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    Some(((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1000 + parts[3])
}

#[test]
fn samples_without_counts_have_no_session() {
    let Some(folder) = recordings() else { return };
    for name in [
        "codex_parent_with_spawns.jsonl",
        "rollout-parent-019b88e0.jsonl",
        "rollout-subagent-019b88e5.jsonl",
    ] {
        let bytes = file(&folder, &format!("agtrace-samples/samples/{name}"));
        let (sessions, report) = read(&bytes, OnBadSession::Fail).unwrap();
        assert_eq!(
            (sessions.len(), report.skipped[&Skip::NoCalls]),
            (0, 1),
            "{name}"
        );
    }
}

fn line(kind: &str, ms: u64, payload: Value) -> Value {
    let timestamp = format!("2026-01-01T00:00:{:02}.{:03}Z", ms / 1000, ms % 1000);
    json!({"timestamp": timestamp, "type": kind, "payload": payload})
}

fn item(kind: &str, ms: u64, id: &str) -> Value {
    line(
        "response_item",
        ms,
        json!({"type": kind, "name": "exec_command", "call_id": id}),
    )
}

fn user(ms: u64) -> [Value; 2] {
    let message = json!({"type": "message", "role": "user", "content": []});
    [
        line("response_item", ms, message),
        line(
            "event_msg",
            ms,
            json!({"type": "user_message", "message": "x"}),
        ),
    ]
}

fn count(ms: u64, total: [u64; 2], last: [u64; 3]) -> Value {
    let total = json!({"input_tokens": total[0], "output_tokens": total[1]});
    let last = json!({"input_tokens": last[0], "cached_input_tokens": last[1],
        "output_tokens": last[2], "reasoning_output_tokens": 0});
    line(
        "event_msg",
        ms,
        json!({"type": "token_count", "info": {
        "total_token_usage": total, "last_token_usage": last}}),
    )
}

fn meta(source: Value) -> Value {
    let start = "2026-01-01T00:00:00.500Z";
    line(
        "session_meta",
        500,
        json!({"id": "S", "timestamp": start, "cli_version": "1.2",
        "source": source}),
    )
}

fn text(lines: &[Value]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect()
}

/// One call with a tool.
fn call() -> Vec<Value> {
    let mut lines = vec![meta(json!("cli"))];
    lines.extend(user(1000));
    lines.extend([
        item("reasoning", 2000, ""),
        item("function_call", 2500, "a"),
        count(2510, [100, 20], [100, 64, 20]),
        item("function_call_output", 3000, "a"),
    ]);
    lines
}

fn import(lines: &[Value]) -> (Imported, ImportReport) {
    let (mut sessions, report) = read(&text(lines), OnBadSession::Fail).unwrap();
    (sessions.remove(0), report)
}

#[test]
fn counts_that_come_again_are_no_call() {
    let mut lines = call();
    lines.extend([
        line(
            "event_msg",
            3100,
            json!({"type": "token_count", "info": null}),
        ),
        count(3200, [100, 20], [100, 64, 20]),
        line("turn_context", 3300, json!({"model": "m"})),
        item("message", 4000, ""),
        count(4010, [250, 30], [150, 128, 10]),
    ]);
    // Without a role it is nobody's; the model's says assistant.
    lines[10]["payload"]["role"] = json!("assistant");
    let (ours, report) = import(&lines);
    let turns = &ours.session.turns;
    let tokens: Vec<_> = turns
        .iter()
        .map(|t| (t.prompt.0, t.reused.0, t.cached))
        .collect();
    assert_eq!(
        tokens,
        [(100, 0, Some(Tokens(64))), (150, 120, Some(Tokens(128)))]
    );
    let wall = turns[0].tools[0].wall;
    assert_eq!(wall, Some(Known::recorded(Nanos::from_millis(500))));
    let llm: Vec<_> = turns.iter().map(|t| t.llm.map(Nanos::as_secs)).collect();
    assert_eq!(llm, [Some(1.5), Some(1.0)]);
    assert_eq!(report.skipped[&Skip::Repeated], 1);
    assert_eq!(
        (&*ours.session.id, ours.session.model.as_deref()),
        ("S", Some("m"))
    );
    let shared = &ours.session.shared[0];
    assert_eq!(
        (&*shared.group, shared.tokens),
        ("codex/1.2/m/main", Tokens(64))
    );
}

#[test]
fn an_interrupted_call_is_left_out_with_its_tools() {
    let mut lines = call();
    lines.extend([
        item("reasoning", 3500, ""),
        item("function_call", 3600, "lost"),
        item("function_call_output", 3700, "lost"),
    ]);
    lines.extend(user(9000));
    lines.extend([
        item("custom_tool_call", 9500, "b"),
        // A result may come before the counts.
        item("custom_tool_call_output", 9700, "b"),
        count(9800, [300, 50], [200, 0, 30]),
        item("web_search_call", 9900, ""),
    ]);
    let (ours, report) = import(&lines);
    let turns = &ours.session.turns;
    let tools: Vec<_> = turns.iter().map(|t| t.tools.len()).collect();
    assert_eq!(tools, [1, 1]);
    assert_eq!(
        turns[1].tools[0].wall,
        Some(Known::recorded(Nanos::from_millis(200)))
    );
    // The interrupted one, and the one at the end.
    assert_eq!(report.skipped[&Skip::NoUsage], 2);
    assert_eq!(turns[0].think, Some(Nanos::from_millis(6000)));
}

#[test]
fn a_compacted_context_keeps_what_was_cached() {
    let mut lines = call();
    lines.push(line("compacted", 3500, json!({"message": "summary"})));
    lines.extend([
        item("reasoning", 4000, ""),
        count(4010, [400, 30], [300, 64, 10]),
    ]);
    assert_eq!(import(&lines).0.session.turns[1].reused, Tokens(64));
}

#[test]
fn a_sub_agent_finds_its_parent() {
    let with = |source: Value| {
        let mut lines = call();
        lines[0] = meta(source);
        text(&lines)
    };
    let parent = |bytes: &[u8], folder: &mut BTreeMap<String, Vec<u8>>| {
        let mut input = bytes;
        let recording = Recording::new("f", &mut input).with_folder(folder);
        let (sessions, _) = codex::IMPORTER.read(recording).unwrap();
        sessions[0].session.parent.as_deref().map(str::to_owned)
    };
    let mut none = BTreeMap::new();
    assert_eq!(parent(&with(json!("cli")), &mut none), None);
    let spawned =
        with(json!({"subagent": {"thread_spawn": {"parent_thread_id": "P", "depth": 1}}}));
    assert_eq!(parent(&spawned, &mut none).as_deref(), Some("P"));
    // A review does not say whose it is: who began one when this session started, at 0.5 s?
    let review = with(json!({"subagent": "review"}));
    let began = |id: &str, ms: u64| {
        text(&[
            line("session_meta", 0, json!({"id": id})),
            line("event_msg", ms, json!({"type": "entered_review_mode"})),
        ])
    };
    let mut folder = BTreeMap::from([
        ("rollout-a.jsonl".to_owned(), began("A", 700)),
        ("rollout-b.jsonl".to_owned(), began("B", 410)),
        ("rollout-c.jsonl".to_owned(), b"{broken".to_vec()),
        ("other.jsonl".to_owned(), began("C", 500)),
    ]);
    assert_eq!(parent(&review, &mut folder).as_deref(), Some("B"));
    folder.remove("rollout-b.jsonl");
    assert_eq!(parent(&review, &mut folder), None);
}

#[test]
fn bad_lines_are_named_or_cost_the_session() {
    let fault = |edit: fn(&mut Vec<Value>)| {
        let mut lines = call();
        edit(&mut lines);
        let bytes = text(&lines);
        let (none, report) = read(&bytes, OnBadSession::Skip).unwrap();
        assert_eq!((none.len(), report.dropped, report.turns), (0, 1, 0));
        let fault = read(&bytes, OnBadSession::Fail).unwrap_err().to_string();
        assert_eq!(report.dropped_because, [format!("file: {fault}")]);
        fault
    };
    let usage = |lines: &mut Vec<Value>, value: Value| {
        lines[5]["payload"]["info"]["last_token_usage"]["input_tokens"] = value;
    };
    let fat = fault(|lines| {
        lines[5]["payload"]["info"]["last_token_usage"]["input_tokens"] = json!(1_u64 << 60);
    });
    assert!(fat.starts_with(
        "line 6: `payload.info.last_token_usage.input_tokens` is 1152921504606846976 (wanted: a whole"
    ));
    let mut lines = call();
    usage(&mut lines, json!(null));
    assert!(
        read(&text(&lines), OnBadSession::Fail)
            .unwrap_err()
            .to_string()
            .starts_with("line 6: `payload.info.last_token_usage.input_tokens` is missing")
    );
    assert!(
        fault(|l| l[5]["payload"]["info"]["total_token_usage"]["output_tokens"] = json!("x"))
            .starts_with("line 6: `payload.info.total_token_usage.output_tokens` is \"x\"")
    );
    assert!(
        fault(|l| l[3]["timestamp"] = json!("2026")).starts_with("line 4: `timestamp` is 2026")
    );
    assert!(
        fault(|l| l[0]["payload"]["timestamp"] = json!("2026"))
            .starts_with("line 1: `payload.timestamp` is 2026")
    );
    assert!(fault(|l| l[2]["payload"] = json!(7)).starts_with("line 3, column "));
}
