//! Real time and real tools.
//!
//! What: nanoseconds since the run began by the system's monotonic clock, and tool calls as processes. The
//! driver sleeps until the next thing it knows of is due or a tool ends, whichever comes first.
//! Limits: a copy's end is seen by asking the executor, every fifth of a millisecond while the driver has
//! nothing else to do and after every step otherwise.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use replay::{Call, CallEnd, CallId, CopyOrder, Machine, Waited};
use rustc_hash::FxHashMap;
use scheduler::Scheduler;
use units::{Nanos, SessionId, Time};

use super::commands::{self, Commands, InFlight};
use super::error::WallError;
use super::live::{Surroundings, nanos_since};
use crate::tools::{self, Ended, ToolPool};

/// The longest sleep: whoever wants the run to stop is heard after it.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// The longest sleep while a copy is under way.
const COPY_POLL: Duration = Duration::from_micros(200);

/// The system's clock and a pool of tool processes.
#[derive(Debug)]
pub struct Wall {
    origin: Instant,
    tools: ToolPool,
    /// What becomes of commands.
    commands: Commands,
    results: Receiver<Ended>,
    in_flight: FxHashMap<CallId, InFlight>,
    /// Calls that have ended and were not taken in, by time.
    ended: BTreeSet<(Time, CallId)>,
    ends: FxHashMap<CallId, CallEnd>,
    /// Copies under way, in the order in which they began.
    copying: Vec<(SessionId, u64)>,
    /// Copies that have ended and were not taken in.
    copied: BTreeSet<(Time, SessionId, u64)>,
    /// A copy has ended since the loop last looked.
    heard_of_copy: bool,
    /// The last instant that was taken in: nothing may be told of before it.
    floor: Time,
    asleep: Nanos,
}

impl Wall {
    /// A clock that starts now; `results` is where the pool reports.
    pub fn new(tools: ToolPool, results: Receiver<Ended>) -> Self {
        Self {
            origin: Instant::now(),
            tools,
            commands: Commands::default(),
            results,
            in_flight: FxHashMap::default(),
            ended: BTreeSet::new(),
            ends: FxHashMap::default(),
            copying: Vec::new(),
            copied: BTreeSet::new(),
            heard_of_copy: false,
            floor: Time::ZERO,
            asleep: Nanos::ZERO,
        }
    }

    /// With this done to the commands that tool calls carry.
    pub fn with_commands(mut self, commands: Commands) -> Self {
        self.commands = commands;
        self
    }

    /// Time that the driver had nothing to do, so far.
    pub fn asleep(&self) -> Nanos {
        self.asleep
    }

    fn now(&self) -> Time {
        (Time::ZERO + nanos_since(self.origin)).max(self.floor)
    }

    /// Notes a call that ended. It ended when it did, however late that is heard of.
    fn note(&mut self, result: &Ended) -> Result<(), WallError> {
        let id = result.id;
        let call = self.in_flight.remove(&id).ok_or(WallError::StrayCall)?;
        let at = (call.started + result.elapsed).max(self.floor);
        self.ended.insert((at, id));
        self.ends.insert(id, commands::end(result, call));
        Ok(())
    }

    /// Takes in what the pool has reported. True if there was something.
    fn collect(&mut self) -> Result<bool, WallError> {
        let mut some = false;
        loop {
            match self.results.try_recv() {
                Ok(result) => self.note(&result)?,
                Err(TryRecvError::Empty) => return Ok(some),
                Err(TryRecvError::Disconnected) => return self.gone().map(|()| some),
            }
            some = true;
        }
    }

    fn gone(&self) -> Result<(), WallError> {
        match self.in_flight.len() {
            0 => Ok(()),
            calls => Err(WallError::ToolsGone { calls }),
        }
    }

    /// Sleeps, at most so long, until a tool ends.
    fn sleep(&mut self, most: Duration) -> Result<(), WallError> {
        let began = self.now();
        match self.results.recv_timeout(most) {
            Ok(result) => self.note(&result)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                self.gone()?;
                std::thread::sleep(most);
            }
        }
        self.asleep += self.now().since(began);
        Ok(())
    }
}

impl Machine for Wall {
    type Error = WallError;

    // A look costs nothing beside a step, and a stop should be heard at once.
    const LOOK_UP_EVERY: u32 = 1;

    fn wait(&mut self, now: Time, until: Option<Time>) -> Result<Waited, WallError> {
        self.floor = now.max(self.floor);
        // What the loop waits for was said before these were known.
        let heard = self.collect()? | std::mem::take(&mut self.heard_of_copy);
        let clock = self.now();
        if heard {
            return Ok(Waited::LookAgain(clock));
        }
        if until.is_some_and(|until| until <= clock) {
            return Ok(Waited::Due);
        }
        if until.is_none() && self.in_flight.is_empty() && self.copying.is_empty() {
            return Ok(Waited::Due);
        }
        let longest = if self.copying.is_empty() {
            LONGEST_SLEEP
        } else {
            COPY_POLL
        };
        let most = until.map_or(longest, |until| {
            longest.min(Duration::from_nanos(until.since(clock).as_nanos()))
        });
        self.sleep(most)?;
        Ok(Waited::LookAgain(self.now()))
    }

    fn catch_up(&mut self, now: Time) -> Result<Time, WallError> {
        self.floor = now.max(self.floor);
        self.collect()?;
        Ok(self.now())
    }

    fn step(&mut self, now: Time, _scheduler: &Scheduler) -> Result<Nanos, WallError> {
        self.floor = now.max(self.floor);
        Ok(self.now().since(now))
    }

    fn session_ended(&mut self, session: SessionId) {
        self.tools.end_session(session);
    }

    fn start_call(&mut self, now: Time, call: Call<'_>) -> Result<(), WallError> {
        self.floor = now.max(self.floor);
        let started = self.now();
        let (work, in_flight) = commands::work(&call, self.commands, started)?;
        self.tools.start(tools::Call {
            id: call.id,
            session: call.id.session(),
            work,
        });
        self.in_flight.insert(call.id, in_flight);
        Ok(())
    }

    fn next_call(&self) -> Option<(Time, CallId)> {
        let (at, id) = *self.ended.first()?;
        Some((at.max(self.floor), id))
    }

    fn end_call(&mut self) -> CallEnd {
        let next = self.ended.pop_first();
        let end = next.and_then(|(_, id)| self.ends.remove(&id));
        end.unwrap_or_default()
    }

    fn start_copy(
        &mut self,
        _at: Time,
        order: CopyOrder,
        _scheduler: &Scheduler,
    ) -> Result<(), WallError> {
        self.copying.push((order.session, order.copy));
        Ok(())
    }

    fn next_copy(&self) -> Option<(Time, SessionId, u64)> {
        let (at, session, copy) = *self.copied.first()?;
        Some((at.max(self.floor), session, copy))
    }

    fn end_copy(&mut self) {
        self.copied.pop_first();
    }
}

impl Surroundings for Wall {
    fn copies_ended(&mut self, copies: &[u64]) {
        for &ended in copies {
            let at = self.copying.iter().position(|&(_, copy)| copy == ended);
            if let Some(at) = at {
                let (session, copy) = self.copying.remove(at);
                self.copied.insert((self.now(), session, copy));
                self.heard_of_copy = true;
            }
        }
    }
}
