//! When sessions arrive.
//!
//! What: the arrival times of session 0, 1, 2, ... at a fixed rate, as a Poisson process, with gamma
//! gaps, in bursts, as recorded, or from a mix of clients whose rates change over time.
//! Why: policies are compared on the same arrivals, and rates on the same draws. A Poisson or gamma
//! gap has a random stream of its own that depends on the seed and the session alone; a client of a
//! mix has one that depends on the seed and the client.
//! Limits: unbounded but for recorded ones; the caller takes as many as it has sessions. An arrival
//! sums gaps of whole nanoseconds, each rounded once. Functions of real numbers come from `libm`.

mod clients;
mod clients_csv;
mod gaps;
mod period;
mod recorded;

pub use clients::{Client, ClientMix, MIXES, Window, mix};
pub use clients_csv::ClientsError;
pub use gaps::{GapKind, GapLaw};
pub use recorded::Recorded;

use std::num::NonZeroU32;

use rand_distr::{Distribution, Exp1};
use traces::generate::ArrivalPlan;
use traces::rng::stream;
use units::{Nanos, Time};

use clients::Superposed;
use period::Period;

/// How sessions arrive.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Session i arrives at exactly i / rate; the first at time 0.
    Fixed {
        /// Sessions per second.
        rate_per_s: f64,
    },
    /// Gaps are exponential with mean 1 / rate, and one lies before the first session too.
    Poisson {
        /// Sessions per second.
        rate_per_s: f64,
    },
    /// Gaps follow a gamma distribution with mean 1 / rate, and one lies before the first session too.
    ///
    /// A `cv` of 1 is a Poisson process (with other draws). `ServeGen`'s median client has 1.2, one in
    /// ten about 5 (Xiang et al., `ServeGen`, arXiv 2505.09999).
    Gamma {
        /// Sessions per second.
        rate_per_s: f64,
        /// Coefficient of variation of the gaps: standard deviation / mean, 0.01 to 1000.
        cv: f64,
    },
    /// `size` sessions at once, at time 0 and every `size / rate` seconds after.
    Burst {
        /// Sessions per second, over time.
        rate_per_s: f64,
        /// Sessions that arrive together.
        size: NonZeroU32,
    },
    /// The sessions' own arrival times, the first at time 0.
    Recorded {
        /// The times.
        recorded: Recorded,
        /// Stretch or squeeze time so that sessions arrive at this rate; `None` for as it was.
        rate_per_s: Option<f64>,
    },
    /// Several clients, each with its own rate and gaps that change from window to window.
    Clients {
        /// The clients.
        mix: ClientMix,
        /// Multiply all rates so that this is their mean over the mix; `None` for as they are.
        rate_per_s: Option<f64>,
    },
}

/// Arrivals that make no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArrivalError {
    /// A rate at which nothing sensible arrives.
    #[error("arrival rate is {rate_per_s} sessions per second (wanted: 1e-9 to 1e9)")]
    Rate {
        /// The offending rate.
        rate_per_s: f64,
    },
    /// Gaps that no distribution has.
    #[error("coefficient of variation of the gaps is {cv} (wanted: 0.01 to 1000)")]
    Cv {
        /// The offending value.
        cv: f64,
    },
    /// Recorded arrivals that are not there.
    #[error("session {index} has no recorded arrival (wanted: one for each of {count} sessions)")]
    NotRecorded {
        /// Which session, from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// Recorded arrivals that have no rate which could be scaled.
    #[error(
        "all {count} recorded sessions arrive at one instant, which no scaling brings to \
         {rate_per_s} per second"
    )]
    NoSpan {
        /// How many sessions.
        count: usize,
        /// The rate wanted.
        rate_per_s: f64,
    },
}

impl Arrivals {
    /// The arrival times, in order. The same arguments give the same times.
    ///
    /// Fixed, burst and recorded arrivals ignore the seed.
    ///
    /// # Errors
    /// [`ArrivalError`] if a rate is not in 1e-9 to 1e9 sessions per second, a coefficient of variation
    /// not in 0.01 to 1000, or recorded arrivals have no span to scale.
    pub fn times(self, seed: u64) -> Result<Times, ArrivalError> {
        if let Some(rate_per_s) = self.rate_per_s()
            && !(1e-9..=1e9).contains(&rate_per_s)
        {
            return Err(ArrivalError::Rate { rate_per_s });
        }
        let renewal = |gap, rate_per_s| Process::Renewal {
            gap,
            seed,
            rate_per_s,
            last: Time::ZERO,
        };
        let process = match self {
            Self::Fixed { rate_per_s } => Process::Burst {
                period: Period::of(rate_per_s),
                size: 1,
            },
            Self::Burst { rate_per_s, size } => Process::Burst {
                period: Period::of(rate_per_s),
                size: u64::from(size.get()),
            },
            Self::Poisson { rate_per_s } => renewal(Gap::Exponential, rate_per_s),
            Self::Gamma { rate_per_s, cv } => {
                renewal(Gap::Law(GapLaw::new(GapKind::Gamma, cv)?), rate_per_s)
            }
            Self::Recorded {
                recorded,
                rate_per_s,
            } => Process::Recorded(recorded.scaled(rate_per_s)?),
            Self::Clients { mix, rate_per_s } => {
                Process::Clients(Box::new(Superposed::new(&mix, rate_per_s, seed)))
            }
        };
        Ok(Times { process, next: 0 })
    }

    /// The arrivals that a description plans. `find` knows mixes of clients by name: [`mix`], or one
    /// that reads files. `None` if it does not find the mix.
    pub fn planned(
        plan: &ArrivalPlan,
        find: impl FnOnce(&str) -> Option<ClientMix>,
    ) -> Option<Self> {
        Some(match *plan {
            ArrivalPlan::Fixed { rate_per_s } => Self::Fixed { rate_per_s },
            ArrivalPlan::Poisson { rate_per_s } => Self::Poisson { rate_per_s },
            ArrivalPlan::Gamma { rate_per_s, cv } => Self::Gamma { rate_per_s, cv },
            ArrivalPlan::Burst { rate_per_s, size } => Self::Burst {
                rate_per_s,
                size: NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN),
            },
            ArrivalPlan::Clients {
                ref mix,
                rate_per_s,
            } => Self::Clients {
                mix: find(mix)?,
                rate_per_s,
            },
        })
    }

    /// Sessions per second that were asked for; `None` for the arrivals' own.
    pub const fn rate_per_s(&self) -> Option<f64> {
        match self {
            Self::Fixed { rate_per_s }
            | Self::Poisson { rate_per_s }
            | Self::Gamma { rate_per_s, .. }
            | Self::Burst { rate_per_s, .. } => Some(*rate_per_s),
            Self::Recorded { rate_per_s, .. } | Self::Clients { rate_per_s, .. } => *rate_per_s,
        }
    }
}

/// Arrival times, one per session. Ends where the clock does, at 2^64 ns, or with the recording.
#[derive(Clone, Debug)]
pub struct Times {
    process: Process,
    next: u64,
}

#[derive(Clone, Debug)]
enum Process {
    Burst {
        period: Period,
        size: u64,
    },
    Renewal {
        gap: Gap,
        seed: u64,
        rate_per_s: f64,
        last: Time,
    },
    Recorded(Vec<Time>),
    Clients(Box<Superposed>),
}

/// What the gaps of a renewal process follow, with mean 1.
#[derive(Clone, Copy, Debug)]
enum Gap {
    Exponential,
    Law(GapLaw),
}

impl Iterator for Times {
    type Item = Time;

    fn next(&mut self) -> Option<Time> {
        let session = self.next;
        let time = match &mut self.process {
            Process::Burst { period, size } => period.times(session - session % *size)?,
            Process::Renewal {
                gap,
                seed,
                rate_per_s,
                last,
            } => {
                let mut rng = stream(*seed, "arrival", session);
                let unit: f64 = match gap {
                    Gap::Exponential => Exp1.sample(&mut rng),
                    Gap::Law(law) => law.gap(&mut rng),
                };
                // No gap is longer than the clock: the end of the iterator, not an error.
                let gap = Nanos::from_secs(unit / *rate_per_s).ok()?;
                let ns = last.as_nanos().checked_add(gap.as_nanos())?;
                *last = Time::from_nanos(ns);
                *last
            }
            Process::Recorded(times) => *times.get(usize::try_from(session).ok()?)?,
            Process::Clients(clients) => clients.next()?,
        };
        self.next = session.checked_add(1)?;
        Some(time)
    }
}

#[cfg(test)]
mod tests;
