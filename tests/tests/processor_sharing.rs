//! Processor sharing against this machine: real processes on two pinned cores end when the model says.
//!
//! It needs two cores that nobody else uses, so it does not run by default:
//! `cargo test --release -p workspace-tests --test processor_sharing -- --ignored`. Where two cores or
//! `taskset` are missing, or one process alone is not repeatable within 2 %, it says so and passes.

#![allow(
    clippy::disallowed_methods,
    reason = "it measures real processes with a real clock"
)]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sim::tool_cpu::{CallId, Demand, ToolCpu};
use units::{Nanos, Time};

const ROUNDS: &str = "SPIN_ROUNDS";

/// Work of so many rounds; nothing that a compiler can see through.
fn spin(rounds: u64) {
    let mut x = 1_u64;
    for _ in 0..rounds {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// What the processes do that the test starts: this very program, asked for this one test.
#[test]
#[ignore = "a part of the measurement, not a test"]
fn child() {
    if let Ok(rounds) = std::env::var(ROUNDS) {
        spin(rounds.parse().expect("a number"));
    }
}

fn start(cores: &str, rounds: u64) -> std::io::Result<Child> {
    Command::new("taskset")
        .args(["-c", cores])
        .arg(std::env::current_exe()?)
        .args(["--exact", "child", "--ignored"])
        .env(ROUNDS, rounds.to_string())
        .stdout(Stdio::null())
        .spawn()
}

fn alone(rounds: u64) -> Option<Duration> {
    let began = Instant::now();
    let done = start("0", rounds).ok()?.wait().ok()?;
    done.success().then(|| began.elapsed())
}

/// When each call ends by the model, for calls of `(start, CPU)` on two cores.
fn model(calls: &[(Duration, Duration)]) -> Vec<Duration> {
    let ns = |d: Duration| u64::try_from(d.as_nanos()).expect("seconds");
    let mut cores = ToolCpu::shared(NonZeroU32::new(2).expect("two"));
    let mut ends = vec![Duration::ZERO; calls.len()];
    let mut note = |cores: &mut ToolCpu, until: Option<Time>| {
        while let Some(at) = cores
            .next_change()
            .filter(|&at| until.is_none_or(|t| at <= t))
        {
            for end in cores.advance(at) {
                let id = usize::try_from(end.id.0).expect("few");
                ends[id] = Duration::from_nanos(end.at.as_nanos());
            }
        }
    };
    for (id, &(begins, cpu)) in calls.iter().enumerate() {
        let now = Time::from_nanos(ns(begins));
        note(&mut cores, Some(now));
        let cpu = Nanos::new(ns(cpu));
        let demand = Demand::new(cpu, cpu, 1).expect("possible");
        cores.start(now, CallId(id as u64), demand);
    }
    note(&mut cores, None);
    ends
}

#[test]
#[ignore = "needs two cores that nobody else uses"]
fn real_processes_share_two_cores_as_the_model_says() {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores < 2 {
        eprintln!("skipped: {cores} core");
        return;
    }
    // Rounds of about a second, by what a short run takes.
    let trial = 1_u64 << 26;
    let clock = Instant::now();
    spin(trial);
    let ns = clock.elapsed().as_nanos().max(1);
    let rounds = u64::try_from(u128::from(trial) * 1_000_000_000 / ns).expect("not so fast");
    let times: Option<Vec<Duration>> = (0..5).map(|_| alone(rounds)).collect();
    let Some(times) = times else {
        eprintln!("skipped: `taskset` cannot start a process on core 0");
        return;
    };
    let (least, most) = (
        times.iter().min().expect("five"),
        times.iter().max().expect("five"),
    );
    let spread = most.as_secs_f64() / least.as_secs_f64() - 1.0;
    if spread > 0.02 {
        eprintln!(
            "skipped: one process alone takes {least:?} to {most:?}: somebody else is at work"
        );
        return;
    }
    // Start in ms and work in tenths of a second, up to five processes on two cores: each of them meets
    // another company over time.
    let plan = [(0, 10), (0, 20), (0, 15), (1000, 10), (1500, 20)];
    let clock = Instant::now();
    let mut calls = Vec::new();
    let mut children = Vec::new();
    for (begins_ms, tenths) in plan {
        let begins = Duration::from_millis(begins_ms);
        std::thread::sleep(begins.saturating_sub(clock.elapsed()));
        calls.push((clock.elapsed(), *least * tenths / 10));
        children.push(start("0,1", rounds * u64::from(tenths) / 10).expect("it could before"));
    }
    let waiting: Vec<_> = children
        .into_iter()
        .map(|mut child| {
            std::thread::spawn(move || {
                child.wait().expect("it was started");
                clock.elapsed()
            })
        })
        .collect();
    let real: Vec<Duration> = waiting
        .into_iter()
        .map(|w| w.join().expect("a thread"))
        .collect();
    let predicted = model(&calls);
    let mut wrong = Vec::new();
    for (((begins, _), real), predicted) in calls.iter().zip(&real).zip(&predicted) {
        let (took, wanted) = (
            real.saturating_sub(*begins),
            predicted.saturating_sub(*begins),
        );
        let off = took.as_secs_f64() / wanted.as_secs_f64() - 1.0;
        eprintln!("took {took:?}, model {wanted:?}: {:+.1} %", off * 100.0);
        if off.abs() > 0.05 {
            wrong.push(off);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
