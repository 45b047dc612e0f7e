//! Text in and out of a model: tokenizer, chat template, sampling, generation.
//!
//! What: [`Text`] turns text into token ids as the model's own tokenizer does, and writes a
//! conversation in the model's chat template; [`Sampler`] draws from logits; [`generate`] runs one
//! prompt through the scheduler and an executor.
//! Why: a model whose text is right is a model whose kernels, cache and scheduler are right.
//! Limits: byte-level BPE tokenizers (Llama 3, Qwen, `SmolLM`, GPT-2); no `SentencePiece` model in GGUF.

mod chat;
mod generate;
mod sampling;
mod tokenizer;

pub use chat::Message;
pub use generate::{GenerateError, Generated, Prompt, Stop, generate};
pub use sampling::{Sampler, Sampling, likeliest};
pub use tokenizer::{Stream, Text};

/// Why text cannot be turned into tokens, or back.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("`{path}`: {what}")]
    Bad {
        /// Which.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed: {0}")]
    Tokenizer(String),
    /// The chat template failed on a conversation.
    #[error("the chat template failed: {0}")]
    Template(String),
    /// The model has no chat template.
    #[error("the model has no chat template; use `--raw` to continue the text as it stands")]
    NoTemplate,
}
