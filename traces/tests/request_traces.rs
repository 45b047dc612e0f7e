//! The importers of request traces and of other simulators' sessions: each rule, and bad input.

mod common;

use common::{file, recordings};
use traces::import::{ImportReport, Imported, OnBadSession, Recording, by_name, collect};
use traces::{Known, TraceError};
use units::{Nanos, Tokens};

type Read = Result<(Vec<Imported>, ImportReport), TraceError>;

fn read_as(format: &str, text: &[u8], on_bad: OnBadSession) -> Read {
    let mut input = text;
    let recording = Recording::new("file", &mut input).on_bad(on_bad);
    by_name(format).unwrap().read(recording)
}

fn read(format: &str, text: &str) -> Vec<Imported> {
    read_as(format, text.as_bytes(), OnBadSession::Fail)
        .unwrap()
        .0
}

/// Each bad line after `good` ones has its complaint, and costs no more than itself.
fn complaints(format: &str, good: &str, sessions: usize, cases: &[(&str, &str)]) {
    let number = good.lines().count() + 1;
    for (line, want) in cases {
        let text = format!("{good}\n{line}\n");
        let got = read_as(format, text.as_bytes(), OnBadSession::Fail).unwrap_err();
        let want = format!("line {number}{want}");
        assert!(
            got.to_string().starts_with(&want),
            "{line}\n got: {got}\nwant: {want}"
        );
        let (kept, report) = read_as(format, text.as_bytes(), OnBadSession::Skip).unwrap();
        assert_eq!((kept.len(), report.dropped), (sessions, 1), "{line}");
    }
}

#[test]
fn azure_requests_are_sessions_of_one_turn() {
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n\
                2023-11-16 18:17:04.0319600,3180,0\r\n";
    let imported = read("azure-llm", text);
    let workload = collect(imported);
    assert_eq!(workload[0].arrival, Some(Nanos::ZERO));
    assert_eq!(workload[1].arrival, Some(Nanos::from_millis(52)));
    assert_eq!(&*workload[0].id, "file/2");
    assert_eq!(workload[0].turns[0].prompt, Tokens(4808));
    assert_eq!(workload[0].turns[0].output, Known::recorded(Tokens(10)));
    assert_eq!(workload[1].turns[0].output, Known::estimated(Tokens(1)));
    // As the files of the next year write it.
    let zoned = "\u{FEFF}TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n";
    let began = read("azure-llm", zoned)[0].began;
    assert_eq!(began, Some(Nanos::new(1_715_299_200_009_930_000)));
}

#[test]
fn all_azure_requests_are_read() {
    let Some(folder) = recordings() else { return };
    let text = file(
        &folder,
        "azure-llm-2023/data/AzureLLMInferenceTrace_code.csv",
    );
    let (imported, report) = read_as("azure-llm", &text, OnBadSession::Fail).unwrap();
    // Counts and medians as the reference gives them.
    assert_eq!((imported.len(), report.turns), (8_819, 8_819));
    let median = |value: fn(&Imported) -> u64| {
        let mut values: Vec<u64> = imported.iter().map(value).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    assert_eq!(median(|i| i.session.turns[0].prompt.0), 1_469);
    assert_eq!(median(|i| i.session.turns[0].output.value.0), 13);
    let workload = collect(imported);
    let minutes = workload.last().unwrap().arrival.unwrap().as_secs() / 60.0;
    assert!((56.0..58.0).contains(&minutes), "{minutes}");
}

#[test]
fn bad_azure_lines_name_the_column() {
    complaints(
        "azure-llm",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10",
        1,
        &[
            (
                "2023-11-16 18:17:03.9799600,4808",
                ": `GeneratedTokens` is missing",
            ),
            (
                "2023-11-16 18:17:03.9799600,4808,1,2",
                ": `line` is with a further field 2",
            ),
            (
                "2023-11-16 18:17:03.9799600,-1,10",
                ": `ContextTokens` is -1 (wanted: a whole number",
            ),
            (
                "2023-11-16 18:17:03.9799600,1e3,10",
                ": `ContextTokens` is 1e3",
            ),
            (
                "2023-11-16 18:17:03.9799600,99999999999,10",
                ": `ContextTokens` is 99999999999 (wanted",
            ),
            (
                "2023-11-16 18:17:03.9799600,99999999999999999999999,10",
                ": `ContextTokens` is 99999999999999999999999",
            ),
            (
                "2023-11-16 18:17:03.9799600,0,10",
                ": `turns[0].prompt` is 0",
            ),
            ("2023-13-16 18:17:03,5,10", ": `TIMESTAMP` is 2023-13-16"),
            (
                "2023-11-16 18:17:03+02:00,5,10",
                ": `TIMESTAMP` is 2023-11-16 18:17:03+02:00 (wanted: a time in UTC",
            ),
            ("yesterday,5,10", ": `TIMESTAMP` is yesterday"),
        ],
    );
    for text in [
        "a,b,c\n1,2,3\n",
        "",
        "TIMESTAMP;ContextTokens;GeneratedTokens\n",
        "\0\0\0",
    ] {
        assert!(read_as("azure-llm", text.as_bytes(), OnBadSession::Fail).is_err());
        let (none, report) = read_as("azure-llm", text.as_bytes(), OnBadSession::Skip).unwrap();
        assert_eq!((none.len(), report.dropped), (0, 1), "{text:?}");
    }
    let latin = b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023\xFF,1,1\n";
    let got = read_as("azure-llm", latin, OnBadSession::Fail).unwrap_err();
    assert!(matches!(got, TraceError::NotUtf8 { .. }), "{got}");
}

#[test]
fn inference_lab_steps_are_turns() {
    let text = r#"{"id":"s0","steps":[{"input":100,"new":100,"output":20,"gap":9.0,"kind":"user"},
        {"input":150,"new":30,"output":1,"gap":0.5,"kind":"Bash"},{"input":151,"new":0,"output":0,"gap":2,"kind":"user"},
        {"input":9,"new":9,"output":5,"gap":0},{"input":20,"new":6,"output":5,"gap":1.25}]}"#
        .replace('\n', " ");
    let imported = read("inference-lab", &text);
    let turns = &imported[0].session.turns;
    let reused: Vec<u64> = turns.iter().map(|t| t.reused.0).collect();
    assert_eq!(reused, [0, 120, 151, 0, 14]);
    let tools = |i: usize| turns[i].tools.first().map(|t| (&*t.name, t.wall));
    let ms = |ms| Some(Known::recorded(Nanos::from_millis(ms)));
    assert_eq!(tools(0), Some(("Bash", ms(500))));
    assert_eq!(
        (tools(1), turns[1].think),
        (None, Some(Nanos::from_millis(2000)))
    );
    assert_eq!((tools(2), turns[2].think), (None, None));
    assert_eq!(tools(3), Some(("tool", ms(1250))));
    assert_eq!((tools(4), turns[4].think), (None, None));
    assert_eq!(turns[2].output, Known::estimated(Tokens(1)));
}

#[test]
fn the_load_of_the_comparison_is_read() {
    let Some(folder) = recordings() else { return };
    let text = file(&folder, "../probes/peers/sess.jsonl");
    let (imported, report) = read_as("inference-lab", &text, OnBadSession::Fail).unwrap();
    assert_eq!((imported.len(), report.turns), (300, 9_000));
    let (mut prompt, mut output) = (0, 0);
    for one in &imported {
        assert_eq!(one.session.turns[0].prompt, Tokens(12_000));
        prompt += one.session.prompt_tokens().0;
        output += one.session.output_tokens().0;
    }
    // 279 million prompt tokens and 2.1 million generated ones.
    assert_eq!((prompt / 1_000_000, output / 100_000), (279, 21));
}

#[test]
fn bad_inference_lab_lines_name_the_field() {
    complaints(
        "inference-lab",
        r#"{"id":"a","steps":[{"input":5,"new":5,"output":1}]}"#,
        1,
        &[
            (r#"{"id":"a","steps":[]}"#, ": `turns` is empty"),
            (
                r#"{"id":"","steps":[{"input":5,"new":5,"output":1}]}"#,
                ": `id` is empty",
            ),
            (
                r#"{"id":"a","steps":[{"input":5,"new":4,"output":1}]}"#,
                ": `steps[0].new` is 4 (wanted: 5, all of",
            ),
            (
                r#"{"id":"a","steps":[{"input":5,"new":6,"output":1}]}"#,
                ": `steps[0].new` is 6",
            ),
            (
                r#"{"id":"a","steps":[{"input":5,"new":5,"output":1},{"input":9,"new":10,"output":1}]}"#,
                ": `steps[1].new` is 10 (wanted: at most 9",
            ),
            (
                r#"{"id":"a","steps":[{"input":5,"new":5,"output":1},{"input":90,"new":10,"output":1}]}"#,
                ": `turns[1].reused` is 80 (wanted: at most 6",
            ),
            (
                r#"{"id":"a","steps":[{"input":5,"new":5,"output":1},{"input":5,"new":5,"output":1,"gap":-1}]}"#,
                ": `steps[1].gap` is -1 (wanted: seconds",
            ),
            (
                r#"{"id":"a","steps":[{"input":5,"new":5,"output":1},{"input":5,"new":5,"output":1,"gap":1e9}]}"#,
                ": `turns[0].tools[0].wall_s` is 1000000000s",
            ),
            (
                r#"{"id":"a","steps":[{"input":5,"new":5,"output":1,"x":1}]}"#,
                ", column 52: `steps[0].x`: unknown field",
            ),
            (
                r#"{"id":"a","steps":[{"input":5.5,"new":5,"output":1}]}"#,
                ", column 31: `steps[0].input`: invalid type",
            ),
            (
                r#"{"id":"a","steps":[{"input":5,"#,
                ": the JSON ends too early",
            ),
        ],
    );
}

const HEADER: &str = r#"{"schema":"dynamo.agentic_mooncake","version":2,"block_size":4,"hash_id_scope":"local","source":{"format":"x","digest":"y"}}"#;

fn request(id: &str, session: &str, ids: &str, rest: &str) -> String {
    let blocks = ids.split(',').count() * 4;
    format!(
        r#"{{"request_id":"{id}","play_id":"p","session_id":"{session}","model":"m","input_length":{blocks},"output_length":2,"hash_ids":[{ids}],"not_before_ms":10{rest}}}"#
    )
}

fn after(id: &str, relation: &str, trigger: &str, ms: f64) -> String {
    format!(
        r#"{{"request_id":"{id}","relation":"{relation}","trigger":"{trigger}","delay_ms":{ms}}}"#
    )
}

#[test]
fn agentic_requests_become_sessions_and_sub_agents() {
    let wait = |all: &[String]| format!(r#","dependencies":[{}]"#, all.join(","));
    let lines = [
        HEADER.to_owned(),
        request("r1", "p", "1,2,3", r#","recorded_api_time_ms":1500"#),
        request(
            "c1",
            "kid",
            "1,2,9",
            &wait(&[after("r1", "spawn", "dispatch", 5.5)]),
        ),
        request(
            "r2",
            "p",
            "1,2,3,4",
            &wait(&[after("r1", "sequence", "completion", 250.0)]),
        ),
        request(
            "c2",
            "kid",
            "1,2,9",
            &wait(&[after("c1", "sequence", "completion", 0.0)]),
        ),
        request(
            "r3",
            "p",
            "1,8",
            &wait(&[
                after("r2", "sequence", "completion", 1.0),
                after("c2", "join", "completion", 0.0),
            ]),
        ),
        request("r4", "p", "1,8", ""),
        request(
            "d1",
            "p/late",
            "7",
            &wait(&[after("r2", "spawn", "completion", 0.0)]),
        ),
    ];
    let (imported, report) = read_as(
        "agentic-mooncake",
        lines.join("\n").as_bytes(),
        OnBadSession::Fail,
    )
    .unwrap();
    assert_eq!((report.sessions, report.children, report.turns), (3, 2, 7));
    let [root, kid, late] = &imported[..] else {
        panic!()
    };
    let ids = [root, kid, late].map(|one| &*one.session.id);
    assert_eq!(ids, ["p", "p/kid", "p/late"]);
    assert_eq!(root.began, Some(Nanos::from_millis(10)));
    assert_eq!(kid.began, Some(Nanos::new(15_500_000)));
    assert_eq!(late.began, None);
    assert_eq!(kid.session.parent.as_deref(), Some("p"));
    assert_eq!(late.session.parent.as_deref(), Some("p"));
    assert_eq!(root.session.model.as_deref(), Some("m"));
    let turns = &root.session.turns;
    let reused: Vec<u64> = turns.iter().map(|t| t.reused.0).collect();
    assert_eq!(reused, [0, 12, 4, 8]);
    assert_eq!(turns[0].llm, Some(Nanos::from_millis(1500)));
    let tool = |at: usize| turns[at].tools.first().map(|t| (&*t.name, t.wall));
    let quarter = Known::estimated(Nanos::from_millis(250));
    assert_eq!(tool(0), Some(("tool", Some(quarter))));
    assert_eq!(tool(1), Some(("Task", None)));
    // Nothing says what the last request waits for.
    assert_eq!(tool(2), Some(("tool", None)));
    assert!(kid.session.turns[0].tools.is_empty());
    // Parent and child open with the same two blocks.
    assert_eq!(root.session.shared, kid.session.shared);
    assert_eq!(root.session.shared[0].tokens, Tokens(8));
    assert!(late.session.shared.is_empty());
}

#[test]
fn bad_agentic_lines_name_the_field() {
    let good = [HEADER.to_owned(), request("r1", "s", "1,2", "")].join("\n");
    let cases = [
        (
            request("r1", "s", "1,2", ""),
            ": `request_id` is r1 (wanted: an id that no request before has)",
        ),
        (
            request("r2", "s", "1,2", "").replace("\"input_length\":8", "\"input_length\":9"),
            ": `hash_ids` is 2 ids for 9 tokens (wanted: 3",
        ),
        (
            request("r2", "s", "1,2", "").replace("\"input_length\":8", "\"input_length\":0"),
            ": `hash_ids` is 2 ids for 0 tokens",
        ),
        (
            request("r2", "s", "1,2", "").replace(":10", ":-10"),
            ": `not_before_ms` is -10 (wanted: milliseconds",
        ),
        (
            request("r2", "s", "1,2", "").replace(":10", ":1e300"),
            ": `not_before_ms` is 1",
        ),
        (
            request(
                "r2",
                "s",
                "1,2",
                r#","dependencies":[{"request_id":"x","relation":"join","trigger":"completion","delay_ms":1}]"#,
            ),
            ": `dependencies[0].request_id` is x (wanted: the id of a request before)",
        ),
        (
            request(
                "r2",
                "s",
                "1,2",
                r#","dependencies":[{"request_id":"r1","relation":"join","trigger":"completion","delay_ms":-1}]"#,
            ),
            ": `dependencies[0].delay_ms` is -1",
        ),
        (
            request("r2", "s", "1,2", r#","recorded_api_time_ms":-1"#),
            ": `recorded_api_time_ms` is -1",
        ),
    ];
    for (line, want) in &cases {
        complaints("agentic-mooncake", &good, 1, &[(line, want)]);
    }
    let other = request(
        "r2",
        "s",
        "1,2",
        r#","dependencies":[{"request_id":"r1","relation":"friend","trigger":"completion","delay_ms":1}]"#,
    );
    let got = read_as(
        "agentic-mooncake",
        format!("{good}\n{other}").as_bytes(),
        OnBadSession::Fail,
    );
    assert!(
        got.unwrap_err()
            .to_string()
            .contains("`dependencies[0].relation`: unknown variant")
    );
    for (header, want) in [
        (
            HEADER.replace("\"version\":2", "\"version\":1"),
            "line 1: `version` is 1 (wanted: 2)",
        ),
        (
            HEADER.replace("dynamo.", "other."),
            "line 1: `schema` is other.agentic_mooncake",
        ),
        (
            HEADER.replace("\"block_size\":4", "\"block_size\":0"),
            "line 1, column 62: `block_size`: invalid value",
        ),
        (String::new(), "the file is empty"),
    ] {
        let got = read_as("agentic-mooncake", header.as_bytes(), OnBadSession::Fail).unwrap_err();
        assert!(got.to_string().starts_with(want), "{got}\n{want}");
        let skipped = read_as("agentic-mooncake", header.as_bytes(), OnBadSession::Skip).unwrap();
        assert_eq!(skipped.1.dropped, 1);
    }
}
