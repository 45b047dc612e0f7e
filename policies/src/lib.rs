//! Scheduling policies for agent serving: parts, presets made of parts, and their registry.
//!
//! What: three kinds of parts ([`admission`], [`order`], [`retention`]) behind the traits of
//! `scheduler`, and presets (TOML, every default visible) that name one part of each kind with its
//! settings.
//! Why: an ablation, a hybrid or a user's own mix is a configuration, not a program.
//! Limits: a policy sees counters and its own record of the past. No clock, no I/O, no randomness,
//! no future.

pub mod admission;
mod oracle;
pub mod order;
pub mod preset;
pub mod retention;
mod values;

use units::Nanos;

pub use oracle::Remaining;
pub use preset::{PRESETS, PolicyError, PolicySpec};

/// A setting in seconds that must be more than 0.
fn positive_span(name: &str, seconds: f64) -> Result<Nanos, String> {
    Nanos::from_secs(seconds)
        .ok()
        .filter(|&span| span > Nanos::ZERO)
        .ok_or_else(|| format!("{name} is {seconds}, wanted more than 0"))
}

/// A setting in seconds that may be 0.
fn span(name: &str, seconds: f64) -> Result<Nanos, String> {
    Nanos::from_secs(seconds)
        .map_err(|_| format!("{name} is {seconds}, wanted seconds: 0 or more, below 584 years"))
}
