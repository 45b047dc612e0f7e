//! The Claude Code importer against an independent one, and against each trap on its own.

mod common;

use std::collections::BTreeMap;

use common::{Sums, archived_files, oracle, plain_files, recordings};
use serde_json::Value;
use traces::Evidence;
use traces::import::{ImportReport, Imported, OnBadSession, Recording, Skip, claude_code, collect};
use units::{Nanos, Tokens};

/// Imports every transcript of `files` and compares each session with the oracle's.
fn compare(files: &BTreeMap<String, Vec<u8>>, oracle: &BTreeMap<String, Vec<Value>>) -> usize {
    let mut total = ImportReport::default();
    let (mut compared, mut turns, mut tools, mut cpu_compared) = (0, 0, 0, 0);
    for (name, bytes) in files
        .iter()
        .filter(|(name, _)| name.ends_with("trace.jsonl"))
    {
        let records = &oracle[name];
        let readings = files.get(&name.replace("trace.jsonl", "resources.json"));
        let (imported, report) =
            claude_code::import(&bytes[..], name, readings.map(Vec::as_slice)).expect(name);
        total.absorb(report);
        assert_eq!(imported.len(), records.len(), "sessions of {name}");
        for (ours, theirs) in imported.iter().zip(records) {
            let sums = Sums::of_session(&ours.session);
            assert_eq!(
                sums,
                Sums::of_oracle(theirs),
                "{} of {name}",
                ours.session.id
            );
            assert_eq!(
                ours.session.parent.is_some(),
                theirs["chain"] != "main",
                "{name}"
            );
            let began = theirs["arrival_epoch"].as_f64().unwrap();
            assert!(
                (ours.began.unwrap().as_secs() - began).abs() < 0.0005,
                "{name}"
            );
            cpu_compared += compare_cpu(ours, theirs);
            (compared, turns, tools) = (
                compared + 1,
                turns + sums.turns(),
                tools + sums.tool_calls(),
            );
        }
    }
    eprintln!(
        "claude code: {compared} sessions, {turns} turns, {tools} tool calls, \
         {cpu_compared} cpu times equal to the oracle's\n{total:#?}"
    );
    compared
}

/// CPU time of each tool call, to the oracle's last digit (a millisecond, rounded).
fn compare_cpu(ours: &Imported, theirs: &Value) -> usize {
    let mut compared = 0;
    for (turn, record) in ours
        .session
        .turns
        .iter()
        .zip(theirs["turns"].as_array().unwrap())
    {
        for (tool, record) in turn.tools.iter().zip(record["tools"].as_array().unwrap()) {
            let (Some(cpu), Some(want)) = (tool.cpu, record["cpu_core_s"].as_f64()) else {
                assert!(
                    tool.cpu.is_none() && record["cpu_core_s"].as_f64().unwrap_or(0.0) < 0.0005
                );
                continue;
            };
            // In microseconds: half the oracle's last digit, and the one that ours is cut off to.
            let micros = |span: Nanos| span.as_nanos() / 1000;
            let want = Nanos::from_secs(want).unwrap();
            let off = micros(cpu.value).abs_diff(micros(want));
            assert!(off <= 501, "{}: {} against {want}", tool.name, cpu.value);
            compared += 1;
        }
    }
    compared
}

#[test]
fn the_plain_samples_agree_with_the_oracle() {
    let Some(folder) = recordings() else { return };
    let source = "agentcgroup-claude-code";
    let compared = compare(&plain_files(&folder.join(source)), &oracle(&folder, source));
    assert_eq!(compared, 8);
}

#[test]
fn every_recording_agrees_with_the_oracle() {
    let Some(folder) = recordings() else { return };
    let source = "agentcgroup-claude-code";
    let oracle = oracle(&folder, source);
    let compared = compare(&archived_files(&folder.join(source)), &oracle);
    assert_eq!(compared, oracle.values().map(Vec::len).sum::<usize>());
}

/// `TraceLab`'s own extraction of its example is the oracle.
#[test]
fn the_example_agrees_with_its_derived_rounds() {
    let Some(folder) = recordings() else { return };
    let folder = folder.join("tracelab-examples/example_sessions");
    let lines = common::expanded(&common::file(&folder, "claude/trace.json"));
    let (sessions, _) = claude_code::import(&lines[..], "f", None).unwrap();
    let rounds = common::file(&folder, "derived/round_trace.jsonl");
    let rounds: Vec<Value> = String::from_utf8(rounds)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|round: &Value| round["provider"] == "claude")
        .collect();
    let turns = &sessions[0].session.turns;
    assert_eq!((sessions.len(), turns.len(), rounds.len()), (1, 10, 10));
    for (turn, round) in turns.iter().zip(&rounds) {
        assert_eq!(
            serde_json::json!(turn.prompt.0),
            round["input_tokens_total"]
        );
        assert_eq!(
            serde_json::json!(turn.cached.map(|c| c.0)),
            round["prefix_tokens"]
        );
        assert_eq!(
            serde_json::json!(turn.output.value.0),
            round["output_tokens"]
        );
        let tools = round["tools"].as_array().unwrap();
        assert_eq!(turn.tools.len(), tools.len());
        for (tool, want) in turn.tools.iter().zip(tools) {
            assert_eq!(serde_json::json!(&*tool.name), want["tool_name"]);
            let ms = tool.wall.map(|wall| wall.value.as_nanos() / 1_000_000);
            assert_eq!(serde_json::json!(ms), want["tool_wall_latency_ms"]);
        }
    }
}

#[test]
fn a_sub_agent_in_a_file_of_its_own_names_its_parent() {
    let Some(folder) = recordings() else { return };
    let files = plain_files(&folder.join("agtrace-samples"));
    let (imported, report) =
        claude_code::import(&files["samples/claude_agent.jsonl"][..], "f", None).unwrap();
    let session = &imported[0].session;
    let main = "7f2abd2d-7cfc-4447-9ddd-3ca8d14e02e9";
    assert_eq!(&*session.id, format!("{main}/agent-0c4c3cf8"));
    assert_eq!(session.parent.as_deref(), Some(main));
    assert_eq!(
        (report.sessions, report.children, report.estimated_outputs),
        (1, 1, 1)
    );
}

/// A transcript line; `rest` are more fields.
fn line(kind: &str, second: u32, message: &str, rest: &str) -> String {
    format!(
        r#"{{"type":"{kind}","sessionId":"S","version":"9.9","timestamp":"2026-01-01T00:00:{second:02}.000Z","message":{message}{rest}}}"#
    )
}

fn prompt(second: u32) -> String {
    line("user", second, r#"{"role":"user","content":"do it"}"#, "")
}

fn result(second: u32, id: &str) -> String {
    let message = format!(r#"{{"content":[{{"type":"tool_result","tool_use_id":"{id}"}}]}}"#);
    line(
        "user",
        second,
        &message,
        r#","toolUseResult":{"odd":[1,null]}"#,
    )
}

/// A line of call `id` with one block and the usage `(input, created, read, output)`.
fn block(second: u32, id: &str, block: &str, usage: (u64, u64, u64, u64), stop: bool) -> String {
    let stop = if stop { r#""end_turn""# } else { "null" };
    let (input, created, read, output) = usage;
    let message = format!(
        r#"{{"id":"{id}","model":"m","stop_reason":{stop},"content":[{block}],"usage":{{"input_tokens":{input},"cache_creation_input_tokens":{created},"cache_read_input_tokens":{read},"output_tokens":{output}}}}}"#
    );
    line("assistant", second, &message, "")
}

const TEXT: &str = r#"{"type":"text","text":"hello"}"#;
const THOUGHT: &str = r#"{"type":"thinking","thinking":"hm"}"#;

fn tool(id: &str) -> String {
    format!(r#"{{"type":"tool_use","id":"{id}","name":"Bash","input":{{"command":"ls"}}}}"#)
}

fn import(lines: &[String]) -> (Vec<Imported>, ImportReport) {
    claude_code::import(lines.join("\n").as_bytes(), "file", None).unwrap()
}

fn one(lines: &[String]) -> traces::Session {
    let (mut imported, _) = import(lines);
    assert_eq!(imported.len(), 1);
    imported.remove(0).session
}

#[test]
fn usage_repeated_on_every_line_counts_once() {
    let usage = (3, 100, 50, 9);
    let session = one(&[
        prompt(0),
        block(1, "a", THOUGHT, usage, false),
        block(2, "a", TEXT, usage, false),
        block(3, "a", &tool("t"), usage, true),
        result(5, "t"),
        block(6, "b", TEXT, (5, 10, 162, 4), true),
    ]);
    assert_eq!(session.turns.len(), 2);
    let first = &session.turns[0];
    assert_eq!(
        (first.prompt, first.output.value, first.cached),
        (Tokens(153), Tokens(9), Some(Tokens(50)))
    );
    assert_eq!(first.llm, Some(Nanos::from_millis(3000)));
    assert_eq!(first.tools[0].wall.unwrap().value, Nanos::from_millis(2000));
    assert_eq!(session.turns[1].reused, Tokens(162));
    assert_eq!(session.shared[0].tokens, Tokens(50));
}

#[test]
fn a_placeholder_output_is_estimated_from_the_text() {
    let session = one(&[prompt(0), block(1, "a", &tool("t"), (9, 0, 0, 2), false)]);
    // 4 characters of name and 17 of `{"command": "ls"}`: 9.06 + 46.9 + 0.2827 * 21 = 61.9.
    assert_eq!(session.turns[0].output.value, Tokens(61));
    assert_eq!(session.turns[0].output.evidence, Evidence::Estimated);
    assert_eq!(session.turns[0].tools[0].wall, None);
}

#[test]
fn absent_cache_fields_are_unknown_and_not_zero() {
    let message = r#"{"id":"a","model":"m","stop_reason":"stop","content":"hi","usage":{"input_tokens":70,"output_tokens":3}}"#;
    let (imported, report) = import(&[prompt(0), line("assistant", 1, message, "")]);
    assert_eq!(imported[0].session.turns[0].cached, None);
    assert_eq!(imported[0].session.turns[0].prompt, Tokens(70));
    assert_eq!((report.unknown_cached, report.turns), (1, 1));
}

#[test]
fn thinking_that_is_not_fed_back_ends_the_prefix() {
    let usage = |input, output| (input, 0, 0, output);
    let session = one(&[
        prompt(0),
        block(1, "a", THOUGHT, usage(100, 50), true), // 120 < 150: dropped
        block(2, "b", THOUGHT, usage(120, 10), true), // 200 >= 130, but this server drops thinking
        block(3, "c", TEXT, usage(200, 10), true),
        block(4, "d", TEXT, usage(300, 10), true), // nothing to drop
    ]);
    let reused: Vec<u64> = session.turns.iter().map(|turn| turn.reused.0).collect();
    assert_eq!(reused, [0, 100, 120, 210]);
}

#[test]
fn after_a_compaction_the_cache_reads_are_the_evidence() {
    let reused = |read: u64| {
        one(&[
            prompt(0),
            block(1, "a", TEXT, (90_000, 0, 0, 10), true),
            block(2, "b", TEXT, (4000 - read, 0, read, 10), true),
        ])
        .turns[1]
            .reused
    };
    assert_eq!(reused(3000), Tokens(3000));
    assert_eq!(reused(0), Tokens(0));
}

#[test]
fn results_out_of_order_find_their_calls_and_a_human_pause_is_a_think_time() {
    let usage = (100, 0, 0, 5);
    let session = one(&[
        prompt(0),
        block(1, "a", &tool("t1"), usage, true),
        block(2, "a", &tool("t2"), usage, true),
        result(9, "t2"),
        result(8, "t1"),
        prompt(30),
        block(33, "b", TEXT, (200, 0, 0, 5), true),
    ]);
    let walls: Vec<u64> = session.turns[0]
        .tools
        .iter()
        .map(|t| t.wall.unwrap().value.as_nanos() / 1_000_000_000)
        .collect();
    assert_eq!(walls, [7, 7]);
    assert_eq!(session.turns[0].think, Some(Nanos::from_millis(21_000)));
    assert_eq!(session.turns[1].llm, Some(Nanos::from_millis(3000)));
    assert_eq!(session.turns[1].think, None);
}

#[test]
fn sub_agents_in_the_file_are_children() {
    let side = |line: String, uuid: &str, parent: &str| {
        line.replacen(
            '{',
            &format!(r#"{{"isSidechain":true,"uuid":"{uuid}","parentUuid":{parent},"#),
            1,
        )
    };
    let usage = (10, 0, 0, 5);
    let (imported, report) = import(&[
        prompt(0),
        block(1, "a", &tool("t"), usage, true),
        side(prompt(2), "u1", "null"),
        side(prompt(3), "v1", "null"),
        side(block(4, "x", TEXT, usage, true), "u2", r#""u1""#),
        side(block(5, "y", TEXT, usage, true), "v2", r#""v1""#),
        side(block(6, "z", TEXT, usage, true), "u3", r#""u2""#),
        result(7, "t"),
    ]);
    let shape: Vec<_> = imported
        .iter()
        .map(|i| {
            (
                &*i.session.id,
                i.session.parent.as_deref(),
                i.session.turns.len(),
            )
        })
        .collect();
    assert_eq!(
        shape,
        [
            ("S", None, 1),
            ("S/side-1", Some("S"), 2),
            ("S/side-2", Some("S"), 1)
        ]
    );
    assert_eq!((report.sessions, report.children), (3, 2));
    let arrivals: Vec<_> = collect(imported)
        .into_iter()
        .map(|s| s.arrival.unwrap())
        .collect();
    assert_eq!(arrivals, [0, 2000, 3000].map(Nanos::from_millis));
}

#[test]
fn what_is_left_out_is_counted() {
    let synthetic = r#"{"id":"s","model":"<synthetic>","content":"API Error"}"#;
    let (imported, report) = import(&[
        r#"{"type":"summary","summary":"x","leafUuid":"y"}"#.to_owned(),
        r#"{"type":"queue-operation","message":7}"#.to_owned(),
        prompt(0),
        line("assistant", 1, synthetic, ""),
        result(2, "nobody"),
    ]);
    assert!(imported.is_empty());
    let skipped: Vec<_> = report
        .skipped
        .iter()
        .map(|(why, n)| (why.to_string(), *n))
        .collect();
    assert_eq!(
        skipped,
        [
            ("line of type `queue-operation`".to_owned(), 1),
            ("line of type `summary`".to_owned(), 1),
            ("client-made message".to_owned(), 1),
            ("tool result without a call".to_owned(), 1),
            ("conversation without a model call".to_owned(), 1),
        ]
    );
    assert_eq!(report.skipped[&Skip::Synthetic], 1);
}

#[test]
fn bad_lines_are_named() {
    let fault = |bad: String| {
        let text = [prompt(0), bad].join("\n");
        claude_code::import(text.as_bytes(), "f", None)
            .unwrap_err()
            .to_string()
    };
    let negative = r#"{"id":"a","usage":{"input_tokens":-5}}"#;
    assert!(fault(line("assistant", 1, negative, "")).starts_with(
        "line 2: `message.usage.input_tokens` is -5 (wanted: a whole number of tokens"
    ));
    let no_input = r#"{"id":"a","usage":{}}"#;
    assert!(
        fault(line("assistant", 1, no_input, ""))
            .starts_with("line 2: `message.usage.input_tokens` is missing")
    );
    assert!(fault(r#"{"type":"user"}"#.to_owned()).starts_with("line 2: `timestamp` is missing"));
    assert!(
        fault(prompt(77)).starts_with("line 2: `timestamp` is 2026-01-01T00:00:77.000Z (wanted")
    );
    assert!(fault(prompt(1)[..50].to_owned()).starts_with("line 2: the JSON ends too early"));
    assert!(fault("[1]".to_owned()).starts_with("line 2, column"));
    assert!(fault(line("user", 1, "8", "")).starts_with("line 2, column"));
    let zero = block(1, "a", TEXT, (0, 0, 0, 1), true);
    assert!(fault(zero).contains("`turns[0].prompt` is 0"));
    let resources = claude_code::import(prompt(0).as_bytes(), "f", Some(b"{"));
    assert!(
        resources
            .unwrap_err()
            .to_string()
            .starts_with("`resources.json`, line 1: the JSON ends")
    );
}

proptest::proptest! {
    /// Damage anywhere gives an error or a lawful session, never a panic.
    #[test]
    fn damaged_transcripts_do_not_panic(
        places in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0x20..0x7f_u8), 1..6),
    ) {
        let usage = (100, 3, 0, 5);
        let mut bytes = [
            prompt(0),
            block(1, "a", &tool("t1"), usage, true),
            block(2, "a", THOUGHT, usage, false),
            result(9, "t1"),
            prompt(30),
            block(33, "b", TEXT, (200, 0, 0, 5), true),
        ].join("\n").into_bytes();
        for (place, byte) in places {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        let readings = br#"{"samples":[{"epoch":1767225600.0,"cpu_percent":"900%"},{"epoch":1767225640,"cpu_percent":"800%"}]}"#;
        if let Ok((imported, _)) = claude_code::import(&bytes[..], "f", Some(readings)) {
            for one in &imported {
                proptest::prop_assert_eq!(one.session.check(), Ok(()));
            }
        }
    }
}

#[test]
fn a_compacted_conversation_keeps_what_was_cached() {
    let text = r#"{"type":"text","text":"x"}"#;
    let calls = |between: &str| {
        let lines = [
            prompt(1),
            block(2, "m1", text, (10, 90, 0, 5), true),
            between.to_owned(),
            prompt(3),
            // No smaller than before: only the mark tells.
            block(4, "m2", text, (10, 60, 40, 5), true),
        ];
        let (sessions, _) = claude_code::import(lines.join("\n").as_bytes(), "f", None).unwrap();
        sessions[0].session.turns[1].reused.0
    };
    assert_eq!(calls(""), 105);
    let boundary = r#"{"type":"system","subtype":"compact_boundary","sessionId":"S"}"#;
    assert_eq!(calls(boundary), 40);
    let summary = r#"{"role":"user","content":"so far"}"#;
    assert_eq!(
        calls(&line("user", 3, summary, r#","isCompactSummary":true"#)),
        40
    );
    // A title of another session.
    assert_eq!(
        calls(r#"{"type":"summary","summary":"t","leafUuid":"elsewhere"}"#),
        105
    );
}

/// A line of the sub-agent `agent`.
fn side(mut line: String, agent: &str) -> String {
    line.pop();
    line + &format!(r#","isSidechain":true,"agentId":"{agent}"}}"#)
}

#[test]
fn a_fault_costs_its_conversation_and_no_other() {
    let usage = |n| (n, 0, 0, 5);
    let lines = [
        prompt(1),
        block(2, "m1", r#"{"type":"text","text":"x"}"#, usage(10), true),
        side(prompt(3), "a"),
        side(block(4, "s1", "", usage(20), true), "a"),
        side(prompt(5), "b"),
        side(block(6, "s2", "", usage(1 << 40), true), "b"),
        side(block(7, "s3", "", usage(30), true), "b"),
    ];
    let text = lines.join("\n");
    let read = |text: &str, on_bad| {
        let mut input = text.as_bytes();
        claude_code::IMPORTER.read(Recording::new("f", &mut input).on_bad(on_bad))
    };
    let fault = read(&text, OnBadSession::Fail).unwrap_err().to_string();
    assert!(
        fault.starts_with("line 6: `message.usage.input_tokens` is 1099511627776"),
        "{fault}"
    );
    let (sessions, report) = read(&text, OnBadSession::Skip).unwrap();
    let ids: Vec<&str> = sessions.iter().map(|s| &*s.session.id).collect();
    assert_eq!(ids, ["S", "S/agent-a"]);
    assert_eq!((report.sessions, report.dropped), (2, 1));
    assert_eq!(report.dropped_because, [format!("f: {fault}")]);
    // Nobody can say whose line this was.
    let cut = text.replace(r#""id":"m1","#, r#""id":"m1,"#);
    let (sessions, report) = read(&cut, OnBadSession::Skip).unwrap();
    assert_eq!((sessions.len(), report.sessions, report.dropped), (0, 0, 1));
    assert!(
        report.dropped_because[0].starts_with("f: line 2"),
        "{report:?}"
    );
}
