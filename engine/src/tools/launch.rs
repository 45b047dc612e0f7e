//! From a call to the process that runs it.

use std::io::PipeWriter;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use units::Nanos;

use super::call::{Command, Work};
use super::child::{BURN, RUN};
use super::settings::Settings;

/// Where commands are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The process of a call: own group, no input, both streams into `output`. A command that cannot begin
/// says why on `refusal`.
pub(super) fn process(
    settings: &Settings,
    work: &Work,
    folder: Option<&Path>,
    output: &PipeWriter,
    refusal: PipeWriter,
) -> std::io::Result<Process> {
    let mut process = Process::new(&settings.runner);
    process
        .env_clear()
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    let parent = std::process::id().to_string();
    let cores: Vec<String> = settings.cores.iter().map(ToString::to_string).collect();
    let cores = cores.join(",");
    match work {
        Work::Burn { cpu, threads, io } => {
            let numbers = [cpu.as_nanos(), u64::from(threads.get()), io.as_nanos()];
            process.arg(BURN).arg(parent);
            process.args(numbers.map(|n| n.to_string())).arg(cores);
        }
        Work::Command(Command { argv, env }) => {
            let limits = settings.limits;
            let numbers = [limits.file_bytes, limits.memory_bytes];
            process.arg(RUN).arg(parent);
            process.args(numbers.map(|n| n.unwrap_or(0).to_string()));
            process.arg(cores);
            process.args(argv).stdin(refusal);
            process.env("PATH", PATH).env("LANG", "C.UTF-8");
            if let Some(folder) = folder {
                process.current_dir(folder);
                process.env("HOME", folder).env("TMPDIR", folder);
            }
            process.envs(env.iter().map(|(name, value)| (name, value)));
        }
    }
    Ok(process)
}

/// The least time that the call computes for, each thread on a core of its own; `None`: it does not say.
pub(super) fn computing(work: &Work) -> Option<Nanos> {
    match work {
        Work::Burn { cpu, threads, .. } => Some(Nanos::new(
            cpu.as_nanos().div_ceil(u64::from(threads.get())),
        )),
        Work::Command(_) => None,
    }
}
