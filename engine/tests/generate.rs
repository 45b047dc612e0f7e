//! Text of one prompt: where it ends, what it is given, what is refused.

mod common;

use common::policy::random_policy;
use engine::Executor;
use engine::model::Weights;
use engine::reference::Candle;
use engine::text::{GenerateError, Generated, Prompt, Sampler, Sampling, Stop, generate};
use scheduler::Config;
use units::{Blocks, Tokens};

fn tiny() -> (Candle, Config) {
    let config = Config {
        usable_blocks: Blocks(8),
        // Smaller than the prompts below: they come in chunks.
        token_budget: Tokens(5),
        ..Config::default()
    };
    let weights = Weights::open("random:tiny:3").expect("a shape");
    let executor = Candle::new(&weights, config.usable_blocks, config.block_size);
    (executor.expect("fits"), config)
}

fn run(
    executor: &mut dyn Executor,
    config: &Config,
    prompt: &Prompt,
    told: impl FnMut(u32) -> bool,
) -> Result<Generated, GenerateError> {
    // No policy changes the text of a single session.
    let policy = random_policy(prompt.limit);
    generate(
        executor,
        config,
        policy,
        prompt,
        &mut Sampler::new(Sampling::GREEDY),
        told,
    )
}

fn prompt(limit: u64, ends: &[u32]) -> Prompt {
    Prompt {
        tokens: (0..17).map(|i| i * 7 % 60).collect(),
        limit,
        ends: ends.to_vec(),
    }
}

#[test]
fn a_limit_ends_the_text_and_every_token_is_told_once() {
    let (mut executor, config) = tiny();
    let mut told = Vec::new();
    let made = run(&mut executor, &config, &prompt(9, &[]), |id| {
        told.push(id);
        true
    })
    .expect("fits");
    assert_eq!((made.stop, made.tokens.len()), (Stop::Limit, 9));
    assert_eq!(told, made.tokens);
}

#[test]
fn an_end_token_ends_the_text_and_is_not_in_it() {
    let (mut executor, config) = tiny();
    let whole = run(&mut executor, &config, &prompt(9, &[]), |_| true)
        .expect("fits")
        .tokens;
    let end = whole[4];
    let first = whole.iter().position(|t| *t == end).expect("it is there");
    let made = run(&mut executor, &config, &prompt(9, &[end]), |_| true).expect("fits");
    assert_eq!(made.stop, Stop::End);
    assert_eq!(made.tokens, whole[..first]);
}

#[test]
fn the_caller_may_stop_it() {
    let (mut executor, config) = tiny();
    let mut left = 3;
    let made = run(&mut executor, &config, &prompt(9, &[]), |_| {
        left -= 1;
        left > 0
    });
    let made = made.expect("fits");
    assert_eq!((made.stop, made.tokens.len()), (Stop::Asked, 3));
}

#[test]
fn what_cannot_be_is_refused_with_its_numbers() {
    let (mut executor, config) = tiny();
    // 17 + 112 - 1 = 128 tokens: all of the 8 blocks of 16.
    run(&mut executor, &config, &prompt(112, &[]), |_| false).expect("just fits");
    let refused = run(&mut executor, &config, &prompt(113, &[]), |_| true).expect_err("too long");
    assert_eq!(
        refused.to_string(),
        "17 prompt tokens and 113 to generate need 129 tokens of KV; there are 128"
    );
    let none = Prompt {
        tokens: Vec::new(),
        ..prompt(1, &[])
    };
    let refused = run(&mut executor, &config, &none, |_| true).expect_err("nothing to continue");
    assert!(
        matches!(
            refused,
            GenerateError::Empty {
                prompt: 0,
                limit: 1
            }
        ),
        "{refused}"
    );
    let unknown = Prompt {
        tokens: vec![executor.vocabulary()],
        ..prompt(1, &[])
    };
    let refused = run(&mut executor, &config, &unknown, |_| true).expect_err("no such token");
    assert!(matches!(refused, GenerateError::Token { .. }), "{refused}");
}
