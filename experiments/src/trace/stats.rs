//! `orrery trace stats`.

use traces::stats::Stats;

use super::args::StatsArgs;
use super::describe::Described;
use super::input::Input;
use super::{figure, generate, print};
use crate::failure::Failure;
use crate::output::data;
use crate::plot::Drawn;

/// Describes each trace, and draws them all into one figure if that is wanted.
///
/// # Errors
/// Bad input: a trace that cannot be used.
pub(super) fn command(args: &StatsArgs) -> Result<(), Failure> {
    let make = generate::make(&args.sessions, &args.seed)?;
    let mut described = Vec::new();
    let mut drawn = Vec::new();
    for name in &args.traces {
        let (input, _) = Input::open_or_make(name, make)?;
        let header = input.header.clone();
        let mut stats = Stats::default();
        let dropped = input.each(args.on_bad_session, |session| {
            stats.add(&session);
            Ok(())
        })?;
        described.push(Described::of(name, &header, &stats, &dropped));
        if args.svg.is_some() {
            drawn.push((name.as_str(), stats));
        }
    }
    if let Some(path) = &args.svg {
        let drawn = figure::figure(&drawn).and_then(|figure| Drawn::of(&figure)?.write(path));
        drawn.map_err(Failure::bad_input)?;
    }
    data(&print::print(&described, args.shown.format).map_err(Failure::bad_input)?)
}
