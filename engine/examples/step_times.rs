//! Times steps of the `cpu` executor: decodes and prefills of given sizes.
//!
//! Usage: `cargo run --release -p engine --example step_times -- [MODEL] [option=value...]`
//!
//! MODEL is a GGUF file, a folder with safetensors, or `random:SHAPE` (default `random:28m`). Options:
//! `mode=f32|bf16|int8`, `kv=f32|bf16`, `threads=N`, `isa=avx512-vnni|avx2|portable`, `block=N` (tokens,
//! default 16), `repeat=N` (default 5; the median is printed), and cases: `decode=BATCHxCONTEXT,...`,
//! `prefill=TOKENS@CONTEXT,...`, `mixed=BATCHxCONTEXT+TOKENS,...`. With any case given, only those run.
//!
//! Prints one line a case: wall and CPU milliseconds a step, tokens computed a second of either.

#![allow(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock, divides and prints"
)]

use std::time::Instant;

use engine::cpu::{CpuExecutor, CpuOptions, Isa, KvFormat, Mode};
use engine::model::Weights;
use engine::{Batch, Executor, Row};
use nix::time::{ClockId, clock_gettime};
use units::{BlockSize, Blocks, SessionId, Tokens};

type Failure = Box<dyn std::error::Error>;

/// Turns of one kind: how many, tokens already in KV, tokens to compute for each.
#[derive(Clone, Copy, Debug)]
struct Turns {
    count: u64,
    context: u64,
    tokens: u64,
}

impl Turns {
    fn blocks(self, size: u64) -> u64 {
        self.count * (self.context + self.tokens).div_ceil(size)
    }
}

/// A step to time.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    turns: Vec<Turns>,
}

#[derive(Debug)]
struct Options {
    model: String,
    cpu: CpuOptions,
    block: u64,
    repeat: usize,
    cases: Vec<Case>,
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            std::process::ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Failure> {
    let options = parse(std::env::args().skip(1))?;
    let began = Instant::now();
    let weights = Weights::open(&options.model)?;
    let read = began.elapsed().as_secs_f64();
    let size = BlockSize::new(options.block).ok_or("block=0: a block holds at least one token")?;
    let need = |case: &Case| -> u64 { case.turns.iter().map(|t| t.blocks(options.block)).sum() };
    let blocks = options.cases.iter().map(need).max().unwrap_or(1);
    let mut cpu = CpuExecutor::new(&weights, options.cpu, Blocks(blocks), size)?;
    drop(weights);
    let chosen = cpu.options();
    println!(
        "{}: {} weights, {} KV, {}, {} threads, {:.0} MB read a step; read in {read:.1} s, packed in {:.1} s",
        options.model,
        chosen.mode.name(),
        chosen.kv.name(),
        chosen.isa.name(),
        chosen.threads.unwrap_or(1),
        cpu.weight_bytes_per_step().get() as f64 / 1e6,
        began.elapsed().as_secs_f64() - read,
    );
    println!("step                            wall ms    cpu ms   tokens/s  per cpu s");
    for case in &options.cases {
        time(&mut cpu, case, &options)?;
    }
    Ok(())
}

fn time(cpu: &mut CpuExecutor, case: &Case, options: &Options) -> Result<(), Failure> {
    let (batch, tokens) = build(case, options.block, cpu.vocabulary());
    // Once for the contents of KV (their values do not matter, but zeros would), once to warm up.
    fill(cpu, case, options.block)?;
    cpu.step(&batch, &tokens)?;
    let mut walls = Vec::new();
    let before = cpu_seconds()?;
    for _ in 0..options.repeat {
        let began = Instant::now();
        cpu.step(&batch, &tokens)?;
        walls.push(began.elapsed().as_secs_f64());
    }
    let used = (cpu_seconds()? - before) / options.repeat as f64;
    walls.sort_by(f64::total_cmp);
    let wall = walls[walls.len() / 2];
    let count = tokens.len() as f64;
    println!(
        "{:<30} {:>8.2}  {:>8.2}  {:>9.0}  {:>9.0}",
        case.name,
        wall * 1e3,
        used * 1e3,
        count / wall,
        count / used
    );
    Ok(())
}

/// Seconds of processor time that this process has used.
fn cpu_seconds() -> Result<f64, Failure> {
    let t = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(t.tv_sec() as f64 + t.tv_nsec() as f64 * 1e-9)
}

/// Computes the contexts of a case, in prefills of at most 512 tokens.
fn fill(cpu: &mut CpuExecutor, case: &Case, block: u64) -> Result<(), Failure> {
    let longest = case.turns.iter().map(|t| t.context).max().unwrap_or(0);
    let mut from = 0;
    while from < longest {
        let turns = case.turns.iter().map(|t| {
            let here = t.context.saturating_sub(from).min(512);
            (*t, from, here)
        });
        let (batch, tokens) = lay(turns, block, cpu.vocabulary());
        cpu.step(&batch, &tokens)?;
        from += 512;
    }
    Ok(())
}

fn build(case: &Case, block: u64, vocabulary: u32) -> (Batch, Vec<u32>) {
    let turns = case.turns.iter().map(|t| (*t, t.context, t.tokens));
    lay(turns, block, vocabulary)
}

/// A step of turns, each `(turns, first position, tokens)`; blocks of a turn are spread over the pool.
fn lay(
    turns: impl Iterator<Item = (Turns, u64, u64)>,
    block: u64,
    vocabulary: u32,
) -> (Batch, Vec<u32>) {
    let mut batch = Batch {
        starts: vec![0],
        ..Batch::default()
    };
    let mut tokens = Vec::new();
    let (mut base, mut session) = (0, 0);
    for (kind, from, count) in turns {
        let each = (kind.context + kind.tokens).div_ceil(block);
        for turn in 0..kind.count {
            if count == 0 {
                continue;
            }
            let table: Vec<u32> = (0..each)
                .map(|i| u32::try_from(base + i * kind.count + turn).expect("a small pool"))
                .collect();
            for position in from..from + count {
                let at = table[usize::try_from(position / block).expect("small")];
                batch.positions.push(position);
                batch.slots.push(u64::from(at) * block + position % block);
                let id = (position * 7919 + turn * 104_729 + 100) % u64::from(vocabulary);
                tokens.push(u32::try_from(id).expect("below the vocabulary"));
            }
            let n = tokens.len() as u64;
            batch.starts.push(n);
            batch.sample_at.push(n - 1);
            batch.block_tables.push(table);
            batch.rows.push(Row {
                session: SessionId(session),
                query: Tokens(count),
                context: Tokens(from + count),
                samples: true,
            });
            session += 1;
        }
        base += kind.blocks(block);
    }
    (batch, tokens)
}

fn parse(args: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        model: "random:28m".to_owned(),
        cpu: CpuOptions::fast(),
        block: 16,
        repeat: 5,
        cases: Vec::new(),
    };
    for arg in args {
        let Some((name, value)) = arg.split_once('=') else {
            options.model = arg;
            continue;
        };
        let pick = |found: bool| found.then_some(()).ok_or(format!("{name}: no `{value}`"));
        match name {
            "mode" => {
                let all = [Mode::F32, Mode::Bf16, Mode::Int8];
                let mode = all.into_iter().find(|m| m.name() == value);
                pick(mode.is_some())?;
                options.cpu.mode = mode.unwrap_or(Mode::F32);
            }
            "kv" => {
                let all = [KvFormat::F32, KvFormat::Bf16];
                let kv = all.into_iter().find(|m| m.name() == value);
                pick(kv.is_some())?;
                options.cpu.kv = kv.unwrap_or(KvFormat::F32);
            }
            "isa" => {
                let isa = Isa::ALL.into_iter().find(|m| m.name() == value);
                pick(isa.is_some_and(Isa::is_here))?;
                options.cpu.isa = isa.unwrap_or(Isa::Portable);
            }
            "threads" => options.cpu.threads = Some(value.parse()?),
            "block" => options.block = value.parse()?,
            "repeat" => options.repeat = value.parse::<usize>()?.max(1),
            "decode" | "prefill" | "mixed" => {
                for case in value.split(',') {
                    options.cases.push(read_case(name, case)?);
                }
            }
            _ => return Err(format!("no option `{name}`; see the top of this file").into()),
        }
    }
    if options.cases.is_empty() {
        options.cases = usual()?;
    }
    Ok(options)
}

fn read_case(kind: &str, case: &str) -> Result<Case, Failure> {
    let numbers: Vec<u64> = case
        .split(['x', '@', '+'])
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|e| format!("{kind}={case}: {e}"))?;
    let decode = |count, context| Turns {
        count,
        context,
        tokens: 1,
    };
    let prefill = |tokens, context| Turns {
        count: 1,
        context,
        tokens,
    };
    let (name, turns) = match (kind, &numbers[..]) {
        ("decode", [batch, context]) => (
            format!("decode {batch} at {context}"),
            vec![decode(*batch, *context)],
        ),
        ("prefill", [tokens, context]) => (
            format!("prefill {tokens} at {context}"),
            vec![prefill(*tokens, *context)],
        ),
        ("mixed", [batch, context, tokens]) => (
            format!("decode {batch} at {context}, prefill {tokens}"),
            vec![decode(*batch, *context), prefill(*tokens, 0)],
        ),
        _ => return Err(format!("{kind}={case}: see the top of this file").into()),
    };
    Ok(Case { name, turns })
}

/// What is timed if nothing else is asked for.
fn usual() -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    for context in [256, 1024] {
        for batch in [1, 2, 4, 8, 16, 32, 64] {
            cases.push(read_case("decode", &format!("{batch}x{context}"))?);
        }
    }
    for case in ["64@0", "256@0", "512@0", "1024@0", "128@2048", "512@2048"] {
        cases.push(read_case("prefill", case)?);
    }
    cases.push(read_case("mixed", "8x512+256")?);
    Ok(cases)
}
