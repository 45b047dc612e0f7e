//! One prompt through the scheduler and an executor, token by token.

use std::time::Instant;

use scheduler::policy::Policy;
use scheduler::{
    Arrival, Config, Event, PrefillCost, Scheduler, StepOutcome, StepPlan, Then, TurnRequest,
};
use units::{Nanos, SessionId, Time, Tokens};

use super::sampling::Sampler;
use crate::batch::{Batch, BatchError};
use crate::executor::{Executor, ExecutorError};

/// What to continue, and when to stop.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Ids of the prompt's tokens; not empty.
    pub tokens: Vec<u32>,
    /// Most tokens to generate; at least 1.
    pub limit: u64,
    /// Tokens that end the text.
    pub ends: Vec<u32>,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model said so, with an end token.
    End,
    /// The limit was reached.
    Limit,
    /// The caller asked.
    Asked,
}

/// What came of a prompt.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The tokens, without the end token.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub stop: Stop,
    /// Time until the first token was there.
    pub prefill: Nanos,
    /// Time from then to the end.
    pub decode: Nanos,
}

/// Why nothing could be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The prompt and its limit need more KV than there is.
    #[error(
        "{prompt} prompt tokens and {limit} to generate need {needs} tokens of KV; there are {room}"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt: u64,
        /// Tokens to generate.
        limit: u64,
        /// KV they need.
        needs: u64,
        /// KV there is.
        room: u64,
    },
    /// A prompt without tokens, or a limit of none.
    #[error("the prompt has {prompt} tokens and the limit is {limit}; both must be at least 1")]
    Empty {
        /// Tokens of the prompt.
        prompt: u64,
        /// Tokens to generate.
        limit: u64,
    },
    /// The model has no such token.
    #[error("token {token} is not in the model's vocabulary of {vocabulary}")]
    Token {
        /// The id.
        token: u32,
        /// Ids are below this.
        vocabulary: u32,
    },
    /// The device failed.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// A limit of the engine that cannot be.
    #[error(transparent)]
    Config(#[from] scheduler::ConfigError),
    /// A broken contract between scheduler and engine.
    #[error("a broken invariant: {0}")]
    Broken(String),
}

impl From<scheduler::SchedulerError> for GenerateError {
    fn from(e: scheduler::SchedulerError) -> Self {
        Self::Broken(e.to_string())
    }
}

impl From<BatchError> for GenerateError {
    fn from(e: BatchError) -> Self {
        Self::Broken(e.to_string())
    }
}

/// Nobody waits beside a single session, so what a reload costs decides nothing.
#[derive(Debug)]
struct Free;

impl PrefillCost for Free {
    fn reload(&self, _context: Tokens) -> Nanos {
        Nanos::ZERO
    }
}

const SESSION: SessionId = SessionId(0);

/// Continues a prompt on the executor. `config` is what its KV has room for; `told` is given every token
/// and answers whether to go on.
///
/// # Errors
/// [`GenerateError`].
pub fn generate(
    executor: &mut dyn Executor,
    config: &Config,
    policy: Policy,
    prompt: &Prompt,
    sampler: &mut Sampler,
    mut told: impl FnMut(u32) -> bool,
) -> Result<Generated, GenerateError> {
    check(executor, config, prompt)?;
    let began = Instant::now();
    let since = || Nanos::new(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let now = || Time::ZERO + since();
    let mut scheduler = Scheduler::new(config.clone(), policy, Box::new(Free))?;
    scheduler.handle(now(), Event::SessionArrived(arrival(prompt)))?;
    let mut context = prompt.tokens.clone();
    let mut made = Generated {
        tokens: Vec::new(),
        stop: Stop::Limit,
        prefill: Nanos::ZERO,
        decode: Nanos::ZERO,
    };
    while scheduler.open_sessions() > 0 {
        let Some(plan) = scheduler.plan(now())?.cloned() else {
            let Some(timer) = scheduler.next_timer() else {
                return Err(GenerateError::Broken(
                    "nothing is planned and nothing waits".into(),
                ));
            };
            scheduler.handle(timer.max(now()), Event::Timer)?;
            continue;
        };
        let ids = tokens_of(&plan, &context);
        let batch = Batch::new(&plan, &scheduler)?;
        executor.step(&batch, &ids)?;
        let mut stopped = false;
        if !batch.sample_at.is_empty() {
            let next = sampler.draw(&executor.logits()?);
            if made.tokens.is_empty() {
                made.prefill = since();
            }
            if prompt.ends.contains(&next) {
                (stopped, made.stop) = (true, Stop::End);
            } else {
                made.tokens.push(next);
                context.push(next);
                if !told(next) {
                    (stopped, made.stop) = (true, Stop::Asked);
                }
            }
        }
        let stopped = if stopped { &[SESSION][..] } else { &[] };
        scheduler.step_done(now(), StepOutcome { stopped })?;
        scheduler.drain();
    }
    made.decode = since().saturating_sub(made.prefill);
    Ok(made)
}

fn check(executor: &dyn Executor, config: &Config, prompt: &Prompt) -> Result<(), GenerateError> {
    let (tokens, limit) = (prompt.tokens.len() as u64, prompt.limit);
    if tokens == 0 || limit == 0 {
        return Err(GenerateError::Empty {
            prompt: tokens,
            limit,
        });
    }
    // The last token generated is never computed, so it needs no KV.
    let needs = (tokens + limit).saturating_sub(1);
    let room = config.block_size.capacity(config.usable_blocks).get();
    if needs > room {
        return Err(GenerateError::TooLong {
            prompt: tokens,
            limit,
            needs,
            room,
        });
    }
    let vocabulary = executor.vocabulary();
    match prompt.tokens.iter().find(|t| **t >= vocabulary) {
        Some(&token) => Err(GenerateError::Token { token, vocabulary }),
        None => Ok(()),
    }
}

fn arrival(prompt: &Prompt) -> Arrival {
    let tokens = Tokens(prompt.tokens.len() as u64);
    Arrival {
        session: SESSION,
        shared: Vec::new(),
        peak: tokens + Tokens(prompt.limit - 1),
        turn: TurnRequest {
            prompt: tokens,
            reused: Tokens::ZERO,
            output: Tokens(prompt.limit),
            then: Then::End,
            flagged_last: true,
            foresight: None,
        },
        last_of_load: true,
    }
}

/// The ids that the plan computes: one session, so its chunk of the context.
fn tokens_of(plan: &StepPlan, context: &[u32]) -> Vec<u32> {
    let index = |t: Tokens| usize::try_from(t.get()).expect("a context fits memory");
    let chunks = plan.chunks.iter();
    chunks
        .flat_map(|c| &context[index(c.context)..index(c.context + c.tokens)])
        .copied()
        .collect()
}
