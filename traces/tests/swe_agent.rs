//! The SWE-agent importer against an independent one, and against each trap on its own.

mod common;

use common::{oracle, recordings};
use serde_json::{Value, json};
use traces::import::{ImportReport, Imported, Skip, swe_agent};
use traces::{Evidence, Known};
use units::{Nanos, Tokens};

#[test]
fn every_recording_agrees_with_the_oracle() {
    let Some(folder) = recordings() else { return };
    let oracle = oracle(&folder, "swe-agent");
    for (file, records) in &oracle {
        let bytes = common::file(&folder, &format!("swe-agent/{file}"));
        let (ours, report) = swe_agent::import(&bytes, file).expect(file);
        let turns = &ours.session.turns;
        let record = &records[0];
        let theirs = record["turns"].as_array().unwrap();
        assert_eq!(turns.len(), theirs.len(), "{file}");
        for (turn, want) in turns.iter().zip(theirs) {
            let want = want["tools"].as_array().unwrap();
            assert_eq!(turn.tools.len(), want.len(), "{file}");
            for (tool, want) in turn.tools.iter().zip(want) {
                assert_eq!(&*tool.name, want["name"].as_str().unwrap());
                // The oracle rounds to a millisecond.
                let ms = Nanos::from_secs(want["dur_s"].as_f64().unwrap()).unwrap();
                let ours = tool.wall.unwrap().value;
                assert!(ours.as_nanos().abs_diff(ms.as_nanos()) <= 500_000, "{file}");
                assert_eq!(tool.wall.unwrap().evidence, Evidence::Recorded);
            }
        }
        let totals = &record["session_totals"];
        let (sent, received) = (&totals["tokens_sent"], &totals["tokens_received"]);
        if *sent != json!(0) {
            assert_eq!(json!(ours.session.prompt_tokens().0), *sent, "{file}");
            assert_eq!(json!(ours.session.output_tokens().0), *received, "{file}");
        }
        let estimated = turns.iter().map(|t| t.output.evidence);
        assert!(estimated.into_iter().all(|e| e == Evidence::Estimated));
        assert_eq!(report.estimated_prompts, turns.len() as u64);
        assert_eq!((report.unknown_walls, ours.began), (0, None));
    }
    assert_eq!(oracle.len(), 3);
}

fn import(document: &Value) -> (Imported, ImportReport) {
    swe_agent::import(document.to_string().as_bytes(), "file").unwrap()
}

fn step(action: &str, response: &str, time: Option<f64>) -> Value {
    let mut step = json!({"action": action, "observation": "o", "response": response,
                          "thought": "t", "state": {}});
    if let Some(time) = time {
        step["execution_time"] = json!(time);
    }
    step
}

fn message(role: &str, chars: usize) -> Value {
    json!({"role": role, "content": "x".repeat(chars), "agent": "main"})
}

/// Prompts of 100, 160 and 200 characters, answers of 40, 30 and 10.
fn document(steps: &[Value; 3], sent: u64, received: u64, calls: u64) -> Value {
    json!({"environment": "e", "trajectory": steps,
        "history": [message("system", 90), message("user", 10), message("assistant", 40),
            message("user", 20), message("assistant", 30), message("user", 10),
            message("assistant", 10)],
        "info": {"model_stats": {"tokens_sent": sent, "tokens_received": received, "api_calls": calls}},
        "replay_config": "{\"agent\":{\"model\":{\"name\":\"m\"}}}"})
}

fn steps(times: [Option<f64>; 3]) -> [Value; 3] {
    let answers = [40, 30, 10].map(|chars| "y".repeat(chars));
    [
        step("ls -l", &answers[0], times[0]),
        step("edit 1:1\nfrom x", &answers[1], times[1]),
        step("submit", &answers[2], times[2]),
    ]
}

#[test]
fn session_totals_are_split_by_characters() {
    let (ours, report) = import(&document(&steps([Some(0.25); 3]), 92, 80, 4));
    let turns = &ours.session.turns;
    // 92 over 460 characters, 80 over 80.
    let tokens = |turn: &traces::Turn| (turn.prompt.0, turn.reused.0, turn.output.value.0);
    assert_eq!(
        turns.iter().map(tokens).collect::<Vec<_>>(),
        [(20, 0, 40), (32, 32, 30), (40, 40, 10)]
    );
    assert_eq!(report.skipped[&Skip::Retry], 1);
    assert_eq!(ours.session.model.as_deref(), Some("m"));
    let names: Vec<&str> = turns.iter().map(|t| &*t.tools[0].name).collect();
    assert_eq!(names, ["ls", "edit", "submit"]);
    let wall = Some(Known::recorded(Nanos::from_millis(250)));
    assert!(turns.iter().all(|t| t.tools[0].wall == wall));
}

#[test]
fn without_totals_characters_are_the_measure() {
    let (ours, _) = import(&document(&steps([None; 3]), 0, 0, 3));
    let turns = &ours.session.turns;
    assert_eq!(turns[0].prompt, Tokens(23)); // 100 / 4.42, rounded up
    assert_eq!(turns[2].output, Known::estimated(Tokens(3)));
    // Before version 1.0 nobody timed the tools.
    assert!(turns.iter().all(|t| t.tools[0].wall.is_none()));
}

#[test]
fn a_recorded_prompt_shows_what_a_history_processor_cut() {
    let mut steps = steps([Some(0.25); 3]);
    let (system, task) = (message("system", 90), message("user", 10));
    let (answer, seen) = (message("assistant", 40), message("user", 20));
    let cut = json!({"role": "user", "content": "(cut)     "});
    steps[0]["query"] = json!([system, task]);
    steps[1]["query"] = json!([system, task, answer, seen]);
    steps[2]["messages"] = json!([system, task, answer, cut, message("assistant", 50)]);
    let (ours, _) = import(&document(&steps, 460, 80, 3));
    let tokens: Vec<_> = ours
        .session
        .turns
        .iter()
        .map(|t| (t.prompt.0, t.reused.0))
        .collect();
    // Everything, then only what comes before the observation that was cut: 140 of 200.
    assert_eq!(tokens, [(100, 0), (160, 140), (200, 140)]);
}

#[test]
fn steps_that_the_client_made_up_are_no_calls() {
    let mut made_up = steps([Some(0.25), Some(0.25), Some(0.0)]);
    made_up[2]["action"] = json!("");
    let (ours, report) = import(&document(&made_up, 100, 80, 2));
    assert_eq!(
        (ours.session.turns.len(), report.skipped[&Skip::Synthetic]),
        (2, 1)
    );
    let mut limit = steps([None; 3]);
    limit[2]["action"] = json!("exit_cost");
    assert_eq!(
        import(&document(&limit, 100, 80, 2)).0.session.turns.len(),
        2
    );
}

#[test]
fn bad_documents_are_named() {
    let fault = |document: Value| {
        swe_agent::import(document.to_string().as_bytes(), "f")
            .unwrap_err()
            .to_string()
    };
    let times = |time: Value| {
        let mut steps = steps([None; 3]);
        steps[1]["execution_time"] = time;
        document(&steps, 10, 10, 3)
    };
    for time in [json!(-1.0), json!("soon"), json!(1e300)] {
        assert!(fault(times(time)).starts_with("document: `trajectory[1].execution_time` is "),);
    }
    let mut sent = document(&steps([None; 3]), 10, 10, 3);
    sent["info"]["model_stats"]["tokens_sent"] = json!(-7);
    assert_eq!(
        fault(sent),
        "document: `info.model_stats.tokens_sent` is -7 (wanted: a whole number from 0 to 2^48)"
    );
    let fat = document(&steps([None; 3]), 1 << 40, 10, 3);
    assert!(fault(fat).contains("`turns[0].prompt` is 239024266907 tokens (wanted: at most"));
    assert!(fault(json!({"trajectory": []})).starts_with("document: `trajectory` is missing"));
    assert!(fault(json!({"history": []})).contains("missing field `trajectory`"));
}
