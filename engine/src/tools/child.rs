//! The program that a tool call starts as: burns CPU time, or becomes the command.
//!
//! Why a program of its own: between fork and exec of a process with threads hardly anything is allowed,
//! and a fork copies the page tables of a process that holds a model. So the pool starts this one the
//! cheap way (`posix_spawn`), and it moves to the tool cores and sets its limits itself.
//!
//! A command's status is its own: a shell ends with 127 too when it does not find what it was asked for. So
//! that this program could not become the command is told by other means: its input is a pipe to the pool,
//! which is closed unwritten the moment the command begins. The command itself reads nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// First argument of a process that computes and waits.
pub const BURN: &str = "tool-burn";
/// First argument of a process that becomes a command.
pub const RUN: &str = "tool-run";
/// What a burn writes when it has computed and begins to wait.
pub(super) const BURNT: &[u8] = b"burnt\n";

/// Exit status of a call that could not do what it was started for.
const BROKEN: u8 = 125;

/// Arithmetic between two looks at the clock: a few microseconds.
const ROUNDS: u32 = 4096;

/// Runs as a tool call if the arguments (without the program's name) say so; `None` if they do not.
///
/// A binary that is a pool's [`super::Settings::runner`] calls this before anything else.
pub fn main(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let kind = args.next()?;
    let run: fn(&[OsString]) -> Result<(), Failed> = match kind.to_str()? {
        BURN => burn_from,
        RUN => become_command,
        _ => return None,
    };
    let args: Vec<OsString> = args.collect();
    Some(match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // Into the call's own output: whoever reads that sees why.
            let _ = writeln!(std::io::stderr(), "error: {}", failed.0);
            ExitCode::from(BROKEN)
        }
    })
}

/// Why not, in words.
struct Failed(String);

impl Failed {
    fn broken(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// Leading arguments, all of them whole numbers.
fn numbers<const N: usize>(args: &[OsString]) -> Result<[u64; N], Failed> {
    let mut values = [0; N];
    for (at, slot) in values.iter_mut().enumerate() {
        let arg = args.get(at).and_then(|arg| arg.to_str());
        *slot = arg.and_then(|arg| arg.parse().ok()).ok_or_else(|| {
            Failed::broken(format!(
                "argument {at} is {arg:?}, not a whole number (this command is for the engine's own use)"
            ))
        })?;
    }
    Ok(values)
}

/// Dies with the engine, and at once if that died before the kernel was asked.
fn die_with(parent: u64) -> Result<(), Failed> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Failed::broken)?;
    let now = nix::unistd::getppid().as_raw();
    if u64::try_from(now) == Ok(parent) {
        Ok(())
    } else {
        Err(Failed::broken("the engine that started this tool is gone"))
    }
}

/// Moves to the cores of an argument like `1,2`; stays where it is if that is empty.
fn move_to(cores: Option<&OsString>) -> Result<(), Failed> {
    let list = cores.and_then(|arg| arg.to_str());
    let list = list.ok_or_else(|| Failed::broken("no list of cores"))?;
    let mut set = CpuSet::new();
    for core in list.split(',').filter(|core| !core.is_empty()) {
        let core = core.parse().map_err(Failed::broken)?;
        set.set(core).map_err(Failed::broken)?;
    }
    if list.is_empty() {
        return Ok(());
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(Failed::broken)
}

/// `parent cpu threads io cores`.
fn burn_from(args: &[OsString]) -> Result<(), Failed> {
    let [parent, cpu, threads, io] = numbers(args)?;
    die_with(parent)?;
    move_to(args.get(4))?;
    burn(cpu, threads)?;
    let mut out = std::io::stdout().lock();
    out.write_all(BURNT)
        .and_then(|()| out.flush())
        .map_err(Failed::broken)?;
    if io > 0 {
        std::thread::sleep(Duration::from_nanos(io));
    }
    Ok(())
}

/// Uses this much CPU time over all threads, counting what the process has used to get here.
fn burn(cpu: u64, threads: u64) -> Result<(), Failed> {
    let left = cpu.saturating_sub(used(ClockId::CLOCK_PROCESS_CPUTIME_ID)?);
    let share = left / threads.max(1);
    std::thread::scope(|scope| {
        let mut others = Vec::new();
        for _ in 1..threads {
            let thread = std::thread::Builder::new().stack_size(64 << 10);
            let thread = thread.spawn_scoped(scope, move || burn_thread(share));
            others.push(thread.map_err(Failed::broken)?);
        }
        burn_thread(share)?;
        for other in others {
            other
                .join()
                .map_err(|_| Failed::broken("a thread panicked"))??;
        }
        Ok(())
    })
}

fn burn_thread(share: u64) -> Result<(), Failed> {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    let end = used(clock)?.saturating_add(share);
    let mut value = 1_u64;
    while used(clock)? < end {
        for _ in 0..ROUNDS {
            value = std::hint::black_box(value.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 1);
        }
    }
    Ok(())
}

fn used(clock: ClockId) -> Result<u64, Failed> {
    let time = clock_gettime(clock).map_err(Failed::broken)?;
    Ok(u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX))
}

/// Becomes the command, or tells the pool why not.
fn become_command(args: &[OsString]) -> Result<(), Failed> {
    // A copy that is closed when the command begins, and that it therefore does not have.
    let pool = std::io::stdin().as_fd().try_clone_to_owned();
    let mut pool = File::from(pool.map_err(Failed::broken)?);
    let Err(failed) = try_become(args);
    // If the pool is gone too, the kernel ends this process anyway.
    let _ = pool.write_all(failed.0.as_bytes());
    Err(failed)
}

/// `parent file_bytes memory_bytes cores program args...`; a limit of 0 is none. Returns only if it could
/// not.
fn try_become(args: &[OsString]) -> Result<std::convert::Infallible, Failed> {
    let [parent, file_bytes, memory_bytes] = numbers(args)?;
    die_with(parent)?;
    move_to(args.get(3))?;
    for (resource, limit) in [
        (Resource::RLIMIT_FSIZE, file_bytes),
        (Resource::RLIMIT_AS, memory_bytes),
    ] {
        if limit > 0 {
            setrlimit(resource, limit, limit).map_err(Failed::broken)?;
        }
    }
    let [program, rest @ ..] = args.get(4..).unwrap_or_default() else {
        return Err(Failed::broken("no command"));
    };
    let mut command = std::process::Command::new(program);
    let error = command.args(rest).stdin(Stdio::null()).exec();
    Err(Failed(format!(
        "cannot run `{}`: {error}",
        program.display()
    )))
}
