//! `orrery trace fill`: draws what a recording does not tell.

use traces::fill::{Fill, Filled};
use units::Nanos;

use super::args::{FillArgs, OnBad};
use super::input::Input;
use super::output::TraceFile;
use crate::failure::Failure;
use crate::output::note;
use crate::run::plan::{number, one};

/// Fills every session; its draws belong to its place in the trace.
///
/// # Errors
/// Bad input, with the flag or line.
pub(super) fn command(args: &FillArgs) -> Result<(), Failure> {
    let seed = seed("--seed", &args.seed)?;
    let tool_limit = one(
        "--tool-limit",
        &args.tool_limit,
        "seconds above 0, at most 10000000",
        |text| {
            let seconds = number(text).filter(|s| *s > 0.0 && *s <= 1e7)?;
            Nanos::from_secs(seconds).ok()
        },
    )?;
    let fill = Fill { seed, tool_limit };
    let input = Input::open(&args.trace)?;
    let mut header = input.header.clone();
    add_note(&mut header.note, &words(&fill));
    let mut output = TraceFile::create(args.out.out.as_deref(), &header)?;
    let mut filled = Filled::default();
    let mut index = 0;
    input.each(OnBad::Fail, |mut session| {
        filled.absorb(fill.session(&mut session, index));
        index += 1;
        output.write(&session)
    })?;
    let sessions = output.finish()?;
    note(
        args.out.quiet,
        &format!(
            "{sessions} sessions: drew {} tool times and set {} CPU times",
            filled.walls, filled.cpus
        ),
    );
    Ok(())
}

/// What a header's note says of a fill.
pub(super) fn words(fill: &Fill) -> String {
    format!(
        "unknown tool times drawn with seed {}, at most {} s",
        fill.seed,
        fill.tool_limit.as_secs()
    )
}

/// The value of a flag that is a seed.
///
/// # Errors
/// Bad input: no seed.
pub(super) fn seed(flag: &str, text: &str) -> Result<u64, Failure> {
    one(flag, text, "a whole number, 0 to 2^64 - 1", |t| {
        t.parse().ok()
    })
}

/// Says in a header what was done to the sessions; what was done before stays.
pub(super) fn add_note(note: &mut Option<String>, done: &str) {
    match note {
        Some(note) => {
            note.push_str("; ");
            note.push_str(done);
        }
        None => *note = Some(done.to_owned()),
    }
}
