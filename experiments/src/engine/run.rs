//! `orrery engine run`: one case after the other, in real time.

use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use clap::Parser;
use engine::drive::{Commands, Drive, Driven, drive};
use policies::PolicySpec;
use replay::{Limits, Observer, Offered, SessionRecord, Status};
use scheduler::policy::Policy;
use serde_json::{Value, json};
use units::{Nanos, Time};

use super::args::EngineRunArgs;
use super::load::Divisors;
use super::machine::{Real, Wanted};
use super::model::Model;
use super::prefill::PrefillChoice;
use crate::cli::{Cli, Command, RunArgs};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{data, note};
use crate::progress::Progress;
use crate::report::{self, RunReport};
use crate::run::manifest::{self, RealRun};
use crate::run::policies::Row;
use crate::run::recorder::Recorder;
use crate::run::settings::Settings;
use crate::run::{Case, Done, Plan, cases, directory, guarded, keep, verdict};

/// Settings that differ from the simulator's: a small machine's step, and a little host memory.
const OWN_SETTINGS: [(&str, &str); 2] = [("engine.token_budget", "512"), ("engine.host_gib", "1")];

/// `orrery engine run`.
///
/// # Errors
/// A [`Failure`] with its exit code: bad input, a failed run or session, an interruption.
pub fn command(args: &EngineRunArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let divisors = Divisors::new(&args.shrink, &args.time_scale)?;
    let wanted = Wanted::new(args)?;
    let mut plan = plan(args, divisors, wanted.tool_cores())?;
    wanted.commands(&plan)?;
    if let Some(warning) = wanted.warning() {
        note(args.quiet, &warning);
    }
    let settings = settings(args)?;
    let model = Model::open(&args.model)?;
    check_contexts(&plan, &model)?;
    directory::prepare(&args.out).map_err(Failure::bad_input)?;
    let mut real = wanted.make(args, &model, &settings, divisors, &mut plan)?;
    plan.real = Some(Arc::new(real.config.clone()));
    let results = all(&plan, &mut real, !args.besides.no_ideals, interrupt)?;
    if interrupt.is_set() {
        // What is complete took its real time: it is shown as it would have been.
        let stopped = interrupted(&plan, results.len(), cases(&plan).len());
        show(&plan, &results)?;
        return Err(stopped);
    }
    finish(&plan, results)
}

/// The plan of the same flags that `orrery run` has.
fn plan(args: &EngineRunArgs, divisors: Divisors, tool_cores: usize) -> Result<Plan, Failure> {
    let arrivals = args.arrivals.to_string();
    let tool_cores = tool_cores.to_string();
    let out = args.out.to_string_lossy();
    let mut line: Vec<&str> = vec!["orrery", "run"];
    for (flag, value) in [
        ("--policy", &*args.policy),
        ("--workload", &args.workload),
        ("--rate", &args.rate),
        ("--arrivals", &arrivals),
        ("--sessions", &args.sessions),
        ("--seed", &args.seed),
        ("--tool-cores", &tool_cores),
        ("--alpha", &args.alpha),
        ("--out", &out),
    ] {
        line.extend([flag, value]);
    }
    if let Some(horizon) = &args.horizon {
        line.extend(["--horizon", horizon]);
    }
    let own = OWN_SETTINGS.map(|(key, value)| format!("{key}={value}"));
    for pair in own.iter().chain(&args.set) {
        line.extend(["--set", pair]);
    }
    if args.decisions {
        line.push("--decisions");
    }
    let cli = Cli::try_parse_from(line).map_err(Failure::bad_input)?;
    let Some(Command::Run(run)) = cli.command else {
        return Err(Failure::bad_input(anyhow!(
            "the flags are not those of a run"
        )));
    };
    let mut run: RunArgs = *run;
    run.perfetto = args.perfetto.clone();
    run.common.on_bad_session = args.on_bad_session;
    run.common.shown.format = args.format;
    run.common.work.quiet = args.quiet;
    let mut plan = Plan::with(&run, |name, loading| divisors.load(name, loading))?;
    if let Some(limit) = plan.policies.iter().find(|p| p.limit().is_some()) {
        return Err(Failure::bad_input(anyhow!(
            "`--policy` has `{}`, which is computed, not run (wanted: policies)",
            limit.name
        )));
    }
    if args.besides.no_ideals {
        // Without T_ideal nobody knows who was in time.
        plan.alphas.clear();
    }
    Ok(plan)
}

/// The settings that no policy owns.
fn settings(args: &EngineRunArgs) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    let own = OWN_SETTINGS.map(|(key, value)| format!("{key}={value}"));
    for pair in own.iter().chain(&args.set) {
        if let Some((key, value)) = pair.split_once('=') {
            settings
                .set(key.trim(), value.trim())
                .map_err(Failure::bad_input)?;
        }
    }
    Ok(settings)
}

/// Refuses sessions that the model cannot take, before anything runs.
fn check_contexts(plan: &Plan, model: &Model) -> Result<(), Failure> {
    let most = model.config().context_length as u64;
    let sessions = &plan.workload.sessions;
    let beyond = |s: &&Arc<traces::Session>| s.peak_tokens().get() > most;
    let count = sessions.iter().filter(beyond).count();
    let longest = sessions
        .iter()
        .map(|s| s.peak_tokens().get())
        .max()
        .unwrap_or(0);
    if count == 0 {
        return Ok(());
    }
    Err(Failure::bad_input(anyhow!(
        "{count} of {} sessions grow beyond the {most} tokens that `{}` takes; the longest has {longest}\n\
         hint: `--shrink {}` divides token counts so that they fit",
        sessions.len(),
        model.name,
        longest.div_ceil(most) + 1,
    )))
}

/// All cases, one after the other. One that fails stops no other. Interrupted, those that had ended.
fn all(
    plan: &Plan,
    real: &mut Real,
    with_ideals: bool,
    interrupt: &Interrupt,
) -> Result<Vec<Result<Done, Failure>>, Failure> {
    let cases = cases(plan);
    let orders: Vec<Vec<u32>> = plan.seeds.iter().map(|&seed| plan.order(seed)).collect();
    let mut distinct: Vec<u32> = orders.iter().flatten().copied().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let alone = if with_ideals { distinct.len() } else { 0 };
    let total = alone as u64 + plan.sessions as u64 * cases.len() as u64;
    let progress = Progress::of(total, "sessions run", plan.quiet);
    let mut ideals = vec![None; plan.workload.sessions.len()];
    for &index in distinct.iter().filter(|_| with_ideals) {
        ideals[index as usize] = ideal(plan, real, index, interrupt)?;
        if interrupt.is_set() {
            return Ok(Vec::new());
        }
        progress.share().completed(1);
    }
    let mut results = Vec::new();
    for (case, seed) in &cases {
        let order = &orders[*seed];
        let done = guarded(plan, *case, || {
            one(plan, *case, order, &ideals, real, &progress, interrupt)
        });
        if interrupt.is_set() {
            break;
        }
        results.push(done);
    }
    Ok(results)
}

fn interrupted(plan: &Plan, complete: usize, total: usize) -> Failure {
    let out = plan.out.as_deref().unwrap_or(std::path::Path::new("."));
    Failure {
        exit: Exit::Interrupted,
        error: anyhow!(
            "interrupted: {complete} of {total} runs are complete in `{}`, the others left nothing",
            out.display()
        ),
    }
}

/// One run of these sessions, in real time.
fn go<O: Observer>(
    plan: &Plan,
    real: &mut Real,
    policy: Policy,
    seed: u64,
    limits: Limits,
    offered: impl Iterator<Item = Offered>,
    observer: &mut O,
) -> Result<Driven, Failure> {
    let setup = Drive {
        engine: plan.machine.setup.engine.clone(),
        context_length: real.context_length,
        seed,
        tools: real.tools.clone(),
        commands: real.commands,
        limits,
        poison: real.poison,
    };
    let reload = Box::new(real.prefill.clone());
    let driven = drive(
        &setup,
        policy,
        reload,
        &mut *real.executor,
        offered,
        observer,
    );
    driven.map_err(Failure::bad_input)
}

/// What a session takes alone: `T_ideal`, by this machine's clock.
fn ideal(
    plan: &Plan,
    real: &mut Real,
    index: u32,
    interrupt: &Interrupt,
) -> Result<Option<Nanos>, Failure> {
    struct Latency<'a>(Option<Nanos>, &'a Interrupt);
    impl Observer for Latency<'_> {
        fn session(&mut self, record: SessionRecord) {
            if let (Status::Completed, Some(finished)) = (record.status, record.finished) {
                self.0 = Some(finished.since(record.arrival));
            }
        }
        fn progress(&mut self, _at: Time, _completed: u64) -> replay::Outcome {
            if self.1.is_set() {
                replay::Outcome::Stop
            } else {
                replay::Outcome::Continue
            }
        }
    }
    let fcfs = PolicySpec::preset("fcfs").and_then(|spec| spec.build());
    let fcfs = fcfs.map_err(Failure::bad_input)?;
    let offered = std::iter::once(Offered {
        session: Arc::clone(&plan.workload.sessions[index as usize]),
        arrival: Time::ZERO,
    });
    let mut latency = Latency(None, interrupt);
    let driven = go(
        plan,
        real,
        fcfs,
        0,
        Limits::default(),
        offered,
        &mut latency,
    )?;
    match driven.error {
        None => Ok(latency.0),
        Some(error) => Err(Failure::of_drive(error).context("a session alone".to_owned())),
    }
}

/// One case, and its directory.
fn one(
    plan: &Plan,
    case: Case,
    order: &[u32],
    ideals: &[Option<Nanos>],
    real: &mut Real,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Done, Failure> {
    let Row::Policy { spec, .. } = &plan.policies[case.policy].row else {
        return Err(Failure::bad_input(anyhow!("a limit is no policy")));
    };
    let sessions = &plan.workload.sessions;
    let times = plan.times(case.rate_per_s, case.seed)?;
    let offered = order.iter().zip(times).map(|(&index, arrival)| Offered {
        session: Arc::clone(&sessions[index as usize]),
        arrival,
    });
    let ideals: Vec<Option<Nanos>> = order.iter().map(|&i| ideals[i as usize]).collect();
    let mut recorder = Recorder::new(&ideals, progress.share(), interrupt);
    if plan.decisions() {
        recorder.keep_decisions();
    }
    if let Some(wanted) = plan.perfetto {
        recorder.keep_timeline(wanted);
    }
    if real.commands == Commands::Run {
        recorder.keep_commands();
    }
    let limits = Limits {
        horizon: plan.machine.setup.horizon,
        sample_every: plan.machine.setup.sample_every,
    };
    let policy = spec.build().map_err(Failure::bad_input)?;
    let began = Instant::now();
    let driven = go(
        plan,
        real,
        policy,
        case.seed,
        limits,
        offered,
        &mut recorder,
    )?;
    let wall_s = began.elapsed().as_secs_f64();
    if interrupt.is_set() {
        return Err(Failure {
            exit: Exit::Interrupted,
            error: anyhow!("interrupted"),
        });
    }
    let name = manifest::name(plan, case);
    for (at, failure) in recorder.failures() {
        let line = format!(
            "{name}: at {:.3} s tool `{}` of {} turn {} failed: {}",
            at.as_secs(),
            failure.tool,
            failure.session,
            failure.turn,
            failure.why
        );
        note(plan.quiet, &line);
    }
    let report = RunReport {
        sim_wall_s: None,
        ..RunReport::new(
            plan.which(case),
            &driven.summary,
            recorder.timed(),
            recorder.first_tokens(),
            plan.judge(),
        )
    };
    let failed = driven.summary.failed;
    let real_run = RealRun {
        wall_s,
        values: happened(&driven, &recorder, real.prefill_attention.as_ref()),
    };
    let done = keep(
        plan,
        case,
        recorder,
        &driven.summary,
        report,
        Some(&real_run),
    )?;
    if let Some(error) = driven.error {
        return Err(Failure::of_drive(error).context(format!(
            "the run ended early; what there is of it is in `{name}`"
        )));
    }
    if failed > 0 {
        note(plan.quiet, &format!("{name}: failed sessions: {failed}"));
    }
    Ok(done)
}

/// What a real run has to say beside a simulated one.
fn happened(driven: &Driven, recorder: &Recorder<'_>, prefill: Option<&PrefillChoice>) -> Value {
    let failures: Vec<Value> = recorder
        .failures()
        .iter()
        .map(|(at, f)| {
            json!({
                "at_s": at.as_secs(), "session": f.session.0, "turn": f.turn,
                "tool": &*f.tool, "why": f.why,
            })
        })
        .collect();
    let mut values = json!({
        "complete": driven.error.is_none(),
        "error": driven.error.as_ref().map(ToString::to_string),
        "failed_sessions": driven.summary.failed,
        "tool_failures": failures,
        "steps": driven.work.steps,
        "computed_tokens": driven.work.tokens,
        "sampled_tokens": driven.work.sampled,
        "copied_blocks": driven.work.copied,
        "executor_s": driven.work.executor.as_secs(),
        "waiting_s": driven.asleep.as_secs(),
    });
    if let Some(prefill) = prefill {
        // With its reason, which is no part of the run's name.
        values["prefill_attention"] = json!(prefill);
    }
    if let Some(commands) = recorder.commands() {
        values["commands"] = json!(commands.totals());
    }
    values
}

/// Prints what is done.
fn show(plan: &Plan, results: &[Result<Done, Failure>]) -> Result<(), Failure> {
    let done: Vec<&Done> = results.iter().flatten().collect();
    if done.is_empty() {
        return Ok(());
    }
    let reports: Vec<RunReport> = done.iter().map(|d| d.report.clone()).collect();
    let text = report::print(&reports, plan.format, plan.tolerance);
    data(&text.map_err(Failure::bad_input)?)?;
    for directory in done.iter().filter_map(|d| d.directory.as_ref()) {
        note(plan.quiet, &format!("wrote {}", directory.display()));
    }
    Ok(())
}

/// Prints what is done and says how it went.
fn finish(plan: &Plan, results: Vec<Result<Done, Failure>>) -> Result<(), Failure> {
    show(plan, &results)?;
    let (done, mut failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let done: Vec<Done> = done.into_iter().filter_map(Result::ok).collect();
    let lost: u64 = done.iter().map(|d| d.failed_sessions).sum();
    if lost > 0 && failed.is_empty() {
        failed.push(Err(Failure {
            exit: Exit::Partial,
            error: anyhow!("sessions that failed with their tools: {lost}"),
        }));
    }
    verdict(
        failed.into_iter().filter_map(Result::err).collect(),
        done.len(),
    )
}
