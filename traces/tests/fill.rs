//! Draws: that they follow the fits, belong to their session, and leave what is known alone.

use traces::fill::{Fill, SESSION_CORRELATION};
use traces::fit::{self, Mixture, normal_share_below};
use traces::{Evidence, Known, Session, ToolCall, Turn};
use units::{Nanos, Tokens};

const LIMIT: Nanos = Nanos::from_millis(120_000);

fn tool(name: &str) -> ToolCall {
    ToolCall {
        name: name.into(),
        wall: None,
        cpu: None,
        parallelism: 1,
        command: None,
    }
}

fn session(tools: Vec<ToolCall>) -> Session {
    Session {
        id: "s".into(),
        model: None,
        arrival: None,
        shared: vec![],
        parent: None,
        turns: vec![Turn {
            prompt: Tokens(1),
            reused: Tokens(0),
            output: Known::recorded(Tokens(1)),
            cached: None,
            llm: None,
            tools,
            think: None,
        }],
    }
}

/// Drawn wall times of `n` sessions of `calls` calls each.
fn walls(name: &str, n: usize, calls: usize) -> Vec<Vec<Nanos>> {
    let mut sessions = vec![session(vec![tool(name); calls]); n];
    let filled = Fill::new(7).sessions(&mut sessions);
    assert_eq!(filled.walls, (n * calls) as u64);
    let wall = |tool: &ToolCall| tool.wall.unwrap().value;
    sessions
        .iter()
        .map(|s| s.turns[0].tools.iter().map(wall).collect())
        .collect()
}

/// Share of a mixture below `x` seconds by adding up its density: nothing shared with the crate.
fn integrated(mixture: Mixture, x: f64) -> f64 {
    let steps = 20_000_u32;
    let (low, high) = (-25.0_f64, x.ln());
    let width = (high - low) / f64::from(steps);
    let density = |y: f64| -> f64 {
        let parts = mixture.0.iter().map(|(weight, mu, sigma)| {
            let z = (y - mu) / sigma;
            weight * (-0.5 * z * z).exp() / (sigma * std::f64::consts::TAU.sqrt())
        });
        parts.sum()
    };
    (0..steps)
        .map(|i| density(low + (f64::from(i) + 0.5) * width) * width)
        .sum()
}

/// A quantile of the mixture cut off at the limit, by bisection over the added-up density.
fn quantile(mixture: Mixture, p: f64, limit: f64) -> f64 {
    let target = p * integrated(mixture, limit);
    let (mut low, mut high) = (1e-6_f64, limit);
    for _ in 0..40 {
        let middle = (low * high).sqrt();
        if integrated(mixture, middle) < target {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn draws_follow_the_fit() {
    // One call a session: independent draws, so the number below a true quantile is binomial.
    // Four standard deviations: one of these twelve checks fails by chance once in 1,300 seeds.
    let n = 20_000;
    for (name, mixture) in [
        ("Bash", fit::SHELL),
        ("bash", fit::SHELL),
        ("Read", fit::READ),
        ("Edit", fit::EDIT),
        ("Grep", fit::ANY_TOOL),
        ("Task", fit::SUB_AGENT),
    ] {
        let limit = if name == "Task" { 1e7 } else { 120.0 };
        let drawn: Vec<f64> = walls(name, n, 1)
            .iter()
            .map(|calls| calls[0].as_secs())
            .collect();
        for p in [0.5, 0.9] {
            let at = quantile(mixture, p, limit);
            let below = drawn.iter().filter(|wall| **wall <= at).count() as f64 / n as f64;
            let deviation = (p * (1.0 - p) / n as f64).sqrt();
            eprintln!(
                "{name}: p{} of the fit {at:.3} s, share of draws below it {below:.4}",
                p * 100.0
            );
            assert!((below - p).abs() < 4.0 * deviation, "{name} p{p}: {below}");
        }
        assert!(drawn.iter().all(|wall| *wall <= limit));
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn shell_commands_of_a_session_are_alike_as_measured() {
    let n = 20_000;
    let score = |wall: Nanos| {
        let share = fit::SHELL.share_below(wall) / fit::SHELL.share_below(LIMIT);
        let (mut low, mut high) = (-8.0_f64, 8.0_f64);
        for _ in 0..50 {
            let middle = low.midpoint(high);
            if normal_share_below(middle) < share {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    };
    let correlation = |name: &str| {
        let pairs = walls(name, n, 2);
        // Scores have mean 0 and variance 1 by construction.
        pairs
            .iter()
            .map(|pair| score(pair[0]) * score(pair[1]))
            .sum::<f64>()
            / n as f64
    };
    // Variance of a product of two standard normals with correlation r is 1 + r^2.
    let deviation = ((1.0 + SESSION_CORRELATION * SESSION_CORRELATION) / n as f64).sqrt();
    let measured = correlation("Bash");
    assert!(
        (measured - SESSION_CORRELATION).abs() < 4.0 * deviation,
        "{measured}"
    );
    // The recordings say 0.16.
    assert!((SESSION_CORRELATION - 0.16).abs() < 0.005);
}

#[test]
fn a_draw_belongs_to_its_session_and_its_place() {
    let mut alone = vec![session(vec![tool("Bash"); 3]); 2];
    let mut more = vec![session(vec![tool("Bash"); 3]); 9];
    more[0].turns[0].tools.push(tool("Read"));
    more[1].turns[0].tools[0].wall = Some(Known::recorded(Nanos::from_millis(5)));
    Fill::new(1).sessions(&mut alone);
    Fill::new(1).sessions(&mut more);
    assert_eq!(alone[0].turns[0].tools, more[0].turns[0].tools[..3]);
    assert_eq!(alone[1].turns[0].tools[1..], more[1].turns[0].tools[1..]);
    let mut other = vec![session(vec![tool("Bash"); 3]); 2];
    Fill::new(2).sessions(&mut other);
    assert_ne!(alone, other);
}

#[test]
fn the_same_seed_draws_the_same_for_ever() {
    let mut sessions = [session(vec![
        tool("Bash"),
        tool("Read"),
        tool("Task"),
        tool("Grep"),
    ])];
    Fill::new(1).sessions(&mut sessions);
    let micros: Vec<u64> = sessions[0].turns[0]
        .tools
        .iter()
        .map(|t| t.wall.unwrap().value.as_nanos() / 1000)
        .collect();
    assert_eq!(micros, [862_581, 52_395, 31_353_830, 42_460]);
}

#[test]
fn known_values_stay_and_drawn_ones_say_so() {
    let known = Known::recorded(Nanos::from_millis(2000));
    let with = |name: &str, wall, cpu| ToolCall {
        wall,
        cpu,
        ..tool(name)
    };
    let mut sessions = [session(vec![
        with("Bash", Some(known), None),
        with("Bash", Some(known), Some(known)),
        with("Task", Some(known), None),
        with(
            "Bash",
            None,
            Some(Known::recorded(Nanos::from_millis(500_000))),
        ),
        with("Bash", None, None),
    ])];
    let filled = Fill::new(1).sessions(&mut sessions);
    assert_eq!((filled.walls, filled.cpus), (2, 3));
    let tools = &sessions[0].turns[0].tools;
    assert_eq!(tools[0].wall, Some(known));
    assert_eq!(tools[0].cpu, Some(Known::drawn(Nanos::from_millis(1100))));
    assert_eq!(tools[1].cpu, Some(known));
    assert_eq!(tools[2].cpu, Some(Known::drawn(Nanos::ZERO)));
    assert_eq!(
        tools[3].wall,
        Some(Known::drawn(Nanos::from_millis(500_000)))
    );
    assert_eq!(tools[4].wall.unwrap().evidence, Evidence::Drawn);
    assert_eq!(sessions[0].check(), Ok(()));
}
