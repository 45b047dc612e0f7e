//! The real runs of a study, and what the machine's speed was around each.
//!
//! What: every policy at every load, so many times, each between two timings of the grid's batches.
//! Why: a machine's speed changes by a tenth within minutes, and a run's latencies with it. Who compares the
//! run with a simulation has to know the speed that it met, from something other than the run.
//! Limits: the speed within a run is not seen, only before and after it.

use std::num::NonZeroU32;
use std::time::Instant;

use super::bench::Bench;
use super::calibration::{self, interrupted};
use super::compare::mean;
use super::result::{RunResult, Which, World};
use super::{QUIET, Study, TIMES, Twin, built, load, world};
use crate::engine::machine::pool_mode;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::note;
use crate::run::policies::Chosen;

/// Real runs of one kind that may be discarded because other programs took the engine's core: a machine
/// that is never quiet has to be measured as it is.
const DISCARDS: u32 = 2;

/// Rounds of the grid between two runs.
const BETWEEN: NonZeroU32 = NonZeroU32::new(4).expect("not zero");

impl Study {
    /// Repeats outermost: a disturbance of some minutes then does not hit all runs of one policy. Each repeat
    /// begins with another policy, so that none is always the first after another load. Between
    /// the runs the grid's batches are timed, so that the simulator is told the machine as the runs met it,
    /// unless its calibration is whole. Interrupted, the runs that are complete.
    pub(super) fn real(
        &self,
        bench: &mut Bench,
        twin: &Twin,
        loads: &[(f64, f64)],
        interrupt: &Interrupt,
    ) -> Result<Vec<RunResult>, Failure> {
        let total = self.load.repeats as usize * loads.len() * self.policies.len();
        let mut runs: Vec<RunResult> = Vec::new();
        // What was timed right before the next run, if nothing was run since.
        let mut before = None;
        for repeat in 0..self.load.repeats {
            for &(load, rate_per_s) in loads {
                for chosen in turned(&self.policies, repeat) {
                    let which = Which {
                        policy: chosen.name.clone(),
                        load,
                        rate_per_s,
                        world: World::Real,
                        repeat,
                    };
                    let at = runs.len() + 1;
                    if let Some(kept) = self.folder.read_run(&which, chosen)? {
                        runs.push(kept);
                        before = None;
                        continue;
                    }
                    let began = Instant::now();
                    let run =
                        self.between_timings(bench, twin, chosen, &which, &mut before, interrupt);
                    let result = match run {
                        Err(failure) if failure.exit == Exit::Interrupted => return Ok(runs),
                        run => run?,
                    };
                    let line = format!(
                        "run {at} of {total}: {} at load {load}, repeat {repeat}: {:.1} s with what is timed around it",
                        chosen.name,
                        began.elapsed().as_secs_f64()
                    );
                    note(false, &line);
                    self.folder.write_run(&result, chosen)?;
                    runs.push(result);
                }
            }
        }
        Ok(runs)
    }

    /// A run between two timings of the grid, of which the first may have been made after another run.
    fn between_timings(
        &self,
        bench: &mut Bench,
        twin: &Twin,
        chosen: &Chosen,
        which: &Which,
        before: &mut Option<Vec<u64>>,
        interrupt: &Interrupt,
    ) -> Result<RunResult, Failure> {
        if twin.calibration.whole {
            return self.quiet(bench, twin, chosen, which, interrupt);
        }
        let first = match before.take() {
            Some(times) => times,
            None => self.time_grid(bench, interrupt)?,
        };
        let mut result = self.quiet(bench, twin, chosen, which, interrupt)?;
        result.grid_before_ns = first;
        match self.time_grid(bench, interrupt) {
            Ok(then) => {
                result.grid_after_ns.clone_from(&then);
                *before = Some(then);
                Ok(result)
            }
            // The run itself is complete.
            Err(failure) if failure.exit == Exit::Interrupted => Ok(result),
            Err(failure) => Err(failure),
        }
    }

    /// Times every batch of the grid and keeps that: the middle time of each.
    fn time_grid(&self, bench: &mut Bench, interrupt: &Interrupt) -> Result<Vec<u64>, Failure> {
        let grid = calibration::time_beside_tools(bench, BETWEEN, interrupt)?;
        if interrupt.is_set() {
            return Err(interrupted());
        }
        let times = grid.iter().map(|t| t.median().as_nanos()).collect();
        let before = self.folder.read(TIMES)?.unwrap_or_default();
        let all = calibration::merged(grid, before);
        self.folder.write_json(TIMES, &calibration::kept(&all))?;
        Ok(times)
    }

    /// A run, again if other programs took the engine's core meanwhile: that is seen from processor time
    /// alone, whatever the run came to.
    fn quiet(
        &self,
        bench: &mut Bench,
        twin: &Twin,
        chosen: &Chosen,
        which: &Which,
        interrupt: &Interrupt,
    ) -> Result<RunResult, Failure> {
        let mut discarded = 0;
        loop {
            let offered = load::offered(&self.sessions, which.rate_per_s, self.load.seed)?;
            let mut log = self.log(&twin.step_cost, interrupt);
            log.watch(bench.executor.last());
            let world = world::Real {
                cost: &twin.setup.cost,
                policy: built(chosen)?,
                tools: pool_mode(self.tools)?,
                offered,
            };
            let summary = world.run(bench, &mut log)?;
            if interrupt.is_set() {
                return Err(interrupted());
            }
            let result = RunResult {
                discarded,
                ..log.result(which.clone(), &summary)
            };
            let one_thread = self.computing_threads(bench) == 1;
            let lost = result
                .on_core()
                .filter(|_| one_thread)
                .map(|share| 1.0 - share);
            let Some(lost) = lost.filter(|lost| *lost > QUIET && discarded < DISCARDS) else {
                return Ok(result);
            };
            discarded += 1;
            let line = format!(
                "discarded: other programs took {:.0} % of the engine's core during {} at load {}; again",
                100.0 * lost,
                which.policy,
                which.load
            );
            note(false, &line);
        }
    }
}

/// The policies, beginning with another one each repeat.
fn turned(policies: &[Chosen], repeat: u32) -> impl Iterator<Item = &Chosen> {
    let first = repeat as usize % policies.len().max(1);
    policies[first..].iter().chain(&policies[..first])
}

/// How much slower than in the middle the machine was around each real run.
#[derive(Debug, Default)]
pub(super) struct Speeds(Vec<(Which, f64)>);

impl Speeds {
    /// From the grid's times before and after each run, over the middle ones. A run without such times says
    /// nothing.
    pub(super) fn new(runs: &[RunResult], medians: &[u64]) -> Self {
        let around = |run: &RunResult| {
            let both = [&run.grid_before_ns, &run.grid_after_ns];
            let known = both
                .into_iter()
                .filter(|times| times.len() == medians.len());
            let ratios: Vec<f64> = known.filter_map(|times| over(times, medians)).collect();
            let slower = mean(&ratios)?;
            Some((run.which.clone(), slower))
        };
        Self(runs.iter().filter_map(around).collect())
    }

    /// Of a simulated run: the real runs of its policy and load have their turns, by their repeats. 1 without
    /// any.
    pub(super) fn of(&self, which: &Which) -> f64 {
        let same = |real: &&(Which, f64)| {
            #[expect(clippy::float_cmp, reason = "a load is copied, never computed")]
            let load = real.0.load == which.load;
            load && real.0.policy == which.policy
        };
        let count = self.0.iter().filter(same).count();
        let turn = (which.repeat as usize).checked_rem(count).unwrap_or(0);
        self.0
            .iter()
            .filter(same)
            .nth(turn)
            .map_or(1.0, |real| real.1)
    }
}

/// The mean ratio of the times to the middle ones.
fn over(times: &[u64], medians: &[u64]) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "times of steps")]
    let ratio = |(&time, &median): (&u64, &u64)| time as f64 / median as f64;
    let ratios: Vec<f64> = times.iter().zip(medians).map(ratio).collect();
    mean(&ratios).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::result::tests::run;
    use super::*;

    #[test]
    fn a_simulation_has_the_speed_around_the_real_runs_by_turns() {
        let real = |policy, repeat, before: &[u64], after: &[u64]| RunResult {
            grid_before_ns: before.to_vec(),
            grid_after_ns: after.to_vec(),
            ..run(policy, World::Real, repeat, &[1.0])
        };
        let runs = [
            real("fcfs", 0, &[100, 400], &[110, 440]),
            real("mars", 0, &[200, 800], &[]),
            real("fcfs", 1, &[90, 360], &[90, 360]),
            // Cut short: nothing is known.
            real("fcfs", 2, &[90], &[]),
        ];
        let speeds = Speeds::new(&runs, &[100, 400]);
        let of = |policy, repeat| speeds.of(&run(policy, World::Simulated, repeat, &[1.0]).which);
        let close = |got: f64, wanted: f64| assert!((got - wanted).abs() < 1e-12, "{got}");
        for (repeat, wanted) in [(0, 1.05), (1, 0.9), (2, 1.05), (19, 0.9)] {
            close(of("fcfs", repeat), wanted);
        }
        close(of("mars", 7), 2.0);
        close(of("other", 0), 1.0);
    }
}
