//! Mooncake traces: what is shared is what the ids say, and nothing else.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{file, recordings};
use serde_json::Value;
use traces::import::{ImportReport, Imported, OnBadSession, Recording, by_name, collect};
use traces::{Known, Session, TraceError};
use units::{Nanos, Tokens};

type Read = Result<(Vec<Imported>, ImportReport), TraceError>;

fn read_as(format: &str, text: &[u8], on_bad: OnBadSession) -> Read {
    let mut input = text;
    let recording = Recording::new("file", &mut input).on_bad(on_bad);
    by_name(format).unwrap().read(recording)
}

fn sessions(text: &str) -> Vec<Session> {
    let (imported, _) = read_as("mooncake-exact", text.as_bytes(), OnBadSession::Fail).unwrap();
    imported.into_iter().map(|i| i.session).collect()
}

fn complaint(text: &str) -> String {
    let read = read_as("mooncake", text.as_bytes(), OnBadSession::Fail);
    read.unwrap_err().to_string()
}

fn began_ms(format: &str, text: &str) -> Vec<u64> {
    let (imported, _) = read_as(format, text.as_bytes(), OnBadSession::Fail).unwrap();
    let began = imported
        .iter()
        .map(|i| i.began.unwrap().as_nanos() / 1_000_000);
    began.collect()
}

/// A cache that never forgets, over what the sessions say of each other: for each group, how far
/// anybody computed it.
#[derive(Default)]
struct Cache {
    reach: BTreeMap<String, Tokens>,
}

impl Cache {
    /// Leading tokens of the session's first prompt that earlier ones computed.
    fn hit(&mut self, session: &Session) -> Tokens {
        let mut hit = Tokens(0);
        let mut whole = true;
        for segment in &session.shared {
            let reach = self.reach.entry(segment.group.to_string()).or_default();
            if whole {
                hit = hit.max((*reach).min(segment.tokens));
                whole = *reach >= segment.tokens;
            }
            *reach = (*reach).max(segment.tokens);
        }
        hit
    }
}

#[test]
fn an_infinite_cache_hits_what_the_ids_say() {
    let Some(folder) = recordings() else { return };
    let text = file(
        &folder,
        "mooncake-fast25/FAST25-release/traces/conversation_trace.jsonl",
    );
    let (imported, report) = read_as("mooncake", &text, OnBadSession::Fail).unwrap();
    assert_eq!((report.sessions, report.turns), (12_031, 12_031));
    // Every head of a prompt as a value: no idea in common with the importer.
    let mut heads: BTreeSet<Vec<u64>> = BTreeSet::new();
    let mut cache = Cache::default();
    let (mut hits, mut all) = (0, 0);
    let lines = std::str::from_utf8(&text).unwrap().lines();
    for (line, one) in lines.zip(&imported) {
        let row: Value = serde_json::from_str(line).unwrap();
        let prompt = row["input_length"].as_u64().unwrap();
        let ids: Vec<u64> = serde_json::from_value(row["hash_ids"].clone()).unwrap();
        assert_eq!(one.session.turns[0].prompt.get(), prompt);
        assert_eq!(
            one.session.turns[0].output,
            Known::recorded(Tokens(row["output_length"].as_u64().unwrap()))
        );
        let known = (1..=ids.len()).take_while(|&n| heads.contains(&ids[..n]));
        let hit = known.count() as u64;
        heads.extend((1..=ids.len()).map(|n| ids[..n].to_vec()));
        let tokens = (hit * 512).min(prompt);
        assert_eq!(cache.hit(&one.session), Tokens(tokens), "{line:.80}");
        hits += tokens;
        all += prompt;
    }
    eprintln!("hit {hits} of {all} prompt tokens");
    // The share that the reference gives: 37 %.
    assert_eq!((hits * 100 + all / 2) / all, 37);
    let began: BTreeSet<_> = imported.iter().map(|i| i.began).collect();
    let (exact, _) = read_as("mooncake-exact", &text, OnBadSession::Fail).unwrap();
    let batches: BTreeSet<_> = exact.iter().map(|i| i.began).collect();
    assert_eq!(batches.len(), 1_180);
    eprintln!("{} times of arrival", began.len());
    assert!(began.len() > 12_000);
    // Nobody comes before the batch that he was in, or after the next one.
    for (spread, exact) in imported.iter().zip(&exact) {
        assert_eq!(spread.session, exact.session);
        let next = batches.range((
            std::ops::Bound::Excluded(exact.began),
            std::ops::Bound::Unbounded,
        ));
        let next = next.copied().next().unwrap_or(Some(Nanos::new(u64::MAX)));
        assert!((exact.began..next).contains(&spread.began));
    }
}

#[test]
fn a_batch_is_spread_until_the_next_one() {
    let row = |at: u64| format!("{{\"timestamp\":{at},\"input_length\":5,\"output_length\":1}}\n");
    let text: String = [0, 3000, 3000, 3000, 3000, 5000, 5000].map(row).concat();
    assert_eq!(
        began_ms("mooncake", &text),
        [0, 3000, 3500, 4000, 4500, 5000, 6000]
    );
    assert_eq!(
        began_ms("mooncake-exact", &text),
        [0, 3000, 3000, 3000, 3000, 5000, 5000]
    );
    // A single batch has no width to spread over.
    assert_eq!(began_ms("mooncake", &[7, 7].map(row).concat()), [7, 7]);
    let workload = collect(
        read_as("mooncake", text.as_bytes(), OnBadSession::Fail)
            .unwrap()
            .0,
    );
    assert_eq!(workload[2].arrival, Some(Nanos::from_millis(3500)));
    assert_eq!(&*workload[2].id, "file/3");
}

#[test]
fn lines_of_one_session_are_its_turns() {
    let text = r#"{"session_id":"a","timestamp":5,"input_tokens":9,"output_tokens":3,"hash_ids":[1,2,3]}
{"session_id":"b","created_time":5.5,"input_length":8,"output_length":2,"hash_ids":[1,2]}
{"session_id":"a","input_length":14,"output_length":3,"hash_ids":[1,2,8,9],"delay":1500.25}
{"session_id":"b","timestamp":9,"input_length":8,"output_length":0,"hash_ids":[1,2]}
{"session_id":"a","input_length":14,"output_length":3,"hash_ids":[1,2,8,9],"delay_ms":0}
"#;
    let (imported, report) =
        read_as("mooncake-exact", text.as_bytes(), OnBadSession::Fail).unwrap();
    let [a, b] = &imported[..] else { panic!() };
    assert_eq!((&*a.session.id, &*b.session.id), ("a", "b"));
    assert_eq!(b.began, Some(Nanos::new(5_500_000)));
    let reused: Vec<u64> = a.session.turns.iter().map(|t| t.reused.get()).collect();
    // Blocks of 4 tokens; the last one of a prompt may be part full.
    assert_eq!(reused, [0, 8, 14]);
    assert_eq!(a.session.turns[0].think, Some(Nanos::new(1_500_250_000)));
    assert_eq!(a.session.turns[1].think, None);
    assert_eq!(b.session.turns[0].think, Some(Nanos::new(3_500_000)));
    assert_eq!(b.session.turns[1].output, Known::estimated(Tokens(1)));
    assert_eq!((report.estimated_pauses, report.estimated_outputs), (1, 1));
    // Two blocks in common, which end b's prompt.
    assert_eq!(a.session.shared, b.session.shared);
    assert_eq!(a.session.shared.len(), 1);
    assert_eq!(a.session.shared[0].tokens, Tokens(8));
}

#[test]
fn later_turns_open_no_session() {
    // The head of b's prompt is known from a's second turn alone: nobody else begins like that.
    let text = r#"{"session_id":"a","timestamp":5,"input_length":9,"output_length":3,"hash_ids":[1,2,3]}
{"session_id":"a","input_length":14,"output_length":3,"hash_ids":[7,8,9,10],"delay":1}
{"session_id":"b","timestamp":6,"input_length":8,"output_length":2,"hash_ids":[7,8]}
"#;
    assert!(
        sessions(text)
            .iter()
            .all(|session| session.shared.is_empty())
    );
}

#[test]
fn bad_lines_name_the_field() {
    let good = r#"{"timestamp":5,"input_length":700,"output_length":3,"hash_ids":[1,2]}"#;
    for (line, want) in [
        (
            r#"{"timestamp":-1,"input_length":7,"output_length":3}"#,
            "line 2: `timestamp` is -1",
        ),
        (
            r#"{"input_length":0,"output_length":3}"#,
            "line 2: `input_length` is 0 (wanted: at least 1",
        ),
        (
            r#"{"output_length":3}"#,
            "line 2: `input_length` is missing",
        ),
        (
            r#"{"input_length":5}"#,
            "line 2: `output_length` is missing",
        ),
        (
            r#"{"input_length":4294967296,"output_length":1}"#,
            "line 2: `input_length` is 4294967296 (wanted",
        ),
        (
            r#"{"input_length":"5","output_length":1}"#,
            "line 2, column 19: `input_length`: invalid type",
        ),
        (
            r#"{"input_length":5,"output_length":1,"hash_ids":[1,-2]}"#,
            "line 2, column 52: `hash_ids[1]`: invalid value",
        ),
        (
            r#"{"input_length":5000,"output_length":1,"hash_ids":[1,2]}"#,
            "line 2: `hash_ids` is 2 ids for 5000 tokens (wanted: one for each block of 350 to 699 tokens",
        ),
        (
            r#"{"session_id":"s","input_length":5,"output_length":1,"delay":4}"#,
            "line 2: `delay` is",
        ),
        (r#"{"input_length":5,"#, "line 2: the JSON ends too early"),
        ("\u{FEFF}", "line 2, column 1: not JSON"),
    ] {
        let got = complaint(&format!("{good}\n{line}\n"));
        assert!(got.starts_with(want), "{line}\n got: {got}\nwant: {want}");
        let text = format!("{line}\n{good}\n{good}\n");
        let (read, report) = read_as("mooncake", text.as_bytes(), OnBadSession::Skip).unwrap();
        // With the long prompt first, the others are what does not fit.
        let bad = if line.contains("5000") { 2 } else { 1 };
        assert_eq!(
            (read.len() as u64, report.dropped),
            (3 - bad, bad),
            "{line}"
        );
    }
    let back = [9, 8].map(|at| {
        format!(
            "{{\"session_id\":\"s\",\"timestamp\":{at},\"input_length\":5,\"output_length\":1}}\n"
        )
    });
    let got = complaint(&back.concat());
    assert!(
        got.starts_with("line 2: `timestamp` is 0.008s (wanted: at least 0.009s"),
        "{got}"
    );
}

#[test]
fn an_empty_file_has_no_sessions() {
    assert!(sessions("").is_empty());
}
