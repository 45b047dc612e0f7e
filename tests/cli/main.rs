//! The `orrery` binary as a user meets it: arguments in, stdout, stderr, exit code and files out.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of a program write files and start processes"
)]

mod both_worlds;
mod capacity;
mod commands;
mod compare;
mod costs;
mod demo;
mod determinism;
#[cfg(target_os = "linux")]
mod engine;
mod engine_bench;
mod errors;
mod figures;
mod generate;
#[cfg(target_os = "linux")]
mod gpu;
mod limits;
mod model;
mod numbers;
mod perfetto;
mod policy_errors;
mod race;
mod report;
mod show;
mod stopping;
mod support;
mod sweep;
mod sweep_errors;
mod trace;
mod trace_import;
mod trace_make;
