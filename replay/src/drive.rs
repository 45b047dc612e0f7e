//! The event loop: one clock, the sources of events, and the scheduler in the middle.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use scheduler::{Arrival, Event, Planning, Scheduler, StepOutcome, Window};
use traces::model::Session;
use units::{GroupId, Nanos, SessionId, Time};

use crate::agents::{After, Agent, Classes, Pauses};
use crate::error::{Progress, ReplayError};
use crate::machine::{Machine, Waited};
use crate::record::{CommandRecord, Observer, Outcome, Sample, Summary, ToolFailure};

/// One session of the load.
#[derive(Clone, Debug)]
pub struct Offered {
    /// What it does.
    pub session: Arc<Session>,
    /// When it arrives; never before the one offered before it.
    pub arrival: Time,
}

/// How long to go on, and how often to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// When to stop; `None` runs until every session is complete.
    pub horizon: Option<Time>,
    /// Time between samples; `None` for no samples.
    pub sample_every: Option<Nanos>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Ended<E> {
    /// Its totals, up to the error if there is one.
    pub summary: Summary,
    /// Why it could not go on, if it could not.
    pub error: Option<E>,
}

impl<E> Ended<E> {
    /// The totals of a run that went to its end.
    ///
    /// # Errors
    /// Why it did not.
    pub fn whole(self) -> Result<Summary, E> {
        match self.error {
            None => Ok(self.summary),
            Some(error) => Err(error),
        }
    }
}

/// What can come next, in the order in which it goes within one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    StepEnd,
    ToolCpuEnd,
    CallEnd,
    CopyEnd,
    Arrival,
    Timer,
}

pub(crate) struct World<'a, M: Machine, I: Iterator<Item = Offered>, O: Observer> {
    pub(crate) machine: &'a mut M,
    pub(crate) scheduler: Scheduler,
    pub(crate) limits: Limits,
    offered: std::iter::Peekable<I>,
    pub(crate) observer: &'a mut O,
    pub(crate) agents: FxHashMap<SessionId, Agent>,
    pub(crate) pauses: Pauses,
    classes: Classes,
    groups: FxHashMap<Arc<str>, GroupId>,
    pub(crate) step_end: Option<Time>,
    /// What the next plan must not know yet (asynchronous scheduling).
    held: Vec<Event>,
    next_sample: Option<Time>,
    pub(crate) window: Option<Window>,
    last_arrival: Time,
    pub(crate) last_completion: Time,
    pub(crate) summary: Summary,
    /// What the scheduler said, while it is read.
    pub(crate) facts: Vec<(Time, scheduler::Info)>,
}

/// Replays the offered sessions on the machine. Sessions that are open when the run ends, be it by
/// an error, are told to the observer as unfinished.
///
/// # Panics
/// If the clock passes 584 years or a load has 2^32 sessions.
pub fn run<M: Machine, O: Observer>(
    machine: &mut M,
    scheduler: Scheduler,
    limits: Limits,
    offered: impl Iterator<Item = Offered>,
    observer: &mut O,
) -> Ended<M::Error> {
    let mut world = World {
        machine,
        scheduler,
        limits,
        offered: offered.peekable(),
        observer,
        agents: FxHashMap::default(),
        pauses: Pauses::default(),
        classes: Classes::default(),
        groups: FxHashMap::default(),
        step_end: None,
        held: Vec::new(),
        next_sample: limits.sample_every.map(|_| Time::ZERO),
        window: None,
        last_arrival: Time::ZERO,
        last_completion: Time::ZERO,
        summary: Summary::default(),
        facts: Vec::new(),
    };
    let mut now = Time::ZERO;
    let error = world.run(&mut now).err();
    world.close(now);
    Ended {
        summary: world.summary,
        error,
    }
}

impl<M: Machine, I: Iterator<Item = Offered>, O: Observer> World<'_, M, I, O> {
    /// Until all is done, the horizon, or an error; `now` is how far it came.
    fn run(&mut self, now: &mut Time) -> Result<(), M::Error> {
        let mut turns_of_the_loop = 0_u32;
        let mut progress = Progress::default();
        loop {
            let next = self.next_wake(*now);
            if let Waited::LookAgain(at) = self.machine.wait(*now, next.map(|(at, _)| at))? {
                let over = self.limits.horizon.is_some_and(|end| at > end);
                if over || self.observer.progress(at, self.summary.completed) == Outcome::Stop {
                    *now = at.max(*now);
                    return Ok(());
                }
                continue;
            }
            let Some((at, wake)) = next else {
                return Ok(());
            };
            debug_assert!(at >= *now, "the clock does not run backwards");
            if self.limits.horizon.is_some_and(|end| at > end) {
                return Ok(());
            }
            self.take_samples(at);
            *now = at;
            self.happen(at, wake)?;
            if self.step_end.is_none() {
                // A plan sees everything that happened before it.
                let due = self.machine.catch_up(at)?;
                if self.next_wake(due).is_none_or(|(next, _)| next > due) {
                    *now = self.begin_step(due)?;
                    if self.step_end.is_none() {
                        self.machine.idle(*now);
                    }
                }
            }
            turns_of_the_loop = turns_of_the_loop.wrapping_add(1);
            if turns_of_the_loop.is_multiple_of(M::LOOK_UP_EVERY) {
                progress.check(*now, &self.scheduler)?;
                if self.observer.progress(*now, self.summary.completed) == Outcome::Stop {
                    return Ok(());
                }
            }
        }
    }

    pub(crate) fn next_wake(&mut self, now: Time) -> Option<(Time, Wake)> {
        let arrival = self.offered.peek().map(|o| o.arrival);
        let open = arrival.is_some() || !self.agents.is_empty();
        // A pin's time may have run out during the step that just ended: that is due now.
        let timer = self.scheduler.next_timer().map(|at| at.max(now));
        let call = self.machine.next_call().map(|(at, _)| at);
        let pause = self.pauses.next().map(|(at, _)| at);
        [
            (self.step_end, Wake::StepEnd),
            (self.machine.next_cpu(), Wake::ToolCpuEnd),
            (call, Wake::CallEnd),
            (pause, Wake::CallEnd),
            (self.machine.next_copy().map(|copy| copy.0), Wake::CopyEnd),
            (arrival, Wake::Arrival),
            // A tick that is left over when all is done wakes nobody.
            (timer.filter(|_| open), Wake::Timer),
        ]
        .into_iter()
        .filter_map(|(at, wake)| at.map(|at| (at, wake)))
        .min()
    }

    fn happen(&mut self, now: Time, wake: Wake) -> Result<(), M::Error> {
        match wake {
            Wake::StepEnd => {
                self.step_end = None;
                self.machine.step_ended(now);
                let done = self.scheduler.step_done(now, StepOutcome::default());
                done.map_err(ReplayError::from)?;
            }
            Wake::ToolCpuEnd => self.machine.advance_cpu(now),
            Wake::CallEnd => self.call_ended(now)?,
            Wake::CopyEnd => {
                if let Some((_, session, copy)) = self.machine.next_copy() {
                    self.machine.end_copy();
                    self.tell(now, Event::CopyDone { session, copy })?;
                }
            }
            Wake::Arrival => self.arrive(now)?,
            Wake::Timer => self.tell(now, Event::Timer)?,
        }
        self.drain(now)
    }

    /// The call or pause that ends now, the lowest id first.
    fn call_ended(&mut self, now: Time) -> Result<(), M::Error> {
        let pause = self.pauses.next();
        let next = [self.machine.next_call(), pause];
        let Some((_, id)) = next.into_iter().flatten().min() else {
            return Ok(());
        };
        let session = id.session();
        let agent = self.agents.get_mut(&session).expect("its tools run");
        let after = if id.is_pause() {
            self.pauses.pop();
            agent.pause_ended(now);
            After::PhaseOver
        } else {
            let end = self.machine.end_call();
            self.summary.tool_calls += 1;
            if end.failed.is_none() {
                // A call that was cut short says nothing of how long such calls take.
                self.summary.tool_elapsed += end.elapsed;
                self.summary.tool_alone += end.alone;
            }
            let call = &agent.record.trace.turns[agent.turn].tools[id.call()];
            let turn = agent.turn_record.turn;
            let mut alone = call.wall.map_or(Nanos::ZERO, |wall| wall.value);
            if let Some(command) = end.command {
                // What it took here says more than what it took where it was recorded.
                alone = end.alone;
                let record = CommandRecord {
                    session,
                    turn,
                    call: u32::try_from(id.call()).unwrap_or(u32::MAX),
                    tool: Arc::clone(&call.name),
                    elapsed: end.elapsed,
                    queue_delay: end.queue_delay,
                    end: command,
                };
                self.observer.command_ended(now, &record);
            }
            if let Some(why) = end.failed {
                let failure = ToolFailure {
                    session,
                    turn,
                    tool: Arc::clone(&call.name),
                    why,
                };
                agent.failed = true;
                self.observer.tool_failed(now, &failure);
            }
            let after = agent.call_ended(now, alone);
            if after == After::Pause {
                self.pauses.begin(now, agent);
            }
            let queue_delay = end.queue_delay;
            let event = Event::ToolFinished {
                session,
                queue_delay,
            };
            self.tell(now, event)?;
            after
        };
        if after == After::PhaseOver {
            self.next_turn(now, session)?;
        }
        Ok(())
    }

    fn arrive(&mut self, now: Time) -> Result<(), M::Error> {
        let Some(Offered { session, arrival }) = self.offered.next() else {
            return Ok(());
        };
        let index = self.summary.offered;
        if arrival < self.last_arrival {
            return Err(M::Error::from(ReplayError::ArrivalsOutOfOrder {
                index,
                at: arrival,
                before: self.last_arrival,
            }));
        }
        self.last_arrival = arrival;
        self.summary.offered += 1;
        let id = SessionId(u32::try_from(index).expect("below 2^32 sessions"));
        let mut shared = Vec::with_capacity(session.shared.len());
        for segment in &session.shared {
            let next = GroupId(u32::try_from(self.groups.len()).expect("below 2^32 groups"));
            let group = *self
                .groups
                .entry(Arc::clone(&segment.group))
                .or_insert(next);
            shared.push((group, segment.tokens));
        }
        let peak = session.peak_tokens();
        self.machine.accept(&session)?;
        // The one place where the future is read: for an oracle, and for nobody else.
        let foresight = if self.scheduler.needs_foresight() {
            self.machine.foresee(&session)
        } else {
            Vec::new()
        };
        let agent = Agent::new(id, session, now, foresight);
        let turn = self.classes.request(&agent);
        self.agents.insert(id, agent);
        let last_of_load = self.offered.peek().is_none();
        let arrival = Arrival {
            session: id,
            shared,
            peak,
            turn,
            last_of_load,
        };
        self.machine.arrived(&arrival);
        self.request(now, Event::SessionArrived(arrival))
    }

    fn next_turn(&mut self, now: Time, session: SessionId) -> Result<(), M::Error> {
        let agent = self.agents.get_mut(&session).expect("its tools ended");
        if agent.is_last_turn() || agent.failed {
            self.tell(now, Event::SessionOver { session })
        } else {
            agent.next_turn(now);
            let turn = self.classes.request(agent);
            self.machine.turn_ready(session, &turn);
            self.request(now, Event::TurnReady { session, turn })
        }
    }

    fn tell(&mut self, now: Time, event: Event) -> Result<(), M::Error> {
        let done = self.scheduler.handle(now, event);
        Ok(done.map_err(ReplayError::from)?)
    }

    /// Hands a turn's request to the scheduler, now or after the plan that was already made.
    fn request(&mut self, now: Time, event: Event) -> Result<(), M::Error> {
        if self.scheduler.config().planning == Planning::Ahead && self.step_end.is_some() {
            self.held.push(event);
            return Ok(());
        }
        self.tell(now, event)
    }

    fn release_held(&mut self, now: Time) -> Result<(), M::Error> {
        for event in std::mem::take(&mut self.held) {
            self.tell(now, event)?;
        }
        Ok(())
    }

    /// Begins the next step, and the ones after it that are the same. Returns when the last began.
    fn begin_step(&mut self, now: Time) -> Result<Time, M::Error> {
        if !self.plan(now)? {
            if !self.held.is_empty() {
                // The engine has nothing to run and looks at what came meanwhile.
                self.release_held(now)?;
                return self.begin_step(now);
            }
            self.drain(now)?;
            return Ok(now);
        }
        let time = self.machine.step(now, &self.scheduler)?;
        self.observer.step(now, self.scheduler.planned(), time);
        if !self.held.is_empty() {
            // The next plan knows more than this one: it is not the same again.
            self.release_held(now)?;
            self.drain(now)?;
            self.step_end = Some(now + time);
            return Ok(now);
        }
        self.drain(now)?;
        let (at, end) = self.repeat_step(now, now + time);
        self.step_end = Some(end);
        Ok(at)
    }

    /// Asks the scheduler for a plan, and says whether there is one.
    fn plan(&mut self, now: Time) -> Result<bool, ReplayError> {
        let is_timed = self.observer.wants_plans();
        if is_timed {
            let t = self.scheduler.telemetry(now);
            self.observer.plans(t.running + t.waiting);
        }
        let planned = self.scheduler.plan(now)?.is_some();
        if is_timed {
            self.observer.planned();
        }
        Ok(planned)
    }

    pub(crate) fn take_samples(&mut self, until: Time) {
        let (Some(mut at), Some(every)) = (self.next_sample, self.limits.sample_every) else {
            return;
        };
        if at >= until {
            return;
        }
        let t = self.scheduler.telemetry(at);
        let evicted = self.scheduler.counters().evicted;
        while at < until {
            self.observer.sample(&Sample {
                at,
                free: t.free.get(),
                pinned: t.pinned.get(),
                usable: t.usable.get(),
                running: t.running as u64,
                waiting: t.waiting as u64,
                backlog: t.backlog as u64,
                in_flight: t.in_flight as u64,
                tools: t.tools_in_flight,
                tool_wait_s: t.tool_wait_s,
                evicted,
                window: self.window,
            });
            at += every;
        }
        self.next_sample = Some(at);
    }

    /// Whoever is still open was offered and missed; so was whoever the horizon kept from arriving
    /// after it had been offered before it.
    fn close(&mut self, now: Time) {
        let end = self.limits.horizon.map_or(now, |horizon| horizon.max(now));
        let stopped_early = !self.agents.is_empty();
        let mut open: Vec<Agent> = std::mem::take(&mut self.agents).into_values().collect();
        open.sort_by_key(|agent| agent.record.session);
        for agent in open {
            self.summary.unfinished += 1;
            self.observer.session(agent.record);
        }
        let until = if stopped_early {
            end
        } else {
            self.last_completion
        };
        self.summary.makespan = until.since(Time::ZERO);
        self.summary.counters = self.scheduler.counters();
    }
}
