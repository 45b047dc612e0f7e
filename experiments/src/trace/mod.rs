//! `orrery trace`: sessions from recordings, and what there is to do with a trace before it is run.
//!
//! What: one module a verb; [`input`] opens what a user names, [`output`] writes a trace whole or not
//! at all, [`args`] holds the flags.
//! Why: a platform team replays its own agents, and wants to know first what it has, what is missing
//! and what was guessed.
//! Limits: what is done to sessions is in `traces`; here are files, threads and words.

pub mod args;
mod check;
mod describe;
mod export;
mod figure;
mod fill;
mod generate;
mod import;
pub mod input;
pub mod made;
mod merge;
pub mod output;
mod print;
mod sample;
mod scale;
mod stats;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use args::{TraceArgs, TraceWhat};

/// `orrery trace ...`
///
/// # Errors
/// A [`Failure`] with its exit code: bad input, an interruption, or a trace with something wrong.
pub fn command(args: &TraceArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    match &args.what {
        TraceWhat::Import(args) => import::command(args, interrupt),
        TraceWhat::Generate(args) => generate::command(args, interrupt),
        TraceWhat::Export(args) => export::command(args),
        TraceWhat::Stats(args) => stats::command(args),
        TraceWhat::Check(args) => check::command(args),
        TraceWhat::Sample(args) => sample::command(args),
        TraceWhat::Merge(args) => merge::command(args),
        TraceWhat::Scale(args) => scale::command(args),
        TraceWhat::Fill(args) => fill::command(args),
    }
}
