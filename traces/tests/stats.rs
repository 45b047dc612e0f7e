//! Statistics by hand, and against the numbers the reference computed on its own.

mod common;

use std::sync::Arc;

use traces::stats::{Oddity, SHARE_UNIT, Stats, oddities};
use traces::{Command, Known, Session, ToolCall, Turn};
use units::{Nanos, Tokens};

fn ms(ms: u64) -> Nanos {
    Nanos::from_millis(ms)
}

fn turn(prompt: u64, reused: u64, output: u64) -> Turn {
    Turn {
        prompt: Tokens(prompt),
        reused: Tokens(reused),
        output: Known::recorded(Tokens(output)),
        cached: None,
        llm: Some(ms(1_000)),
        tools: Vec::new(),
        think: None,
    }
}

fn tool(name: &str, wall_ms: Option<u64>, cpu_ms: Option<u64>) -> ToolCall {
    ToolCall {
        name: name.into(),
        wall: wall_ms.map(|w| Known::recorded(ms(w))),
        cpu: cpu_ms.map(|c| Known::drawn(ms(c))),
        parallelism: 1,
        command: None,
    }
}

fn session(id: &str, turns: Vec<Turn>) -> Session {
    Session {
        id: id.into(),
        model: None,
        arrival: None,
        shared: vec![],
        parent: None,
        turns,
    }
}

/// Three turns: 100 prompt tokens and 10 out; then 150, so 40 observed; then 60, so the context
/// shrank. Tools of 3 s beside 1 s, then one of 5 s.
fn by_hand() -> Session {
    let mut turns = vec![turn(100, 0, 10), turn(150, 110, 20), turn(60, 50, 30)];
    turns[0].tools = vec![
        tool("Bash", Some(3_000), Some(1_500)),
        tool("Read", Some(1_000), None),
    ];
    turns[1].tools = vec![tool("Bash", Some(5_000), Some(500))];
    turns[1].cached = Some(Tokens(90));
    turns[2].output = Known::estimated(Tokens(30));
    session("a", turns)
}

#[test]
fn a_session_by_hand() {
    let mut stats = Stats::default();
    stats.add(&by_hand());
    assert_eq!(stats.sessions(), 1);
    assert_eq!(stats.turns.sorted().values(), [3]);
    assert_eq!(stats.volume.sorted().values(), [310]);
    assert_eq!(stats.first_prompt.sorted().values(), [100]);
    assert_eq!(stats.peak.sorted().values(), [169]);
    assert_eq!(stats.generated.sorted().values(), [60]);
    assert_eq!(stats.prompt.sorted().values(), [60, 100, 150]);
    assert_eq!(stats.new.sorted().values(), [10, 40, 100]);
    assert_eq!(stats.observation.sorted().values(), [40]);
    assert_eq!(stats.shrunk, 1);
    // 160 of 310 prompt tokens were there before.
    assert_eq!(stats.prefix_reuse(), Some(160.0 / 310.0));
    assert_eq!(stats.cached.share(), Some(90.0 / 150.0));
    // Tools side by side: 3 s and 5 s idle, against 3 s of model.
    assert_eq!(stats.pooled_idle(), Some(8.0 / 11.0));
    assert_eq!(stats.idle_share.sorted().values(), [SHARE_UNIT * 8 / 11]);
    assert_eq!(
        (stats.output_from.recorded, stats.output_from.estimated),
        (2, 1)
    );
    let bash = &stats.tools["Bash"];
    assert_eq!(bash.calls(), 2);
    assert_eq!(bash.wall.sum(), 8_000_000_000);
    // 2 s of CPU in 8 s.
    assert_eq!(bash.cores(), Some(0.25));
    assert_eq!((bash.cpu_from.drawn, bash.cpu_from.unknown), (2, 0));
    let read = &stats.tools["Read"];
    assert_eq!((read.cpu_from.unknown, read.cores()), (1, None));
    let all = stats.all_tools();
    assert_eq!((all.calls(), all.wall.sum()), (3, 9_000_000_000));
    assert_eq!(all.cores(), Some(0.25));
}

/// Gaps over the time from first to last, whatever the order and whoever has none.
#[test]
fn the_recorded_rate_is_that_of_the_gaps() {
    let mut stats = Stats::default();
    for arrival in [Some(9_000), None, Some(1_000), Some(2_000)] {
        stats.add(&Session {
            arrival: arrival.map(ms),
            ..by_hand()
        });
        let two_apart = stats.arrival.len() > 1;
        assert_eq!(stats.arrival_rate_per_s().is_some(), two_apart);
    }
    assert_eq!(stats.arrival_rate_per_s(), Some(0.25));
}

/// What nobody recorded is missing, and not 0.
#[test]
fn the_idle_share_needs_every_time() {
    let mut no_model_time = by_hand();
    no_model_time.turns[1].llm = None;
    let mut no_tool_time = by_hand();
    no_tool_time.turns[0].tools[1].wall = None;
    for session in [no_model_time, no_tool_time] {
        let mut stats = Stats::default();
        stats.add(&session);
        assert!(stats.idle_share.is_empty());
        assert_eq!(stats.pooled_idle(), None);
    }
    assert_eq!(Stats::default().prefix_reuse(), None);
}

#[test]
fn oddities_are_counted_by_kind() {
    let mut odd = by_hand();
    odd.turns[0].llm = Some(Nanos::ZERO);
    odd.turns[0].output = Known::recorded(Tokens(2));
    odd.turns[0].tools[0].wall = Some(Known::recorded(Nanos::ZERO));
    odd.turns[1].reused = Tokens(102);
    odd.turns[1].tools = vec![
        tool("Bash", None, None),
        tool("Bash", Some(3_600_001), Some(0)),
    ];
    odd.turns[1].tools[1].command = Some(Arc::new(Command {
        argv: ["ls".into()].into(),
    }));
    assert_eq!(
        oddities(&odd),
        [
            Oddity::UnknownWalls(1),
            Oddity::UnknownCpus(2),
            Oddity::InstantTools(1),
            Oddity::LongTools(1),
            Oddity::Placeholders(1),
            Oddity::Shrinks(1),
            Oddity::InstantCalls(1),
            Oddity::Commands(1),
        ]
    );
    assert!(Oddity::UnknownCpus(1).hinders() && !Oddity::Shrinks(1).hinders());
    // A drawn time is the draw's business.
    odd.turns[0].tools[0].wall = Some(Known::drawn(Nanos::ZERO));
    assert!(!oddities(&odd).contains(&Oddity::InstantTools(1)));
    assert_eq!(
        oddities(&by_hand()),
        [Oddity::UnknownCpus(1), Oddity::Shrinks(1)]
    );
    assert_eq!(oddities(&session("plain", vec![turn(5, 0, 5)])), []);
}

/// The reference's fits state, for the 334 recorded mini-swe-agent sessions: turns 35 / 63 / 110,
/// outputs 89 / 691 / 2,386, observations 103 / 787 / 3,422 of 12,369 turns (p50 / p90 / p99, each
/// rounded to what is printed).
#[test]
fn the_references_quantiles_come_out() {
    let Some(folder) = common::recordings() else {
        return;
    };
    let mut stats = Stats::default();
    for record in common::oracle(&folder, "mini-swe-agent-gemini3pro")
        .values()
        .flatten()
    {
        let count = |turn: &serde_json::Value, key: &str| turn[key].as_u64().expect("a count");
        let turns = record["turns"].as_array().expect("turns");
        let turns = turns
            .iter()
            .map(|t| turn(count(t, "prompt"), 0, count(t, "output")));
        stats.add(&session("recorded", turns.collect()));
    }
    assert_eq!(stats.sessions(), 334);
    assert_eq!(stats.observation.len(), 12_369);
    let quantiles = |sample: &traces::stats::Sample| {
        let sorted = sample.sorted();
        [0.5, 0.9, 0.99].map(|share| sorted.quantile(share).expect("numbers"))
    };
    for (sample, wanted) in [
        (&stats.turns, [35.0, 63.0, 110.0]),
        (&stats.output, [89.0, 691.0, 2386.0]),
        (&stats.observation, [103.0, 787.0, 3422.0]),
    ] {
        for (got, wanted) in quantiles(sample).into_iter().zip(wanted) {
            // The reference prints whole numbers.
            assert!((got - wanted).abs() <= 0.5, "{got} is not {wanted}");
        }
    }
}
