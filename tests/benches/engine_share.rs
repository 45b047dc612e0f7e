//! What share of a real step the scheduler takes: planning, the batch's arrays and the step's end against
//! the `cpu` executor's own time, at batch 32 behind 512 tokens, while 1000 turns wait.
//!
//! `cargo bench -p workspace-tests --bench engine_share -- [MODEL...]`, default `random:8m random:28m`: the
//! smaller the model, the larger the share. Prints medians; asserts nothing.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]

use std::time::{Duration, Instant};

use engine::cpu::{CpuExecutor, CpuOptions};
use engine::model::Weights;
use engine::{Batch, Executor};
use units::{BlockSize, Blocks};
use workspace_tests::crowd::{Crowd, STEPS, Short, WAITING, all_inside};
use workspace_tests::machine::preset;

const RUNNING: u32 = 32;

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo passes `--bench`.
    let mut models: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    if models.is_empty() {
        models = ["random:8m", "random:28m"].map(str::to_owned).to_vec();
    }
    println!("batch {RUNNING}, {WAITING} turns wait; microseconds, one thread, int8");
    println!("model        policy          plan    arrays  step end  executor   share");
    for model in &models {
        let weights = Weights::open(model)?;
        let options = CpuOptions {
            threads: Some(1),
            ..CpuOptions::fast()
        };
        // What the crowd's prompts and a block more each take.
        let blocks = Blocks(u64::from(RUNNING) * 40);
        let mut cpu = CpuExecutor::new(&weights, options, blocks, BlockSize::default())?;
        for name in ["fcfs", "mars"] {
            let mut parts = [const { Vec::new() }; 4];
            for _ in 0..3 {
                let policy = preset(name, all_inside(name)).build()?;
                let mut crowd = Crowd::new(policy, RUNNING, Short::OfBlocks);
                for _ in 2..STEPS {
                    let began = Instant::now();
                    let plan = crowd.scheduler.plan(crowd.now)?.ok_or("no plan")?.clone();
                    let planned = Instant::now();
                    let batch = Batch::new(&plan, &crowd.scheduler)?;
                    let laid = Instant::now();
                    let tokens: Vec<u32> = (0..RUNNING).collect();
                    let sampled = cpu.step(&batch, &tokens)?;
                    let computed = Instant::now();
                    assert_eq!(sampled.tokens.len(), tokens.len());
                    crowd.finish_step();
                    parts[0].push(planned - began);
                    parts[1].push(laid - planned);
                    parts[2].push(computed.elapsed());
                    parts[3].push(computed - laid);
                }
            }
            let [plan, arrays, end, step] = parts.each_mut().map(|times| median(times));
            println!(
                "{model:<12} {name:<10} {plan:>9.1} {arrays:>9.1} {end:>9.1} {step:>9.0}  {:>5.2} %",
                (plan + arrays + end) / (plan + arrays + end + step) * 100.0
            );
        }
    }
    Ok(())
}
