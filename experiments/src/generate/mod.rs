//! `orrery generate`: text from a real model, through the scheduler and an executor.
//!
//! Why: text that makes sense is the plainest proof that weights, kernels, paged KV and tokenizer fit.
//! Limits: one prompt, one answer.

pub mod args;

use std::io::{IsTerminal as _, Read as _, stdin};
use std::num::NonZeroUsize;

use anyhow::{Context as _, anyhow};
use engine::cpu::{CpuOptions, Mode};
use engine::text::{
    GenerateError, Generated, Message, Prompt, Sampler, Sampling, Stop, Text, generate,
};
use policies::PolicySpec;
use scheduler::Config;
use serde_json::json;
use units::{Blocks, Nanos, Tokens};

use crate::bench::args::ModeKind;
use crate::engine::model::{Model, Place};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{data, note};
use crate::run::plan::{number, one, optional};
use args::{GenerateArgs, Shown};

/// Prompt tokens that one step computes.
const BUDGET: Tokens = Tokens(512);

/// `orrery generate`.
///
/// # Errors
/// A [`Failure`]: bad input, a model that cannot be read, a device that fails.
pub fn command(args: &GenerateArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let limit = one("--max-tokens", &args.max_tokens, "1 to 1000000", |t| {
        t.parse::<u64>()
            .ok()
            .filter(|n| (1..=1_000_000).contains(n))
    })?;
    let sampling = sampling(args)?;
    let threads = optional("--threads", args.threads.as_deref(), "1 to 1024", |t| {
        t.parse::<NonZeroUsize>().ok().filter(|n| n.get() <= 1024)
    })?;
    let asked = asked(args)?;
    let path = engine::fetch::find(&args.model).map_err(Failure::bad_input)?;
    let text = Text::load(&path).map_err(Failure::bad_input)?;
    let tokens = tokens(args, &text, &asked)?;
    let model = Model::open(&args.model)?;
    let longest = model.config().context_length as u64;
    let needs = tokens.len() as u64 + limit;
    if needs > longest {
        let line = format!(
            "warning: {} prompt tokens and {limit} to generate are more than the {longest} that the \
             model was made for",
            tokens.len()
        );
        note(args.quiet, &line);
    }
    let defaults = Config::default();
    let blocks = needs.div_ceil(defaults.block_size.tokens().get());
    let config = Config {
        usable_blocks: Blocks(blocks),
        token_budget: BUDGET,
        ..defaults
    };
    let threads = threads
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let place = Place {
        cpu: CpuOptions {
            threads: Some(threads.get()),
            ..precision(args.mode)
        },
        ..Place::new(args.executor, threads, config.block_size)
    };
    let mut executor = model.executor(place, &|_| Ok(Blocks(blocks)))?;
    let policy = PolicySpec::preset("fcfs").and_then(|p| p.build());
    let prompt = Prompt {
        tokens,
        limit,
        ends: text.ends().to_vec(),
    };
    let mut stream = text.stream();
    let mut trouble = None;
    let made = generate(
        &mut *executor,
        &config,
        policy.map_err(Failure::bad_input)?,
        &prompt,
        &mut Sampler::new(sampling),
        |id| {
            if args.format == Shown::Text {
                let said = stream.push(id).map_err(Failure::bad_input);
                if let Err(failure) = said.and_then(|piece| data(&piece)) {
                    trouble = Some(failure);
                }
            }
            trouble.is_none() && !interrupt.is_set()
        },
    );
    if let Some(failure) = trouble {
        return Err(failure);
    }
    let made = made.map_err(refused)?;
    finish(args, &text, &prompt, &made, executor.name())
}

/// KV is as exact as the weights: what a text says should not turn on a rounded key.
fn precision(mode: ModeKind) -> CpuOptions {
    match mode {
        ModeKind::F32 => CpuOptions::exact(),
        ModeKind::Bf16 => CpuOptions {
            mode: Mode::Bf16,
            ..CpuOptions::fast()
        },
        ModeKind::Int8 => CpuOptions::fast(),
    }
}

fn sampling(args: &GenerateArgs) -> Result<Sampling, Failure> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a knob needs no more digits"
    )]
    let single = |value: f64| value as f32;
    Ok(Sampling {
        temperature: single(one("--temperature", &args.temperature, "0 to 100", |t| {
            number(t).filter(|t| (0.0..=100.0).contains(t))
        })?),
        top_k: one("--top-k", &args.top_k, "a whole number", |t| t.parse().ok())?,
        top_p: single(one("--top-p", &args.top_p, "above 0, at most 1", |t| {
            number(t).filter(|p| *p > 0.0 && *p <= 1.0)
        })?),
        seed: one("--seed", &args.seed, "0 to 2^64 - 1", |t| t.parse().ok())?,
    })
}

/// The prompt: of the command line, or of stdin.
fn asked(args: &GenerateArgs) -> Result<String, Failure> {
    let text = match &args.prompt {
        Some(text) => text.clone(),
        None if stdin().is_terminal() => {
            return Err(Failure::bad_input(anyhow!(
                "there is no prompt\nhint: orrery generate \"What is a KV cache?\""
            )));
        }
        None => {
            let mut text = String::new();
            let read = stdin().read_to_string(&mut text);
            read.context("cannot read the prompt from stdin")
                .map_err(Failure::bad_input)?;
            text.trim_end_matches('\n').to_owned()
        }
    };
    if text.is_empty() {
        return Err(Failure::bad_input(anyhow!("the prompt is empty")));
    }
    Ok(text)
}

fn tokens(args: &GenerateArgs, text: &Text, asked: &str) -> Result<Vec<u32>, Failure> {
    let tokens = if args.raw {
        text.encode(asked)
    } else {
        let system = args.system.iter().map(|s| Message::new("system", s));
        let messages: Vec<Message> = system.chain([Message::new("user", asked)]).collect();
        text.chat(&messages)
    };
    tokens.map_err(Failure::bad_input)
}

fn refused(error: GenerateError) -> Failure {
    let exit = match error {
        GenerateError::Broken(_) => Exit::Invariant,
        GenerateError::Executor(_) => Exit::Partial,
        _ => Exit::BadInput,
    };
    Failure {
        exit,
        error: error.into(),
    }
}

fn finish(
    args: &GenerateArgs,
    text: &Text,
    prompt: &Prompt,
    made: &Generated,
    executor: &str,
) -> Result<(), Failure> {
    let decode = per_s(made.tokens.len().saturating_sub(1), made.decode);
    let prefill = per_s(prompt.tokens.len(), made.prefill);
    let why = match made.stop {
        Stop::End => "end",
        Stop::Limit => "limit",
        Stop::Asked => "interrupted",
    };
    if args.format == Shown::Json {
        let said = text.decode(&made.tokens).map_err(Failure::bad_input)?;
        let object = json!({
            "model": args.model,
            "executor": executor,
            "text": said,
            "tokens": made.tokens,
            "prompt_tokens": prompt.tokens.len(),
            "stop": why,
            "prefill_s": made.prefill.as_secs(),
            "decode_s": made.decode.as_secs(),
            "prefill_tokens_per_s": prefill,
            "decode_tokens_per_s": decode,
        });
        data(&format!("{object:#}\n"))?;
    } else {
        data("\n")?;
    }
    let shown = |rate: Option<f64>| rate.map_or("n/a".to_owned(), |r| format!("{r:.0}"));
    let line = format!(
        "{} prompt tokens at {}/s, {} generated at {}/s ({executor}), ended by {why}",
        prompt.tokens.len(),
        shown(prefill),
        made.tokens.len(),
        shown(decode)
    );
    note(args.quiet, &line);
    if made.stop == Stop::Asked {
        return Err(Failure {
            exit: Exit::Interrupted,
            error: anyhow!("interrupted"),
        });
    }
    Ok(())
}

/// Tokens per second; `None` where none took any time.
fn per_s(tokens: usize, time: Nanos) -> Option<f64> {
    let time = time.as_secs();
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let rate = tokens as f64 / time;
    (tokens > 0 && time > 0.0).then_some(rate)
}
