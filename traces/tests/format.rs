//! The trace format: what is written comes back, and what is wrong is named precisely.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use traces::{
    Command, Evidence, Header, Known, Session, SharedPrefix, ToolCall, TraceError, TraceReader,
    TraceWriter, Turn,
};
use units::{Nanos, Tokens};

const HEADER: &str = r#"{"orrery_trace":2}"#;

fn read(text: impl AsRef<[u8]>) -> Result<Vec<Session>, TraceError> {
    TraceReader::open(text.as_ref())?.collect()
}

/// The error of a file with `line` as its only session, as a person sees it.
fn complaint(line: &str) -> String {
    read(format!("{HEADER}\n{line}\n")).unwrap_err().to_string()
}

/// A session of four turns, all well but for `turn` as the last.
fn with_turn(turn: &str) -> String {
    let good = r#"{"prompt":9,"output":1}"#;
    format!(r#"{{"id":"s","turns":[{good},{good},{good},{turn}]}}"#)
}

#[test]
fn the_example_of_the_documentation_is_a_trace() {
    let example = |nth: usize| {
        let parts = include_str!("../FORMAT.md").split("```json\n").nth(nth);
        let text = parts.and_then(|rest| rest.split("```").next());
        read(text.expect("FORMAT.md has an example")).expect("it parses")
    };
    assert_eq!(example(2)[0].commands(), 1);
    let sessions = example(1);
    assert_eq!(sessions.len(), 2);
    let turns = &sessions[0].turns;
    assert_eq!(
        turns[0].tools[0].cpu,
        Some(Known::estimated(Nanos::from_millis(3100)))
    );
    assert_eq!(
        turns[0].tools[1].wall,
        Some(Known::drawn(Nanos::from_millis(29)))
    );
    assert_eq!(turns[1].think, Some(Nanos::from_millis(95_000)));
    assert_eq!(sessions[1].parent.as_deref(), Some("fix-17"));
    assert_eq!(sessions[0].peak_tokens(), Tokens(6099));
}

#[test]
fn a_negative_count_names_line_field_value_and_limit() {
    let good = with_turn(r#"{"prompt":9,"output":1}"#);
    let mut text = format!("{HEADER}\n");
    for _ in 2..812 {
        text += &good;
        text.push('\n');
    }
    text += &with_turn(r#"{"prompt":-5,"output":1}"#);
    assert_eq!(
        read(text).unwrap_err().to_string(),
        "line 812: `turns[3].prompt` is -5 (wanted: a whole number of tokens from 1 to 4294967295)"
    );
}

#[test]
fn each_fault_has_its_own_complaint() {
    let cases = [
        (
            r#"{"prompt":1.5,"output":1}"#,
            "`turns[3].prompt` is 1.5 (wanted: a whole number",
        ),
        (
            r#"{"prompt":"9","output":1}"#,
            "`turns[3].prompt` is \"9\" (wanted: a whole number",
        ),
        (
            r#"{"prompt":4294967296,"output":1}"#,
            "`turns[3].prompt` is 4294967296 (wanted",
        ),
        (
            r#"{"output":1}"#,
            "`turns[3].prompt` is missing (wanted: a whole number",
        ),
        (
            r#"{"prompt":9,"output":0}"#,
            "`turns[3].output` is 0 (wanted: a whole number of tokens from 1",
        ),
        (
            r#"{"prompt":9,"output":1,"reused":11}"#,
            "`turns[3].reused` is 11 (wanted: at most 9,",
        ),
        (
            r#"{"prompt":99,"output":1,"reused":11}"#,
            "`turns[3].reused` is 11 (wanted: at most 10,",
        ),
        (
            r#"{"prompt":9,"output":1,"cached":10}"#,
            "`turns[3].cached` is 10 (wanted: at most 9, the prompt)",
        ),
        (
            r#"{"prompt":9,"output":1,"output_from":"guess"}"#,
            "`turns[3].output_from` is \"guess\" (wanted: \"recorded\"",
        ),
        (
            r#"{"prompt":9,"output":1,"think_s":1e300}"#,
            "`turns[3].think_s` is 1e+300 (wanted: seconds",
        ),
        (
            r#"{"prompt":9,"output":1,"think_s":2e7}"#,
            "`turns[3].think_s` is 20000000s (wanted: at most 10000000s)",
        ),
        (
            r#"{"prompt":9,"output":1,"tools":[{"name":"a","wall_s":-0.1}]}"#,
            "`turns[3].tools[0].wall_s` is -0.1 (wanted: seconds",
        ),
        (
            r#"{"prompt":9,"output":1,"tools":[{"name":"a","wall_s":1,"cpu_s":2}]}"#,
            "`turns[3].tools[0].cpu_s` is 2s (wanted: at most 1s,",
        ),
        (
            r#"{"prompt":9,"output":1,"tools":[{"name":"a","parallelism":0}]}"#,
            "`turns[3].tools[0].parallelism` is 0 (wanted",
        ),
        (
            r#"{"prompt":9,"output":1,"tools":[{"name":""}]}"#,
            "`turns[3].tools[0].name` is \"\" (wanted: a text",
        ),
        (
            r#"{"prompt":9,"output":1,"tools":{}}"#,
            "`turns[3].tools` is {} (wanted: a list)",
        ),
        (
            r#"{"prompt":9,"outptu":1}"#,
            "unknown field `turns[3].outptu` (nearest known: `output`)",
        ),
        (
            r#"{"prompt":9,"output":1,"tools":[{"name":"a","walls":1}]}"#,
            "unknown field `turns[3].tools[0].walls` (nearest known: `wall_s`)",
        ),
        ("7", "`turns[3]` is 7 (wanted: an object)"),
    ];
    for (turn, want) in cases {
        let got = complaint(&with_turn(turn));
        assert!(
            got.starts_with(&format!("line 2: {want}")),
            "{turn}\n got: {got}\nwant: {want}"
        );
    }
}

#[test]
fn laws_of_the_whole_session_are_checked() {
    let cases = [
        (r#"{"id":"s","turns":[]}"#, "line 2: `turns` is empty"),
        (r#"{"id":"s"}"#, "line 2: `turns` is empty"),
        (
            r#"{"turns":[{"prompt":1,"output":1}]}"#,
            "line 2: `id` is missing",
        ),
        (
            r#"{"id":"s","turns":[{"prompt":5,"output":1,"reused":1}]}"#,
            "line 2: `turns[0].reused` is 1 (wanted: 0",
        ),
        (
            r#"{"id":"s","shared":[{"group":"g","tokens":6}],"turns":[{"prompt":5,"output":1}]}"#,
            "line 2: `shared[0].tokens` is 6 (wanted: at most 5",
        ),
        (
            r#"{"id":"s","shared":[{"group":"g","tokens":2},{"group":"h","tokens":2}],"turns":[{"prompt":5,"output":1}]}"#,
            "line 2: `shared[1].tokens` is 2 (wanted: more than 2, where the segment before ends)",
        ),
        (
            r#"{"id":"s","shared":[{"group":"g","tokens":2},{"group":"g","tokens":3}],"turns":[{"prompt":5,"output":1}]}"#,
            "line 2: `shared[1].group` is `g`, as in a segment before it",
        ),
        (
            r#"{"id":"s","shared":{"group":"g","tokens":2},"turns":[{"prompt":5,"output":1}]}"#,
            "line 2: `shared` is {\"group\":\"g\",\"tokens\":2} (wanted: a list)",
        ),
        (
            r#"{"id":"s","shared":[{"group":"g","tokens":1},{"group":"h"}],"turns":[{"prompt":5,"output":1}]}"#,
            "line 2: `shared[1].tokens` is missing",
        ),
        (
            r#"{"id":"s","parent":"s","turns":[{"prompt":5,"output":1}]}"#,
            "line 2: `parent` is `s`",
        ),
        (
            r#"["id"]"#,
            "line 2: `the line` is [\"id\"] (wanted: an object)",
        ),
    ];
    for (line, want) in cases {
        let got = complaint(line);
        assert!(got.starts_with(want), "{line}\n got: {got}\nwant: {want}");
    }
}

#[test]
fn files_that_are_no_trace_are_told_apart() {
    assert!(matches!(read(""), Err(TraceError::Empty)));
    assert!(matches!(read("\n\n"), Err(TraceError::Empty)));
    assert!(matches!(read(HEADER), Err(TraceError::NoSessions)));
    assert!(matches!(read(r#"{"id":"s"}"#), Err(TraceError::NotATrace)));
    assert!(matches!(read("[]"), Err(TraceError::NotATrace)));
    for version in [0, 4] {
        let other = read(format!(r#"{{"orrery_trace":{version},"colour":"red"}}"#)).unwrap_err();
        assert_eq!(
            other.to_string(),
            format!("line 1: `orrery_trace` is version {version} (wanted: 1 to 3)")
        );
    }
    let header = read(r#"{"orrery_trace":1,"licence":"MIT"}"#).unwrap_err();
    assert_eq!(
        header.to_string(),
        "line 1: unknown field `licence` (nearest known: `license`)"
    );
    let cut = complaint(r#"{"id":"s","turns":[{"prompt":1"#);
    assert!(
        cut.starts_with("line 2: the JSON ends too early, at column 30"),
        "{cut}"
    );
    let broken = complaint(r#"{"id":oops}"#);
    assert!(
        broken.starts_with("line 2, column 7: not JSON: expected"),
        "{broken}"
    );
    assert!(!broken.contains("line 1"), "{broken}");
    let latin1 = [HEADER.as_bytes(), b"\n{\"id\":\"\xe9\"}"].concat();
    assert_eq!(
        read(latin1).unwrap_err().to_string(),
        "line 2: byte 7 of the line is not UTF-8"
    );
    let deep = complaint(&"[".repeat(100_000));
    assert!(deep.contains("recursion limit"), "{deep}");
}

#[test]
fn a_bad_line_can_be_skipped() {
    let good = with_turn(r#"{"prompt":9,"output":1}"#);
    let text = format!("{HEADER}\n{good}\n{{\n{good}\n");
    let read: Vec<bool> = TraceReader::open(text.as_bytes())
        .unwrap()
        .map(|s| s.is_ok())
        .collect();
    assert_eq!(read, [true, false, true]);
}

#[test]
fn compressed_files_cut_short_or_damaged_are_errors() {
    let sessions = vec![simple(1000); 50];
    let bytes = write_zstd(&sessions);
    assert_eq!(read(&bytes).unwrap(), sessions);
    for end in 0..bytes.len() {
        assert!(
            read(&bytes[..end]).is_err(),
            "cut after {end} of {} bytes",
            bytes.len()
        );
    }
    let cut = read(&bytes[..bytes.len() - 2]).unwrap_err().to_string();
    assert!(cut.contains("the file is cut short"), "{cut}");
    let mut flipped = bytes.clone();
    let middle = bytes.len() / 2;
    flipped[middle] ^= 0x10;
    assert!(read(&flipped).is_err());
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut writer = TraceWriter::plain(Vec::new(), &Header::default()).unwrap();
    let mut bad = simple(3);
    bad.turns[0].reused = Tokens(1);
    assert!(matches!(
        writer.write(&bad),
        Err(TraceError::Unlawful { .. })
    ));
    bad = simple(3);
    bad.id = "".into();
    assert!(matches!(
        writer.write(&bad),
        Err(TraceError::Unlawful { .. })
    ));
    assert_eq!(writer.finish().unwrap(), format!("{HEADER}\n").as_bytes());
}

#[test]
fn version_1_has_one_segment_and_no_list() {
    let of = |shared: &str| {
        let line = format!(r#"{{"id":"s","shared":{shared},"turns":[{{"prompt":5,"output":1}}]}}"#);
        read(format!("{{\"orrery_trace\":1}}\n{line}\n"))
    };
    let sessions = of(r#"{"group":"g","tokens":3}"#).unwrap();
    let segment = SharedPrefix {
        group: "g".into(),
        tokens: Tokens(3),
    };
    assert_eq!(sessions[0].shared, [segment]);
    assert_eq!(of("null").unwrap()[0].shared, []);
    let list = of(r#"[{"group":"g","tokens":3}]"#).unwrap_err();
    assert!(list.to_string().contains("`shared` is [{"), "{list}");
}

fn simple(prompt: u64) -> Session {
    Session {
        id: "s".into(),
        model: None,
        arrival: None,
        shared: vec![],
        parent: None,
        turns: vec![Turn {
            prompt: Tokens(prompt),
            reused: Tokens(0),
            output: Known::recorded(Tokens(1)),
            cached: None,
            llm: None,
            tools: vec![],
            think: None,
        }],
    }
}

/// A header that says whether these sessions have commands.
fn with_commands(sessions: &[Session]) -> Header {
    Header {
        commands: sessions.iter().any(|session| session.commands() > 0),
        ..Header::default()
    }
}

fn write_zstd(sessions: &[Session]) -> Vec<u8> {
    let mut writer = TraceWriter::zstd(Vec::new(), &with_commands(sessions), 3).unwrap();
    for session in sessions {
        writer.write(session).unwrap();
    }
    writer.finish().unwrap()
}

fn text() -> impl Strategy<Value = Arc<str>> {
    "\\PC{1,12}".prop_map(Arc::from)
}

fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        Just(Evidence::Recorded),
        Just(Evidence::Estimated),
        Just(Evidence::Drawn)
    ]
}

/// Any span that the format carries exactly.
fn span() -> impl Strategy<Value = Nanos> {
    (0..(1_u64 << 23) * 1_000_000_000).prop_map(Nanos::new)
}

fn tool() -> impl Strategy<Value = ToolCall> {
    let wall = option::of((span(), evidence()));
    // A program with a name, then any texts without NUL, empty ones too.
    let command = option::of(("[^\\x00]{1,8}", vec("[^\\x00]{0,12}", 0..3)));
    (
        text(),
        wall,
        option::of((0..=100_u64, evidence())),
        1..9_u32,
        command,
    )
        .prop_map(|(name, wall, cpu, parallelism, command)| {
            let wall = wall.map(|(value, evidence)| Known { value, evidence });
            // Legal by construction: a share of the most CPU time there can be.
            let most = wall.map_or(1 << 40, |w| w.value.as_nanos() * u64::from(parallelism));
            let most = most.min(9_000_000_000_000_000);
            let cpu = cpu.map(|(percent, evidence)| Known {
                value: Nanos::new(most / 100 * percent).min(Nanos::new((1 << 23) * 1_000_000_000)),
                evidence,
            });
            ToolCall {
                name,
                wall,
                cpu,
                parallelism,
                command: command.map(|(program, arguments)| {
                    let argv = [program].into_iter().chain(arguments);
                    Arc::new(Command {
                        argv: argv.map(String::into_boxed_str).collect(),
                    })
                }),
            }
        })
}

fn turn() -> impl Strategy<Value = (Turn, u64)> {
    let counts = (
        1..200_000_u64,
        1..9_000_u64,
        evidence(),
        option::of(0..=100_u64),
        0..=100_u64,
    );
    (
        counts,
        option::of(span()),
        vec(tool(), 0..3),
        option::of(span()),
    )
        .prop_map(
            |((prompt, output, evidence, cached, reused), llm, tools, think)| {
                let turn = Turn {
                    prompt: Tokens(prompt),
                    reused: Tokens(0),
                    output: Known {
                        value: Tokens(output),
                        evidence,
                    },
                    cached: cached.map(|percent| Tokens(prompt * percent / 100)),
                    llm,
                    tools,
                    think,
                };
                (turn, reused)
            },
        )
}

fn session() -> impl Strategy<Value = Session> {
    let names = (text(), option::of(text()), option::of(text()));
    (
        names,
        option::of(span()),
        vec((text(), 1..1000_u64), 0..4),
        vec(turn(), 1..6),
    )
        .prop_map(|((id, model, parent), arrival, openings, drawn)| {
            let mut turns: Vec<Turn> = Vec::new();
            for (mut turn, percent) in drawn {
                if let Some(previous) = turns.last() {
                    turn.reused = Tokens(turn.reusable_after(previous).0 * percent / 100);
                }
                turns.push(turn);
            }
            // Lawful by construction: names once, ends that rise, within the first prompt.
            let mut shared: Vec<SharedPrefix> = Vec::new();
            for (group, more) in openings {
                let end = shared.last().map_or(0, |s| s.tokens.0) + more;
                let known = shared.iter().any(|s| s.group == group);
                if !known && end <= turns[0].prompt.0 {
                    let tokens = Tokens(end);
                    shared.push(SharedPrefix { group, tokens });
                }
            }
            Session {
                parent: parent.filter(|parent| *parent != id),
                id,
                model,
                arrival,
                shared,
                turns,
            }
        })
}

proptest! {
    /// What is written, plain or compressed, is what is read.
    #[test]
    fn sessions_return(sessions in vec(session(), 1..5), note in option::of("\\PC{0,20}")) {
        let header = Header { note, ..with_commands(&sessions) };
        let mut plain = TraceWriter::plain(Vec::new(), &header).unwrap();
        let mut packed = TraceWriter::zstd(Vec::new(), &header, 1).unwrap();
        for session in &sessions {
            plain.write(session).unwrap();
            packed.write(session).unwrap();
        }
        for bytes in [plain.finish().unwrap(), packed.finish().unwrap()] {
            let reader = TraceReader::open(&bytes[..]).unwrap();
            prop_assert_eq!(reader.header(), &header);
            let read: Vec<Session> = reader.map(Result::unwrap).collect();
            prop_assert_eq!(&read, &sessions);
        }
    }

    /// No input makes the reader panic, and damage to a valid file is found or harmless.
    #[test]
    fn damaged_files_do_not_panic(
        sessions in vec(session(), 1..3),
        places in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        compressed in any::<bool>(),
    ) {
        let mut bytes = if compressed { write_zstd(&sessions) } else {
            let mut writer = TraceWriter::plain(Vec::new(), &with_commands(&sessions)).unwrap();
            for session in &sessions { writer.write(session).unwrap(); }
            writer.finish().unwrap()
        };
        for (place, byte) in places {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(reader) = TraceReader::open(&bytes[..]) {
            for session in reader.flatten() {
                prop_assert_eq!(session.check(), Ok(()));
            }
        }
    }
}
