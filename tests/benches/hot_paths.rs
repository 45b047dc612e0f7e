//! The hot paths, timed by criterion: `cargo bench -p workspace-tests --bench hot_paths`.
//!
//! A plan with 1, 32 and 256 turns that decode and 1000 that wait; a session that takes 1024 blocks and gives
//! them back; a turn that looks 1024 blocks up. Criterion says how a run compares with the one before on this
//! machine. What must hold on any is in instructions: `experiments/benches/instructions.sh`.

#![allow(
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark reads the clock; criterion's macros make functions"
)]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use workspace_tests::hot::{Hot, PATHS, Path, ROUNDS};

/// The time of so many rounds, without their preparation.
fn time(path: Path, rounds: u64) -> Duration {
    let mut hot = Hot::new(path);
    let mut left = rounds;
    let mut spent = Duration::ZERO;
    while left > 0 {
        let batch = left.min(u64::from(ROUNDS));
        let clock = Instant::now();
        for _ in 0..batch {
            hot.round();
        }
        spent += clock.elapsed();
        left -= batch;
        if left > 0 {
            hot = Hot::new(path);
        }
    }
    spent
}

fn hot_paths(c: &mut Criterion) {
    for (name, path) in PATHS {
        c.bench_function(name, |b| b.iter_custom(|rounds| time(path, rounds)));
    }
}

criterion_group!(benches, hot_paths);
criterion_main!(benches);
