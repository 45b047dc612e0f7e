//! Arrivals as they were recorded.

use std::sync::Arc;

use units::{Nanos, Time};

use super::ArrivalError;

/// The recorded arrivals of a workload's sessions, in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    times: Arc<[Nanos]>,
    order: Arc<[u32]>,
}

impl Recorded {
    /// From the sessions' arrivals, in the workload's order.
    ///
    /// # Errors
    /// [`ArrivalError::NotRecorded`] for the first session without one.
    ///
    /// # Panics
    /// If there are 2^32 sessions.
    pub fn new(arrivals: &[Option<Nanos>]) -> Result<Self, ArrivalError> {
        let count = arrivals.len();
        let mut known = Vec::with_capacity(count);
        for (index, arrival) in arrivals.iter().enumerate() {
            let arrival = arrival.ok_or(ArrivalError::NotRecorded { index, count })?;
            known.push((arrival, u32::try_from(index).expect("fewer than 2^32")));
        }
        known.sort_unstable();
        Ok(Self {
            times: known.iter().map(|(time, _)| *time).collect(),
            order: known.iter().map(|(_, index)| *index).collect(),
        })
    }

    /// Which session of the workload arrives first, second, ...; sessions of one instant in the
    /// workload's order. Offer them so: each arrives at its own time.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Sessions per second as recorded: gaps over the time from the first to the last session. `None`
    /// for fewer than two sessions or no time between them.
    pub fn rate_per_s(&self) -> Option<f64> {
        let span = self.span()?.as_secs();
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^32")]
        let gaps = (self.times.len() - 1) as f64;
        Some(gaps / span)
    }

    fn span(&self) -> Option<Nanos> {
        let (first, last) = (self.times.first()?, self.times.last()?);
        Some(last.saturating_sub(*first)).filter(|span| *span > Nanos::ZERO)
    }

    /// The times from the first arrival on, with time scaled to the rate.
    pub(super) fn scaled(&self, rate_per_s: Option<f64>) -> Result<Vec<Time>, ArrivalError> {
        let factor = match rate_per_s {
            None => None,
            Some(wanted) => {
                let count = self.times.len();
                let no_span = ArrivalError::NoSpan {
                    count,
                    rate_per_s: wanted,
                };
                Some(self.rate_per_s().ok_or(no_span)? / wanted)
            }
        };
        let first = self.times.first().copied().unwrap_or(Nanos::ZERO);
        let scaled = |time: &Nanos| {
            let since = time.saturating_sub(first).as_nanos();
            let Some(factor) = factor else { return since };
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "exact to 2^-53 of the time, and a cast of a float saturates"
            )]
            let scaled = (since as f64 * factor).round() as u64;
            scaled
        };
        Ok(self
            .times
            .iter()
            .map(|time| Time::from_nanos(scaled(time)))
            .collect())
    }
}
