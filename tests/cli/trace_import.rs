//! `orrery trace import`: files, folders, patterns, archives and pipes, packed or not.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::support::{HEADER, Ran, folder, names, orrery, run, succeed};

/// A transcript of two calls with a tool of 2 s between them.
fn transcript(session: &str) -> String {
    let usage = |input: u32, read: u32, output: u32| {
        format!(
            r#"{{"input_tokens":{input},"cache_creation_input_tokens":0,"cache_read_input_tokens":{read},"output_tokens":{output}}}"#
        )
    };
    let common = |time: &str| {
        format!(
            r#""sessionId":"{session}","isSidechain":false,"version":"2.1.69","timestamp":"2026-01-05T10:00:{time}Z""#
        )
    };
    [
        format!(r#"{{"type":"user",{},"uuid":"1","message":{{"role":"user","content":"fix it"}}}}"#, common("00.000")),
        format!(
            r#"{{"type":"assistant",{},"uuid":"2","message":{{"id":"m1","model":"claude-x","role":"assistant","content":[{{"type":"tool_use","id":"t1","name":"Bash","input":{{"command":"ls"}}}}],"stop_reason":"tool_use","usage":{}}}}}"#,
            common("03.000"),
            usage(1000, 0, 50)
        ),
        format!(
            r#"{{"type":"user",{},"uuid":"3","message":{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t1","content":"a b"}}]}}}}"#,
            common("05.000")
        ),
        format!(
            r#"{{"type":"assistant",{},"uuid":"4","message":{{"id":"m2","model":"claude-x","role":"assistant","content":[{{"type":"text","text":"done"}}],"stop_reason":"end_turn","usage":{}}}}}"#,
            common("07.500"),
            usage(100, 1050, 20)
        ),
    ]
    .map(|line| line + "\n")
    .concat()
}

fn import(at: &Path, args: &[&str]) -> Ran {
    run(at, &[&["trace", "import"], args].concat())
}

fn imported(at: &Path, args: &[&str]) -> Ran {
    succeed(at, &[&["trace", "import"], args].concat())
}

fn refused(at: &Path, args: &[&str], words: &[&str]) {
    let ran = import(at, args);
    assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{args:?}");
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "{args:?}: no `{word}` in: {}",
            ran.stderr
        );
    }
}

/// The ids of a trace, in its order.
fn ids(trace: &str) -> Vec<String> {
    let sessions = trace.lines().skip(1).map(|line| {
        let session: serde_json::Value = serde_json::from_str(line).expect("a session");
        session["id"].as_str().expect("an id").to_owned()
    });
    sessions.collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder
            .append_data(&mut header, name, text.as_bytes())
            .expect("memory");
    }
    let plain = builder.into_inner().expect("memory");
    zstd::encode_all(&plain[..], 3).expect("memory")
}

/// A folder with recordings in every packing, and other files between them.
fn projects(at: &Path) {
    let below = at.join("projects/one");
    fs::create_dir_all(&below).expect("a folder");
    let write = |name: &str, bytes: &[u8]| fs::write(below.join(name), bytes).expect("a file");
    write("a.jsonl", transcript("a").as_bytes());
    write("b.jsonl.gz", &gzip(&transcript("b")));
    write(
        "c.jsonl.zst",
        &zstd::encode_all(transcript("c").as_bytes(), 3).expect("memory"),
    );
    let packed = [
        ("x/d.jsonl", transcript("d")),
        ("x/notes.md", "hello".to_owned()),
    ];
    let packed: Vec<(&str, &str)> = packed.iter().map(|(n, t)| (*n, t.as_str())).collect();
    write("more.tar.zst", &archive(&packed));
    write("README.md", b"# notes\n");
    write("old.jsonl", format!("{HEADER}\n").as_bytes());
    write("resources.json", br#"{"samples":[]}"#);
}

#[test]
fn a_folder_is_searched_through() {
    let at = folder();
    projects(at.path());
    let ran = imported(
        at.path(),
        &["projects", "-o", "mine.jsonl.zst", "--format", "json"],
    );
    let report = ran.json();
    let files = &report["files"];
    assert_eq!(files["found"], 8, "{report}");
    assert_eq!(files["formats"]["claude-code"]["files"], 4);
    assert_eq!(
        (
            &files["not_recognised"],
            &files["already_traces"],
            &files["parts_of_recordings"]
        ),
        (&2.into(), &1.into(), &1.into())
    );
    assert_eq!(
        (&report["sessions"], &report["turns"], &report["tool_calls"]),
        (&4.into(), &8.into(), &4.into())
    );
    assert_eq!(
        (&report["written_sessions"], &report["renamed_sessions"]),
        (&4.into(), &0.into())
    );
    for words in [
        "imported 4 sessions",
        "files not recognised: 2",
        "wrote mine.jsonl.zst",
    ] {
        assert!(ran.stderr.contains(words), "no `{words}` in {}", ran.stderr);
    }
    let stats = succeed(
        at.path(),
        &["trace", "stats", "mine.jsonl.zst", "--format", "json"],
    )
    .json();
    let trace = &stats["traces"][0];
    assert_eq!(
        (&trace["sessions"], &trace["with_arrival"]),
        (&4.into(), &4.into())
    );
    assert_eq!(trace["source"], "4 claude-code recordings");
    assert_eq!(trace["tools"][0]["wall_s"]["mean"], 2.0);
    // 2 s of tool, 3 s and 2.5 s of model.
    let idle = trace["pooled_idle_share"].as_f64().expect("a share");
    assert!((idle - 2.0 / 7.5).abs() < 1e-12, "{idle}");
    assert_eq!(names(at.path()), ["mine.jsonl.zst", "projects"]);
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let at = folder();
    projects(at.path());
    let one = imported(at.path(), &["projects", "--fill", "7", "--threads", "1"]).stdout;
    let four = imported(at.path(), &["projects", "--fill", "7", "--threads", "4"]).stdout;
    assert_eq!(one, four);
    assert_eq!(ids(&one), ["a", "b", "c", "d"]);
    assert!(
        one.lines()
            .next()
            .expect("a header")
            .contains("drawn with seed 7"),
        "{one}"
    );
    // What was there before the fill is untouched, and what it made can be run.
    assert!(
        one.contains(r#""wall_s":2,"#) || one.contains(r#""wall_s":2.0"#),
        "{one}"
    );
    fs::write(at.path().join("mine.jsonl"), &one).expect("a trace");
    let args = [
        "run",
        "--workload",
        "mine.jsonl",
        "--sessions",
        "4",
        "--policy",
        "fcfs",
        "--quiet",
    ];
    succeed(at.path(), &args);
}

#[test]
fn files_patterns_and_pipes_are_paths_too() {
    let at = folder();
    projects(at.path());
    let ran = imported(
        at.path(),
        &[
            "projects/one/*.gz",
            "projects/one/a.jsonl",
            "projects/**/a.jsonl",
        ],
    );
    assert_eq!(ids(&ran.stdout), ["a", "b"]);
    let mut child = orrery(at.path(), &["trace", "import", "-", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    input
        .write_all(&gzip(&transcript("piped")))
        .expect("a reader");
    drop(input);
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ids(&ran.stdout), ["piped"]);
}

#[test]
fn taken_ids_get_a_number_and_repeats_can_go() {
    let at = folder();
    for name in ["1.jsonl", "2.jsonl", "3.jsonl"] {
        let mut text = transcript("same");
        // A third call, so that there is an opening to compare.
        text += &transcript("same")
            .lines()
            .last()
            .expect("a line")
            .replace("m2", "m3")
            .replace("07.500", "09.500");
        fs::write(at.path().join(name), text).expect("a file");
    }
    let ran = imported(at.path(), &["1.jsonl", "2.jsonl", "3.jsonl"]);
    assert_eq!(ids(&ran.stdout), ["same", "same~2", "same~3"]);
    assert!(
        ran.stderr
            .contains("sessions renamed, as their id was taken: 2"),
        "{}",
        ran.stderr
    );
    let ran = imported(at.path(), &[".", "--dedup"]);
    assert_eq!(ids(&ran.stdout), ["same"]);
    assert!(
        ran.stderr.contains("repeat another's opening: 2"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_bad_session_fails_or_is_counted() {
    let at = folder();
    let broken = transcript("b").replace(r#""output_tokens":20"#, r#""output_tokens":-20"#);
    fs::write(at.path().join("a.jsonl"), transcript("a")).expect("a file");
    fs::write(at.path().join("b.jsonl"), broken).expect("a file");
    refused(
        at.path(),
        &[".", "-o", "out.jsonl"],
        &[
            "cannot import `./b.jsonl` as claude-code",
            "line 4",
            "-20",
            "--on-bad-session skip",
        ],
    );
    assert_eq!(names(at.path()), ["a.jsonl", "b.jsonl"]);
    let args = [
        ".",
        "--on-bad-session",
        "skip",
        "-o",
        "out.jsonl",
        "--format",
        "json",
    ];
    let ran = imported(at.path(), &args);
    let report = ran.json();
    assert_eq!(
        (&report["dropped_sessions"], &report["written_sessions"]),
        (&1.into(), &1.into())
    );
    let why = report["dropped_because"][0].as_str().expect("a reason");
    assert!(why.contains("b.jsonl") && why.contains("line 4"), "{why}");

    // A stream that is cut short is no matter of one session: the others are kept, and exit is 1.
    let whole = zstd::encode_all(transcript("c").as_bytes(), 3).expect("memory");
    fs::remove_file(at.path().join("out.jsonl")).expect("a file");
    fs::write(at.path().join("c.jsonl.zst"), &whole[..whole.len() - 8]).expect("a file");
    let ran = import(at.path(), &[".", "--on-bad-session", "skip"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(ids(&ran.stdout), ["a"]);
    assert!(
        ran.stderr.contains("1 of 3 files could not be read"),
        "{}",
        ran.stderr
    );
    refused(
        at.path(),
        &["c.jsonl.zst"],
        &["cannot import `c.jsonl.zst`", "incomplete frame"],
    );
}

#[test]
fn nonsense_is_refused_and_leaves_nothing() {
    let at = folder();
    fs::write(at.path().join("notes.txt"), "hello\n").expect("a file");
    fs::write(at.path().join("old.jsonl"), format!("{HEADER}\n")).expect("a file");
    fs::write(at.path().join("a.jsonl"), transcript("a")).expect("a file");
    fs::create_dir(at.path().join("empty")).expect("a folder");
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["notes.txt"],
            &[
                "cannot import `notes.txt`",
                "claude-code: wanted",
                "hint: name the format with `--from`",
            ],
        ),
        (
            &["old.jsonl"],
            &["cannot import `old.jsonl`", "it is a trace already"],
        ),
        (
            &["missing.jsonl"],
            &["cannot import `missing.jsonl`: there is no such file or folder"],
        ),
        (&["*.traj"], &["no file that fits it as a pattern"]),
        (&["empty"], &["no session to write: 0 files"]),
        (
            &["a.jsonl", "--from", "claud-code"],
            &["`--from` is `claud-code`", "did you mean `claude-code`?"],
        ),
        (
            &["a.jsonl", "--from", "weka"],
            &["cannot import `a.jsonl` as weka"],
        ),
        (&["a.jsonl", "--fill", "x"], &["`--fill` is `x`"]),
        (
            &["a.jsonl", "--format", "json"],
            &["write the trace to a file with `-o`"],
        ),
        (
            &["a.jsonl", "-o", "no/such/folder.jsonl"],
            &["cannot write `no/such/folder.jsonl`"],
        ),
    ];
    for (args, words) in cases {
        refused(at.path(), args, words);
    }
    assert_eq!(
        names(at.path()),
        ["a.jsonl", "empty", "notes.txt", "old.jsonl"]
    );
}
