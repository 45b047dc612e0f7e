//! Real against simulated: figure by figure, and the order of the policies.

use serde::Serialize;
use units::Nanos;

use super::result::{FIGURES, Figure, RunResult, World};

/// Largest error of a mean that passes.
pub const MEAN_WITHIN: f64 = 0.05;
/// Largest error of a 95th percentile that passes.
pub const TAIL_WITHIN: f64 = 0.10;

/// One figure of one policy at one load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// The policy.
    pub policy: String,
    /// The load.
    pub load: f64,
    /// The same in sessions per second.
    pub rate_per_s: f64,
    /// Which figure.
    pub figure: &'static str,
    /// Mean over the real repeats.
    pub real: Option<f64>,
    /// The lowest of them.
    pub real_low: Option<f64>,
    /// The highest.
    pub real_high: Option<f64>,
    /// Real runs.
    pub repeats: usize,
    /// Mean over the simulated runs.
    pub simulated: Option<f64>,
    /// The lowest of them.
    pub simulated_low: Option<f64>,
    /// The highest.
    pub simulated_high: Option<f64>,
    /// Simulated over real, less 1; `None` where the real one is 0 or missing.
    pub error: Option<f64>,
}

/// Which pairs of policies both worlds put in the same order, at one load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranking {
    /// The load.
    pub load: f64,
    /// Policies by real mean latency, fastest first.
    pub real: Vec<String>,
    /// The same as simulated.
    pub simulated: Vec<String>,
    /// Kendall's tau over all pairs: 1 for the same order, -1 for the reverse.
    pub tau: Option<f64>,
    /// Pairs whose real means differ by more than either varies from repeat to repeat.
    pub apart: usize,
    /// Those of them that the simulator puts the other way round: `faster then slower`, as they really are.
    pub wrong: Vec<String>,
}

/// All that is compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// By load, policy, figure.
    pub cells: Vec<Cell>,
    /// By load.
    pub rankings: Vec<Ranking>,
}

pub(super) fn mean(values: &[f64]) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a count of repeats or pairs")]
    let n = values.len() as f64;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / n)
}

impl Cell {
    fn of(
        runs: &[RunResult],
        ideals: &[Option<Nanos>],
        policy: &str,
        (load, rate_per_s): (f64, f64),
        figure: Figure,
    ) -> Self {
        let of = |world| -> Vec<f64> {
            let these = runs.iter().filter(|r| {
                let w = &r.which;
                #[expect(clippy::float_cmp, reason = "a load is copied, never computed")]
                let at_load = w.load == load;
                w.world == world && at_load && w.policy == policy
            });
            these.filter_map(|r| figure.of(r, ideals)).collect()
        };
        let real = of(World::Real);
        let simulations = of(World::Simulated);
        let simulated = mean(&simulations);
        let average = mean(&real);
        let error = average
            .filter(|real| *real > 0.0)
            .zip(simulated)
            .map(|(real, sim)| sim / real - 1.0);
        Self {
            policy: policy.to_owned(),
            load,
            rate_per_s,
            figure: figure.name(),
            real: average,
            real_low: real.iter().copied().reduce(f64::min),
            real_high: real.iter().copied().reduce(f64::max),
            repeats: real.len(),
            simulated,
            simulated_low: simulations.iter().copied().reduce(f64::min),
            simulated_high: simulations.iter().copied().reduce(f64::max),
            error,
        }
    }

    /// How much the real figure varies from repeat to repeat; `None` with fewer than two.
    pub fn spread(&self) -> Option<f64> {
        let wide = self.real_high? - self.real_low?;
        (self.repeats > 1).then_some(wide)
    }

    /// Whether its error passes: `None` for a figure without a bar, or without an error.
    pub fn passes(&self) -> Option<bool> {
        let within = if self.figure == Figure::Mean.name() {
            MEAN_WITHIN
        } else if self.figure == Figure::Tail.name() {
            TAIL_WITHIN
        } else {
            return None;
        };
        self.error.map(|error| error.abs() <= within)
    }
}

impl Comparison {
    /// Of these runs. `loads` are the loads with their rates, `ideals` the sessions' latencies alone.
    pub fn new(
        runs: &[RunResult],
        ideals: &[Option<Nanos>],
        policies: &[String],
        loads: &[(f64, f64)],
    ) -> Self {
        let mut cells = Vec::new();
        let mut rankings = Vec::new();
        for &load in loads {
            let cell = |policy: &String, figure| Cell::of(runs, ideals, policy, load, figure);
            let means: Vec<Cell> = policies.iter().map(|p| cell(p, Figure::Mean)).collect();
            rankings.push(Ranking::of(load.0, &means));
            for policy in policies {
                cells.extend(FIGURES.iter().map(|&figure| cell(policy, figure)));
            }
        }
        Self { cells, rankings }
    }

    /// Whether every mean and tail is within its bar and no pair that is apart is the wrong way round.
    /// `None` while a run is missing.
    pub fn passes(&self) -> Option<bool> {
        let barred = |c: &&Cell| c.figure == Figure::Mean.name() || c.figure == Figure::Tail.name();
        let mut all = true;
        for cell in self.cells.iter().filter(barred) {
            all &= cell.passes()?;
        }
        Some(all && self.rankings.iter().all(|r| r.wrong.is_empty()))
    }
}

impl Ranking {
    fn of(load: f64, means: &[Cell]) -> Self {
        let order = |value: fn(&Cell) -> Option<f64>| -> Vec<String> {
            let mut known: Vec<(f64, &str)> = means
                .iter()
                .filter_map(|c| Some((value(c)?, c.policy.as_str())))
                .collect();
            known.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
            known.into_iter().map(|(_, name)| name.to_owned()).collect()
        };
        let mut signs = Vec::new();
        let mut apart = 0;
        let mut wrong = Vec::new();
        for (i, a) in means.iter().enumerate() {
            for b in &means[i + 1..] {
                let both = a.real.zip(b.real).zip(a.simulated.zip(b.simulated));
                let Some(((real_a, real_b), (sim_a, sim_b))) = both else {
                    continue;
                };
                let (real, sim) = (real_b - real_a, sim_b - sim_a);
                let agree = real * sim;
                signs.push(if agree > 0.0 {
                    1.0
                } else if agree < 0.0 {
                    -1.0
                } else {
                    0.0
                });
                let varies = a.spread().zip(b.spread()).map(|(a, b)| a.max(b));
                if varies.is_some_and(|varies| real.abs() > varies) {
                    apart += 1;
                    if agree <= 0.0 {
                        let (fast, slow) = if real > 0.0 { (a, b) } else { (b, a) };
                        wrong.push(format!("{} then {}", fast.policy, slow.policy));
                    }
                }
            }
        }
        Self {
            load,
            real: order(|c| c.real),
            simulated: order(|c| c.simulated),
            tau: mean(&signs),
            apart,
            wrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::result::tests::run;
    use super::*;

    /// Real means by policy and repeat, and the simulated one.
    fn compared(table: &[(&str, &[f64], f64)]) -> Comparison {
        let mut runs = Vec::new();
        for &(policy, real, simulated) in table {
            for (repeat, mean) in (0..).zip(real) {
                runs.push(run(policy, World::Real, repeat, &[*mean]));
            }
            runs.push(run(policy, World::Simulated, 0, &[simulated]));
        }
        let policies: Vec<String> = table.iter().map(|row| row.0.to_owned()).collect();
        Comparison::new(&runs, &[None], &policies, &[(1.0, 1.0)])
    }

    #[test]
    fn errors_and_spreads_are_those_computed_by_hand() {
        let c = compared(&[("a", &[9.0, 11.0], 10.4)]);
        let cell = &c.cells[0];
        assert_eq!((cell.figure, cell.repeats), ("latency_mean_s", 2));
        assert!((cell.real.expect("two runs") - 10.0).abs() < 1e-9);
        assert!((cell.spread().expect("two runs") - 2.0).abs() < 1e-9);
        assert!((cell.error.expect("both worlds") - 0.04).abs() < 1e-9);
        assert_eq!((cell.passes(), c.passes()), (Some(true), Some(true)));
        // One session: its tail is its mean, and 4 % is within both bars. 6 % is within the tail's only.
        let c = compared(&[("a", &[10.0, 10.0], 10.6)]);
        let verdicts: Vec<Option<bool>> = c.cells.iter().map(Cell::passes).collect();
        assert_eq!(verdicts[..3], [Some(false), None, Some(true)]);
        assert_eq!(c.passes(), Some(false));
    }

    /// Three policies: b and c change places, but they really differ by less than they vary.
    #[test]
    fn only_pairs_that_are_apart_have_to_agree() {
        let c = compared(&[
            ("a", &[1.0, 1.1], 1.0),
            ("b", &[2.0, 2.3], 2.2),
            ("c", &[2.2, 2.4], 2.1),
        ]);
        let r = &c.rankings[0];
        assert_eq!(r.real, ["a", "b", "c"]);
        assert_eq!(r.simulated, ["a", "c", "b"]);
        assert!(
            (r.tau.expect("pairs") - 1.0 / 3.0).abs() < 1e-9,
            "2 agree, 1 does not"
        );
        assert_eq!((r.apart, r.wrong.len()), (2, 0));

        let c = compared(&[("a", &[1.0, 1.1], 3.0), ("b", &[2.0, 2.3], 2.2)]);
        assert_eq!(c.rankings[0].wrong, ["a then b"]);
        assert_eq!(c.passes(), Some(false));
    }

    #[test]
    fn what_is_missing_is_no_number_and_no_verdict() {
        let c = compared(&[("a", &[], 3.0), ("b", &[2.0], 2.0)]);
        assert_eq!((c.cells[0].real, c.cells[0].error), (None, None));
        assert_eq!(c.cells[0].simulated, Some(3.0));
        assert_eq!(c.passes(), None);
        let r = &c.rankings[0];
        assert_eq!((r.tau, r.apart), (None, 0));
        // One repeat shows no spread.
        assert_eq!(c.cells[7].spread(), None);
    }
}
