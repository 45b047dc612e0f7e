//! Flags of `orrery run` for the timeline.

use anyhow::anyhow;
use clap::Args;
use units::{Nanos, Time};

use crate::failure::Failure;
use crate::run::plan::FlagError;

/// `--perfetto` and its bounds.
#[derive(Clone, Debug, Default, Args)]
pub struct PerfettoArgs {
    /// Write every step, session and tool phase to perfetto.json, a timeline that <https://ui.perfetto.dev>
    /// opens. Such a run has a directory of its own.
    #[arg(long)]
    pub perfetto: bool,

    /// Only this part of the timeline, in simulated seconds. [default: all of it]
    #[arg(long, value_name = "FROM..TO", requires = "perfetto")]
    pub perfetto_range: Option<String>,

    /// Size at which the timeline is cut short, MiB. [default: 200]
    #[arg(long, value_name = "MIB", requires = "perfetto")]
    pub perfetto_limit: Option<String>,
}

/// A timeline that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Nothing before.
    pub from: Time,
    /// Nothing after.
    pub to: Time,
    /// Bytes at most, about.
    pub limit: u64,
}

impl PerfettoArgs {
    /// What is wanted; `None` without `--perfetto`.
    ///
    /// # Errors
    /// Bad input, with the flag, its value and what it may be.
    pub fn wanted(&self) -> Result<Option<Wanted>, Failure> {
        if !self.perfetto {
            return Ok(None);
        }
        let (from, to) = match &self.perfetto_range {
            None => (Time::ZERO, Time::NEVER),
            Some(text) => range(text).ok_or_else(|| {
                let wanted = "FROM..TO in seconds, FROM below TO; either may be left out";
                wrong("--perfetto-range", text, wanted)
            })?,
        };
        let limit = match &self.perfetto_limit {
            None => 200,
            Some(text) => text
                .trim()
                .parse::<u64>()
                .ok()
                .filter(|mib| (1..=4096).contains(mib))
                .ok_or_else(|| wrong("--perfetto-limit", text, "MiB, 1 to 4096"))?,
        };
        Ok(Some(Wanted {
            from,
            to,
            limit: limit << 20,
        }))
    }
}

fn range(text: &str) -> Option<(Time, Time)> {
    let (from, to) = text.split_once("..")?;
    let at = |text: &str, otherwise| match text.trim() {
        "" => Some(otherwise),
        text => Some(Time::ZERO + Nanos::from_secs(text.parse().ok()?).ok()?),
    };
    let (from, to) = (at(from, Time::ZERO)?, at(to, Time::NEVER)?);
    (from < to).then_some((from, to))
}

fn wrong(flag: &str, value: &str, wanted: &str) -> Failure {
    Failure::bad_input(anyhow!(FlagError {
        flag: flag.to_owned(),
        value: value.to_owned(),
        wanted: wanted.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_seconds_of_which_either_may_be_missing() {
        let s = |s: u64| Time::from_nanos(s * 1_000_000_000);
        assert_eq!(range("10..20"), Some((s(10), s(20))));
        assert_eq!(range(" ..20"), Some((s(0), s(20))));
        assert_eq!(range("1.."), Some((s(1), Time::NEVER)));
        for text in ["20..10", "5..5", "10", "a..b", "-1..2", "1-2"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
