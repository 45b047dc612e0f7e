//! The WEKA importer against an independent one, and against each trap on its own.

mod common;

use common::{each_archived, oracle, recordings, text_at};
use serde_json::{Value, json};
use traces::import::{
    ImportReport, Imported, OnBadSession, Openings, Recording, Skip, collect, weka,
};
use traces::{Evidence, Known, Session, SharedPrefix, TraceError};
use units::{Nanos, Tokens};

type Read = Result<(Vec<Imported>, ImportReport), TraceError>;

fn read(text: &[u8], on_bad: OnBadSession) -> Read {
    let mut input = text;
    weka::IMPORTER.read(Recording::new("file", &mut input).on_bad(on_bad))
}

fn read_all(document: &Value) -> (Vec<Session>, ImportReport) {
    let (imported, report) = read(document.to_string().as_bytes(), OnBadSession::Fail).unwrap();
    (imported.into_iter().map(|i| i.session).collect(), report)
}

fn complaint(document: &Value) -> String {
    read(document.to_string().as_bytes(), OnBadSession::Fail)
        .unwrap_err()
        .to_string()
}

#[test]
fn all_recordings_agree_with_the_oracle() {
    let Some(folder) = recordings() else { return };
    let oracle = oracle(&folder, "weka-claude-code");
    let mut report = ImportReport::default();
    let mut openings = Openings::new();
    let (mut files, mut repeats, mut other_model) = (0, 0, 0);
    let mut ids = std::collections::BTreeSet::new();
    each_archived(&folder.join("weka-claude-code"), |name, bytes| {
        files += 1;
        let (sessions, counts) = read(bytes, OnBadSession::Fail).unwrap();
        report.absorb(counts);
        let records = &oracle[name];
        assert_eq!(sessions.len(), records.len(), "{name}");
        for (ours, theirs) in sessions.iter().zip(records) {
            compare(name, &ours.session, theirs);
            other_model += u64::from(ours.session.model.as_deref() != theirs["model"].as_str());
            assert!(ids.insert(ours.session.id.clone()), "{}", ours.session.id);
            repeats += u64::from(openings.repeats(&ours.session));
        }
    });
    eprintln!("weka: {report:#?}");
    // What the source says of the files here: those that repeat an earlier opening are left out.
    assert_eq!((files, repeats), (460, 0));
    // The oracle takes the first of the file's list, we the one that the first call names.
    assert_eq!(other_model, 6);
    assert_eq!((report.sessions, report.children), (488, 28));
    assert_eq!(report.turns, 30_138);
    // From the recordings: answers of no token, pauses that are not stated, calls that go back.
    assert_eq!(report.estimated_outputs, 15);
    assert_eq!(report.estimated_pauses, 89);
    assert_eq!(report.unknown_walls, 0);
    assert!(report.skipped.is_empty());
}

/// Every number that both have, turn by turn.
fn compare(name: &str, ours: &Session, theirs: &Value) {
    let chain = text_at(theirs, "chain");
    let side = chain.strip_prefix("side:");
    assert_eq!(ours.parent.is_some(), side.is_some());
    assert!(side.is_none_or(|agent| ours.id.ends_with(agent)));
    let turns = theirs["turns"].as_array().unwrap();
    assert_eq!(ours.turns.len(), turns.len(), "{name}");
    let time = |value: &Value| value.as_f64().map(|s| Nanos::from_secs(s).unwrap());
    for (i, (turn, record)) in ours.turns.iter().zip(turns).enumerate() {
        let count = |key: &str| record[key].as_u64().unwrap();
        assert_eq!(turn.prompt.get(), count("prompt"), "{name} {i}");
        assert_eq!(turn.llm, time(&record["llm_s"]), "{name} {i}");
        assert_eq!(turn.cached, None);
        match count("output") {
            0 => assert_eq!(turn.output, Known::estimated(Tokens(1)), "{name} {i}"),
            n => assert_eq!(turn.output, Known::recorded(Tokens(n)), "{name} {i}"),
        }
        assert_eq!(
            turn.reused.get(),
            count("shared_prefix_blocks") * 64,
            "{name} {i}"
        );
        let Some(before) = i.checked_sub(1).map(|i| &ours.turns[i]) else {
            continue;
        };
        let gap = time(&record["gap_before_s"]);
        if record["gap_kind"] == "tool" {
            assert_eq!((before.tools.len(), before.think), (1, None), "{name} {i}");
            let tool = &before.tools[0];
            assert_eq!(tool.wall, gap.map(Known::estimated), "{name} {i}");
            assert_eq!((tool.cpu, tool.parallelism), (None, 1));
        } else {
            assert!(before.tools.is_empty(), "{name} {i}");
            // Not stated: from beginning to beginning, less the call.
            let from = time(&turns[i - 1]["t_submit"]).unwrap();
            let between = time(&record["t_submit"]).unwrap() - from;
            let pause = between.saturating_sub(before.llm.unwrap_or(Nanos::ZERO));
            assert_eq!(before.think, gap.or(Some(pause)), "{name} {i}");
        }
    }
    let last = ours.turns.last().unwrap();
    assert!(last.tools.is_empty() && last.think.is_none());
}

/// A call of `blocks` as ids, with the rest as a recording has it.
fn call(t: f64, prompt: u64, out: u64, ids: &[u64], input: &str) -> Value {
    json!({"t": t, "type": "n", "model": "m", "in": prompt, "out": out, "hash_ids": ids,
        "input_types": [input], "output_types": ["text"], "stop": "tool_use",
        "api_time": 1.5, "think_time": 4.0})
}

fn document(requests: &[Value]) -> Value {
    json!({"id": "s", "models": ["m"], "block_size": 64, "hash_id_scope": "local",
        "tool_tokens": 100, "system_tokens": 50, "requests": requests, "totals": {}})
}

#[test]
fn common_blocks_are_reused_and_gaps_belong_to_the_turn_before() {
    let (sessions, report) = read_all(&document(&[
        call(0.0, 200, 7, &[1, 2, 3], "text"),
        call(6.0, 300, 9, &[1, 2, 3, 4], "tool_result"),
        // Compacted: only the first block is left.
        call(12.0, 140, 9, &[1, 9], "text"),
        // The same prompt again, which its own blocks do not cover to the end.
        call(18.0, 140, 9, &[1, 9], "tool_result"),
    ]));
    let turns = &sessions[0].turns;
    let reused: Vec<u64> = turns.iter().map(|t| t.reused.get()).collect();
    assert_eq!(reused, [0, 192, 64, 128]);
    let four = Nanos::from_millis(4000);
    let tool = |i: usize| turns[i].tools.first().map(|t| (&*t.name, t.wall));
    assert_eq!(tool(0), Some(("tool", Some(Known::estimated(four)))));
    assert_eq!((tool(1), turns[1].think), (None, Some(four)));
    assert_eq!((tool(3), turns[3].think), (None, None));
    assert_eq!(turns[0].llm, Some(Nanos::from_millis(1500)));
    assert_eq!((report.returns, report.estimated_pauses), (0, 0));
}

#[test]
fn equal_lengths_of_tools_and_system_prompt_are_equal_openings() {
    let (sessions, _) = read_all(&document(&[call(0.0, 200, 7, &[1, 2, 3], "text")]));
    let segment = |group: &str, tokens| SharedPrefix {
        group: group.into(),
        tokens: Tokens(tokens),
    };
    let tools = segment("weka/m/tools-100", 100);
    let whole = segment("weka/m/tools-100/system-50", 150);
    assert_eq!(sessions[0].shared, [tools.clone(), whole]);
    // A prompt that is too short for the system prompt was sent without it.
    let (sessions, _) = read_all(&document(&[call(0.0, 149, 7, &[1, 2], "text")]));
    assert_eq!(sessions[0].shared, [tools]);
    let mut bare = document(&[call(0.0, 200, 7, &[1, 2, 3], "text")]);
    bare["tool_tokens"] = json!(0);
    bare["system_tokens"] = Value::Null;
    assert_eq!(read_all(&bare).0[0].shared, []);
}

#[test]
fn sub_agents_are_children_with_their_own_clock() {
    let agent = json!({"t": 90.0, "type": "subagent", "agent_id": "agent_001",
        "subagent_type": "Explore", "status": "completed", "duration_ms": null,
        "tool_tokens": 60, "system_tokens": 4, "models": ["h"], "requests": [
            call(0.0, 70, 3, &[500], "text"), call(3.0, 130, 3, &[500, 501], "tool_result")]});
    let (sessions, report) = read_all(&document(&[
        call(0.0, 200, 7, &[1, 2, 3], "text"),
        agent,
        call(99.0, 300, 9, &[1, 2, 3, 4], "tool_result"),
    ]));
    assert_eq!((report.sessions, report.children, report.turns), (2, 1, 4));
    assert_eq!(sessions[0].turns.len(), 2);
    assert_eq!(&*sessions[0].turns[0].tools[0].name, "Task");
    assert_eq!(&*sessions[1].id, "s/agent_001");
    assert_eq!(sessions[1].parent.as_deref(), Some("s"));
    assert_eq!(sessions[1].turns[1].reused, Tokens(64));
    assert_eq!(sessions[1].shared[1].tokens, Tokens(64));
}

#[test]
fn what_is_missing_stays_unknown_or_is_counted() {
    let without = |mut call: Value, keys: &[&str]| {
        for key in keys {
            call.as_object_mut().unwrap().remove(*key);
        }
        call
    };
    let (sessions, report) = read_all(&document(&[
        without(call(0.0, 200, 0, &[1, 2, 3], "text"), &["api_time"]),
        without(call(10.0, 200, 7, &[1, 2, 3], "text"), &["think_time"]),
        without(call(20.0, 200, 7, &[1, 2, 3], "text"), &["think_time"]),
        without(
            call(30.0, 200, 7, &[1, 2, 3], "tool_result"),
            &["think_time"],
        ),
    ]));
    let turns = &sessions[0].turns;
    assert_eq!((turns[0].llm, turns[0].output.value), (None, Tokens(1)));
    assert_eq!(turns[0].output.evidence, Evidence::Estimated);
    // The call's time is unknown: the pause may be all of it. Then it is 1.5 s.
    assert_eq!(turns[0].think, Some(Nanos::from_millis(10_000)));
    assert_eq!(turns[1].think, Some(Nanos::from_millis(8_500)));
    assert_eq!(turns[2].tools[0].wall, None);
    assert_eq!((report.estimated_pauses, report.unknown_walls), (2, 1));
}

#[test]
fn a_call_that_goes_back_to_an_earlier_one_is_counted() {
    let (sessions, report) = read_all(&document(&[
        call(0.0, 200, 7, &[1, 2, 3], "text"),
        call(1.0, 200, 7, &[1, 8, 9], "text"),
        call(2.0, 260, 7, &[1, 2, 3, 4], "text"),
        call(3.0, 260, 7, &[1, 2, 3, 4], "text"),
    ]));
    let reused: Vec<u64> = sessions[0].turns.iter().map(|t| t.reused.get()).collect();
    assert_eq!((reused, report.returns), (vec![0, 64, 64, 256], 1));
}

#[test]
fn bad_input_names_the_field() {
    let good = call(0.0, 200, 7, &[1, 2, 3], "text");
    let with = |key: &str, value: Value| {
        let mut bad = good.clone();
        bad[key] = value;
        complaint(&document(&[good.clone(), bad]))
    };
    for (key, value, want) in [
        ("in", json!("x"), "`requests[1].in`: invalid type: string"),
        ("in", json!(-1), "`requests[1].in`: invalid value"),
        (
            "in",
            json!(1_u64 << 40),
            "document: `requests[1].in` is 1099511627776 (wanted",
        ),
        ("in", Value::Null, "document: `requests[1].in` is missing"),
        ("in", json!(0), "document: `turns[1].prompt` is 0"),
        (
            "out",
            json!(1.5),
            "`requests[1].out`: invalid type: floating point",
        ),
        ("t", json!(-1), "document: `requests[1].t` is -1"),
        (
            "api_time",
            json!(1e300),
            "document: `requests[1].api_time` is 1",
        ),
        ("api_time", json!(2e7), "document: `turns[1].llm_s` is"),
        (
            "think_time",
            json!(-0.5),
            "document: `requests[1].think_time` is -0.5",
        ),
        (
            "hash_ids",
            json!([1, 2, -3]),
            "`requests[1].hash_ids[2]`: invalid value",
        ),
    ] {
        let got = with(key, value);
        assert!(got.contains(want), "{key}: {got}\nwant: {want}");
    }
    let back = complaint(&document(&[call(9.0, 200, 7, &[], "text"), good.clone()]));
    assert!(
        back.contains("`requests[1].t` is 0s (wanted: at least 9s"),
        "{back}"
    );
    let whole = document(&[good]).to_string();
    let cut = read(&whole.as_bytes()[..whole.len() / 2], OnBadSession::Fail).unwrap_err();
    assert!(matches!(cut, TraceError::CutShort { .. }), "{cut}");
    for bytes in [
        &b""[..],
        b"\xFF\xFE{\x00",
        b"[]",
        b"{\"requests\": []}",
        b"nul",
    ] {
        assert!(read(bytes, OnBadSession::Fail).is_err(), "{bytes:?}");
        let (none, report) = read(bytes, OnBadSession::Skip).unwrap();
        assert_eq!((none.len(), report.dropped), (0, 1));
    }
}

#[test]
fn a_bad_sub_agent_does_not_cost_its_parent() {
    let agent = |calls: &[Value]| json!({"t": 1.0, "type": "subagent", "requests": calls});
    let bad = call(0.0, 0, 1, &[], "text");
    let text = document(&[
        call(0.0, 200, 7, &[1, 2, 3], "text"),
        agent(&[bad]),
        agent(&[]),
    ])
    .to_string();
    let (sessions, report) = read(text.as_bytes(), OnBadSession::Skip).unwrap();
    assert_eq!((sessions.len(), report.dropped), (1, 1));
    assert_eq!(report.skipped[&Skip::NoCalls], 1);
}

#[test]
fn forks_and_copies_are_found_by_their_opening() {
    let calls: Vec<Value> = (0..5)
        .map(|i| call(f64::from(i) * 6.0, 200, 7, &[1, 2, 3], "tool_result"))
        .collect();
    let mut fork = calls.clone();
    fork[3]["think_time"] = json!(99.0);
    let mut other = calls.clone();
    other[1]["think_time"] = json!(99.0);
    let mut openings = Openings::new();
    let mut repeats = |calls: &[Value]| openings.repeats(&read_all(&document(calls)).0[0]);
    // Two calls are too few to tell.
    assert_eq!((repeats(&calls[..2]), repeats(&calls[..2])), (false, false));
    assert!(!repeats(&calls));
    assert!(repeats(&calls) && repeats(&calls[..3]) && repeats(&fork));
    assert!(!repeats(&other));
}

#[test]
fn they_have_no_time_of_arrival() {
    let (imported, _) = read(
        document(&[call(0.0, 200, 7, &[], "text")])
            .to_string()
            .as_bytes(),
        OnBadSession::Fail,
    )
    .unwrap();
    assert_eq!(collect(imported)[0].arrival, None);
}
