//! The pi importer against an independent one, and against each trap on its own.

mod common;

use common::{Sums, file, oracle, recordings};
use serde_json::{Value, json};
use traces::import::{ImportReport, Imported, OnBadSession, Recording, Skip, pi};
use traces::{Known, TraceError};
use units::{Nanos, Tokens};

type Read = Result<(Vec<Imported>, ImportReport), TraceError>;

fn read(text: &[u8], on_bad: OnBadSession) -> Read {
    let mut input = text;
    pi::IMPORTER.read(Recording::new("file", &mut input).on_bad(on_bad))
}

#[test]
fn the_recording_agrees_with_the_oracle() {
    let Some(folder) = recordings() else { return };
    let oracle = oracle(&folder, "pi-coding-agent");
    for (name, records) in &oracle {
        let bytes = file(&folder, &format!("pi-coding-agent/{name}"));
        let (sessions, report) = read(&bytes, OnBadSession::Fail).unwrap();
        eprintln!("pi: {report:#?}");
        assert_eq!((sessions.len(), records.len()), (1, 1));
        let ours = &sessions[0];
        assert_eq!(
            Sums::of_session(&ours.session),
            Sums::of_oracle(&records[0]),
            "{name}"
        );
        // The oracle counts from the line that opens the session; the first call is 12 ms earlier.
        let began = records[0]["arrival_epoch"].as_f64().unwrap()
            + records[0]["turns"][0]["t_submit"].as_f64().unwrap();
        assert!((ours.began.unwrap().as_secs() - began).abs() < 0.0005);
    }
    assert_eq!(oracle.len(), 1);
}

fn line(kind: &str, ms: u64, message: &Value) -> Value {
    let timestamp = format!("2026-01-01T00:00:{:02}.{:03}Z", ms / 1000, ms % 1000);
    json!({"type": kind, "timestamp": timestamp, "message": message})
}

/// 2026-01-01T00:00:00Z in milliseconds.
const ZERO: u64 = 1_767_225_600_000;

fn call(start: u64, end: u64, usage: [u64; 4], tools: &[&str]) -> Value {
    let mut content = vec![json!({"type": "text", "text": "x"})];
    content.extend(
        tools
            .iter()
            .map(|id| json!({"type": "toolCall", "id": id, "name": "bash"})),
    );
    line(
        "message",
        end,
        &json!({"role": "assistant", "model": "m", "timestamp": ZERO + start,
        "content": content, "usage": {"input": usage[0], "output": usage[1],
            "cacheRead": usage[2], "cacheWrite": usage[3]}}),
    )
}

fn result(ms: u64, id: &str) -> Value {
    line(
        "message",
        ms,
        &json!({"role": "toolResult", "toolCallId": id, "toolName": "bash"}),
    )
}

fn user(ms: u64) -> Value {
    line(
        "message",
        ms,
        &json!({"role": "user", "content": "go", "timestamp": ZERO + ms}),
    )
}

fn text(lines: &[Value]) -> Vec<u8> {
    let mut all = vec![json!({"type": "session", "id": "S", "timestamp": "2026-01-01T00:00:00Z"})];
    all.extend_from_slice(lines);
    all.iter()
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect()
}

fn import(lines: &[Value]) -> (Imported, ImportReport) {
    let (mut sessions, report) = read(&text(lines), OnBadSession::Fail).unwrap();
    (sessions.remove(0), report)
}

#[test]
fn counts_are_disjoint_and_times_are_differences() {
    let (ours, report) = import(&[
        user(1000),
        call(1010, 3000, [3, 50, 0, 97], &["a", "b"]),
        result(3020, "a"),
        result(3500, "b"),
        call(3510, 4000, [10, 5, 150, 40], &[]),
        user(9000),
        call(9005, 9500, [20, 5, 205, 0], &["lost"]),
        result(9600, "other"),
    ]);
    let turns = &ours.session.turns;
    let tokens: Vec<_> = turns
        .iter()
        .map(|t| (t.prompt.0, t.reused.0, t.cached))
        .collect();
    let cached = |n| Some(Tokens(n));
    assert_eq!(
        tokens,
        [
            (100, 0, cached(0)),
            (200, 150, cached(150)),
            (225, 205, cached(205))
        ]
    );
    let wall = |ms| Some(Known::recorded(Nanos::from_millis(ms)));
    let walls: Vec<_> = turns[0].tools.iter().map(|t| t.wall).collect();
    assert_eq!(walls, [wall(20), wall(500)]);
    assert_eq!(turns[0].llm, Some(Nanos::from_millis(1990)));
    assert_eq!(turns[1].think, Some(Nanos::from_millis(5005)));
    assert_eq!((turns[0].think, turns[2].tools[0].wall), (None, None));
    assert_eq!(report.skipped[&Skip::UnmatchedResult], 1);
    assert_eq!(
        (&*ours.session.id, ours.began.unwrap().as_secs()),
        ("S", 1_767_225_601.01)
    );
}

#[test]
fn an_aborted_call_without_counts_is_no_call() {
    let (ours, report) = import(&[
        user(1000),
        call(1010, 1100, [0; 4], &[]),
        user(2000),
        call(2010, 2100, [9, 0, 0, 0], &[]),
    ]);
    assert_eq!(ours.session.turns.len(), 1);
    assert_eq!(ours.session.turns[0].output, Known::estimated(Tokens(1)));
    assert_eq!(report.skipped[&Skip::NoUsage], 1);
    let (none, report) = read(&text(&[user(1000)]), OnBadSession::Fail).unwrap();
    assert!(none.is_empty());
    assert_eq!(report.skipped[&Skip::NoCalls], 1);
}

#[test]
fn after_a_reset_the_cache_is_the_evidence() {
    let kept = |between: Option<Value>, edit: fn(&mut Value)| {
        let mut last = call(3000, 3100, [30, 5, 70, 100], &[]);
        edit(&mut last);
        let mut lines = vec![user(1000), call(1010, 2000, [100, 5, 0, 0], &[])];
        lines.extend(between);
        lines.push(last);
        import(&lines).0.session.turns[1].reused.0
    };
    assert_eq!(kept(None, |_| ()), 105);
    assert_eq!(
        kept(Some(line("compaction", 2500, &Value::Null)), |_| ()),
        70
    );
    assert_eq!(
        kept(None, |last| last["message"]["model"] = json!("other")),
        70
    );
    // A tree: the call answers another line than the one before it.
    let custom = json!({"type": "custom", "id": "c1", "parentId": "c0"});
    assert_eq!(
        kept(Some(custom.clone()), |last| last["parentId"] = json!("c1")),
        105
    );
    assert_eq!(
        kept(Some(custom), |last| last["parentId"] = json!("c0")),
        70
    );
}

#[test]
fn bad_lines_are_named_or_cost_the_session() {
    let fault = |edit: fn(&mut Value)| {
        let mut last = call(3000, 3100, [30, 5, 70, 100], &[]);
        edit(&mut last);
        let bytes = text(&[user(1000), last]);
        let (none, report) = read(&bytes, OnBadSession::Skip).unwrap();
        assert_eq!((none.len(), report.dropped, report.turns), (0, 1, 0));
        let fault = read(&bytes, OnBadSession::Fail).unwrap_err().to_string();
        assert_eq!(report.dropped_because, [format!("file: {fault}")]);
        fault
    };
    assert_eq!(
        fault(|l| l["message"]["usage"]["output"] = json!(-1)),
        "line 3: `message.usage.output` is -1 (wanted: a whole number of tokens from 0 to 4294967295)"
    );
    assert!(
        fault(|l| l["timestamp"] = json!("yesterday"))
            .starts_with("line 3: `timestamp` is yesterday")
    );
    assert!(fault(|l| l["timestamp"] = Value::Null).starts_with("line 3: `timestamp` is missing"));
    assert!(
        fault(|l| l["message"]["timestamp"] = json!(1e30))
            .starts_with("line 3: `message.timestamp` is 1e+30")
    );
    assert!(
        fault(|l| l["message"]["usage"] = json!([])).starts_with("line 3: `message` is of another")
    );
    assert!(fault(|l| *l = json!("{")).starts_with("line 3, column "));
}
