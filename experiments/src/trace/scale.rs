//! `orrery trace scale`: slower tools, longer texts, more turns.

use std::fmt::Write as _;

use anyhow::anyhow;
use traces::ops::scale::{FACTOR_LIMIT, Factors};

use super::args::{OnBad, ScaleArgs};
use super::fill::add_note;
use super::input::Input;
use super::output::TraceFile;
use crate::failure::Failure;
use crate::output::note;
use crate::run::plan::{number, one};

/// Scales every session.
///
/// # Errors
/// Bad input: a factor out of range, or a session that would pass the limits of the format.
pub(super) fn command(args: &ScaleArgs) -> Result<(), Failure> {
    let factor = |flag, text: &str| {
        one(
            flag,
            text,
            &format!("above 0, at most {FACTOR_LIMIT}"),
            |t| number(t).filter(|f| *f > 0.0 && *f <= FACTOR_LIMIT),
        )
    };
    let factors = Factors {
        time: factor("--time", &args.time)?,
        length: factor("--length", &args.length)?,
        turns: factor("--turns", &args.turns)?,
    };
    let input = Input::open(&args.trace)?;
    let mut header = input.header.clone();
    let done = format!(
        "scaled: time x{}, length x{}, turns x{}",
        factors.time, factors.length, factors.turns
    );
    add_note(&mut header.note, &done);
    let mut output = TraceFile::create(args.out.out.as_deref(), &header)?;
    let mut single = 0_u64;
    let mut commands = 0_u64;
    input.each(OnBad::Fail, |session| {
        single += u64::from(session.turns.len() == 1);
        let scaled = factors.session(&session).map_err(|error| {
            Failure::bad_input(anyhow!("cannot scale `{}`: {error}", args.trace))
        })?;
        commands += scaled.commands();
        output.write(&scaled)
    })?;
    let sessions = output.finish()?;
    let mut line = format!("{sessions} sessions {done}");
    if factors.turns > 1.0 && single > 0 {
        let _ = write!(
            line,
            "; {single} of a single turn have no step to repeat and kept it"
        );
    }
    if commands > 0 {
        let _ = write!(
            line,
            "; {commands} tool calls carry commands, which take as long as before when they are run"
        );
    }
    note(args.out.quiet, &line);
    Ok(())
}
