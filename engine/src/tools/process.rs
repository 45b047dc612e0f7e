//! One running process: its output, its end, its price.
//!
//! The process is given back (reaped) in one place, after its group was killed. Until then its id is its
//! own, so no signal can reach a stranger.

use std::io::{PipeReader, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use units::Nanos;

use super::call::{Call, Ended, Outcome, Output};
use super::child::BURNT;
use super::launch::{computing, process};
use super::settings::Settings;

/// Bytes read at once.
const CHUNK: usize = 16 << 10;
/// What a pipe may still hold when its process has ended, in chunks: a megabyte, what the kernel allows.
const LAST_CHUNKS: usize = (1 << 20) / CHUNK;

/// The longest reason that is read, bytes.
const REFUSAL: u64 = 4 << 10;

/// A span of real time as the house counts it.
pub(super) fn nanos(span: Duration) -> Nanos {
    Nanos::new(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// A process that has not been given back.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) call: Call,
    /// Whether it holds a worker.
    pub(super) holds: bool,
    /// When it is killed.
    pub(super) deadline: Option<Instant>,
    ready: Instant,
    spawned: Instant,
    /// When it had computed; a command never says.
    burnt: Option<Instant>,
    timed_out: bool,
    pid: Pid,
    /// Readable when the process has ended.
    end: OwnedFd,
    /// `None` once everybody who could write has closed it.
    pipe: Option<PipeReader>,
    /// Why a command could not begin; empty if it did.
    refusal: PipeReader,
    output: Output,
}

impl Running {
    /// Starts the call that was ready at `ready`.
    ///
    /// # Errors
    /// What the system says, with the call.
    pub(super) fn spawn(
        settings: &Settings,
        call: Call,
        ready: Instant,
        folder: Option<&Path>,
    ) -> Result<Self, (Call, std::io::Error)> {
        let spawned = Instant::now();
        let pipes = std::io::pipe().and_then(|output| Ok((output, std::io::pipe()?)));
        let started = pipes.and_then(|((pipe, writer), (refusal, refuse))| {
            let child = process(settings, &call.work, folder, &writer, refuse)?.spawn()?;
            let pid = Pid::from_raw(i32::try_from(child.id()).expect("process ids are positive"));
            keep_off_other_cores(pid, &settings.cores);
            match open_end(pid) {
                Ok(end) => Ok((pid, end, pipe, refusal)),
                Err(error) => {
                    // Without this nobody would see its end.
                    let _ = killpg(pid, Signal::SIGKILL);
                    reap(pid);
                    Err(error.into())
                }
            }
        });
        let (pid, end, pipe, refusal) = match started {
            Ok(parts) => parts,
            Err(error) => return Err((call, error)),
        };
        let timeout = settings.limits.timeout;
        Ok(Self {
            call,
            holds: false,
            deadline: timeout.map(|t| spawned + Duration::from_nanos(t.as_nanos())),
            ready,
            spawned,
            burnt: None,
            timed_out: false,
            pid,
            end,
            pipe: Some(pipe),
            refusal,
            output: Output::default(),
        })
    }

    /// Readable when it has ended.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Readable when there is output, or when there will be none.
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(|pipe| pipe.as_fd())
    }

    /// Reads what is there, once; the caller knows that something is. Whether it has said, in this piece,
    /// that it has computed.
    pub(super) fn read(&mut self, keep: usize) -> bool {
        let Some(pipe) = &mut self.pipe else {
            return false;
        };
        let mut chunk = [0; CHUNK];
        let got = match pipe.read(&mut chunk) {
            Ok(0) => None,
            Ok(n) => Some(n),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return false,
            Err(_) => None,
        };
        let Some(got) = got else {
            self.pipe = None;
            return false;
        };
        let mut text = &chunk[..got];
        let burns = computing(&self.call.work).is_some();
        let said = burns && self.burnt.is_none() && text.starts_with(BURNT);
        if said {
            // One write of a few bytes into a pipe is never split.
            text = &text[BURNT.len()..];
            self.burnt = Some(Instant::now());
        }
        self.output.bytes += text.len() as u64;
        let room = keep.saturating_sub(self.output.kept.len());
        self.output
            .kept
            .extend_from_slice(&text[..text.len().min(room)]);
        said
    }

    /// Kills the process and all of its group.
    pub(super) fn kill(&mut self) {
        self.deadline = None;
        // It may be dead already: not yet reaped, its id is still its own.
        let _ = killpg(self.pid, Signal::SIGKILL);
    }

    /// Kills it because its time is up.
    pub(super) fn time_out(&mut self) {
        self.timed_out = true;
        self.kill();
    }

    /// Whether it ends within this time.
    pub(super) fn ends_within(&self, time: Duration) -> bool {
        let millis = u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(self.end(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(millis)).is_ok_and(|n| n > 0)
    }

    /// Why the command could not begin; empty if it did, or is none. Never waits: only the process itself
    /// could write, until it became the command, and it has ended.
    fn refusal(&mut self) -> String {
        let mut bytes = Vec::new();
        // Whatever cannot be read is no reason.
        let _ = (&mut self.refusal).take(REFUSAL).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Gives the process back; it has ended. What it left running dies.
    pub(super) fn finish(mut self, keep: usize) -> Ended {
        let over = Instant::now();
        self.kill();
        for _ in 0..LAST_CHUNKS {
            let Some(pipe) = self.pipe() else { break };
            let mut fds = [PollFd::new(pipe, PollFlags::POLLIN)];
            if !poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0) {
                break;
            }
            self.read(keep);
        }
        let (status, cpu) = reap(self.pid);
        let refusal = self.refusal();
        let outcome = match status {
            _ if self.timed_out => Outcome::TimedOut,
            _ if !refusal.is_empty() => Outcome::SpawnFailed(refusal),
            Some(Status::Exit(0)) => Outcome::Ok,
            Some(Status::Exit(code)) => Outcome::Exit(code),
            Some(Status::Signal(signal)) => Outcome::Killed(signal),
            // Somebody else took the status: nobody knows how it ended.
            None => Outcome::Killed(0),
        };
        let waited = nanos(self.spawned - self.ready);
        let slowed = computing(&self.call.work).map_or(Nanos::ZERO, |least| {
            let until = self.burnt.unwrap_or(over);
            nanos(until - self.spawned).saturating_sub(least)
        });
        Ended {
            id: self.call.id,
            session: self.call.session,
            queue_delay: waited + slowed,
            elapsed: nanos(over - self.ready),
            cpu,
            outcome,
            output: self.output,
        }
    }
}

/// Moves a process that has just been started to its cores. It would do so itself, but only once it is
/// loaded: the kernel starts it on the idlest core, and loading it there would take milliseconds of CPU time
/// from the engine that no tool is charged with. If this is refused, it still moves itself.
fn keep_off_other_cores(pid: Pid, cores: &[usize]) {
    let mut set = CpuSet::new();
    let known = cores.iter().all(|&core| set.set(core).is_ok());
    if known && !cores.is_empty() {
        let _ = sched_setaffinity(pid, &set);
    }
}

enum Status {
    Exit(i32),
    Signal(i32),
}

/// A descriptor that becomes readable when the process ends.
#[allow(unsafe_code, reason = "no safe wrapper of this system call")]
fn open_end(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes two integers and no pointer.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = i32::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The status of a process that has ended, and its CPU time with that of the children it waited for.
#[allow(unsafe_code, reason = "no safe wrapper of this system call")]
fn reap(pid: Pid) -> (Option<Status>, Option<Nanos>) {
    let mut status = 0;
    // SAFETY: a `rusage` is integers only, for which all bits zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let got = loop {
        // SAFETY: both pointers are to live variables of the types that the call writes.
        let got = unsafe { libc::wait4(pid.as_raw(), &raw mut status, 0, &raw mut usage) };
        if got != -1 || Errno::last() != Errno::EINTR {
            break got;
        }
    };
    if got != pid.as_raw() {
        return (None, None);
    }
    let span = |t: libc::timeval| {
        let micros = u64::try_from(t.tv_sec * 1_000_000 + t.tv_usec).unwrap_or(0);
        Nanos::new(micros * 1_000)
    };
    let cpu = span(usage.ru_utime) + span(usage.ru_stime);
    let status = if libc::WIFEXITED(status) {
        Status::Exit(libc::WEXITSTATUS(status))
    } else {
        Status::Signal(libc::WTERMSIG(status))
    };
    (Some(status), Some(cpu))
}
