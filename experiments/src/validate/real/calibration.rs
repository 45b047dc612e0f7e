//! What the simulator is told of the real machine: the price of steps, and what processes cost.
//!
//! All of it is measured before any policy runs, on batches and tools made for it: no run that is compared
//! is fitted to.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use engine::measure::{Reach, Timed, grid, measure};
use engine::tools::{Call, CallId, Ended, Hold, Limits, Mode, Outcome, Settings, ToolPool, Work};
use serde::{Deserialize, Serialize};
use sim::calibrate::{MeasuredStep, StepFit, fit_steps};
use sim::cost::{BatchShape, ClosedForm, Coefficients, Host, InMillis, StepCost};
use units::{Blocks, Nanos, SessionId};

use super::bench::Bench;
use super::churn::Churn;
use super::refined::{Refined, Residual, residuals};
use super::varying;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::note;

/// Folds of the cross-validation of a study.
pub const FOLDS: usize = 5;
/// CPU time of a tool call that shows what a process costs.
const PROBE: Nanos = Nanos::from_millis(20);
/// How often each kind is timed.
const PROBES: u64 = 15;
/// Calls for each core that show what a process costs a core.
const TOGETHER: u64 = 10;
/// Far longer than a probe takes on any machine.
const PROBE_LIMIT: Duration = Duration::from_mins(1);

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Coefficients of the closed forms: p0, p1, p2, d0, e, d1, d2, milliseconds.
    pub cost_ms: [f64; 7],
    /// Share of a mixture's experts that a token goes through.
    pub active_share: f64,
    /// What they miss of the batches, by turns and new tokens.
    #[serde(default)]
    pub residuals: Vec<Residual>,
    /// Mean absolute error of the cost, corrected so, on batches that it was not fitted to.
    pub error_across: Option<f64>,
    /// Batches of the grid.
    pub batches: usize,
    /// Times of a batch over their middle, lowest first: what steps of the simulation vary by.
    pub step_factors: Vec<f64>,
    /// Load 1 in sessions per second: it stays when the machine is measured between the runs.
    pub unit_per_s: Option<f64>,
    /// Whether what was measured between the real runs is in it.
    pub whole: bool,
    /// What a call that computes takes beyond its CPU time, alone.
    pub tool_start_ns: u64,
    /// How much longer than its CPU time a call that computes keeps a tool core busy: its process is started
    /// and taken down there.
    pub tool_core_ns: u64,
    /// What a call that only waits takes beyond its wait.
    pub wait_start_ns: u64,
    /// What a step keeps the engine for beside computing it: plan, arrays, books.
    pub per_step_ns: u64,
    /// The same for each turn in the batch.
    pub per_running_ns: u64,
    /// Share of the time of the grid's steps that this process was not on a core, if one thread computes:
    /// other programs took it.
    pub disturbed: Option<f64>,
}

/// How far the steps of a grid were disturbed: 1 less their CPU time over their time. `None` with several
/// threads, whose CPU times add up.
pub fn disturbed(timed: &[Timed], threads: usize) -> Option<f64> {
    let sum = |of: fn(&Timed) -> Nanos| timed.iter().map(|t| of(t).as_secs()).sum::<f64>();
    let (wall, cpu) = (sum(Timed::median), sum(Timed::median_cpu));
    (threads == 1 && wall > 0.0).then(|| (1.0 - cpu / wall).max(0.0))
}

impl Calibration {
    /// What a step keeps this machine for, from its start to the start of the next.
    ///
    /// # Errors
    /// Bad input: coefficients that no cost model has.
    pub fn cost(&self) -> Result<impl StepCost + use<>, Failure> {
        let host = Host {
            per_step: Nanos::new(self.per_step_ns),
            per_running: Nanos::new(self.per_running_ns),
            ..Host::NONE
        };
        let step = closed_form(&self.cost_ms, self.active_share)?;
        let whole = step.clone().with_host(host);
        Ok(Refined::new(whole, step, &self.residuals))
    }

    /// What steps vary by where the machine is so much slower than it was in the middle.
    pub(super) fn factors(&self, slower: f64) -> Vec<f64> {
        match &self.step_factors[..] {
            [] => vec![slower],
            factors => factors.iter().map(|factor| factor * slower).collect(),
        }
    }

    /// What a step itself takes.
    ///
    /// # Errors
    /// Bad input: coefficients that no cost model has.
    pub fn step_cost(&self) -> Result<impl StepCost + use<>, Failure> {
        let step = closed_form(&self.cost_ms, self.active_share)?;
        Ok(Refined::new(step.clone(), step, &self.residuals))
    }
}

fn closed_form(cost_ms: &[f64; 7], active_share: f64) -> Result<ClosedForm, Failure> {
    let coefficients =
        Coefficients::from_ms(&in_millis(cost_ms), active_share).map_err(Failure::bad_input)?;
    ClosedForm::new(coefficients, Host::NONE).map_err(Failure::bad_input)
}

const fn in_millis(&[p0, p1, p2, d0, e, d1, d2]: &[f64; 7]) -> InMillis {
    InMillis {
        p0,
        p1,
        p2,
        d0,
        e,
        d1,
        d2,
    }
}

/// Steps of the grid and what was fitted to them.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// Every batch with its times.
    pub timed: Vec<Timed>,
    /// The coefficients and their errors.
    pub fit: StepFit,
    /// What the closed forms miss.
    pub residuals: Vec<Residual>,
    /// Mean absolute error of the forms with that on batches that neither was fitted to.
    pub error_across: Option<f64>,
}

/// Times the grid on the engine, every batch once a round; interrupted, what was timed until then.
///
/// # Errors
/// A step that failed.
pub fn time_steps(
    bench: &mut Bench,
    rounds: NonZeroU32,
    interrupt: &Interrupt,
) -> Result<Vec<Timed>, Failure> {
    let engine = &bench.engine;
    let reach = Reach {
        block_size: engine.block_size,
        usable_blocks: Blocks(engine.blocks),
        max_running: engine.max_running,
        token_budget: engine.token_budget,
        context: engine.context,
    };
    let points = grid(&reach);
    let progress = |round: u32, done: usize| {
        if done == 0 && rounds.get() > 1 {
            let line = format!("timing {} batches, round {round} of {rounds}", points.len());
            note(false, &line);
        }
        !interrupt.is_set()
    };
    measure(&mut bench.executor, &reach, &points, rounds, progress)
        .context("timing batches")
        .map_err(|error| Failure {
            exit: Exit::Partial,
            error,
        })
}

/// The same while tools come and go on their cores. Where they share the engine's, without them: they would take
/// its time, which the simulator knows of.
///
/// # Errors
/// As [`time_steps`], or tools that cannot be run.
pub fn time_beside_tools(
    bench: &mut Bench,
    rounds: NonZeroU32,
    interrupt: &Interrupt,
) -> Result<Vec<Timed>, Failure> {
    let cores = &bench.engine.cores;
    let _tools = (!cores.overlap())
        .then(|| Churn::on(&cores.tools))
        .transpose()?;
    time_steps(bench, rounds, interrupt)
}

/// Fits the closed forms to a timed grid, checked across so many folds.
///
/// # Errors
/// Bad input: a grid too small to fit.
pub fn fitted(bench: &Bench, timed: Vec<Timed>, folds: usize) -> Result<Fitted, Failure> {
    let steps: Vec<MeasuredStep> = timed.iter().map(measured).collect();
    let (fit, residuals) = refined(&steps, bench.active_share, folds)?;
    let error_across = error_across(&steps, bench.active_share, folds)?;
    Ok(Fitted {
        timed,
        fit,
        residuals,
        error_across,
    })
}

fn refined(
    steps: &[MeasuredStep],
    active_share: f64,
    folds: usize,
) -> Result<(StepFit, Vec<Residual>), Failure> {
    let fit = fit_steps(steps, active_share, folds).map_err(Failure::bad_input)?;
    let form = closed_form(&coefficients(&fit.ms), active_share)?;
    let missed = residuals(steps, &form);
    Ok((fit, missed))
}

/// The mean absolute error over all folds, each predicted from the others. `None` if too few would be left.
fn error_across(
    steps: &[MeasuredStep],
    active_share: f64,
    folds: usize,
) -> Result<Option<f64>, Failure> {
    let mut errors = Vec::new();
    for fold in 0..folds {
        let (left, kept): (Vec<_>, Vec<_>) =
            (0..).zip(steps).partition(|(at, _)| at % folds == fold);
        let kept: Vec<MeasuredStep> = kept.into_iter().map(|(_, step)| *step).collect();
        let Ok((fit, missed)) = refined(&kept, active_share, 2) else {
            return Ok(None);
        };
        let form = closed_form(&coefficients(&fit.ms), active_share)?;
        let cost = Refined::new(form.clone(), form, &missed);
        let error =
            |step: &MeasuredStep| (cost.step(&step.shape).as_secs() * 1e3 / step.ms - 1.0).abs();
        errors.extend(left.into_iter().map(|(_, step)| error(step)));
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of batches")]
    let n = errors.len() as f64;
    Ok((n > 0.0).then(|| errors.iter().sum::<f64>() / n))
}

/// Times the grid on the engine and fits the closed forms, checked across so many folds.
///
/// # Errors
/// As [`time_steps`] and [`fitted`], or an interruption.
pub fn steps(bench: &mut Bench, folds: usize, interrupt: &Interrupt) -> Result<Fitted, Failure> {
    let timed = time_steps(bench, bench.engine.rounds, interrupt)?;
    if interrupt.is_set() {
        return Err(interrupted());
    }
    fitted(bench, timed, folds)
}

/// Times of a batch as a folder keeps them; the batches are those of the engine's grid, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTimes {
    times_ns: Vec<u64>,
    cpu_ns: Vec<u64>,
}

impl KeptTimes {
    /// The middle time, as [`Timed::median`].
    pub fn median_ns(&self) -> u64 {
        let at = self.times_ns.len().saturating_sub(1) / 2;
        self.times_ns.get(at).copied().unwrap_or_default()
    }
}

/// What a folder keeps of a timed grid.
pub fn kept(timed: &[Timed]) -> Vec<KeptTimes> {
    let all = |times: &[Nanos]| times.iter().map(|t| t.as_nanos()).collect();
    let of = |t: &Timed| KeptTimes {
        times_ns: all(&t.times),
        cpu_ns: all(&t.cpu),
    };
    timed.iter().map(of).collect()
}

/// A grid's times together with those that were kept of it before. Both are of one grid.
pub fn merged(mut timed: Vec<Timed>, kept: Vec<KeptTimes>) -> Vec<Timed> {
    for (batch, kept) in timed.iter_mut().zip(kept) {
        batch
            .times
            .extend(kept.times_ns.into_iter().map(Nanos::new));
        batch.times.sort_unstable();
        batch.cpu.extend(kept.cpu_ns.into_iter().map(Nanos::new));
        batch.cpu.sort_unstable();
    }
    timed
}

/// The first calibration with what was measured between the runs: the machine's speed changes while they
/// take their minutes, and this is what they met. The load that they were offered stays.
pub fn measured_between(
    first: &Calibration,
    steps: &Fitted,
    starts: ToolStarts,
    threads: usize,
) -> Calibration {
    let middle = |a: u64, b: Nanos| u64::midpoint(a, b.as_nanos());
    Calibration {
        cost_ms: coefficients(&steps.fit.ms),
        residuals: steps.residuals.clone(),
        error_across: steps.error_across,
        step_factors: varying::factors(&steps.timed),
        disturbed: disturbed(&steps.timed, threads),
        tool_start_ns: middle(first.tool_start_ns, starts.computing),
        tool_core_ns: middle(first.tool_core_ns, starts.core),
        wait_start_ns: middle(first.wait_start_ns, starts.waiting),
        whole: true,
        ..first.clone()
    }
}

/// Ctrl-C, after what is complete was kept.
pub fn interrupted() -> Failure {
    Failure {
        exit: Exit::Interrupted,
        error: anyhow!(
            "interrupted: what is complete is kept, and the same command goes on from there"
        ),
    }
}

fn measured(timed: &Timed) -> MeasuredStep {
    let point = &timed.point;
    let mut shape = BatchShape::default();
    (0..point.decodes).for_each(|_| shape.add_decode(point.context));
    shape.add_prefill(point.prefix, point.new);
    MeasuredStep {
        shape,
        ms: timed.median().as_secs() * 1e3,
    }
}

/// The step log as `orrery calibrate` reads it: the middle time of each batch, with the shortest and the
/// longest and the CPU time beside it.
pub fn step_log(timed: &[Timed]) -> String {
    let mut text =
        "decodes,decode_context,prefill_tokens,prefill_work,ms,ms_min,ms_max,cpu_ms,rounds\n"
            .to_owned();
    for t in timed {
        let step = measured(t);
        let s = &step.shape;
        let ms = |time: Option<&Nanos>| time.map_or(0.0, |t| t.as_secs() * 1e3);
        let _ = writeln!(
            text,
            "{},{},{},{},{:.6},{:.6},{:.6},{:.6},{}",
            s.decodes,
            s.decode_context,
            s.prefill_tokens,
            s.prefill_work,
            step.ms,
            ms(t.times.first()),
            ms(t.times.last()),
            ms(Some(&t.median_cpu())),
            t.times.len()
        );
    }
    text
}

/// The coefficients in the order of [`Calibration::cost_ms`].
pub const fn coefficients(ms: &InMillis) -> [f64; 7] {
    [ms.p0, ms.p1, ms.p2, ms.d0, ms.e, ms.d1, ms.d2]
}

/// What a tool's process costs beyond its CPU time and its wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolStarts {
    /// Alone, of a call that computes.
    pub computing: Nanos,
    /// Alone, of a call that waits.
    pub waiting: Nanos,
    /// On its core, of a call that computes: from many at once, which leave the core no pause.
    pub core: Nanos,
}

/// Times processes on the tool cores: the middle of several.
///
/// # Errors
/// Tools that cannot be run.
pub fn tool_starts(cores: &[usize]) -> Result<ToolStarts, Failure> {
    let failed = |error: anyhow::Error| Failure {
        exit: Exit::Partial,
        error: error.context("timing tools"),
    };
    let runner = runner().map_err(failed)?;
    let pool = |mode| {
        let settings = Settings {
            mode,
            cores: cores.to_vec(),
            limits: Limits::default(),
            runner: runner.clone(),
            sandboxes: None,
        };
        let (sender, ended) = channel();
        let pool = ToolPool::new(settings, sender).map_err(Failure::bad_input)?;
        Ok::<_, Failure>((pool, ended))
    };
    let (mut one, ended) = pool(Mode::Fifo(NonZeroU32::MIN, Hold::Call))?;
    let mut alone = |cpu: Nanos, io: Nanos| -> anyhow::Result<Nanos> {
        let mut beyond = Vec::new();
        for _ in 0..PROBES {
            let took = at_once(&mut one, &ended, 1, (cpu, io))?;
            beyond.push(took.saturating_sub(cpu + io));
        }
        beyond.sort_unstable();
        Ok(beyond[beyond.len() / 2])
    };
    let computing = alone(PROBE, Nanos::ZERO).map_err(failed)?;
    let waiting = alone(Nanos::ZERO, PROBE).map_err(failed)?;
    let (mut all, ended) = pool(Mode::FreeForAll)?;
    // So many a core that what the first start and the last end take beside them is little.
    let calls = TOGETHER * cores.len().max(1) as u64;
    let mut beyond = Vec::new();
    for _ in 0..PROBES {
        let took = at_once(&mut all, &ended, calls, (PROBE, Nanos::ZERO)).map_err(failed)?;
        beyond.push(Nanos::new(took.as_nanos() / TOGETHER).saturating_sub(PROBE));
    }
    beyond.sort_unstable();
    Ok(ToolStarts {
        computing,
        waiting,
        core: beyond[beyond.len() / 2],
    })
}

/// Starts so many calls of this CPU time and wait, and waits for all: the time until the last has ended.
fn at_once(
    pool: &mut ToolPool,
    ended: &Receiver<Ended>,
    calls: u64,
    (cpu, io): (Nanos, Nanos),
) -> anyhow::Result<Nanos> {
    for id in 0..calls {
        pool.start(Call {
            id: CallId(id),
            session: SessionId(0),
            work: Work::Burn {
                cpu,
                threads: NonZeroU32::MIN,
                io,
            },
        });
    }
    let mut last = Nanos::ZERO;
    for _ in 0..calls {
        let end = ended.recv_timeout(PROBE_LIMIT)?;
        if end.outcome != Outcome::Ok {
            return Err(anyhow!(
                "a tool ended with {:?}: {}",
                end.outcome,
                String::from_utf8_lossy(&end.output.kept)
            ));
        }
        last = last.max(end.elapsed);
    }
    Ok(last)
}

/// The program that tools start as: this one.
///
/// # Errors
/// If the system does not say where it is.
pub fn runner() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file, which tools start as")
}

#[cfg(test)]
mod tests {
    use engine::measure::Point;
    use units::Tokens;

    use super::*;

    #[test]
    fn a_step_log_is_what_calibrate_reads() {
        let timed = Timed {
            point: Point {
                decodes: 2,
                context: Tokens(100),
                prefix: Tokens(10),
                new: Tokens(5),
            },
            times: [3, 4, 9].map(Nanos::from_millis).to_vec(),
            cpu: [2, 3, 3].map(Nanos::from_millis).to_vec(),
        };
        // 5 * (2 * 10 + 5) pairs; the middle of 3, 4 and 9.
        let log = step_log(&[timed]);
        assert_eq!(
            log.lines().nth(1),
            Some("2,200,5,125,4.000000,3.000000,9.000000,3.000000,3")
        );
    }

    #[test]
    fn two_measurements_become_one() {
        let batch = |times: &[u64]| Timed {
            point: Point::default(),
            times: times.iter().map(|ms| Nanos::from_millis(*ms)).collect(),
            cpu: times.iter().map(|ms| Nanos::from_millis(*ms)).collect(),
        };
        let before = kept(&[batch(&[2, 9]), batch(&[4])]);
        let both = merged(vec![batch(&[3, 5]), batch(&[1])], before);
        assert_eq!(both, [batch(&[2, 3, 5, 9]), batch(&[1, 4])]);
    }

    #[test]
    fn what_the_scheduler_takes_is_in_the_price() {
        let calibration = Calibration {
            cost_ms: [0.0, 0.0, 0.0, 2.0, 0.0, 0.5, 0.0],
            active_share: 1.0,
            per_step_ns: 30_000,
            per_running_ns: 4_000,
            ..Calibration::default()
        };
        let mut shape = BatchShape::default();
        shape.add_decode(Tokens(10));
        let step = calibration.step_cost().expect("coefficients").step(&shape);
        let whole = calibration.cost().expect("coefficients").step(&shape);
        assert_eq!((step.as_nanos(), whole.as_nanos()), (2_500_000, 2_534_000));
    }
}
