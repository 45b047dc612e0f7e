//! Replays a trace file under one policy and prints latencies: the whole process without Parquet files,
//! so that the time and the memory of a simulation can be seen from outside.
//!
//! `replay FILE [KEY=VALUE ...]`: every session of the file `times` times over (1), arriving as a Poisson
//! process of `rate` sessions per second (1), under `policy` (fcfs) on `gpu` (h100-sxm) with `model`
//! (llama-3.1-8b), tools on 8 cores; 8192 tokens a step, 256 turns, `kv_blocks` blocks of 16 (what the
//! GPU has room for). `fast_forward=off` plans every step. `cost=T0,T0P,TP,TD,TK` is a linear step cost
//! instead of the GPU's: seconds per step, per step with a prefill, per prefilled token, per decoding turn
//! and per token of its context.
//! Sessions are offered as they are read and latencies are counted in classes of 3 %, so memory grows
//! with the sessions in flight.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example reads a file and prints"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::num::NonZeroU32;
use std::sync::Arc;

use scheduler::Config;
use sim::arrivals::Arrivals;
use sim::cost::{BatchShape, StepCost};
use sim::spec::{Catalog, Hardware};
use sim::world::{Observer, Offered, SessionRecord, Setup, ToolMode, TurnRecord, simulate};
use traces::TraceReader;
use units::{BlockSize, Blocks, Nanos, Tokens};
use workspace_tests::machine::preset;

/// Counts of spans in classes that are 1/32 of a power of two wide.
struct Spread {
    counts: Vec<u64>,
    total: u64,
    sum_s: f64,
}

impl Spread {
    fn new() -> Self {
        Self {
            counts: vec![0; 64 * 32],
            total: 0,
            sum_s: 0.0,
        }
    }

    fn add(&mut self, span: Nanos) {
        let ns = span.as_nanos().max(32);
        let power = ns.ilog2();
        let class = power as usize * 32 + usize::try_from((ns >> (power - 5)) & 31).unwrap_or(0);
        self.counts[class] += 1;
        self.total += 1;
        self.sum_s += span.as_secs();
    }

    /// The upper end of the class that holds this share of the spans, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "for print")]
    fn quantile(&self, percent: u64) -> f64 {
        let mut left = (self.total * percent).div_ceil(100);
        for (class, &count) in self.counts.iter().enumerate() {
            if count >= left {
                let (power, part) = (class / 32, class % 32);
                return (1_u64 << power) as f64 * (33 + part) as f64 / 32.0 / 1e9;
            }
            left -= count;
        }
        f64::NAN
    }

    #[expect(clippy::cast_precision_loss, reason = "for print")]
    fn print(&self, name: &str) {
        println!(
            "{name:<12} mean {:>10.3}  p50 {:>10.3}  p90 {:>10.3}  p99 {:>10.3}",
            self.sum_s / self.total as f64,
            self.quantile(50),
            self.quantile(90),
            self.quantile(99),
        );
    }
}

/// `t0 + t0p * [prefill] + tp * prefilled + td * decodes + tk * context`, in femtoseconds.
#[derive(Debug)]
struct Linear([u64; 5]);

impl Linear {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes time in this one place; checked to be in range"
    )]
    fn parse(text: &str) -> Result<Self, Box<dyn Error>> {
        let mut all = [0; 5];
        let mut words = text.split(',');
        for one in &mut all {
            let seconds: f64 = words.next().ok_or("cost needs five numbers")?.parse()?;
            if !(0.0..10.0).contains(&seconds) {
                return Err("a cost is 0 to 10 seconds".into());
            }
            *one = (seconds * 1e15).round() as u64;
        }
        Ok(Self(all))
    }
}

impl StepCost for Linear {
    fn step(&self, shape: &BatchShape) -> Nanos {
        let [t0, t0p, tp, td, tk] = self.0.map(u128::from);
        let sum = t0
            + t0p * u128::from(u64::from(shape.prefill_chunks > 0))
            + tp * u128::from(shape.prefill_tokens)
            + td * u128::from(shape.decodes)
            + tk * u128::from(shape.decode_context);
        Nanos::new(u64::try_from((sum + 500_000) / 1_000_000).unwrap_or(u64::MAX))
    }
}

struct Latencies {
    first_token: Spread,
    session: Spread,
}

impl Observer for Latencies {
    fn wants_steps(&self) -> bool {
        false
    }

    fn turn(&mut self, turn: &TurnRecord) {
        self.first_token.add(turn.first_token.since(turn.ready));
    }

    fn session(&mut self, record: SessionRecord) {
        if let Some(finished) = record.finished {
            self.session.add(finished.since(record.arrival));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for print")]
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (path, rest) = args
        .split_first()
        .ok_or("usage: replay FILE [KEY=VALUE ...]")?;
    let mut set = BTreeMap::from([
        ("gpu", "h100-sxm"),
        ("model", "llama-3.1-8b"),
        ("policy", "fcfs"),
        ("rate", "1"),
        ("times", "1"),
        ("kv_blocks", ""),
        ("fast_forward", "on"),
        ("cost", ""),
    ]);
    for arg in rest {
        let (key, value) = arg.split_once('=').ok_or("wanted KEY=VALUE")?;
        let known = set
            .get_mut(key)
            .ok_or_else(|| format!("unknown key `{key}`"))?;
        *known = value;
    }
    let times: usize = set["times"].parse()?;
    let hardware = Hardware::new(&Catalog::builtin(), set["gpu"], set["model"], 0.9)?;
    let usable_blocks = match set["kv_blocks"] {
        "" => hardware.usable_blocks(BlockSize::default()),
        count => Blocks(count.parse()?),
    };
    let engine = Config {
        usable_blocks,
        token_budget: Tokens(8192),
        max_running: 256,
        fast_forward: set["fast_forward"] != "off",
        ..Config::default()
    };
    let setup = Setup {
        engine,
        cost: match set["cost"] {
            "" => Arc::new(hardware.cost),
            text => Arc::new(Linear::parse(text)?),
        },
        tools: ToolMode::Shared(NonZeroU32::new(8).expect("not zero")),
        horizon: None,
        sample_every: None,
    };
    let arrivals = Arrivals::Poisson {
        rate_per_s: set["rate"].parse()?,
    };
    let sessions = TraceReader::open(File::open(path)?)?.flat_map(move |read| {
        let session = Arc::new(read.expect("a readable session"));
        std::iter::repeat_n(session, times)
    });
    let load = sessions
        .zip(arrivals.times(42)?)
        .map(|(session, arrival)| Offered { session, arrival });
    let mut seen = Latencies {
        first_token: Spread::new(),
        session: Spread::new(),
    };
    let policy = preset(set["policy"], &[]).build()?;
    let s = simulate(&setup, policy, load, &mut seen)?;
    println!(
        "{} sessions, {} completed, {:.1} s simulated, {} steps ({} repeated), {} preemptions, \
         {} M tokens computed, {:.1} % of prompts hit, {} tool calls stretched {:.2}x",
        s.offered,
        s.completed,
        s.makespan.as_secs(),
        s.counters.steps,
        s.repeated_steps,
        s.counters.preemptions,
        s.counters.scheduled / 1_000_000,
        s.counters.hit as f64 * 100.0 / s.counters.prompt as f64,
        s.tool_calls,
        s.tool_stretch().unwrap_or(1.0),
    );
    seen.first_token.print("first token");
    seen.session.print("session");
    Ok(())
}
