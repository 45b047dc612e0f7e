//! The presets against the recordings they stand for: distances between distributions.

mod common;

use common::{archived_files, recordings};
use traces::generate::preset;
use traces::import::{claude_code, mini_swe};
use traces::{Session, bundled};

/// Two-sample Kolmogorov-Smirnov distance: the largest difference between the shares below any value.
#[expect(clippy::cast_precision_loss, reason = "small samples")]
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values
    };
    let (a, b) = (sorted(a), sorted(b));
    let share =
        |values: &[f64], x| values.partition_point(|v| *v <= x) as f64 / values.len() as f64;
    let at = a
        .iter()
        .chain(&b)
        .map(|x| (share(&a, *x) - share(&b, *x)).abs());
    at.fold(0.0, f64::max)
}

#[test]
fn the_distance_is_the_largest_gap() {
    assert!((distance(&[1.0, 2.0], &[1.0, 2.0]) - 0.0).abs() < 1e-12);
    assert!((distance(&[1.0, 2.0], &[3.0]) - 1.0).abs() < 1e-12);
    // Below 2: two of four against none of two.
    assert!((distance(&[1.0, 1.0, 3.0, 5.0], &[2.0, 4.0]) - 0.5).abs() < 1e-12);
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn number(n: u64) -> f64 {
    n as f64
}

fn turns(sessions: &[Session]) -> Vec<f64> {
    sessions
        .iter()
        .map(|s| number(s.turns.len() as u64))
        .collect()
}

fn first_prompts(sessions: &[Session]) -> Vec<f64> {
    sessions
        .iter()
        .map(|s| number(s.turns[0].prompt.0))
        .collect()
}

fn outputs(sessions: &[Session]) -> Vec<f64> {
    let turns = sessions.iter().flat_map(|s| &s.turns);
    turns.map(|t| number(t.output.value.0)).collect()
}

/// What each prompt has beyond the one before and its output, where it has anything.
fn observations(sessions: &[Session]) -> Vec<f64> {
    let pairs = sessions.iter().flat_map(|s| s.turns.windows(2));
    let added = pairs.filter_map(|pair| {
        let before = pair[0].prompt + pair[0].output.value;
        pair[1].prompt.0.checked_sub(before.0)
    });
    added.filter(|n| *n > 0).map(number).collect()
}

/// The same between the first two prompts alone.
fn first_observations(sessions: &[Session]) -> Vec<f64> {
    let opening = |s: &Session| Session {
        turns: s.turns.iter().take(2).cloned().collect(),
        ..s.clone()
    };
    observations(&sessions.iter().map(opening).collect::<Vec<_>>())
}

/// Seconds of the tool calls whose name passes.
fn walls(sessions: &[Session], name: impl Fn(&str) -> bool) -> Vec<f64> {
    let calls = sessions
        .iter()
        .flat_map(|s| &s.turns)
        .flat_map(|t| &t.tools);
    let named = calls.filter(|call| name(&call.name));
    named
        .filter_map(|call| call.wall.map(|w| w.value.as_secs()))
        .collect()
}

#[track_caller]
fn near(what: &str, recorded: &[f64], generated: &[f64], most: f64) {
    let distance = distance(recorded, generated);
    eprintln!(
        "{what}: {} recorded, {} generated, distance {distance:.4}",
        recorded.len(),
        generated.len()
    );
    assert!(
        distance <= most,
        "{what}: {distance} (wanted: at most {most})"
    );
}

fn generated(name: &str) -> Vec<Session> {
    preset(name).expect("a preset").sessions(1, 3_000).collect()
}

#[test]
fn swebench_has_the_tokens_of_mini_swe_agent() {
    let Some(folder) = recordings() else { return };
    let files = archived_files(&folder.join("mini-swe-agent-gemini3pro"));
    let recorded: Vec<Session> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".traj.json"))
        .map(|(name, bytes)| mini_swe::import(bytes, name).expect(name).0.session)
        .collect();
    assert_eq!(recorded.len(), 334);
    let generated = generated("swebench");
    near("turns", &turns(&recorded), &turns(&generated), 0.05);
    near(
        "first prompt",
        &first_prompts(&recorded),
        &first_prompts(&generated),
        0.05,
    );
    near("output", &outputs(&recorded), &outputs(&generated), 0.05);
    near(
        "first observation",
        &first_observations(&recorded),
        &first_observations(&generated),
        0.05,
    );
    near(
        "observation",
        &observations(&recorded),
        &observations(&generated),
        0.05,
    );
}

#[test]
fn tool_times_are_those_of_haiku() {
    let Some(folder) = recordings() else { return };
    let files = archived_files(&folder.join("agentcgroup-claude-code"));
    let mut recorded = Vec::new();
    for (name, bytes) in files
        .iter()
        .filter(|(name, _)| name.ends_with("trace.jsonl"))
    {
        let (imported, _) = claude_code::import(&bytes[..], name, None).expect(name);
        let sessions = imported.into_iter().map(|i| i.session);
        recorded.extend(sessions.filter(|session| {
            let haiku = session
                .model
                .as_deref()
                .is_some_and(|m| m.contains("haiku-4-5"));
            haiku && session.parent.is_none()
        }));
    }
    let shell = walls(&recorded, |name| name == "Bash");
    assert!(shell.len() > 700, "{}", shell.len());
    near(
        "Bash, swebench",
        &shell,
        &walls(&generated("swebench"), |_| true),
        0.10,
    );

    let claude_code = generated("claude-code");
    near(
        "Bash, claude-code",
        &shell,
        &walls(&claude_code, |name| name == "Bash"),
        0.10,
    );
    let no_agent = |name: &str| !name.starts_with("Task");
    near(
        "all but sub-agents",
        &walls(&recorded, no_agent),
        &walls(&claude_code, no_agent),
        0.10,
    );
    for name in ["Read", "Edit", "TodoWrite"] {
        near(
            name,
            &walls(&recorded, |n| n == name),
            &walls(&claude_code, |n| n == name),
            0.10,
        );
    }
    near("output", &outputs(&recorded), &outputs(&claude_code), 0.05);
    near(
        "observation",
        &observations(&recorded),
        &observations(&claude_code),
        0.05,
    );
}

#[test]
fn swebench_cannot_be_told_from_the_bundled_recording() {
    // Distance that two samples of one distribution pass once in 1,000 times. Values of one session
    // are alike (correlation r), so n of them in sessions of 36 tell as much as n / (1 + 35 r).
    let limit = |n: usize, m: usize, r: f64| {
        let each = |n: usize| (1.0 + 35.0 * r) / number(n as u64);
        ((2.0_f64 / 0.001).ln() / 2.0).sqrt() * (each(n) + each(m)).sqrt()
    };
    let (_, recorded) = bundled::swebench_mini();
    let generated = generated("swebench");
    let same = |what, of: &dyn Fn(&[Session]) -> Vec<f64>, r| {
        let (a, b) = (of(&recorded), of(&generated));
        near(what, &a, &b, limit(a.len(), b.len(), r));
    };
    same("turns", &turns, 0.0);
    same("first prompt", &first_prompts, 0.0);
    same("output", &outputs, 0.01);
    same("observation", &observations, 0.011);
    same("tool time", &|sessions| walls(sessions, |_| true), 0.157);
}
