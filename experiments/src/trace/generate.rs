//! `orrery trace generate`: sessions from a description, and how well they meet its targets.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use comfy_table::CellAlignment;
use policies::PolicySpec;
use rayon::prelude::*;
use serde_json::{Value, json};
use sim::world::alone;
use traces::generate::{Achieved, Spec, achieved_with_ideals};
use traces::stats::Sample;
use units::Nanos;

use super::args::GenerateArgs;
use super::describe::Spread;
use super::made::{self, Make};
use super::output::TraceFile;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{note, table};
use crate::run::machine::Machine;
use crate::run::plan::one;
use crate::run::settings::Settings;

/// `T_ideal` is measured for so many sessions at most: each is a simulation.
const IDEALS: u64 = 1_000;

/// Generates, writes, and holds what was made against the targets.
///
/// # Errors
/// Bad input: a flag or a description, with its line.
pub(super) fn command(args: &GenerateArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let spec = made::needed(&args.description)?;
    let make = make(&args.sessions, &args.seed)?;
    let machine = machine(args)?;
    let mut output = TraceFile::create(args.out.out.as_deref(), &made::header(&spec, make))?;
    for session in made::sessions(spec.clone(), make)? {
        output.write(&session)?;
    }
    output.finish()?;
    if args.out.quiet && args.report.is_none() {
        return Ok(()); // nobody would see it
    }
    let ideals = ideals(&spec, make, &machine, interrupt)?;
    if interrupt.is_set() {
        return Err(Failure {
            exit: Exit::Interrupted,
            error: anyhow!("interrupted; the trace is written, T_ideal is not measured"),
        });
    }
    let achieved = achieved_with_ideals(&spec, make.seed, &ideals);
    let sample: Sample = ideals
        .iter()
        .flatten()
        .map(|ideal| ideal.as_nanos())
        .collect();
    let ideal = Spread::of(&sample, 1e9);
    if let Some(path) = &args.report {
        let value = report(&spec, make, args, &achieved, &ideal, ideals.len());
        let text = serde_json::to_string_pretty(&value).map_err(Failure::bad_input)?;
        fs::write(path, text + "\n")
            .with_context(|| format!("cannot write `{}`", path.display()))
            .map_err(Failure::bad_input)?;
    }
    note(
        args.out.quiet,
        &words(&spec, make, args, &achieved, &ideal, ideals.len()),
    );
    Ok(())
}

/// `--sessions` and `--seed` of a generated workload.
///
/// # Errors
/// Bad input, with the flag and its limits.
pub(super) fn make(sessions: &str, seed: &str) -> Result<Make, Failure> {
    let sessions = one("--sessions", sessions, "sessions, 1 to 10000000", |t| {
        t.parse::<u64>()
            .ok()
            .filter(|n| (1..=10_000_000).contains(n))
    })?;
    let seed = super::fill::seed("--seed", seed)?;
    Ok(Make { sessions, seed })
}

fn machine(args: &GenerateArgs) -> Result<Machine, Failure> {
    let cores = one("--tool-cores", &args.tool_cores, "cores, 1 to 65536", |t| {
        t.parse()
            .ok()
            .filter(|n: &std::num::NonZeroU32| n.get() <= 1 << 16)
    })?;
    let (gpu, model) = (args.gpu.trim(), args.model.trim());
    Machine::new(gpu, model, 0.9, cores, None, &Settings::default())
}

/// `T_ideal` of the first sessions; `None` for one that does not fit the machine.
fn ideals(
    spec: &Spec,
    make: Make,
    machine: &Machine,
    interrupt: &Interrupt,
) -> Result<Vec<Option<Nanos>>, Failure> {
    let fcfs = PolicySpec::preset("fcfs").map_err(Failure::bad_input)?;
    let each: Vec<Result<Option<Nanos>, Failure>> = (0..make.sessions.min(IDEALS))
        .into_par_iter()
        .map(|index| {
            if interrupt.is_set() {
                return Ok(None);
            }
            let policy = fcfs.build().map_err(Failure::bad_input)?;
            let session = Arc::new(spec.session(make.seed, index));
            alone(&machine.setup, policy, &session).map_err(Failure::of_run)
        })
        .collect();
    each.into_iter().collect()
}

/// What one target's number is of: `output mean (long)`.
fn name(spec: &Spec, achieved: &Achieved) -> String {
    let target = &achieved.target;
    let class = target.class.and_then(|class| spec.classes.get(class));
    let class = class.map_or_else(String::new, |class| format!(" ({})", class.name));
    format!("{} {}{class}", target.of.name(), target.statistic.name())
}

fn words(
    spec: &Spec,
    make: Make,
    args: &GenerateArgs,
    achieved: &[Achieved],
    ideal: &Spread,
    measured: usize,
) -> String {
    let mut text = format!(
        "{}: {} sessions, seed {}; statistics over the first {measured}\n",
        spec.name, make.sessions, make.seed
    );
    if !achieved.is_empty() {
        let mut targets = table(&[
            "statistic",
            "target",
            "tolerance",
            "achieved",
            "within",
            "source",
        ]);
        for one in achieved {
            targets.add_row([
                name(spec, one),
                shown(Some(one.target.wanted)),
                format!("{} %", shown(Some(one.target.tolerance * 100.0))),
                shown(one.value),
                match one.within() {
                    None => "n/a",
                    Some(true) => "yes",
                    Some(false) => "no",
                }
                .to_owned(),
                one.target.source.clone(),
            ]);
        }
        for column in 1..=3 {
            if let Some(column) = targets.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        text.push_str(&targets.trim_fmt());
        text.push('\n');
    }
    text.push_str(&format_ideal(args, ideal, measured));
    text
}

fn format_ideal(args: &GenerateArgs, ideal: &Spread, measured: usize) -> String {
    let mut text = format!(
        "T_ideal on {} with {} (s): mean {}, median {}, over {} sessions",
        args.gpu,
        args.model,
        shown(ideal.mean),
        shown(ideal.p50),
        ideal.n
    );
    if ideal.n < measured {
        let rest = measured - ideal.n;
        let _ = write!(text, "; {rest} do not fit its KV pool");
    }
    text
}

fn report(
    spec: &Spec,
    make: Make,
    args: &GenerateArgs,
    achieved: &[Achieved],
    ideal: &Spread,
    measured: usize,
) -> Value {
    let targets: Vec<Value> = achieved
        .iter()
        .map(|one| {
            json!({
                "statistic": name(spec, one),
                "target": one.target.wanted,
                "tolerance": one.target.tolerance,
                "achieved": one.value,
                "within": one.within(),
                "source": one.target.source,
            })
        })
        .collect();
    json!({
        "description": &*spec.name,
        "sessions": make.sessions,
        "seed": make.seed,
        "gpu": args.gpu,
        "model": args.model,
        "statistics_over_sessions": measured,
        "targets": targets,
        "t_ideal_s": ideal,
    })
}

/// Whole numbers whole, shares and seconds to three digits.
fn shown(value: Option<f64>) -> String {
    match value {
        None => "n/a".to_owned(),
        Some(x) if x.abs() >= 1000.0 || x.fract().abs() < 1e-9 => format!("{x:.0}"),
        Some(x) => format!("{x:.3}"),
    }
}
