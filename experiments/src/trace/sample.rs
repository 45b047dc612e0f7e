//! `orrery trace sample`: some of a trace's sessions.

use anyhow::anyhow;
use traces::ops::sample::{Filter, Sampler};
use units::Tokens;

use super::args::{OnBad, SampleArgs};
use super::fill::{add_note, seed};
use super::input::Input;
use super::output::TraceFile;
use crate::failure::Failure;
use crate::output::note;
use crate::run::plan::optional;

/// Draws from what passes the filter.
///
/// # Errors
/// Bad input: a wrong flag or line, or a filter that nothing passes.
pub(super) fn command(args: &SampleArgs) -> Result<(), Failure> {
    let count = |flag, text: Option<&str>, wanted| {
        optional(flag, text, wanted, |t| {
            t.parse::<usize>().ok().filter(|n| *n >= 1)
        })
    };
    let turns = "turns, at least 1";
    let filter = Filter {
        min_turns: count("--min-turns", args.min_turns.as_deref(), turns)?,
        max_turns: count("--max-turns", args.max_turns.as_deref(), turns)?,
        max_peak: count("--max-peak", args.max_peak.as_deref(), "tokens, at least 1")?
            .map(|tokens| Tokens(tokens as u64)),
        model: args.model.clone(),
    };
    let wanted = count(
        "--sessions",
        args.sessions.as_deref(),
        "sessions, at least 1",
    )?;
    let seed = seed("--seed", &args.seed)?;
    let input = Input::open(&args.trace)?;
    let mut header = input.header.clone();
    let mut sampler = Sampler::new(filter.clone(), wanted, seed);
    input.each(OnBad::Fail, |session| {
        sampler.offer(session);
        Ok(())
    })?;
    let (offered, passed) = (sampler.offered(), sampler.passed());
    let sessions = sampler.finish();
    if sessions.is_empty() {
        return Err(Failure::bad_input(anyhow!(
            "none of the {offered} sessions of `{}` passes the filter{}",
            args.trace,
            words(&filter)
        )));
    }
    let done = format!(
        "{} of {offered} sessions, drawn with seed {seed} from {passed}{}",
        sessions.len(),
        words(&filter)
    );
    add_note(&mut header.note, &done);
    let mut output = TraceFile::create(args.out.out.as_deref(), &header)?;
    for session in &sessions {
        output.write(session)?;
    }
    output.finish()?;
    note(args.out.quiet, &done);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > sessions.len()) {
        note(
            args.out.quiet,
            &format!("warning: {wanted} sessions were asked for, and only {passed} pass"),
        );
    }
    Ok(())
}

/// The filter as part of a sentence; nothing for none.
fn words(filter: &Filter) -> String {
    let parts = [
        filter.min_turns.map(|n| format!("at least {n} turns")),
        filter.max_turns.map(|n| format!("at most {n} turns")),
        filter.max_peak.map(|n| format!("at most {n} tokens of KV")),
        filter
            .model
            .as_ref()
            .map(|model| format!("model `{model}`")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(" with {}", parts.join(", "))
    }
}
