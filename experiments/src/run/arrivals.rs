//! `--arrivals`: how sessions arrive, as a user writes it.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::anyhow;
use sim::arrivals::{Arrivals, MIXES, Recorded, mix};

use super::workload::Workload;
use crate::failure::Failure;

/// The most sessions that arrive together.
const BURST_LIMIT: u32 = 1_000_000;

/// How sessions arrive at a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ArrivalKind {
    /// Evenly: session i at i / rate.
    Fixed,
    /// With exponential gaps.
    Poisson,
    /// With gamma gaps.
    Gamma {
        /// Standard deviation of the gaps / their mean.
        cv: f64,
    },
    /// Several at once.
    Burst {
        /// How many.
        size: NonZeroU32,
    },
    /// As recorded, stretched to the rate.
    Recorded,
    /// From a mix of clients, scaled to the rate.
    Clients {
        /// A mix that comes with the program.
        mix: &'static str,
    },
}

impl fmt::Display for ArrivalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("fixed"),
            Self::Poisson => f.write_str("poisson"),
            Self::Gamma { cv } => write!(f, "gamma:{cv}"),
            Self::Burst { size } => write!(f, "burst:{size}"),
            Self::Recorded => f.write_str("recorded"),
            Self::Clients { mix } => write!(f, "clients:{mix}"),
        }
    }
}

impl FromStr for ArrivalKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = match text.split_once(':') {
            Some((kind, value)) => (kind, Some(value)),
            None => (text, None),
        };
        let mixes = || {
            let names: Vec<&str> = MIXES.iter().map(|(name, _)| *name).collect();
            names.join(", ")
        };
        match (kind, value) {
            ("fixed", None) => Ok(Self::Fixed),
            ("poisson", None) => Ok(Self::Poisson),
            ("recorded", None) => Ok(Self::Recorded),
            ("gamma", Some(value)) => {
                let cv = value.parse().ok().filter(|cv| (0.01..=1000.0).contains(cv));
                cv.map(|cv| Self::Gamma { cv }).ok_or_else(|| {
                    "gamma:CV wants the coefficient of variation of the gaps, 0.01 to 1000".into()
                })
            }
            ("burst", Some(value)) => {
                let size = value.parse::<NonZeroU32>().ok();
                let size = size.filter(|size| size.get() <= BURST_LIMIT);
                size.map(|size| Self::Burst { size })
                    .ok_or_else(|| format!("burst:N wants sessions, 1 to {BURST_LIMIT}"))
            }
            ("clients", Some(value)) => {
                let known = MIXES.iter().find(|(name, _)| *name == value);
                known
                    .map(|(mix, _)| Self::Clients { mix })
                    .ok_or_else(|| format!("clients:MIX knows {}", mixes()))
            }
            _ => Err(format!(
                "wanted: fixed, poisson, gamma:CV, burst:N, recorded or clients:MIX ({})",
                mixes()
            )),
        }
    }
}

impl ArrivalKind {
    /// The workload's own arrivals, if they are wanted.
    ///
    /// # Errors
    /// Bad input: a session without an arrival, or more sessions than were recorded.
    pub fn recorded(
        self,
        workload: &Workload,
        sessions: usize,
    ) -> Result<Option<Arc<Recorded>>, Failure> {
        if self != Self::Recorded {
            return Ok(None);
        }
        let arrivals: Vec<_> = workload.sessions.iter().map(|s| s.arrival).collect();
        let count = arrivals.len();
        if sessions > count {
            return Err(Failure::bad_input(anyhow!(
                "`--sessions` is `{sessions}` (wanted: at most {count}, the workload's sessions, with \
                 `--arrivals recorded`)\nhint: `--sessions {count}`"
            )));
        }
        let recorded = Recorded::new(&arrivals).map_err(|error| {
            Failure::bad_input(anyhow!(
                "cannot replay the arrivals of workload `{}`: {error}\nhint: take other arrivals, \
                 such as `--arrivals poisson`",
                workload.name
            ))
        })?;
        Ok(Some(Arc::new(recorded)))
    }

    /// The arrivals at this rate; `recorded` is the workload's own.
    pub fn at(self, rate_per_s: f64, recorded: Option<&Recorded>) -> Arrivals {
        match (self, recorded) {
            (Self::Poisson, _) => Arrivals::Poisson { rate_per_s },
            (Self::Gamma { cv }, _) => Arrivals::Gamma { rate_per_s, cv },
            (Self::Burst { size }, _) => Arrivals::Burst { rate_per_s, size },
            (Self::Recorded, Some(recorded)) => Arrivals::Recorded {
                recorded: recorded.clone(),
                rate_per_s: Some(rate_per_s),
            },
            (Self::Clients { mix: name }, _) => match mix(name) {
                Some(mix) => Arrivals::Clients {
                    mix,
                    rate_per_s: Some(rate_per_s),
                },
                None => Arrivals::Fixed { rate_per_s }, // parsed names are those of the mixes
            },
            (Self::Fixed | Self::Recorded, _) => Arrivals::Fixed { rate_per_s },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_was_read() {
        for text in [
            "fixed",
            "poisson",
            "gamma:1.2",
            "burst:8",
            "recorded",
            "clients:servegen-m-small",
        ] {
            assert_eq!(text.parse::<ArrivalKind>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "fixed:1",
            "gamma",
            "gamma:0",
            "gamma:nan",
            "burst:0",
            "burst:1.5",
            "clients:x",
            "poison",
        ] {
            assert!(text.parse::<ArrivalKind>().is_err(), "{text}");
        }
    }
}
