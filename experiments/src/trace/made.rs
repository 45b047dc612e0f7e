//! Generated workloads: from a preset's name or a description's file to a stream of sessions.
//!
//! Session i depends on the description, the seed and i alone, so more sessions do not move those
//! before them.

use std::fs;
use std::path::Path;

use anyhow::anyhow;
use sim::arrivals::{Arrivals, MIXES, mix};
use traces::generate::{PRESETS, Spec, preset};
use traces::{Header, Session};
use units::{Nanos, Time};

use crate::failure::{Failure, did_you_mean, nearest};

/// How many sessions to make, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Make {
    /// Sessions.
    pub sessions: u64,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for Make {
    /// As many as a run offers.
    fn default() -> Self {
        Self {
            sessions: 400,
            seed: 1,
        }
    }
}

/// The description called `name`, a preset or a file that ends in `.toml`; `None` for neither.
///
/// # Errors
/// Bad input: a file that cannot be read or is no description, with the line.
pub(super) fn spec(name: &str) -> Result<Option<Spec>, Failure> {
    if let Some(spec) = preset(name) {
        return Ok(Some(spec));
    }
    if Path::new(name).extension().is_none_or(|end| end != "toml") {
        return Ok(None);
    }
    let cannot = || format!("cannot use description `{name}`");
    let text = fs::read_to_string(name)
        .map_err(|error| Failure::bad_input(anyhow::Error::new(error).context(cannot())))?;
    let spec = Spec::from_toml(&text)
        .map_err(|error| Failure::bad_input(anyhow!("{error}").context(cannot())))?;
    Ok(Some(spec))
}

/// As [`spec`], where nothing else will do.
///
/// # Errors
/// Bad input: as [`spec`], and a name that is neither.
pub(super) fn needed(name: &str) -> Result<Spec, Failure> {
    spec(name)?.ok_or_else(|| {
        let names = || PRESETS.iter().map(|(name, _)| *name);
        let known: Vec<String> = names().map(|name| format!("`{name}`")).collect();
        let hint = did_you_mean(nearest(name, names()));
        Failure::bad_input(anyhow!(
            "`{name}` is no description of a workload (wanted: one of {}, or a file that ends in \
             .toml){hint}",
            known.join(", ")
        ))
    })
}

/// What a trace of these sessions says about itself.
pub(super) fn header(spec: &Spec, make: Make) -> Header {
    Header {
        source: Some(format!(
            "generated from description `{}` with seed {}",
            spec.name, make.seed
        )),
        license: None,
        note: Some(format!("{}; {}", spec.about, spec.sources.join("; "))),
        commands: false,
    }
}

/// The sessions, with arrivals if the description plans them.
///
/// # Errors
/// Bad input: arrivals that cannot be, or a mix of clients that is not known.
pub(super) fn sessions(
    spec: Spec,
    make: Make,
) -> Result<impl Iterator<Item = Session> + Send, Failure> {
    let mut times = match &spec.arrivals {
        None => None,
        Some(plan) => {
            let known = || MIXES.iter().map(|(name, _)| *name).collect::<Vec<_>>();
            let arrivals = Arrivals::planned(plan, mix).ok_or_else(|| {
                Failure::bad_input(anyhow!(
                    "description `{}` has arrivals of an unknown mix of clients (wanted: {})",
                    spec.name,
                    known().join(", ")
                ))
            })?;
            Some(arrivals.times(make.seed).map_err(Failure::bad_input)?)
        }
    };
    Ok((0..make.sessions).map(move |index| {
        let mut session = spec.session(make.seed, index);
        let arrival = times.as_mut().and_then(Iterator::next);
        session.arrival = arrival.map(|at: Time| Nanos::new(at.as_nanos()));
        session
    }))
}
