//! Experiments: the command line, runs of the simulated world, their reports and files.
//!
//! What: [`cli`] reads arguments; [`run`] resolves them, simulates and writes run directories;
//! [`metrics`] turns records into numbers, [`report`] prints them; [`race`] repeats runs over seeds and
//! says how sure their means are; [`sweep`] does whole grids of runs and [`merge`] joins their parts;
//! [`compare`] lays two runs side by side; [`demo`] is what `orrery` does without arguments; [`show`]
//! lists what there is to choose from; [`trace`] makes and describes traces; [`capacity`] searches how
//! much load a machine takes; [`doctor`] says what a machine has, [`memory`] whether something fits it; [`perfetto`] draws a run as a timeline, [`html`] a sweep as a page;
//! [`validate`] holds the simulation against a real engine's log and [`calibrate`] fits a cost model
//! to one.
//! Why: this is the one crate where files, clocks and threads exist; all below is a function of its
//! arguments.
//! Limits: whole workloads are held in memory, since sessions are offered in a drawn order.

#![allow(
    clippy::disallowed_methods,
    reason = "the world enters here: files, the wall clock, threads"
)]

pub mod bench;
pub mod calibrate;
pub mod capacity;
pub mod claims;
pub mod cli;
pub mod compare;
pub mod demo;
pub mod doctor;
pub mod engine;
pub mod estimate;
pub mod failure;
pub mod figure;
pub mod flags;
pub mod generate;
pub mod html;
pub mod interrupt;
pub mod memory;
pub mod merge;
pub mod metrics;
pub mod model;
pub mod output;
pub mod perfetto;
pub mod plot;
pub mod progress;
pub mod race;
pub mod report;
pub mod run;
pub mod show;
pub mod sweep;
pub mod trace;
pub mod validate;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// What a run means. It is part of a run's name, and goes up whenever the same configuration would
/// give other numbers.
pub const SEMANTICS: u32 = 1;

/// The program: reads the command line, does it, and says how it went.
pub fn main() -> ExitCode {
    // Before anything else: a tool call of the engine is this program again, and the time it takes to
    // start is in the tool's time.
    if let Some(code) = ::engine::tools::child::main(std::env::args_os().skip(1)) {
        return code;
    }
    if let Some(code) = engine::trial::main(std::env::args_os().skip(1)) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help asked for is data on stdout; a wrong argument is an error on stderr. A closed
            // stream is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() {
                failure::Exit::BadInput.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let interrupt = Interrupt::listen();
    match cli.command {
        None => demo::demo(&cli::DemoArgs::default(), &interrupt),
        Some(Command::Demo(args)) => demo::demo(&args, &interrupt),
        Some(Command::Run(args)) => run::command(&args, &interrupt),
        Some(Command::Compare(args)) => compare::command(&args),
        Some(Command::Race(args)) => race::command(&args, &interrupt),
        Some(Command::Sweep(args)) => sweep::command(&args, &interrupt),
        Some(Command::Capacity(args)) => capacity::command(&args, &interrupt),
        Some(Command::Engine(args)) => engine::command(&args, &interrupt),
        Some(Command::Report(args)) => html::command(&args),
        Some(Command::Merge(args)) => merge::command(&args),
        Some(Command::Validate(args)) => validate::validate(&args, &interrupt),
        Some(Command::Calibrate(args)) => calibrate::calibrate(&args, &interrupt),
        Some(Command::Figure(args)) => figure::command(&args, &interrupt),
        Some(Command::Claims(args)) => claims::command(&args, &interrupt),
        Some(Command::Policies(args)) => show::policies(&args.what),
        Some(Command::Hardware(args)) => show::hardware(&args),
        Some(Command::Generate(args)) => generate::command(&args, &interrupt),
        Some(Command::Model(args)) => model::command(&args, &interrupt),
        Some(Command::Workloads(args)) => show::workloads(&args.what),
        Some(Command::Doctor(args)) => doctor::doctor(&args),
        Some(Command::Trace(args)) => trace::command(&args, &interrupt),
    }
}
