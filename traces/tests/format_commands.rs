//! Commands of tool calls in the trace format: version 3, and what older versions and headers do not take.

use std::sync::Arc;

use traces::{
    Command, Header, Known, Session, ToolCall, TraceError, TraceReader, TraceWriter, Turn,
};
use units::Tokens;

fn read(text: &str) -> Result<Vec<Session>, TraceError> {
    TraceReader::open(text.as_bytes())?.collect()
}

/// A session of two turns whose second has a tool call with this command beside another, on the third
/// line of a file of version `version`.
fn with_command(version: u64, command: &str) -> Result<Vec<Session>, TraceError> {
    let good = r#"{"id":"s","turns":[{"prompt":9,"output":1}]}"#;
    let tools = format!(r#"[{{"name":"Read"}},{{"name":"Bash","command":{command}}}]"#);
    let bad = format!(
        r#"{{"id":"s","turns":[{{"prompt":9,"output":1}},{{"prompt":9,"output":1,"tools":{tools}}}]}}"#
    );
    read(&format!("{{\"orrery_trace\":{version}}}\n{good}\n{bad}\n"))
}

fn simple() -> Session {
    Session {
        id: "s".into(),
        model: None,
        arrival: None,
        shared: vec![],
        parent: None,
        turns: vec![Turn {
            prompt: Tokens(3),
            reused: Tokens(0),
            output: Known::recorded(Tokens(1)),
            cached: None,
            llm: None,
            tools: vec![],
            think: None,
        }],
    }
}

#[test]
fn version_3_has_commands() {
    let sessions = with_command(3, r#"["bash","-c","echo \"hi\" > it",""]"#).unwrap();
    let tools = &sessions[1].turns[1].tools;
    let argv = ["bash", "-c", "echo \"hi\" > it", ""].map(Box::from);
    assert_eq!(tools[0].command, None);
    assert_eq!(*tools[1].command.as_ref().unwrap().argv, argv);
    assert_eq!((sessions[0].commands(), sessions[1].commands()), (0, 1));
    assert_eq!(with_command(3, "null").unwrap()[1].commands(), 0);
}

#[test]
fn commands_that_cannot_be_name_line_field_and_value() {
    let long = format!(r#"["a","{}"]"#, "x".repeat(128 << 10));
    for (command, want) in [
        ("[]", "`turns[1].tools[1].command` is [] (wanted: a program"),
        (
            r#"["","a"]"#,
            "`turns[1].tools[1].command[0]` is empty (wanted: a name)",
        ),
        (
            r#"["cat","a\u0000b"]"#,
            "`turns[1].tools[1].command[1]` has a NUL byte at 1 (wanted: none)",
        ),
        (
            r#""cat it""#,
            "`turns[1].tools[1].command` is \"cat it\" (wanted: a list of texts",
        ),
        (
            r#"["cat",7]"#,
            "`turns[1].tools[1].command[1]` is 7 (wanted: a text)",
        ),
        // A program of one letter, all those of the argument, and a NUL byte after each.
        (
            &long,
            "`turns[1].tools[1].command` is 131075 bytes (wanted: at most 131072)",
        ),
    ] {
        let got = with_command(3, command).unwrap_err().to_string();
        let want = format!("line 3: {want}");
        assert!(got.starts_with(&want), " got: {got}\nwant: {want}");
    }
    let longest = format!(r#"["a","{}"]"#, "x".repeat((128 << 10) - 3));
    assert!(with_command(3, &longest).is_ok());
}

#[test]
fn older_versions_have_no_commands() {
    for version in [1, 2] {
        let got = with_command(version, r#"["ls"]"#).unwrap_err();
        assert_eq!(
            got.to_string(),
            format!(
                "line 3: `turns[1].tools[1].command` is [\"ls\"] (wanted: no command in version \
                 {version} of the format; line 1 of version 3 has \"orrery_trace\":3)"
            )
        );
    }
}

/// Version 3 is written where it is asked for, and a command under an older header is refused.
#[test]
fn the_header_says_whether_there_are_commands() {
    let mut with = simple();
    with.turns[0].tools.push(ToolCall {
        name: "Bash".into(),
        wall: None,
        cpu: None,
        parallelism: 1,
        command: Some(Arc::new(Command {
            argv: ["true".into()].into(),
        })),
    });
    let plain = |commands| {
        let header = Header {
            commands,
            ..Header::default()
        };
        TraceWriter::plain(Vec::new(), &header).unwrap()
    };
    let mut writer = plain(false);
    writer.write(&simple()).unwrap();
    let refused = writer.write(&with).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "line 3: tool calls with a command need version 3 of the format, and the header is of an older one"
    );
    assert!(
        writer
            .finish()
            .unwrap()
            .starts_with(b"{\"orrery_trace\":2}\n")
    );
    let mut writer = plain(true);
    writer.write(&with).unwrap();
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    assert_eq!(
        text,
        "{\"orrery_trace\":3}\n{\"id\":\"s\",\"turns\":[{\"prompt\":3,\"output\":1,\
         \"tools\":[{\"name\":\"Bash\",\"command\":[\"true\"]}]}]}\n"
    );
}
