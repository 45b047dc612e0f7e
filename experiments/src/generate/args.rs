//! Flags of `orrery generate`.

use clap::{Args, ValueEnum};

use crate::bench::args::ModeKind;
use crate::engine::args::ExecutorKind;

const EXAMPLES: &str = "\
Examples:
  orrery model fetch smollm2
  orrery generate \"What is the capital of France?\"
  orrery generate --system \"Answer in one word.\" \"What is the capital of France?\"
  echo \"def fibonacci(n):\" | orrery generate --raw --max-tokens 64
  orrery generate --temperature 0.8 --top-p 0.9 --seed 7 \"Tell me a story.\"
  orrery generate --format json \"Hello\" | jq .decode_tokens_per_s

The text appears on stdout as it is made, and how fast on stderr. It is made by the scheduler and the
executor that `orrery engine run` uses, for one session. Without a temperature the likeliest token is
taken, so the same prompt gives the same text.";

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    /// The text, as it is made.
    Text,
    /// One object when it is done: text, token ids, why it ended, times.
    Json,
}

/// Flags of `orrery generate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GenerateArgs {
    /// What to say to the model. [default: what comes on stdin]
    pub prompt: Option<String>,

    /// A name of `orrery model list`, a GGUF file, or a folder with safetensors and tokenizer.json.
    #[arg(long, default_value = "smollm2", value_name = "NAME|PATH")]
    pub model: String,

    /// A system message before the prompt. [default: the template's own]
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub system: Option<String>,

    /// Continue the prompt as it stands, without the model's chat template.
    #[arg(long)]
    pub raw: bool,

    /// Most tokens to generate.
    #[arg(long, default_value = "256", value_name = "N")]
    pub max_tokens: String,

    /// 0 takes the likeliest token; 1 draws as the model says; above, flatter.
    #[arg(
        long,
        default_value = "0",
        value_name = "T",
        allow_hyphen_values = true
    )]
    pub temperature: String,

    /// Draw among the likeliest so many tokens; 0 for all.
    #[arg(long, default_value = "0", value_name = "K")]
    pub top_k: String,

    /// Draw among the likeliest tokens that together have this probability.
    #[arg(
        long,
        default_value = "1",
        value_name = "P",
        allow_hyphen_values = true
    )]
    pub top_p: String,

    /// Of the draws.
    #[arg(long, default_value = "1", value_name = "SEED")]
    pub seed: String,

    /// What computes.
    #[arg(long, visible_alias = "device", default_value = "cpu")]
    pub executor: ExecutorKind,

    /// How `cpu` holds weights: f32 answers as the reference does, bf16 and int8 are faster and may turn
    /// a close decision.
    #[arg(long, value_enum, default_value = "f32")]
    pub mode: ModeKind,

    /// Threads of the executor. [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<String>,

    /// How to print the answer.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Shown,

    /// Nothing on stderr but errors.
    #[arg(long)]
    pub quiet: bool,
}
