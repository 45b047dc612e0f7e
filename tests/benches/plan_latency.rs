//! How long one `plan()` takes, for every preset, with 1, 32 and 256 turns that decode and 1000 that wait.
//!
//! Prints percentiles; asserts nothing. Absolute times belong to a machine; `tests/tests/counts.rs` holds
//! what a plan asks of a policy, in counts.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]

use std::time::Instant;

use policies::PRESETS;
use workspace_tests::crowd::{Crowd, STEPS, Short, WAITING, all_inside};
use workspace_tests::machine::preset;

fn main() {
    println!("plan(), microseconds, {WAITING} turns wait");
    println!("preset               running  short of       p50      p99      max");
    for (name, _) in PRESETS {
        for running in [1, 32, 256] {
            for short in [Short::OfPlaces, Short::OfBlocks] {
                let mut times = Vec::new();
                for _ in 0..100 {
                    let policy = preset(name, all_inside(name)).build().expect("a preset");
                    let mut crowd = Crowd::new(policy, running, short);
                    for _ in 2..STEPS {
                        let began = Instant::now();
                        let planned = crowd.scheduler.plan(crowd.now).is_ok();
                        times.push(began.elapsed());
                        assert!(planned, "{name} plans");
                        crowd.finish_step();
                    }
                }
                times.sort_unstable();
                let at =
                    |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
                println!(
                    "{name:<20} {running:>7}  {:<8} {:>9.1} {:>8.1} {:>8.1}",
                    match short {
                        Short::OfPlaces => "places",
                        Short::OfBlocks => "blocks",
                    },
                    at(50),
                    at(99),
                    at(100),
                );
            }
        }
    }
}
