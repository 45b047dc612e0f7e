//! `orrery validate`: a real engine's request log replayed, and how far off the simulation is; or the same
//! against the engine of this program ([`real`]).

pub mod args;
mod config;
mod figure;
mod print;
mod prompts;
pub mod read;
pub mod real;

use std::fmt::Write as _;
use std::num::NonZeroU32;

use anyhow::{Context as _, anyhow};
use sim::fidelity::{Comparison, Replay, Request, Timing, replay};
use units::Nanos;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::plot::Drawn;
use crate::run::cost;
use crate::run::machine::Machine;
use crate::run::policies::{self, Chosen, Row};
use crate::run::settings::{Settings, Tools};
use args::ValidateArgs;

/// A validated replay.
#[derive(Debug)]
pub struct Validated {
    /// The machine that was simulated.
    pub machine: Machine,
    /// Recorded and simulated times of each request.
    pub pairs: Vec<(Timing, Timing)>,
    /// How they compare.
    pub comparison: Comparison,
    /// Totals of the replay.
    pub replay: Replay,
    /// What was assumed.
    pub notes: Vec<String>,
}

/// `orrery validate`
///
/// # Errors
/// Bad input: files, names or settings that cannot be used, or requests outside the cost model.
pub fn validate(args: &ValidateArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let Some(real) = &args.real else {
        let policies = args.policy.as_deref().unwrap_or(real::POLICIES);
        return real::command(
            &args.engine_args,
            &args.load,
            policies,
            &args.set,
            args.shown.format,
            interrupt,
        );
    };
    let mut requests = read::requests(real)?;
    let (machine, policy, notes) = machine(args)?;
    if let Some(file) = &args.prompts {
        prompts::share(file, &mut requests, machine.setup.engine.block_size)?;
    }
    let validated = run(machine, &policy, &requests, notes)?;
    for line in &validated.notes {
        crate::output::note(false, &format!("note: {line}"));
    }
    if let Some(file) = &args.svg {
        let drawn = figure::figure(&validated).and_then(|figure| Drawn::of(&figure)?.write(file));
        drawn.map_err(Failure::bad_input)?;
    }
    if let Some(file) = &args.series {
        write(file, &series(&validated))?;
    }
    crate::output::data(&print::print(&validated, args.shown.format)?)
}

fn write(file: &std::path::Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text)
        .with_context(|| format!("cannot write `{}`", file.display()))
        .map_err(Failure::bad_input)
}

/// The machine over time.
fn series(validated: &Validated) -> String {
    let mut text = "t_s,running,waiting,kv_used\n".to_owned();
    for s in &validated.replay.samples {
        #[expect(clippy::cast_precision_loss, reason = "blocks of one pool")]
        let used = (s.usable - s.free) as f64 / s.usable as f64;
        let _ = writeln!(
            text,
            "{},{},{},{used:.4}",
            s.at.as_secs(),
            s.running,
            s.waiting
        );
    }
    text
}

/// The machine of these flags, the policy, and what was assumed.
///
/// # Errors
/// Bad input, with the flag or file.
pub fn machine(args: &ValidateArgs) -> Result<(Machine, Chosen, Vec<String>), Failure> {
    let mut settings = Settings {
        tools: Tools::Unlimited,
        ..Settings::default()
    };
    args.costs.apply(&mut settings);
    if let Some(folder) = &args.profile {
        settings.cost = format!("profile:{}", folder.display());
    }
    let catalog = cost::catalog(&settings.specs)?;
    let mut described = match &args.config {
        Some(file) => config::read(file, &catalog, &mut settings)?,
        None => config::Described::default(),
    };
    let mut of_policy = Vec::new();
    for pair in &args.set {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::bad_input(anyhow!(
                "`--set` is `{pair}` (wanted: KEY=VALUE)"
            )));
        };
        let (key, value) = (key.trim(), value.trim());
        if !settings.set(key, value).map_err(Failure::bad_input)? {
            of_policy.push((key.to_owned(), value.to_owned()));
        }
    }
    let name = |given: &Option<String>, described: Option<String>, flag: &str| {
        given.clone().or(described).ok_or_else(|| {
            Failure::bad_input(anyhow!(
                "the configuration does not name it: `{flag}` is needed"
            ))
        })
    };
    let gpu = name(&args.gpu, described.gpu.take(), "--gpu")?;
    let model = name(&args.model, described.model.take(), "--model")?;
    let utilisation = described.utilisation.unwrap_or(0.9);
    let cores = NonZeroU32::MIN;
    let machine = Machine::new(&gpu, &model, utilisation, cores, None, &settings)?;
    let policy = policies::choose(args.policy.as_deref().unwrap_or("fcfs"), &of_policy)?
        .into_iter()
        .next()
        .ok_or_else(|| Failure::bad_input(anyhow!("`--policy` is empty")))?;
    Ok((machine, policy, described.notes))
}

/// Replays the requests and compares.
///
/// # Errors
/// As the simulator; or a request that did not finish.
pub fn run(
    machine: Machine,
    policy: &Chosen,
    requests: &[Request],
    notes: Vec<String>,
) -> Result<Validated, Failure> {
    let Row::Policy { spec, .. } = &policy.row else {
        return Err(Failure::bad_input(anyhow!(
            "`{}` is a limit and replays nothing (wanted: a policy)",
            policy.name
        )));
    };
    let built = spec.build().map_err(Failure::bad_input)?;
    let mut setup = machine.setup.clone();
    setup.sample_every = Some(Nanos::from_millis(1_000));
    let replay = replay(&setup, built, requests).map_err(Failure::of_run)?;
    let mut pairs = Vec::with_capacity(requests.len());
    for (request, timing) in requests.iter().zip(&replay.timings) {
        let Some(timing) = timing else {
            return Err(Failure::bad_input(anyhow!(
                "request `{}` of {} tokens does not fit the KV pool of {} tokens",
                request.id,
                request.input.get() + request.output.get(),
                machine.usable_tokens().get()
            )));
        };
        pairs.push((request.timing(), *timing));
    }
    let comparison = Comparison::new(&pairs)
        .ok_or_else(|| Failure::bad_input(anyhow!("no request to compare")))?;
    Ok(Validated {
        machine,
        pairs,
        comparison,
        replay,
        notes,
    })
}
