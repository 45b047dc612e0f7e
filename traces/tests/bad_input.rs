//! Broken recordings, by the way in which files break: each gives an error with line and field, or a
//! session is dropped and counted, or what it cannot tell is unknown and counted.

#[path = "fuzz/corpus.rs"]
mod corpus;

use corpus::{Sample, folder, samples};
use serde_json::{Value, json};
use traces::import::{IMPORTERS, ImportReport, Imported, OnBadSession, Recording, by_name};
use traces::{TraceError, TraceReader};

fn read(
    importer: &str,
    sample: &Sample,
    on_bad: OnBadSession,
) -> Result<(Vec<Imported>, ImportReport), TraceError> {
    let mut input = &sample.main[..];
    let mut beside = sample.beside.clone();
    let recording = Recording::new(&sample.name, &mut input)
        .with_folder(&mut beside)
        .on_bad(on_bad);
    by_name(importer).unwrap().read(recording)
}

/// The error of a sample that is changed so; with `Skip` it is one session dropped for that reason.
fn fault(importer: &str, sample: &Sample) -> String {
    let strict = read(importer, sample, OnBadSession::Fail);
    let text = strict.expect_err(&sample.name).to_string();
    let (_, report) = read(importer, sample, OnBadSession::Skip).unwrap();
    assert!(report.dropped > 0, "{importer}: {report:?}");
    let reason = format!("{}: {text}", sample.name);
    assert!(
        report.dropped_because.contains(&reason),
        "{importer}: {report:?}"
    );
    text
}

/// Every sample of every importer of JSON, changed.
fn every(change: impl Fn(&[u8]) -> Vec<u8>, check: impl Fn(&str, &Sample)) {
    for importer in IMPORTERS
        .iter()
        .filter(|importer| importer.name != "azure-llm")
    {
        for mut sample in samples(importer.name) {
            sample.main = change(&sample.main);
            check(importer.name, &sample);
        }
    }
}

#[test]
fn a_file_cut_in_a_line_says_which() {
    // In the last line, which closes what is open.
    let cut = |text: &[u8]| text[..text.trim_ascii_end().len() - 1].to_vec();
    every(cut, |importer, sample| {
        let last = sample.main.split(|b| *b == b'\n').count();
        let text = fault(importer, sample);
        assert!(
            text.starts_with(&format!("line {last}: the JSON ends too early, at column")),
            "{importer}: {text}"
        );
    });
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_shorter() {
    for importer in IMPORTERS {
        for sample in samples(importer.name) {
            let whole = read(importer.name, &sample, OnBadSession::Fail).unwrap().1;
            for end in 0..sample.main.len() {
                let mut cut = sample.clone();
                cut.main.truncate(end);
                if let Ok((sessions, report)) = read(importer.name, &cut, OnBadSession::Fail) {
                    assert!(report.turns <= whole.turns, "{} at {end}", importer.name);
                    assert!(sessions.iter().all(|i| i.session.check().is_ok()));
                }
            }
        }
    }
}

#[test]
fn other_encodings_say_where_utf8_ends() {
    let utf16 = |text: &[u8]| {
        let units = text.iter().flat_map(|b| [*b, 0]);
        [0xFF, 0xFE].into_iter().chain(units).collect()
    };
    every(utf16, |importer, sample| {
        let text = fault(importer, sample);
        assert_eq!(
            text, "line 1: byte 0 of the line is not UTF-8",
            "{importer}"
        );
    });
    let latin1 = |text: &[u8]| {
        // In a key: in texts that nobody reads, any bytes will do.
        let mut text = text.to_vec();
        let quote = text.iter().position(|b| *b == b'"').unwrap();
        text.insert(quote + 1, 0xE9);
        text
    };
    every(latin1, |importer, sample| {
        let at = sample.main.iter().position(|b| *b == 0xE9).unwrap();
        let text = fault(importer, sample);
        let expected = format!("line 1: byte {at} of the line is not UTF-8");
        assert_eq!(text, expected, "{importer}");
    });
    // A mark before UTF-8 is harmless.
    let marked = |text: &[u8]| [b"\xEF\xBB\xBF", text].concat();
    every(marked, |importer, sample| {
        let (sessions, report) = read(importer, sample, OnBadSession::Fail).unwrap();
        assert!(!sessions.is_empty() && report.dropped == 0, "{importer}");
    });
}

#[test]
fn a_nul_byte_is_named_by_line_and_column() {
    let nul = |text: &[u8]| {
        let mut text = text.to_vec();
        let quote = text.iter().position(|b| *b == b'"').unwrap();
        text.insert(quote + 1, 0);
        text
    };
    every(nul, |importer, sample| {
        let text = fault(importer, sample);
        assert!(text.starts_with("line 1, column "), "{importer}: {text}");
        assert!(
            text.contains("not JSON: control character"),
            "{importer}: {text}"
        );
    });
}

/// A sample with one text replaced by another, where it comes first.
fn with(importer: &str, name: &str, from: &str, to: &str) -> Sample {
    let mut sample = samples(importer)
        .into_iter()
        .find(|sample| sample.name.starts_with(name))
        .unwrap_or_else(|| panic!("corpus/{}/{name}", folder(importer)));
    let text = String::from_utf8(sample.main).unwrap();
    assert!(text.contains(from), "{importer}: {from}");
    sample.main = text.replacen(from, to, 1).into_bytes();
    sample
}

/// Numbers that no count can be: too large for a prompt, for 64 bits, negative, broken, no number.
const GIGANTIC: &[&str] = &[
    "4294967296",
    "18446744073709551616",
    "1e308",
    "-1",
    "0.5",
    "\"12\"",
    "[]",
];

#[test]
fn gigantic_numbers_are_named_with_their_field() {
    let places = [
        (
            "claude-code",
            "parallel",
            "\"input_tokens\":4,",
            "\"input_tokens\":",
            "line 3: `message.usage.input_tokens` is ",
        ),
        (
            "codex",
            "polling",
            "\"last_token_usage\":{\"input_tokens\":5000,",
            "\"last_token_usage\":{\"input_tokens\":",
            "line 7: `payload.info.last_token_usage.input_tokens` is ",
        ),
        (
            "mini-swe-agent",
            "version-1",
            "\"prompt_tokens\":600,",
            "\"prompt_tokens\":",
            "document: `messages[2].extra.response.usage.prompt_tokens` is ",
        ),
        (
            "openhands",
            "evaluation",
            "\"completion_tokens\":20,",
            "\"completion_tokens\":",
            "line 1: `metrics.token_usages[0].completion_tokens` is ",
        ),
        (
            "pi",
            "a-tree",
            "\"cacheRead\":1500,",
            "\"cacheRead\":",
            "line 3: `message.usage.cacheRead` is ",
        ),
        (
            "swe-agent",
            "with-queries",
            "\"tokens_sent\":640,",
            "\"tokens_sent\":",
            "document: `",
        ),
    ];
    for (importer, name, from, to, place) in places {
        for number in GIGANTIC {
            let sample = with(importer, name, from, &format!("{to}{number},"));
            if importer == "swe-agent" && *number == "4294967296" {
                // A sum over a session may be that large, and its prompts then are lawful.
                continue;
            }
            let text = fault(importer, &sample);
            assert!(text.starts_with(place), "{importer} {number}: {text}");
            assert!(text.contains("(wanted: "), "{importer} {number}: {text}");
        }
    }
}

#[test]
fn times_that_are_no_times_are_named() {
    for (importer, name, from, place) in [
        (
            "claude-code",
            "parallel",
            "2026-03-01T08:00:02.500Z",
            "line 3: `timestamp` is ",
        ),
        (
            "codex",
            "polling",
            "2026-03-01T09:00:02.400Z",
            "line 6: `timestamp` is ",
        ),
        (
            "pi",
            "a-tree",
            "2026-03-01T12:00:03.040Z",
            "line 4: `timestamp` is ",
        ),
        (
            "openhands",
            "evaluation",
            "2026-03-01T10:00:03.114000",
            "line 1: `history[3].timestamp` is ",
        ),
    ] {
        for time in [
            "",
            "noon",
            "2026-13-01T00:00:00Z",
            "2026-03-01T08:00:00.0000000001Z",
        ] {
            let text = fault(importer, &with(importer, name, from, time));
            assert!(text.starts_with(place), "{importer} {time}: {text}");
        }
    }
}

/// A result stamped before its call has no length: its time is unknown, and counted as that.
#[test]
fn time_that_goes_back_is_unknown() {
    for (importer, name, result, back) in [
        (
            "claude-code",
            "parallel",
            "2026-03-01T08:00:03.300Z",
            "2026-03-01T08:00:01.000Z",
        ),
        (
            "codex",
            "polling",
            "2026-03-01T09:00:03.410Z",
            "2026-03-01T09:00:01.000Z",
        ),
        (
            "pi",
            "a-tree",
            "2026-03-01T12:00:03.040Z",
            "2026-03-01T12:00:01.000Z",
        ),
        (
            "openhands",
            "evaluation",
            "2026-03-01T10:00:03.114000",
            "2026-03-01T10:00:01.000000",
        ),
        (
            "mini-swe-agent",
            "version-2",
            "1772352007.5,\"returncode\":0",
            "1772352000.5,\"returncode\":0",
        ),
    ] {
        let unknown = |sample: &Sample| {
            let (_, report) = read(importer, sample, OnBadSession::Fail).unwrap();
            assert_eq!(report.dropped, 0);
            (report.tools, report.unknown_walls)
        };
        let (tools, before) = unknown(&with(importer, name, "", ""));
        let after = unknown(&with(importer, name, result, back));
        assert_eq!(after, (tools, before + 1), "{importer}");
    }
}

#[test]
fn an_id_that_comes_twice_is_named_or_dropped() {
    let mut sample = with("openhands", "evaluation", "", "");
    sample.main = [&sample.main[..], &sample.main[..]].concat();
    let text = fault("openhands", &sample);
    assert!(
        text.starts_with("line 3: `id` is corpus-5 (wanted: a name that no session"),
        "{text}"
    );
}

#[test]
fn our_own_format_names_line_and_field_too() {
    let sample = &samples("orrery")[0];
    let fault = |from: &str, to: &str| {
        let text = String::from_utf8(sample.main.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, to, 1);
        let read =
            TraceReader::open(text.as_bytes()).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        read.unwrap_err().to_string()
    };
    assert!(
        fault("\"prompt\":1600", "\"prompt\":-1").starts_with("line 2: `turns[0].prompt` is -1")
    );
    assert!(
        fault("\"llm_s\":2.4", "\"llm_s\":1e300").starts_with("line 2: `turns[0].llm_s` is 1e+300")
    );
    assert!(fault("\"output\":60", "\"output\":0").starts_with("line 3: `turns[0].output` is 0"));
    // The sample itself is sound.
    let sound: Value = json!(TraceReader::open(&sample.main[..]).unwrap().count());
    assert_eq!(sound, 2);
}
