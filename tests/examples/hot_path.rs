//! So many rounds of one hot path, for a profiler to count: `hot_path NAME ROUNDS`.
//!
//! Run with one number of rounds and with another, the difference is what the rounds take, without their
//! preparation; `experiments/benches/instructions.sh` does that under valgrind.

use std::process::ExitCode;

use workspace_tests::hot::{Hot, PATHS, ROUNDS};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let path = words.next().and_then(|word| {
        let known = PATHS.iter().find(|(name, _)| *name == word);
        known.map(|(_, path)| *path)
    });
    let rounds: Option<u32> = words.next().and_then(|word| word.parse().ok());
    let (Some(path), Some(rounds)) = (path, rounds.filter(|n| *n <= ROUNDS)) else {
        let names: Vec<&str> = PATHS.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "usage: hot_path NAME ROUNDS, at most {ROUNDS}, where NAME is one of {}",
            names.join(", ")
        );
        return ExitCode::from(2);
    };
    let mut hot = Hot::new(path);
    for _ in 0..rounds {
        hot.round();
    }
    ExitCode::SUCCESS
}
