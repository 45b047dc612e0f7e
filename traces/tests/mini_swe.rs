//! The mini-swe-agent importer against an independent one, and against each trap on its own.

mod common;

use std::collections::BTreeMap;

use common::{Sums, archived_files, oracle, plain_files, recordings};
use serde_json::{Value, json};
use traces::import::{
    ImportReport, Imported, OnBadSession, Recording, Skip, by_name, guess, mini_swe,
};
use traces::{Evidence, Known, TraceError};
use units::{Nanos, Tokens};

/// Imports every trajectory of `files` and compares each session with the oracle's.
///
/// The oracle lists one tool for every turn but the last, also where the client found no command to
/// run; so tools are compared by what the messages say, further below, and not with the oracle.
fn compare(files: &BTreeMap<String, Vec<u8>>, oracle: &BTreeMap<String, Vec<Value>>) -> usize {
    let mut total = ImportReport::default();
    let (mut compared, mut oracle_tools, mut format_errors) = (0, 0, 0);
    for (name, bytes) in files
        .iter()
        .filter(|(name, _)| name.ends_with(".traj.json"))
    {
        let record = &oracle[name][0];
        let (ours, report) = mini_swe::import(bytes, name).expect(name);
        total.absorb(report);
        let want = Sums::of_oracle(record);
        format_errors += asked_again(bytes);
        oracle_tools += want.tool_calls();
        assert_eq!(
            Sums::of_session(&ours.session).without_tools(),
            want.without_tools(),
            "{name}"
        );
        let began = record["arrival_epoch"].as_f64().unwrap();
        assert!(
            (ours.began.unwrap().as_secs() - began).abs() < 0.5,
            "{name}"
        );
        compared += 1;
    }
    eprintln!("mini-swe-agent: {compared} sessions, oracle tools {oracle_tools}\n{total:#?}");
    // The oracle counts a tool call where the client found none to run and asked again.
    assert_eq!(total.tools, oracle_tools as u64 - format_errors);
    compared
}

/// Messages in which the client complains about the form of an answer, by the raw text.
fn asked_again(bytes: &[u8]) -> u64 {
    let raw: Value = serde_json::from_slice(bytes).unwrap();
    let opening = "Please always provide EXACTLY ONE action";
    let contents = raw["messages"].as_array().unwrap().iter();
    contents
        .filter(|m| {
            m["content"]
                .as_str()
                .is_some_and(|c| c.starts_with(opening))
        })
        .count() as u64
}

#[test]
fn the_plain_samples_agree_with_the_oracle() {
    let Some(folder) = recordings() else { return };
    let source = "mini-swe-agent-gemini3pro";
    let compared = compare(&plain_files(&folder.join(source)), &oracle(&folder, source));
    assert_eq!(compared, 8);
}

#[test]
fn every_recording_agrees_with_the_oracle() {
    let Some(folder) = recordings() else { return };
    let source = "mini-swe-agent-gemini3pro";
    let oracle = oracle(&folder, source);
    let compared = compare(&archived_files(&folder.join(source)), &oracle);
    assert_eq!(compared, oracle.len());
}

fn call(prompt: u64, output: u64, reasoning: u64) -> Value {
    json!({"role": "assistant", "content": "x", "extra": {"response": {
        "created": 1_700_000_000, "model": "m", "usage": {
            "prompt_tokens": prompt, "completion_tokens": output,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": reasoning}}}}})
}

fn user(content: &str) -> Value {
    json!({"role": "user", "content": content})
}

fn trajectory(messages: &[Value]) -> Vec<u8> {
    let mut all = vec![
        json!({"role": "system", "content": "s".repeat(20)}),
        user(&"u".repeat(80)),
    ];
    all.extend_from_slice(messages);
    let config = json!({"environment": {"timeout": 60}});
    json!({"trajectory_format": "mini-swe-agent-1", "instance_id": "i", "info": {"config": config},
           "messages": all})
    .to_string()
    .into_bytes()
}

fn import(messages: &[Value]) -> (Imported, ImportReport) {
    mini_swe::import(&trajectory(messages), "file").unwrap()
}

const RAN: &str = "<returncode>0</returncode>\n<output></output>";

#[test]
fn reasoning_is_output_but_not_part_of_the_next_prompt() {
    let (imported, _) = import(&[
        call(100, 60, 50),
        user(RAN),
        call(150, 10, 0),
        user(RAN),
        call(140, 10, 0),
        user("diff"),
    ]);
    let turns = imported.session.turns;
    // After reasoning only the prompt; then prompt and output, but no more than the new prompt has.
    assert_eq!(
        turns.iter().map(|t| t.reused.0).collect::<Vec<_>>(),
        [0, 100, 140]
    );
    assert_eq!(turns[0].output, Known::recorded(Tokens(60)));
}

#[test]
fn only_messages_that_show_a_command_count_as_tools() {
    let (imported, report) = import(&[
        call(100, 6, 0),
        user(RAN),
        call(200, 6, 0),
        user("Please always provide EXACTLY ONE action in triple backticks, found 0."),
        call(300, 6, 0),
        user("The last command <command>sleep</command> timed out and has been killed."),
        call(400, 6, 0),
        user("diff --git a/x b/x"),
    ]);
    let walls: Vec<_> = imported
        .session
        .turns
        .iter()
        .map(|t| t.tools.iter().map(|t| t.wall).collect::<Vec<_>>())
        .collect();
    let killed = Some(Known::estimated(Nanos::from_millis(60_000)));
    assert_eq!(walls, [vec![None], vec![], vec![killed], vec![]]);
    assert_eq!(report.skipped[&Skip::FinalCommand], 1);
    assert_eq!((report.tools, report.unknown_walls), (2, 1));
}

#[test]
fn the_shared_opening_is_the_system_messages_share_of_the_first_prompt() {
    let shared = |model: &str| {
        let mut call = call(1000, 6, 0);
        call["extra"]["response"]["model"] = json!(model);
        import(&[call]).0.session.shared[0].clone()
    };
    assert_eq!(shared("a").tokens, Tokens(200));
    assert_eq!(shared("a").group, shared("a").group);
    assert_ne!(shared("a").group, shared("b").group);
}

#[test]
fn version_1_1_tells_tool_time_from_model_time() {
    let at = |mut message: Value, time: f64| {
        message["extra"]["timestamp"] = json!(time);
        message
    };
    let tool = |time: f64, info: &str| {
        json!({"role": "tool", "content": "out", "extra":
            {"timestamp": time, "returncode": 0, "exception_info": info}})
    };
    let messages = [
        at(call(100, 6, 0), 1000.25),
        tool(1003.5, ""),
        tool(1003.5, ""),
        at(call(200, 6, 0), 1010.0),
        tool(1011.0, "action was not executed"),
        at(call(300, 6, 0), 1012.0),
        json!({"role": "exit", "content": "", "extra": {}}),
    ];
    let (imported, report) = import(&messages);
    let turns = imported.session.turns;
    assert_eq!(
        turns[0].tools.len(),
        1,
        "commands of one message run one after another"
    );
    assert_eq!(
        turns[0].tools[0].wall,
        Some(Known::recorded(Nanos::from_millis(3250)))
    );
    assert_eq!(turns[1].llm, Some(Nanos::from_millis(6500)));
    assert!(turns[1].tools.is_empty());
    assert_eq!(report.skipped[&Skip::NotExecuted], 1);
}

#[test]
fn a_malformed_answer_is_a_call_that_is_not_sent_back() {
    // Version 2.4 keeps the answer within its complaint, as JSON or, failing that, as some text.
    let mut complaint = call(150, 10, 0);
    complaint["role"] = json!("user");
    let mut lost = complaint.clone();
    lost["extra"]["response"] = json!("ModelResponse(...)");
    let (imported, report) =
        import(&[call(100, 6, 0), user(RAN), complaint, lost, call(200, 6, 0)]);
    let turns = imported.session.turns;
    let tokens: Vec<_> = turns.iter().map(|t| (t.prompt.0, t.reused.0)).collect();
    assert_eq!(tokens, [(100, 0), (150, 106), (200, 150)]);
    assert_eq!(report.skipped[&Skip::NoUsage], 1);
}

#[test]
fn the_responses_interface_has_its_answer_as_the_message() {
    let answer = |input: u64| {
        json!({"object": "response", "model": "m", "created_at": 1_700_000_000.0,
            "output": [{"type": "function_call"}], "extra": {"timestamp": 1_700_000_003.0},
            "usage": {"input_tokens": input, "output_tokens": 9,
                "input_tokens_details": {"cached_tokens": 64}}})
    };
    let ran = json!({"type": "function_call_output", "call_id": "c", "output": "x",
        "extra": {"timestamp": 1_700_000_004.5, "returncode": 0, "exception_info": ""}});
    let (imported, _) = import(&[answer(100), ran, answer(150)]);
    let turns = &imported.session.turns;
    assert_eq!(
        (turns[1].prompt, turns[1].reused),
        (Tokens(150), Tokens(109))
    );
    assert_eq!(turns[0].cached, Some(Tokens(64)));
    let wall = turns[0].tools[0].wall;
    assert_eq!(wall, Some(Known::recorded(Nanos::from_millis(1500))));
    assert_eq!(imported.session.model.as_deref(), Some("m"));
    assert_eq!(imported.began, Some(Nanos::from_millis(1_700_000_000_000)));
    let mut bad = answer(1);
    bad["usage"]["output_tokens"] = json!([]);
    let fault = mini_swe::import(&trajectory(&[bad]), "f")
        .unwrap_err()
        .to_string();
    assert!(
        fault.starts_with("document: `messages[2].usage.completion_tokens` is []"),
        "{fault}"
    );
}

#[test]
fn an_empty_answer_still_has_a_last_token() {
    let (imported, report) = import(&[call(100, 0, 0)]);
    assert_eq!(
        imported.session.turns[0].output,
        Known::estimated(Tokens(1))
    );
    assert_eq!(report.estimated_outputs, 1);
    assert_eq!(
        imported.session.turns[0].output.evidence,
        Evidence::Estimated
    );
}

#[test]
fn the_importer_is_found_by_name_and_content() {
    let bytes = trajectory(&[call(100, 6, 0)]);
    let importer = guess("anything", &bytes).unwrap();
    assert_eq!(importer.name, by_name("mini-swe-agent").unwrap().name);
    let (sessions, report) = importer.read(Recording::new("f", &mut &bytes[..])).unwrap();
    assert_eq!(
        (sessions.len(), report.sessions, &*sessions[0].session.id),
        (1, 1, "i")
    );
}

#[test]
fn a_bad_document_can_be_skipped() {
    let bytes = trajectory(&[call(0, 6, 0)]);
    let mut input = &bytes[..];
    let recording = Recording::new("f", &mut input).on_bad(OnBadSession::Skip);
    let (sessions, report) = mini_swe::IMPORTER.read(recording).unwrap();
    assert_eq!((sessions.len(), report.sessions, report.dropped), (0, 0, 1));
    assert_eq!(
        report.dropped_because,
        ["f: document: `turns[0].prompt` is 0 (wanted: at least 1 token)"]
    );
}

#[test]
fn bad_documents_are_named() {
    let fault = |bytes: &[u8]| mini_swe::import(bytes, "f").unwrap_err().to_string();
    let whole = trajectory(&[call(100, 6, 0)]);
    for end in 0..whole.len() {
        assert!(mini_swe::import(&whole[..end], "f").is_err());
    }
    assert!(fault(&whole[..whole.len() - 9]).starts_with("line 1: the JSON ends too early"));
    assert!(
        fault(b"").starts_with("document: the JSON ends too early")
            || fault(b"").starts_with("line 1")
    );
    assert!(fault(&trajectory(&[])).starts_with("document: `messages` is missing"));
    let mut negative = call(1, 6, 0);
    negative["extra"]["response"]["usage"]["prompt_tokens"] = json!(-5);
    assert!(fault(&trajectory(&[negative])).starts_with(
        "document: `messages[2].extra.response.usage.prompt_tokens` is -5 (wanted: a whole number"
    ));
    assert!(fault(&trajectory(&[call(0, 6, 0)])).contains("`turns[0].prompt` is 0"));
    let other = br#"{"trajectory_format":"other-2","messages":[]}"#;
    assert!(
        fault(other)
            .starts_with("document: `trajectory_format` is other-2 (wanted: mini-swe-agent-1")
    );
    assert!(matches!(
        mini_swe::import(b"[]", "f"),
        Err(TraceError::Shape { .. })
    ));
}

proptest::proptest! {
    /// Damage anywhere gives an error or a lawful session, never a panic.
    #[test]
    fn damaged_trajectories_do_not_panic(
        places in proptest::collection::vec(
            (proptest::prelude::any::<proptest::sample::Index>(), 0x20..0x7f_u8), 1..6),
    ) {
        let mut bytes = trajectory(&[
            call(100, 60, 50), user(RAN), call(150, 10, 0), user(RAN), call(140, 10, 0), user("diff"),
        ]);
        for (place, byte) in places {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok((imported, _)) = mini_swe::import(&bytes, "f") {
            proptest::prop_assert_eq!(imported.session.check(), Ok(()));
        }
    }
}
