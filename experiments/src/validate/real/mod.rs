//! `orrery validate --engine`: the same sessions and policies in both worlds, and how far apart they come out.
//!
//! What: times the engine's steps and a tool's process, gives that to the simulator, replays a load under
//! several policies for real and simulated, and compares latencies, goodput and the order of the policies.
//! Why: a simulator is believed as far as it was held against something real. A policy is chosen by its
//! place among others, so the order matters most.
//! Limits: one machine, one model, one load of short sessions. Real runs vary from repeat to repeat, and an
//! error below that variation says nothing.

pub mod args;
pub mod bench;
pub mod calibration;
mod churn;
pub mod compare;
mod files;
mod load;
mod log;
mod refined;
mod report;
pub mod result;
mod runs;
mod varying;
pub mod watch;
pub mod world;
pub mod write;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use scheduler::policy::Policy;
use serde_json::json;
use sim::cost::StepCost;
use sim::world::{Setup, ToolMode, simulate};
use traces::Session;
use units::Nanos;

use engine::Executor as _;

use crate::cli::Format;
use crate::engine::machine::mode_name;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{self, note};
use crate::run::policies::{self, Chosen, Row};
use args::{BenchArgs, Engine, Load, LoadArgs};
use bench::Bench;
use calibration::{Calibration, KeptTimes, interrupted};
use files::Folder;
use load::Alone;
use log::Log;
use result::{RunResult, Which, World};
use runs::Speeds;
use write::Report;

/// Share of its core that an engine may lose to other programs before a measurement is in doubt.
const QUIET: f64 = 0.05;

/// Where a folder keeps the times of the grid's batches.
const TIMES: &str = "times.json";

/// Simulated runs of each policy and load. They cost next to nothing, so as many as make their mean certain.
const SIMULATIONS: u32 = 20;

/// The policies that are compared if none are named.
pub const POLICIES: &str = "fcfs,continuum,mars,autellix";

/// `orrery validate --engine`
///
/// # Errors
/// Bad input; exit 1 if a run failed or the bar is not met; 130 if interrupted: the runs that are complete are
/// kept, and compared if there is a calibration.
pub fn command(
    engine: &BenchArgs,
    load: &LoadArgs,
    policies: &str,
    set: &[String],
    format: Format,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let began = Instant::now();
    let engine = engine.checked()?;
    let tools = args::tool_mode(set, engine.cores.tools.len())?;
    let study = Study::new(engine, tools, load, policies)?;
    let report = study.run(interrupt)?;
    study.folder.write(
        "results.json",
        &write::json(&report).map_err(Failure::bad_input)?,
    )?;
    study.folder.write(
        "results.csv",
        &write::csv(&report).map_err(Failure::bad_input)?,
    )?;
    study
        .folder
        .write("results.md", &write::markdown(&report))?;
    study.folder.write(
        "report.html",
        &write::page(&report).map_err(Failure::bad_input)?,
    )?;
    let text = match format {
        Format::Table => write::table(&report),
        Format::Csv => write::csv(&report).map_err(Failure::bad_input)?,
        Format::Json => write::json(&report).map_err(Failure::bad_input)?,
    };
    output::data(&text)?;
    let line = format!(
        "wrote results.json, results.csv, results.md and report.html in `{}` after {:.0} s",
        study.folder.path().display(),
        began.elapsed().as_secs_f64()
    );
    note(false, &line);
    if interrupt.is_set() {
        return Err(interrupted());
    }
    if report.passes == Some(true) {
        Ok(())
    } else {
        Err(Failure {
            exit: Exit::Partial,
            error: anyhow!("the simulation is further from the engine than the bar allows"),
        })
    }
}

/// What is to be run.
struct Study {
    engine: Engine,
    /// How tools share their cores, in both worlds.
    tools: ToolMode,
    load: Load,
    policies: Vec<Chosen>,
    sessions: Vec<Session>,
    folder: Folder,
    /// Of another study, whose calibration is taken.
    calibrated: Option<Folder>,
}

/// The simulated twin of the engine.
struct Twin {
    calibration: Calibration,
    setup: Setup,
    /// What a step itself takes: that is held against real steps.
    step_cost: Arc<dyn StepCost>,
    /// With the time that processes take to start.
    sessions: Vec<Session>,
    alone: Vec<Alone>,
}

fn built(chosen: &Chosen) -> Result<Policy, Failure> {
    let Row::Policy { spec, .. } = &chosen.row else {
        return Err(Failure::bad_input(anyhow!(
            "`{}` is a limit and cannot be run (wanted: a policy)",
            chosen.name
        )));
    };
    spec.build().map_err(Failure::bad_input)
}

impl Study {
    fn new(
        engine: Engine,
        tools: ToolMode,
        args: &LoadArgs,
        policies: &str,
    ) -> Result<Self, Failure> {
        let load = args.checked()?;
        let policies = policies::choose(policies, &[])?;
        for chosen in &policies {
            built(chosen)?;
        }
        let sessions = load::sessions(args, load.sessions, load.seed)?;
        let too_long = sessions.iter().find(|s| s.peak_tokens() > engine.context);
        if let Some(session) = too_long {
            return Err(Failure::bad_input(anyhow!(
                "session `{}` grows to {} tokens, beyond `--context` {}\nhint: `orrery trace scale --length` \
                 shrinks a trace",
                session.id,
                session.peak_tokens().get(),
                engine.context.get()
            )));
        }
        let calibrated = args.calibration.as_deref().map(Folder::existing);
        let calibrated = calibrated.transpose()?;
        let folder = Folder::open(&args.out)?;
        folder.write_trace(&sessions)?;
        Ok(Self {
            engine,
            tools,
            load,
            policies,
            sessions,
            folder,
            calibrated,
        })
    }

    /// What results of a folder must agree on to be compared; `executor` is what computes, which may not be
    /// what was asked for.
    fn identity(&self, executor: &str) -> serde_json::Value {
        let e = &self.engine;
        json!({
            "version": 7,
            "executor": executor,
            "weights": e.weights,
            "threads": e.threads.get(),
            "engine_cores": e.cores.engine,
            "tool_cores": e.cores.tools,
            "tools_mode": mode_name(self.tools),
            "blocks": e.blocks,
            "token_budget": e.token_budget,
            "max_running": e.max_running,
            "context": e.context.get(),
            "sessions": self.load.sessions,
            "seed": self.load.seed,
            "trace": files::digest(&self.sessions),
        })
    }

    fn run(&self, interrupt: &Interrupt) -> Result<Report, Failure> {
        let mut bench = Bench::open(self.engine.clone())?;
        let identity = self.identity(bench.executor.name());
        let other = self.calibrated.as_ref();
        let other = other.map(|folder| folder.calibration_for(&identity));
        let other = other.transpose()?;
        self.folder.check_identity(&identity)?;
        let first = self.calibration(&mut bench, other, interrupt)?;
        let twin = self.twin(&bench, first.clone())?;
        let (first, unit) = if let Some(unit) = first.unit_per_s {
            (first, unit)
        } else {
            let cores = self.engine.cores.tools.len();
            let unit = load::unit_rate(&twin.alone, &self.sessions, cores)?;
            let unit_per_s = Some(unit);
            let first = Calibration {
                unit_per_s,
                ..first
            };
            self.folder.write_json("calibration.json", &first)?;
            (first, unit)
        };
        let loads: Vec<(f64, f64)> = self
            .load
            .loads
            .iter()
            .map(|&x| (x, load::three_digits(x * unit)))
            .collect();
        let simulated = self.simulated(&twin, &loads, 1, &Speeds::default(), interrupt)?;
        let expected: f64 = simulated
            .iter()
            .map(|r| Nanos::new(r.makespan_ns).as_secs())
            .sum();
        let line = format!(
            "load 1 is {unit} sessions/s; the real runs should take {:.0} s, by the simulation, and what is \
             timed between them some seconds each",
            expected * f64::from(self.load.repeats)
        );
        note(false, &line);
        let mut runs = self.real(&mut bench, &twin, &loads, interrupt)?;
        if interrupt.is_set() {
            // Of each only the one simulation that was made before.
            runs.extend(simulated);
            return Ok(self.report(&bench, &twin, &runs, &loads));
        }
        let calibration = self.whole_calibration(&mut bench, first, interrupt)?;
        let twin = self.twin(&bench, calibration)?;
        let kept: Vec<KeptTimes> = self.folder.read(TIMES)?.unwrap_or_default();
        let middle: Vec<u64> = kept.iter().map(KeptTimes::median_ns).collect();
        let speeds = Speeds::new(&runs, &middle);
        runs.extend(self.simulated(&twin, &loads, SIMULATIONS, &speeds, interrupt)?);
        Ok(self.report(&bench, &twin, &runs, &loads))
    }

    /// Kept from before, or another study's, or measured now.
    fn calibration(
        &self,
        bench: &mut Bench,
        other: Option<Calibration>,
        interrupt: &Interrupt,
    ) -> Result<Calibration, Failure> {
        if let Some(kept) = self.folder.read("calibration.json")? {
            note(false, "the calibration in the folder is taken");
            return Ok(kept);
        }
        if let Some((other, folder)) = other.zip(self.calibrated.as_ref()) {
            let line = format!("the calibration in `{}` is taken", folder.path().display());
            note(false, &line);
            // As it is: the machine is not measured again between these runs. Load 1 is their own.
            let taken = Calibration {
                unit_per_s: None,
                whole: true,
                ..other
            };
            self.folder.write_json("calibration.json", &taken)?;
            return Ok(taken);
        }
        let starts = calibration::tool_starts(&self.engine.cores.tools)?;
        let timed = calibration::time_beside_tools(bench, self.engine.rounds, interrupt)?;
        self.folder
            .write("steps.csv", &calibration::step_log(&timed))?;
        if interrupt.is_set() {
            return Err(interrupted());
        }
        let fitted = calibration::fitted(bench, timed, calibration::FOLDS)?;
        self.folder
            .write_json(TIMES, &calibration::kept(&fitted.timed))?;
        let calibration = Calibration {
            cost_ms: calibration::coefficients(&fitted.fit.ms),
            active_share: bench.active_share,
            residuals: fitted.residuals,
            error_across: fitted.error_across,
            batches: fitted.timed.len(),
            step_factors: varying::factors(&fitted.timed),
            tool_start_ns: starts.computing.as_nanos(),
            tool_core_ns: starts.core.as_nanos(),
            wait_start_ns: starts.waiting.as_nanos(),
            disturbed: calibration::disturbed(&fitted.timed, self.computing_threads(bench)),
            ..Calibration::default()
        };
        let beside = world::beside_computing(bench, &calibration, interrupt)?;
        let calibration = Calibration {
            per_step_ns: beside.per_step.as_nanos(),
            per_running_ns: beside.per_running.as_nanos(),
            ..calibration
        };
        self.folder.write_json("calibration.json", &calibration)?;
        if let Some(share) = calibration.disturbed.filter(|share| *share > QUIET) {
            let line = format!(
                "warning: other programs took the engine's core for {:.0} % of the time that steps were timed: \
                 wanted is a quiet machine",
                100.0 * share
            );
            note(false, &line);
        }
        Ok(calibration)
    }

    /// Threads of this process that compute steps; 0 where a GPU does, and the processor waits for it.
    fn computing_threads(&self, bench: &Bench) -> usize {
        if bench.executor.name() == "cuda" {
            0
        } else {
            self.engine.threads.get()
        }
    }

    /// The calibration with what was measured between the runs.
    fn whole_calibration(
        &self,
        bench: &mut Bench,
        first: Calibration,
        interrupt: &Interrupt,
    ) -> Result<Calibration, Failure> {
        if first.whole {
            return Ok(first);
        }
        let timed = calibration::time_beside_tools(bench, NonZeroU32::MIN, interrupt)?;
        if interrupt.is_set() {
            return Err(interrupted());
        }
        let before = self.folder.read(TIMES)?.unwrap_or_default();
        let timed = calibration::merged(timed, before);
        let steps = calibration::fitted(bench, timed, calibration::FOLDS)?;
        let starts = calibration::tool_starts(&self.engine.cores.tools)?;
        let threads = self.computing_threads(bench);
        let whole = calibration::measured_between(&first, &steps, starts, threads);
        self.folder
            .write("steps.csv", &calibration::step_log(&steps.timed))?;
        self.folder.write_json("calibration.json", &whole)?;
        Ok(whole)
    }

    fn twin(&self, bench: &Bench, calibration: Calibration) -> Result<Twin, Failure> {
        let setup = Setup {
            engine: bench.config(),
            cost: Arc::new(calibration.cost()?),
            tools: self.tools,
            horizon: None,
            sample_every: None,
        };
        let sessions = load::with_process_starts(&self.sessions, &calibration);
        let alone = load::alone(&setup, &sessions)?;
        Ok(Twin {
            step_cost: Arc::new(calibration.step_cost()?),
            calibration,
            setup,
            sessions,
            alone,
        })
    }

    /// So many of each policy and load: the same load, and step times that vary as measured, at the speeds that
    /// the machine had around the real runs.
    fn simulated(
        &self,
        twin: &Twin,
        loads: &[(f64, f64)],
        of_each: u32,
        speeds: &Speeds,
        interrupt: &Interrupt,
    ) -> Result<Vec<RunResult>, Failure> {
        let mut runs = Vec::new();
        for &(load, rate_per_s) in loads {
            for chosen in &self.policies {
                for repeat in 0..of_each {
                    let which = Which {
                        policy: chosen.name.clone(),
                        load,
                        rate_per_s,
                        world: World::Simulated,
                        repeat,
                    };
                    let slower = speeds.of(&which);
                    let result = self.simulated_once(twin, chosen, which, slower, interrupt)?;
                    self.folder.write_run(&result, chosen)?;
                    runs.push(result);
                }
            }
        }
        Ok(runs)
    }

    fn simulated_once(
        &self,
        twin: &Twin,
        chosen: &Chosen,
        which: Which,
        slower: f64,
        interrupt: &Interrupt,
    ) -> Result<RunResult, Failure> {
        let offered = load::offered(&twin.sessions, which.rate_per_s, self.load.seed)?;
        let mut log = self.log(&twin.step_cost, interrupt);
        let factors = twin.calibration.factors(slower);
        let cost = Arc::clone(&twin.setup.cost);
        let seed = u64::from(which.repeat);
        let mut setup = twin.setup.clone();
        setup.cost = Arc::new(varying::Varying::new(cost, factors, seed));
        // Steps that repeat would all take the first one's time.
        setup.engine.fast_forward = false;
        let summary = simulate(&setup, built(chosen)?, offered.into_iter(), &mut log)
            .map_err(Failure::of_run)?;
        if interrupt.is_set() {
            return Err(interrupted());
        }
        Ok(log.result(which, &summary))
    }

    fn log(&self, cost: &Arc<dyn StepCost>, interrupt: &Interrupt) -> Log {
        Log::new(self.sessions.len(), Arc::clone(cost), interrupt)
    }
}
