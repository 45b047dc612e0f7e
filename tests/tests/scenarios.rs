//! Every file of `scenarios/`: what its `expect` lines say holds, and its timeline is the golden one.
//!
//! `UPDATE_GOLDEN=1 cargo test -p workspace-tests --test scenarios` writes the golden texts anew; the
//! `expect` lines are by hand and are checked all the same.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read files and their own switch"
)]

use std::fs;
use std::path::{Path, PathBuf};

use workspace_tests::scenario::Scenario;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn all() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .map(|path| {
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(&path).expect("readable"))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn every_scenario_does_what_it_says() {
    let mut wrong = Vec::new();
    for (name, text) in all() {
        let scenario = Scenario::parse(&name, &text);
        let record = scenario.run();
        wrong.extend(scenario.broken(&record));
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_scenario_has_its_golden_timeline() {
    let update = std::env::var("UPDATE_GOLDEN").is_ok();
    let mut wrong = Vec::new();
    for (name, text) in all() {
        let scenario = Scenario::parse(&name, &text);
        let got = scenario.timeline(&scenario.run());
        let path = folder().join(format!("{name}.golden"));
        if update {
            fs::write(&path, &got).expect("writable");
        }
        let want = fs::read_to_string(&path).unwrap_or_default();
        if got != want {
            let line = got.lines().zip(want.lines()).position(|(a, b)| a != b);
            let line = line.unwrap_or(got.lines().count().min(want.lines().count()));
            wrong.push(format!(
                "{name}.golden line {}:\n  golden {}\n  now    {}",
                line + 1,
                want.lines().nth(line).unwrap_or("(end)"),
                got.lines().nth(line).unwrap_or("(end)"),
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_scenario_shows_its_arithmetic_and_states_numbers() {
    let all = all();
    assert!(all.len() >= 40, "only {} scenarios", all.len());
    for (name, text) in all {
        let scenario = Scenario::parse(&name, &text);
        assert!(scenario.comments > 0, "{name} explains nothing");
        assert!(scenario.expects.len() > 1, "{name} expects next to nothing");
    }
}

/// Each kind of `expect` line fails when what it says is not so.
#[test]
fn a_wrong_expectation_is_found() {
    let load = "session at=0ms\n  turn prompt=16 output=2\n  tool x wall=5ms\n";
    let lies = [
        "steps 3",
        "preemptions 1",
        "evicted 1",
        "recomputed 1",
        "scheduled 18",
        "unfinished 1",
        "windows 1",
        "chunks s0 8 8",
        "starts s0/0 5ms",
        "hits s0/0 16",
        "ready s0/0 1ms",
        "first s0/0 20ms",
        "finish s0 20ms",
        "admit s0 never",
        "admitted none",
        "rejected s0",
        "preempt 0ms s0",
        "pin 20ms s0 2",
        "unpin 25ms s0 Resumed",
        "copies 20ms s0 out 1",
        "paused 5000ms s0",
        "unpaused 5000ms s0",
        "step 10ms s0 decode @17",
        "no-step 10ms",
        "window 0ms W=30",
        "step 30ms s0 decode @17",
        "nonsense 3",
        "finish s7 0ms",
    ];
    for lie in lies {
        let scenario = Scenario::parse("lie", &format!("{load}expect {lie}\n"));
        assert_eq!(scenario.broken(&scenario.run()).len(), 1, "{lie}");
    }
    let mars = "policy mars\nsession at=0ms\n  turn prompt=16 output=1\n";
    for lie in [
        "no-window 0ms",
        "window 0ms W=29",
        "window 0ms over=yes",
        "window 0ms x=1",
    ] {
        let scenario = Scenario::parse("lie", &format!("{mars}expect {lie}\n"));
        assert_eq!(scenario.broken(&scenario.run()).len(), 1, "{lie}");
    }
    let truth = "expect steps 2\nexpect step 10ms s0 decode @16\nexpect finish s0 25ms\n";
    let scenario = Scenario::parse("truth", &format!("{load}{truth}"));
    assert!(scenario.broken(&scenario.run()).is_empty());
}
