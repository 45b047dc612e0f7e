//! `orrery calibrate`: from a log of steps or requests, or from timing this program's own engine, to a cost
//! that `--cost FILE.toml` takes.

pub mod args;
mod engine;
mod read;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::anyhow;
use sim::calibrate::{FitErrors, MeasuredStep, StepFit, fit_requests, fit_steps};
use sim::cost::{ClosedForm, Coefficients, Host, InMillis, StepCost};
use sim::fidelity::{Request, replay};
use sim::spec::Catalog;

use crate::cli::Format;
use crate::failure::Failure;
use crate::flags::FormatArgs;
use crate::interrupt::Interrupt;
use crate::run::cost;
use crate::run::machine::Machine;
use crate::run::policies::{Chosen, Row};
use crate::validate::args::ValidateArgs;
use crate::validate::real::args::LoadArgs;
use crate::{output, validate};
use args::CalibrateArgs;

/// `orrery calibrate`
///
/// # Errors
/// Bad input: a log, name or setting that cannot be used, or too few steps.
pub fn calibrate(args: &CalibrateArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let text = match &args.log {
        None => engine::from_engine(args, interrupt)?,
        Some(log) if log.extension().is_some_and(|e| e == "csv") => from_steps(args, log)?,
        Some(log) => from_requests(args, log)?,
    };
    output::data(&text)
}

fn folds(args: &CalibrateArgs) -> Result<usize, Failure> {
    let folds = args.folds.parse::<usize>().ok();
    folds.filter(|k| (2..=100).contains(k)).ok_or_else(|| {
        Failure::bad_input(anyhow!("`--folds` is `{}` (wanted: 2 to 100)", args.folds))
    })
}

fn from_steps(args: &CalibrateArgs, log: &Path) -> Result<String, Failure> {
    let (Some(gpu), Some(model)) = (&args.gpu, &args.model) else {
        return Err(Failure::bad_input(anyhow!(
            "a step log does not say what was measured: `--gpu` and `--model` are needed"
        )));
    };
    let specs = args.costs.hardware_file.as_deref().unwrap_or_default();
    let catalog = cost::catalog(specs)?;
    let (gpu, model) = (
        names(&catalog, gpu)?,
        catalog.model(model).map_err(Failure::bad_input)?,
    );
    let steps = read::steps(log).map_err(Failure::bad_input)?;
    let fit = fit_steps(&steps, model.active_share(), folds(args)?).map_err(Failure::bad_input)?;
    output::note(false, &report(&fit));
    let evidence = format!(
        "fitted to {} steps in {}; mean absolute error {} on them, {} across {} folds",
        fit.steps,
        log.display(),
        percent(fit.inside.all),
        percent(fit.across.all),
        fit.folds
    );
    Ok(toml(&model.name, gpu, &evidence, &fit.ms))
}

fn names<'a>(catalog: &'a Catalog, gpu: &str) -> Result<&'a str, Failure> {
    let gpu = catalog.gpu(gpu).map_err(Failure::bad_input)?;
    Ok(gpu.name.as_str())
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(
        || "n/a".to_owned(),
        |share| format!("{:.2} %", 100.0 * share),
    )
}

fn report(fit: &StepFit) -> String {
    let mut rows = output::table(&["mean absolute error", "on the steps fitted", "across folds"]);
    let kinds = |e: &FitErrors| [e.prefill, e.decode, e.mixed, e.all].map(percent);
    let names = ["prefill steps", "decode steps", "mixed steps", "all steps"];
    for ((name, inside), across) in names
        .into_iter()
        .zip(kinds(&fit.inside))
        .zip(kinds(&fit.across))
    {
        rows.add_row([name.to_owned(), inside, across]);
    }
    format!("{} steps, {} folds\n{rows}", fit.steps, fit.folds)
}

fn toml(model: &str, gpu: &str, evidence: &str, ms: &InMillis) -> String {
    let mut text = format!(
        "# Coefficients in milliseconds, as measured: host overhead is in them.\n[[cost]]\n\
         model = {model:?}\ngpu = {gpu:?}\nevidence = {evidence:?}\nincludes_host = true\n"
    );
    let named = [
        ("p0", ms.p0),
        ("p1", ms.p1),
        ("p2", ms.p2),
        ("d0", ms.d0),
        ("e", ms.e),
        ("d1", ms.d1),
        ("d2", ms.d2),
    ];
    for (name, value) in named {
        let _ = writeln!(text, "{name} = {value:e}");
    }
    text
}

/// What requests are validated with while they are fitted.
fn as_validation(args: &CalibrateArgs) -> ValidateArgs {
    ValidateArgs {
        real: args.log.clone(),
        engine: false,
        engine_args: args.engine_args.clone(),
        load: LoadArgs::default(),
        prompts: None,
        config: args.config.clone(),
        profile: None,
        costs: args.costs.clone(),
        gpu: args.gpu.clone(),
        model: args.model.clone(),
        policy: None,
        set: args.set.clone(),
        svg: None,
        series: None,
        shown: FormatArgs {
            format: Format::Table,
        },
    }
}

fn from_requests(args: &CalibrateArgs, log: &Path) -> Result<String, Failure> {
    let requests = validate::read::requests(log)?;
    let (machine, policy, notes) = validate::machine(&as_validation(args))?;
    for line in notes {
        output::note(false, &format!("note: {line}"));
    }
    let start = start(&machine)?;
    let share = machine.hardware.model.active_share();
    let fit = fit_requests(&start, |ms| loss(&machine, &policy, &requests, ms, share))?;
    let line = format!(
        "prefill x {:.3}, decode x {:.3}: mean absolute error of TPOT and latency {:.2} % before, {:.2} % after",
        fit.prefill,
        fit.decode,
        100.0 * fit.before,
        100.0 * fit.after
    );
    output::note(false, &line);
    let evidence = format!(
        "fitted to {} requests in {}, starting from: {}; {line}",
        requests.len(),
        log.display(),
        machine.hardware.evidence
    );
    let (model, gpu) = (&machine.hardware.model.name, &machine.hardware.gpu.name);
    Ok(toml(model, gpu, &evidence, &fit.ms))
}

/// Closed forms to start from, host overhead included: the machine's own, or fitted to what its cost model
/// says of a range of steps.
fn start(machine: &Machine) -> Result<InMillis, Failure> {
    let cost = &machine.hardware.cost;
    let active = machine.hardware.model.active_share();
    let limit = machine.setup.engine.token_budget.get();
    let reach = cost.reach();
    let mut steps = Vec::new();
    for decodes in [0_u64, 1, 4, 16, 64] {
        for context in [200, 2_000, 8_000] {
            for (prefix, new) in [
                (0, 0),
                (0, 64),
                (0, 512),
                (2_000, 512),
                (0, limit),
                (8_000, limit),
            ] {
                let mut shape = sim::cost::BatchShape::default();
                (0..decodes).for_each(|_| shape.add_decode(units::Tokens(context)));
                shape.add_prefill(units::Tokens(prefix), units::Tokens(new));
                let fits = shape.turns() <= reach.turns
                    && shape.decodes + shape.prefill_tokens <= reach.tokens;
                if shape.is_empty() || !fits || cost.outside(&shape).is_some() {
                    continue;
                }
                let ms = cost.step(&shape).as_secs() * 1e3;
                steps.push(MeasuredStep { shape, ms });
            }
        }
    }
    let fit = fit_steps(&steps, active, 2).map_err(Failure::bad_input)?;
    Ok(fit.ms)
}

/// Mean over requests of the absolute errors of TPOT and latency.
fn loss(
    machine: &Machine,
    policy: &Chosen,
    requests: &[Request],
    ms: &InMillis,
    share: f64,
) -> Result<f64, Failure> {
    let Row::Policy { spec, .. } = &policy.row else {
        return Err(Failure::bad_input(anyhow!("a limit replays nothing")));
    };
    let coefficients =
        Coefficients::from_ms(&ms.without_dust(), share).map_err(Failure::bad_input)?;
    let cost = ClosedForm::new(coefficients, Host::NONE).map_err(Failure::bad_input)?;
    let mut setup = machine.setup.clone();
    setup.cost = std::sync::Arc::new(cost);
    setup.sample_every = None;
    let built = spec.build().map_err(Failure::bad_input)?;
    let replayed = replay(&setup, built, requests).map_err(Failure::of_run)?;
    let (mut sum, mut count) = (0.0, 0.0_f64);
    for (request, timing) in requests.iter().zip(&replayed.timings) {
        let real = request.timing();
        let Some(timing) = timing else { continue };
        if let (Some(real), Some(ours)) = (real.tpot, timing.tpot) {
            sum += (ours / real - 1.0).abs();
            count += 1.0;
        }
        sum += (timing.latency / real.latency - 1.0).abs();
        count += 1.0;
    }
    Ok(sum / count.max(1.0))
}
