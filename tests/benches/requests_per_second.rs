//! Simulated requests per second on the peers' load: prompt 1000, output 200, Poisson 5/s, one
//! replica (Llama-3.1-8B on an H100), and on an agentic one: 300 sessions of 30 turns.
//!
//! Prints; asserts nothing. Absolute times belong to a machine, so compare runs side by side.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use scheduler::Config;
use sim::arrivals::Arrivals;
use sim::spec::{Catalog, Hardware};
use sim::world::{NoObserver, Offered, Setup, ToolMode, simulate};
use traces::model::Session;
use workspace_tests::machine::{offered, preset, turn, with_tool};

fn setup(model: &str) -> Setup {
    let hardware =
        Hardware::new(&Catalog::builtin(), "h100-sxm", model, 0.9).expect("a known machine");
    let engine = Config {
        usable_blocks: hardware.usable_blocks(units::BlockSize::default()),
        ..Config::default()
    };
    Setup {
        engine,
        cost: Arc::new(hardware.cost),
        tools: ToolMode::Shared(NonZeroU32::new(8).expect("not zero")),
        horizon: None,
        sample_every: None,
    }
}

fn load(session: &Arc<Session>, count: usize, rate: f64) -> impl Iterator<Item = Offered> {
    let times = Arrivals::Poisson { rate_per_s: rate }
        .times(1)
        .expect("a rate");
    let session = Arc::clone(session);
    times.take(count).map(move |arrival| Offered {
        session: Arc::clone(&session),
        arrival,
    })
}

fn main() {
    println!("load                     policy  requests  steps      seconds  requests/s");
    let chat = offered(0.0, vec![turn(1000, 0, 200)]).session;
    let agentic = {
        let turns = (0..30_u64).map(|i| {
            let before = if i == 0 {
                0
            } else {
                12_000 + (i - 1) * 450 + 233
            };
            let plain = turn(12_000 + i * 450, before.min(12_000 + i * 450), 233);
            if i < 29 {
                with_tool(plain, "bash", 2.0, 1.1)
            } else {
                plain
            }
        });
        offered(0.0, turns.collect()).session
    };
    for (name, session, count, rate, turns, model) in [
        ("chat 1000/200 at 5/s", &chat, 1_000, 5.0, 1, "llama-3.1-8b"),
        (
            "chat 1000/200 at 5/s",
            &chat,
            10_000,
            5.0,
            1,
            "llama-3.1-8b",
        ),
        (
            "chat 1000/200 at 5/s",
            &chat,
            100_000,
            5.0,
            1,
            "llama-3.1-8b",
        ),
        (
            "agentic 300 x 30",
            &agentic,
            300,
            0.02,
            30,
            "qwen3-coder-30b-a3b",
        ),
    ] {
        let setup = setup(model);
        for policy in ["fcfs", "mars"] {
            let policy_built = preset(policy, &[]).build().expect("a preset");
            let start = Instant::now();
            let summary = simulate(
                &setup,
                policy_built,
                load(session, count, rate),
                &mut NoObserver,
            )
            .expect("a run");
            let seconds = start.elapsed().as_secs_f64();
            assert_eq!(
                summary.completed, summary.offered,
                "every request completes"
            );
            #[expect(clippy::cast_precision_loss, reason = "for print")]
            let requests = (count * turns) as f64;
            println!(
                "{name:<24} {policy:<7} {requests:>8} {:>9} {seconds:>9.3} {:>11.0}",
                summary.counters.steps,
                requests / seconds,
            );
        }
    }
}
