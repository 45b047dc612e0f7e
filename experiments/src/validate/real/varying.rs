//! Step times that vary as the real ones did when they were measured.
//!
//! What: a [`StepCost`] that multiplies every step's time by a factor drawn from those that were measured:
//! the times of one batch, repeated, over their middle.
//! Why: in overload a few milliseconds decide who is evicted, and both worlds take another course from run
//! to run. One simulated run is one course of many; the mean over several stands for them, as the mean over
//! real repeats does.
//! Limits: steps vary independently. A machine that is slower for a minute is seen only from outside a run
//! (`runs::Speeds`).

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::measure::Timed;
use rand_core::Rng as _;
use sim::cost::{BatchShape, Crowd, Outside, Reach, StepCost};
use traces::rng::stream;
use units::{Nanos, Tokens};

/// Factors that are kept of a measurement: evenly spaced quantiles.
const KEPT: usize = 201;

/// The factors of these measurements, lowest first; none if nothing was measured twice.
pub(super) fn factors(timed: &[Timed]) -> Vec<f64> {
    let mut all: Vec<f64> = timed
        .iter()
        .filter(|batch| batch.times.len() > 1)
        .flat_map(|batch| {
            let middle = batch.median().as_secs();
            batch
                .times
                .iter()
                .map(move |time| time.as_secs() / middle)
                .filter(|factor| factor.is_finite())
        })
        .collect();
    all.sort_by(f64::total_cmp);
    if all.len() <= KEPT {
        return all;
    }
    (0..KEPT)
        .map(|at| all[at * (all.len() - 1) / (KEPT - 1)])
        .collect()
}

/// A step cost whose times vary. It counts its steps: each run needs one of its own.
#[derive(Debug)]
pub(super) struct Varying {
    inner: Arc<dyn StepCost>,
    factors: Vec<f64>,
    seed: u64,
    steps: AtomicU64,
}

impl Varying {
    /// This cost, times factors drawn by `seed`; without factors it is the cost itself.
    pub(super) fn new(inner: Arc<dyn StepCost>, factors: Vec<f64>, seed: u64) -> Self {
        Self {
            inner,
            factors,
            seed,
            steps: AtomicU64::new(0),
        }
    }

    fn varied(&self, time: Nanos) -> Nanos {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        if self.factors.is_empty() {
            return time;
        }
        let drawn = u128::from(stream(self.seed, "step-time", step).next_u64());
        // The high half of the product is below the count.
        let place = (drawn * self.factors.len() as u128) >> 64;
        let factor = self.factors[usize::try_from(place).unwrap_or(0)];
        Nanos::from_secs(time.as_secs() * factor).unwrap_or(time)
    }
}

impl StepCost for Varying {
    fn step(&self, shape: &BatchShape) -> Nanos {
        self.varied(self.inner.step(shape))
    }

    fn step_in(&self, shape: &BatchShape, crowd: Crowd) -> Nanos {
        self.varied(self.inner.step_in(shape, crowd))
    }

    fn reach(&self) -> Reach {
        self.inner.reach()
    }

    fn outside(&self, shape: &BatchShape) -> Option<Outside> {
        self.inner.outside(shape)
    }

    /// What policies are told: it does not vary, in neither world.
    fn prefill_alone(&self, prefix: Tokens, tokens: Tokens, chunk_budget: NonZeroU64) -> Nanos {
        self.inner.prefill_alone(prefix, tokens, chunk_budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 ms a step.
    #[derive(Debug)]
    struct Flat;

    impl StepCost for Flat {
        fn step(&self, _shape: &BatchShape) -> Nanos {
            Nanos::from_millis(1)
        }
    }

    fn batch(millis: &[u64]) -> Timed {
        Timed {
            point: engine::measure::Point::default(),
            times: millis.iter().map(|ms| Nanos::from_millis(*ms)).collect(),
            cpu: Vec::new(),
        }
    }

    fn close(got: &[f64], wanted: &[f64]) {
        assert_eq!(got.len(), wanted.len(), "{got:?}");
        for (a, b) in got.iter().zip(wanted) {
            assert!((a - b).abs() < 1e-12, "{got:?} is not {wanted:?}");
        }
    }

    #[test]
    fn factors_are_times_over_their_middle() {
        // A batch that was timed once says nothing.
        let two = factors(&[batch(&[8, 10, 15]), batch(&[7])]);
        close(&two, &[0.8, 1.0, 1.5]);
        let many: Vec<Timed> = (0..200).map(|_| batch(&[9, 10, 12])).collect();
        let kept = factors(&many);
        assert_eq!(kept.len(), 201);
        close(&[kept[0], kept[100], kept[200]], &[0.9, 1.0, 1.2]);
    }

    #[test]
    fn steps_take_the_measured_factors_and_no_others_and_a_seed_repeats_them() {
        let run = |seed| -> Vec<u64> {
            let cost = Varying::new(Arc::new(Flat), vec![0.5, 1.0, 3.0], seed);
            let times = (0..600).map(|_| cost.step(&BatchShape::default()).as_nanos());
            times.collect()
        };
        let times = run(1);
        for factor in [500_000, 1_000_000, 3_000_000] {
            // A third of 600 each; five standard deviations are 58.
            let count = times.iter().filter(|time| **time == factor).count();
            assert!((142..=258).contains(&count), "{count} of {factor}");
        }
        assert_eq!(times, run(1));
        assert_ne!(times, run(2));
    }

    #[test]
    fn what_policies_are_told_does_not_vary() {
        let cost = Varying::new(Arc::new(Flat), vec![2.0], 1);
        let told = cost.prefill_alone(Tokens(0), Tokens(10), NonZeroU64::new(5).expect("five"));
        assert_eq!(told, Nanos::from_millis(2));
        assert_eq!(cost.step(&BatchShape::default()), Nanos::from_millis(2));
    }
}
