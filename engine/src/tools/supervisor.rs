//! The pool: one thread that starts processes, reads what they write and sees them end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use replay::CallId;
use units::{Nanos, SessionId};

use super::call::{Call, Ended, Outcome, Output, Work};
use super::process::{Running, nanos};
use super::sandbox::Sandboxes;
use super::settings::{Hold, Mode, Settings, ToolPoolError};

/// How long a killed process may take to go when the pool is dropped. One that hangs in the kernel is
/// left behind then: it is dead to everybody else.
const GOODBYE: Duration = Duration::from_secs(5);

enum Order {
    Start(Call, Instant),
    EndSession(SessionId),
}

/// Runs tool calls as processes. Dropping it kills all of them and removes their folders; what is cut off
/// so is not reported.
#[derive(Debug)]
pub struct ToolPool {
    /// `None` while it is dropped.
    orders: Option<(Sender<Order>, PipeWriter)>,
    thread: Option<JoinHandle<()>>,
}

impl ToolPool {
    /// A pool that tells `results` of every call that ends, once each.
    ///
    /// # Errors
    /// [`ToolPoolError`]: cores that cannot be used, or a thread, pipe or folder that cannot be made.
    pub fn new(settings: Settings, results: Sender<Ended>) -> Result<Self, ToolPoolError> {
        check_cores(&settings.cores)?;
        let failed = |what| move |source| ToolPoolError::Start { what, source };
        let sandboxes =
            Sandboxes::new(settings.sandboxes.as_deref()).map_err(failed("sandbox folder"))?;
        let (wake, waker) = std::io::pipe().map_err(failed("pipe"))?;
        let (sender, orders) = channel();
        let workers = match settings.mode {
            Mode::FreeForAll => usize::MAX,
            Mode::Fifo(workers, _) => usize::try_from(workers.get()).unwrap_or(usize::MAX),
        };
        let supervisor = Supervisor {
            settings,
            orders,
            wake,
            results,
            sandboxes,
            line: VecDeque::new(),
            idle: workers,
            running: BTreeMap::new(),
            ending: BTreeSet::new(),
        };
        // Tools die with this thread (the parent-death signal is the thread's), not only with the process.
        let thread = std::thread::Builder::new()
            .name("tools".to_owned())
            .spawn(move || supervisor.run())
            .map_err(failed("thread"))?;
        Ok(Self {
            orders: Some((sender, waker)),
            thread: Some(thread),
        })
    }

    /// Starts a call, or puts it in line. Returns at once.
    pub fn start(&mut self, call: Call) {
        self.order(Order::Start(call, Instant::now()));
    }

    /// The session is over: kills what still runs of it, drops what waits (both are reported as killed) and
    /// removes its folder.
    pub fn end_session(&mut self, session: SessionId) {
        self.order(Order::EndSession(session));
    }

    fn order(&mut self, order: Order) {
        if let Some((sender, waker)) = &mut self.orders {
            // The thread ends only after `orders` is dropped; if it panicked, `results` is closed and the
            // caller sees that.
            let _ = sender.send(order);
            let _ = waker.write_all(&[0]);
        }
    }
}

impl Drop for ToolPool {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves the calling thread to these cores; what it starts from then on stays there too. No cores: it may
/// run anywhere.
///
/// # Errors
/// [`ToolPoolError::Cores`] for a core that is not there or may not be used.
fn run_on(cores: &[usize]) -> Result<(), ToolPoolError> {
    let failed = |source| ToolPoolError::Cores {
        cores: cores.to_vec(),
        source,
    };
    let mut set = CpuSet::new();
    let every = 0..CpuSet::count();
    let wanted = if cores.is_empty() {
        every.collect()
    } else {
        cores.to_vec()
    };
    for core in wanted {
        set.set(core).map_err(failed)?;
    }
    let this = Pid::from_raw(0);
    sched_setaffinity(this, &set).map_err(failed)?;
    // The kernel silently leaves out cores that are not there.
    let got = sched_getaffinity(this).map_err(failed)?;
    if cores.iter().all(|&core| got.is_set(core).unwrap_or(false)) {
        Ok(())
    } else {
        Err(failed(nix::Error::EINVAL))
    }
}

/// Asks the kernel, on a thread of its own, whether these cores may be used.
fn check_cores(cores: &[usize]) -> Result<(), ToolPoolError> {
    let asked = cores.to_vec();
    let thread = std::thread::spawn(move || run_on(&asked));
    thread.join().unwrap_or_else(|_| {
        Err(ToolPoolError::Cores {
            cores: cores.to_vec(),
            source: nix::Error::EIO,
        })
    })
}

struct Supervisor {
    settings: Settings,
    orders: Receiver<Order>,
    /// A byte an order, so that `poll` wakes up.
    wake: PipeReader,
    results: Sender<Ended>,
    sandboxes: Sandboxes,
    /// Calls that wait for a worker.
    line: VecDeque<(Call, Instant)>,
    /// Workers without a call.
    idle: usize,
    running: BTreeMap<CallId, Running>,
    /// Sessions whose folders go when their last call has ended.
    ending: BTreeSet<SessionId>,
}

impl Supervisor {
    fn run(mut self) {
        // Where it is woken soonest. A caller that keeps to its own cores must not share them with the tools
        // that are started here; those move to theirs themselves. If this is refused, it stays.
        let _ = run_on(&[]);
        while self.take_orders() {
            let Some(woken) = self.wait() else { break };
            for (id, readable, over) in woken {
                self.attend(id, readable, over);
            }
            self.keep_time();
            self.fill_workers();
        }
        self.shut_down();
    }

    /// `false` when the pool is gone.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Start(call, ready)) => {
                    if self.needs_worker(&call.work) {
                        self.line.push_back((call, ready));
                    } else {
                        self.spawn(call, ready, false);
                    }
                }
                Ok(Order::EndSession(session)) => self.end(session),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        self.fill_workers();
        true
    }

    fn needs_worker(&self, work: &Work) -> bool {
        let light = matches!(work, Work::Burn { cpu, .. } if *cpu == Nanos::ZERO);
        match self.settings.mode {
            Mode::FreeForAll => false,
            Mode::Fifo(_, Hold::Cpu) => !light,
            Mode::Fifo(_, Hold::Call) => true,
        }
    }

    fn fill_workers(&mut self) {
        while self.idle > 0 {
            let Some((call, ready)) = self.line.pop_front() else {
                break;
            };
            self.spawn(call, ready, true);
        }
    }

    fn spawn(&mut self, call: Call, ready: Instant, holds: bool) {
        let folder = match call.work {
            Work::Command(_) => self.sandboxes.of(call.session).map(Some),
            Work::Burn { .. } => Ok(None),
        };
        let spawned = match folder {
            Ok(folder) => Running::spawn(&self.settings, call, ready, folder.as_deref()),
            Err(error) => Err((call, error)),
        };
        match spawned {
            Ok(mut running) => {
                running.holds = holds;
                self.idle -= usize::from(holds);
                self.running.insert(running.call.id, running);
            }
            Err((call, error)) => {
                self.report_unstarted(&call, ready, Outcome::SpawnFailed(error.to_string()));
            }
        }
    }

    fn report_unstarted(&self, call: &Call, ready: Instant, outcome: Outcome) {
        let waited = nanos(ready.elapsed());
        // A receiver that is gone wants no results.
        let _ = self.results.send(Ended {
            id: call.id,
            session: call.session,
            queue_delay: waited,
            elapsed: waited,
            cpu: None,
            outcome,
            output: Output::default(),
        });
    }

    /// Sleeps until something happens: which calls have output, and which are over. `None` if the kernel
    /// refuses.
    fn wait(&mut self) -> Option<Vec<(CallId, bool, bool)>> {
        let mut fds = vec![PollFd::new(self.wake_fd(), PollFlags::POLLIN)];
        let mut owners = Vec::new();
        for (id, running) in &self.running {
            owners.push((*id, false));
            fds.push(PollFd::new(running.end(), PollFlags::POLLIN));
            if let Some(pipe) = running.pipe() {
                owners.push((*id, true));
                fds.push(PollFd::new(pipe, PollFlags::POLLIN));
            }
        }
        match poll(&mut fds, self.next_deadline()) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Some(Vec::new()),
            Err(_) => return None,
        }
        let is_set = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let woken = is_set(&fds[0]);
        let mut events: BTreeMap<CallId, (bool, bool)> = BTreeMap::new();
        for ((id, is_pipe), fd) in owners.into_iter().zip(&fds[1..]) {
            if is_set(fd) {
                let event = events.entry(id).or_default();
                if is_pipe {
                    event.0 = true;
                } else {
                    event.1 = true;
                }
            }
        }
        drop(fds);
        if woken {
            let _ = self.wake.read(&mut [0; 256]);
        }
        Some(events.into_iter().map(|(id, (r, o))| (id, r, o)).collect())
    }

    fn wake_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        use std::os::fd::AsFd as _;
        self.wake.as_fd()
    }

    fn next_deadline(&self) -> PollTimeout {
        let next = self.running.values().filter_map(|r| r.deadline).min();
        next.map_or(PollTimeout::NONE, |at| {
            // Rounded up: a wait that ends early would only be repeated.
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            let millis = libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX);
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        })
    }

    fn attend(&mut self, id: CallId, readable: bool, over: bool) {
        let keep = self.settings.limits.output_bytes;
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        if readable && running.read(keep) && self.settings.mode.frees_after_cpu() {
            self.idle += usize::from(std::mem::take(&mut running.holds));
        }
        if over && let Some(running) = self.running.remove(&id) {
            self.idle += usize::from(running.holds);
            let ended = running.finish(keep);
            let session = ended.session;
            let _ = self.results.send(ended);
            self.remove_ended(session);
        }
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        for running in self.running.values_mut() {
            if running.deadline.is_some_and(|at| at <= now) {
                running.time_out();
            }
        }
    }

    fn end(&mut self, session: SessionId) {
        let (dropped, kept) = std::mem::take(&mut self.line)
            .into_iter()
            .partition(|(call, _)| call.session == session);
        self.line = kept;
        let dropped: VecDeque<(Call, Instant)> = dropped;
        for (call, ready) in dropped {
            self.report_unstarted(&call, ready, Outcome::Killed(libc::SIGKILL));
        }
        for running in self.running.values_mut() {
            if running.call.session == session {
                running.kill();
            }
        }
        self.ending.insert(session);
        self.remove_ended(session);
    }

    fn remove_ended(&mut self, session: SessionId) {
        let busy = self.running.values().any(|r| r.call.session == session);
        if !busy && self.ending.remove(&session) {
            self.sandboxes.remove(session);
        }
    }

    fn shut_down(mut self) {
        for running in self.running.values_mut() {
            running.kill();
        }
        let until = Instant::now() + GOODBYE;
        for running in std::mem::take(&mut self.running).into_values() {
            if running.ends_within(until.saturating_duration_since(Instant::now())) {
                running.finish(0);
            }
        }
        self.sandboxes.close();
    }
}
