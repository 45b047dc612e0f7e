//! The closed forms, corrected by what they miss of the measured batches.
//!
//! What: a [`StepCost`] that multiplies the closed form's time by a factor which depends on the turns that
//! decode and the new tokens of the batch. The factors are those of the measured grid; between its points they
//! are interpolated in the logarithms of both, outside it the nearest one holds.
//! Why: a closed form is linear in the turns, and an executor on a processor is not: kernels take rows in
//! eights, so 16 turns are 10 % dearer than the form says and 4 are 7 % cheaper. In overload that decides
//! how fast a backlog grows, and policies differ in how many turns they let decode at once.
//! Limits: contexts have no factor of their own; a point's factor is the mean over those it was measured at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sim::calibrate::MeasuredStep;
use sim::cost::{BatchShape, ClosedForm, Crowd, Outside, Reach, StepCost};
use units::Nanos;

/// What a closed form misses at one point of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// Turns that decode.
    pub decodes: u64,
    /// New tokens of prefill; 0 without prefill.
    pub new: u64,
    /// Measured time over the closed form's, the geometric mean over the contexts that were measured.
    pub factor: f64,
}

#[expect(clippy::cast_precision_loss, reason = "tokens and turns of one step")]
fn log2(count: u64) -> f64 {
    (count as f64).log2()
}

/// What `cost` misses of these steps, by new tokens and turns.
pub(super) fn residuals(steps: &[MeasuredStep], cost: &ClosedForm) -> Vec<Residual> {
    let mut logs: BTreeMap<(u64, u64), Vec<f64>> = BTreeMap::new();
    for step in steps {
        let at = (step.shape.prefill_tokens, step.shape.decodes);
        let price = cost.step(&step.shape).as_secs() * 1e3;
        logs.entry(at).or_default().push((step.ms / price).ln());
    }
    let mean = |logs: &[f64]| {
        #[expect(clippy::cast_precision_loss, reason = "a few contexts")]
        let n = logs.len() as f64;
        (logs.iter().sum::<f64>() / n).exp()
    };
    let all = logs.iter().map(|(&(new, decodes), logs)| Residual {
        decodes,
        new,
        factor: mean(logs),
    });
    all.filter(|r| r.factor.is_finite()).collect()
}

/// Factors at some places, by place.
type Line = Vec<(f64, f64)>;

/// Between two places on the straight line through both, outside them what the nearest has.
fn on_line(line: &Line, x: f64) -> Option<f64> {
    let after = line.partition_point(|(at, _)| *at < x);
    let (last, next) = (line.get(after.wrapping_sub(1)), line.get(after));
    match (last, next) {
        (Some(&(x0, y0)), Some(&(x1, y1))) => Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0)),
        (one, other) => one.or(other).map(|&(_, y)| y),
    }
}

/// Factors over turns and new tokens.
#[derive(Clone, Debug, Default)]
struct Surface {
    /// Of batches that only decode, over log2(1 + turns).
    decode: Line,
    /// Of the others: by log2(1 + turns), over log2 of the new tokens.
    prefill: Vec<(f64, Line)>,
}

impl Surface {
    fn new(residuals: &[Residual]) -> Self {
        let mut decode = BTreeMap::new();
        let mut prefill: BTreeMap<u64, BTreeMap<u64, f64>> = BTreeMap::new();
        for r in residuals {
            let (line, place) = match r.new {
                0 => (&mut decode, 1 + r.decodes),
                new => (prefill.entry(r.decodes).or_default(), new),
            };
            line.insert(place, r.factor);
        }
        let line = |factors: BTreeMap<u64, f64>| -> Line {
            let places = factors.into_iter();
            places.map(|(at, factor)| (log2(at), factor)).collect()
        };
        Self {
            decode: line(decode),
            prefill: prefill
                .into_iter()
                .map(|(decodes, factors)| (log2(1 + decodes), line(factors)))
                .collect(),
        }
    }

    fn at(&self, shape: &BatchShape) -> f64 {
        let turns = log2(1 + shape.decodes);
        if shape.prefill_tokens == 0 {
            return on_line(&self.decode, turns).unwrap_or(1.0);
        }
        let new = log2(shape.prefill_tokens);
        let after = self.prefill.partition_point(|(at, _)| *at < turns);
        let around = [after.checked_sub(1), Some(after)];
        let known = around
            .into_iter()
            .flatten()
            .filter_map(|place| self.prefill.get(place));
        let line: Line = known
            .filter_map(|(at, line)| Some((*at, on_line(line, new)?)))
            .collect();
        on_line(&line, turns).unwrap_or(1.0)
    }
}

/// A closed form and what it misses.
#[derive(Clone, Debug)]
pub(super) struct Refined {
    /// With the host's time, which has no factor: it was measured for itself.
    whole: ClosedForm,
    /// What a step itself takes.
    step: ClosedForm,
    missed: Surface,
}

impl Refined {
    /// `whole` is `step` with the host's time; without residuals it is `whole` itself.
    pub(super) fn new(whole: ClosedForm, step: ClosedForm, residuals: &[Residual]) -> Self {
        Self {
            whole,
            step,
            missed: Surface::new(residuals),
        }
    }

    fn refine(&self, shape: &BatchShape, whole: Nanos) -> Nanos {
        let step = self.step.step(shape);
        let refined = step.as_secs() * self.missed.at(shape);
        let host = whole.saturating_sub(step);
        Nanos::from_secs(refined).map_or(whole, |refined| refined + host)
    }
}

impl StepCost for Refined {
    fn step(&self, shape: &BatchShape) -> Nanos {
        self.refine(shape, self.whole.step(shape))
    }

    fn step_in(&self, shape: &BatchShape, crowd: Crowd) -> Nanos {
        self.refine(shape, self.whole.step_in(shape, crowd))
    }

    fn reach(&self) -> Reach {
        self.whole.reach()
    }

    fn outside(&self, shape: &BatchShape) -> Option<Outside> {
        self.whole.outside(shape)
    }
}

#[cfg(test)]
mod tests {
    use sim::cost::{Coefficients, Host, InMillis};
    use units::Tokens;

    use super::*;

    /// 1 ms a step, 1 ms a turn that decodes or a token that is new.
    fn flat(host: Host) -> ClosedForm {
        let ms = InMillis {
            p0: 1.0,
            p1: 1.0,
            p2: 0.0,
            d0: 1.0,
            e: 0.0,
            d1: 1.0,
            d2: 0.0,
        };
        let coefficients = Coefficients::from_ms(&ms, 1.0).expect("lawful");
        ClosedForm::new(coefficients, host).expect("lawful")
    }

    fn batch(decodes: u64, new: u64) -> BatchShape {
        let mut shape = BatchShape::default();
        (0..decodes).for_each(|_| shape.add_decode(Tokens(10)));
        if new > 0 {
            shape.add_prefill(Tokens(0), Tokens(new));
        }
        shape
    }

    fn measured(decodes: u64, new: u64, ms: f64) -> MeasuredStep {
        MeasuredStep {
            shape: batch(decodes, new),
            ms,
        }
    }

    fn millis(cost: &Refined, decodes: u64, new: u64) -> f64 {
        cost.step(&batch(decodes, new)).as_secs() * 1e3
    }

    fn close(got: f64, wanted: f64) {
        assert!((got - wanted).abs() < 1e-5, "{got} is not {wanted}");
    }

    #[test]
    fn what_was_measured_is_met_and_what_lies_between_is_between() {
        let steps = [
            // Twice the form at 1 turn, the form at 3; at 3 turns and 16 tokens 1.2 and 1 / 1.2 times it.
            measured(1, 0, 4.0),
            measured(3, 0, 4.0),
            measured(3, 16, 24.0),
            measured(3, 16, 20.0 / 1.2),
            measured(3, 64, 136.0),
            measured(0, 16, 17.0 * 3.0),
        ];
        let form = flat(Host::NONE);
        let found = residuals(&steps, &form);
        let places: Vec<(u64, u64)> = found.iter().map(|r| (r.decodes, r.new)).collect();
        assert_eq!(places, [(1, 0), (3, 0), (0, 16), (3, 16), (3, 64)]);
        let cost = Refined::new(form.clone(), form, &found);
        close(millis(&cost, 1, 0), 4.0);
        close(millis(&cost, 3, 0), 4.0);
        close(millis(&cost, 3, 64), 136.0);
        // log2(1 + turns) of 2 is 1.585 on the way from 1 to 2.
        close(millis(&cost, 2, 0), 3.0 * (2.0 - (3.0_f64.log2() - 1.0)));
        // Beyond the last and before the first the nearest factor holds.
        close(millis(&cost, 7, 0), 8.0);
        close(millis(&cost, 9, 3), 13.0);
        close(millis(&cost, 9, 128), 276.0);
        // Half way between 16 and 64 in logarithms: half way between 1 and 2.
        close(millis(&cost, 3, 32), 36.0 * 1.5);
        // One turn is half way between none and three: at 16 tokens between 3 and 1, at 32 between 3 and 1.5.
        close(millis(&cost, 1, 16), 18.0 * 2.0);
        close(millis(&cost, 1, 32), 34.0 * 2.25);
    }

    #[test]
    fn the_hosts_time_has_no_factor_and_nothing_measured_changes_nothing() {
        let host = Host {
            per_step: Nanos::from_millis(5),
            ..Host::NONE
        };
        let twice = [Residual {
            decodes: 1,
            new: 0,
            factor: 2.0,
        }];
        let cost = Refined::new(flat(host), flat(Host::NONE), &twice);
        close(millis(&cost, 1, 0), 9.0);
        let cost = Refined::new(flat(host), flat(Host::NONE), &[]);
        close(millis(&cost, 1, 0), 7.0);
        close(millis(&cost, 2, 8), 16.0);
    }
}
