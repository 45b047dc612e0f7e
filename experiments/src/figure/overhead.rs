//! What planning costs: the time of one `plan()` on this machine, by how many turns it has to order.
//!
//! How: the load is replayed with every step planned, as an engine has to (a simulation repeats most
//! steps without planning them), one run at a time. The clock is read right before and after each plan;
//! steps are sorted into bins of 1, 2 to 3, 4 to 7, ... turns that run or wait. A seed gives one median,
//! one 99th percentile and one share per bin.
//! Why: a policy that orders better and plans for longer than a step lasts would be no gain.
//! Limits: a measurement. It differs from machine to machine and with what else runs there, so nothing
//! is kept and no number can be golden; reading the clock twice is in it, some 50 ns. Admission happens
//! when sessions arrive and turns end, not in a plan, and is not timed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use scheduler::StepPlan;
use sim::world::{Observer, Offered, Outcome, simulate};
use units::{Nanos, Time};

use super::drawing::{Drawing, Row};
use super::recipe::Timed;
use super::results::How;
use crate::estimate::Estimate;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::note;
use crate::plot::scale::Axis;
use crate::plot::{Mark, Panel, Point, Series, style};
use crate::run::policies::Row as Chosen;
use crate::run::{Case, Plan};
use crate::sweep::grid::Grid;

/// Steps that a bin needs before it says anything: fewer have no 99th percentile.
const LEAST_STEPS: usize = 100;

/// The horizontal axis.
const X: &str = "turns that run or wait, from x to below 2x";

/// A number of a bin.
type Quantity = fn(&Bin) -> f64;

/// The panels: title, axis, and what of a bin.
const PANELS: [(&str, &str, Quantity); 3] = [
    ("Median", "time of a plan, microseconds", |bin| {
        bin.micros(50)
    }),
    ("99th percentile", "time of a plan, microseconds", |bin| {
        bin.micros(99)
    }),
    (
        "Share of the step",
        "plan over simulated step, %",
        Bin::share,
    ),
];

/// The steps with about as many turns.
#[derive(Clone, Debug, Default)]
struct Bin {
    plans: Vec<Duration>,
    step: Nanos,
}

impl Bin {
    /// The time that so many percent of the plans stay within, microseconds. The plans are sorted.
    fn micros(&self, percent: usize) -> f64 {
        self.plans[(self.plans.len() - 1) * percent / 100].as_secs_f64() * 1e6
    }

    /// Time of all plans over that of all steps, percent.
    fn share(&self) -> f64 {
        100.0 * self.plans.iter().sum::<Duration>().as_secs_f64() / self.step.as_secs()
    }
}

/// Reads the clock around every plan.
#[derive(Debug)]
struct Timer<'a> {
    /// By the power of two at its lower end.
    bins: BTreeMap<u32, Bin>,
    turns: usize,
    began: Instant,
    took: Duration,
    interrupt: &'a Interrupt,
}

impl Observer for Timer<'_> {
    fn wants_plans(&self) -> bool {
        true
    }

    fn plans(&mut self, turns: usize) {
        self.turns = turns;
        self.began = Instant::now();
    }

    fn planned(&mut self) {
        self.took = self.began.elapsed();
    }

    fn step(&mut self, _at: Time, _plan: &StepPlan, time: Nanos) {
        let bin = self.bins.entry(self.turns.max(1).ilog2()).or_default();
        bin.plans.push(self.took);
        bin.step += time;
    }

    fn progress(&mut self, _at: Time, _completed: u64) -> Outcome {
        if self.interrupt.is_set() {
            Outcome::Stop
        } else {
            Outcome::Continue
        }
    }
}

/// Times one run.
fn time(plan: &Plan, case: Case, interrupt: &Interrupt) -> Result<BTreeMap<u32, Bin>, Failure> {
    let chosen = &plan.policies[case.policy];
    let Chosen::Policy { spec, .. } = &chosen.row else {
        let error = anyhow!("`{}` is a limit, and plans nothing", chosen.name);
        return Err(Failure::bad_input(error));
    };
    let mut setup = plan.machine.setup.clone();
    setup.engine.fast_forward = false;
    setup.sample_every = None;
    let sessions = &plan.workload.sessions;
    let order = plan.order(case.seed);
    let arrivals = plan.times(case.rate_per_s, case.seed)?;
    let offered = order.iter().zip(arrivals).map(|(&index, arrival)| Offered {
        session: Arc::clone(&sessions[index as usize]),
        arrival,
    });
    let mut timer = Timer {
        bins: BTreeMap::new(),
        turns: 0,
        began: Instant::now(),
        took: Duration::ZERO,
        interrupt,
    };
    let policy = spec.build().map_err(Failure::bad_input)?;
    simulate(&setup, policy, offered, &mut timer).map_err(Failure::of_run)?;
    if interrupt.is_set() {
        return Err(Failure {
            exit: Exit::Interrupted,
            error: anyhow!("interrupted; a measurement keeps nothing"),
        });
    }
    for bin in timer.bins.values_mut() {
        bin.plans.sort_unstable();
    }
    Ok(timer.bins)
}

/// The figure.
///
/// # Errors
/// A run that cannot be, or an interruption.
pub(super) fn planning(grid: &Grid, how: &How<'_>) -> Result<Timed, Failure> {
    // By policy, in the order of the sweep: the bins of each seed.
    let mut measured: Vec<(&str, Vec<BTreeMap<u32, Bin>>)> = Vec::new();
    for (done, job) in grid.jobs.iter().enumerate() {
        let plan = &grid.plans[job.plan];
        let policy = plan.policies[job.case.policy].name.as_str();
        let line = format!(
            "timing {policy}, seed {} ({} of {} runs)",
            job.case.seed,
            done + 1,
            grid.jobs.len()
        );
        note(how.quiet, &line);
        let bins = time(plan, job.case, how.interrupt)?;
        match measured.iter_mut().find(|(known, _)| *known == policy) {
            Some((_, seeds)) => seeds.push(bins),
            None => measured.push((policy, vec![bins])),
        }
    }
    let mut drawing = Drawing::default();
    for (title, label, value) in PANELS {
        drawing.absorb(panel(title, label, value, &measured));
    }
    Ok(Timed {
        drawing,
        setting: setting(grid),
    })
}

fn panel(
    title: &str,
    label: &str,
    value: Quantity,
    measured: &[(&str, Vec<BTreeMap<u32, Bin>>)],
) -> Drawing {
    let mut panel = Panel {
        title: title.to_owned(),
        x: Axis::log(X),
        y: Axis::log(label),
        series: Vec::new(),
    };
    let mut rows = Vec::new();
    for (i, (policy, seeds)) in measured.iter().enumerate() {
        let all: BTreeSet<u32> = seeds.iter().flat_map(BTreeMap::keys).copied().collect();
        let mut points = Vec::new();
        for power in all {
            let full = |bin: &&Bin| bin.plans.len() >= LEAST_STEPS;
            let values = seeds.iter().filter_map(|s| s.get(&power).filter(full));
            let estimate = Estimate::of(&values.map(value).collect::<Vec<f64>>());
            let Some(mean) = estimate.mean else { continue };
            let from = 1_u64 << power;
            rows.push(Row {
                panel: title.to_owned(),
                metric: label.to_owned(),
                series: (*policy).to_owned(),
                x_name: X.to_owned(),
                x: from.to_string(),
                value: estimate,
            });
            points.push(Point {
                x: f64::from(u32::try_from(from).unwrap_or(u32::MAX)),
                y: mean,
                half: estimate.half(),
            });
        }
        panel.series.push(Series {
            name: (*policy).to_owned(),
            style: style::of(policy, i),
            mark: Mark::Line,
            points,
        });
    }
    Drawing {
        panels: vec![panel],
        rows,
    }
}

/// What was timed, and on what.
fn setting(grid: &Grid) -> String {
    let Some(plan) = grid.plans.first() else {
        return String::new();
    };
    let built = if cfg!(debug_assertions) {
        "; a build with checks, not for speed"
    } else {
        ""
    };
    format!(
        "Measured on {}{built}. {} sessions of {} a run at {} sessions/s, {} seeds, every step planned; steps \
         as simulated for {} on {}; bars: 95 % interval (Student's t) over seeds",
        processor(),
        plan.sessions,
        plan.workload.name,
        plan.rates[0],
        plan.seeds.len(),
        plan.machine.hardware.model.name,
        plan.machine.hardware.gpu.name,
    )
}

/// What this machine's processor is called.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = named.map(|rest| rest.trim_start_matches([' ', '\t', ':']).trim());
    name.filter(|name| !name.is_empty())
        .unwrap_or("a processor without a name")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many plans of 1, 2, 3, ... microseconds, in steps of 10 ms each.
    fn bin(plans: u32) -> Bin {
        Bin {
            plans: (1..=plans)
                .map(|n| Duration::from_micros(n.into()))
                .collect(),
            step: Nanos::from_millis(10 * u64::from(plans)),
        }
    }

    #[test]
    fn a_bin_tells_percentiles_and_share() {
        let bin = bin(101);
        assert!((bin.micros(50) - 51.0).abs() < 1e-9);
        assert!((bin.micros(99) - 100.0).abs() < 1e-9);
        // 51 microseconds in the mean of 10 ms.
        assert!((bin.share() - 0.51).abs() < 1e-9);
    }

    #[test]
    fn a_point_is_a_mean_over_seeds_and_thin_bins_say_nothing() {
        let seed = |eight: u32| BTreeMap::from([(0, bin(99)), (3, bin(eight))]);
        let measured = [("mars", vec![seed(101), seed(201)])];
        let drawing = panel("t", "l", |bin| bin.micros(50), &measured);
        let rows: Vec<_> = drawing.rows.iter().map(|r| (&*r.x, r.value.mean)).collect();
        assert_eq!(rows, [("8", Some(76.0))]);
        assert_eq!(drawing.panels[0].series[0].points.len(), 1);
    }
}
