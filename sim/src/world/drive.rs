//! The event loop: one clock, five sources of events, and the scheduler in the middle.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use scheduler::policy::Policy;
use scheduler::{
    Arrival, Config, Event, Info, Phase, Planning, PrefillCost, Scheduler, StepOutcome, Then,
    Window,
};
use traces::model::Session;
use units::{GroupId, Nanos, SessionId, Time, Tokens};

use super::agents::{After, Agent, Tools, is_think, session_of};
use super::error::{Progress, SimError, check_reach};
use super::foresight::foresee;
use super::record::{NoObserver, Observer, Outcome, Sample, Status, Summary};
use crate::cost::{BatchShape, StepCost};
use crate::link::HostLink;
use crate::tool_cpu::Hold;

/// How tool calls share CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolMode {
    /// Processor sharing over this many cores.
    Shared(NonZeroU32),
    /// This many workers, first come, first served.
    Fifo(NonZeroU32, Hold),
    /// Every thread has a core of its own.
    Unlimited,
}

/// The machine that is simulated.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The engine's limits. Its `tool_cores` scale the CPU backlog signal.
    pub engine: Config,
    /// What a step costs.
    pub cost: Arc<dyn StepCost>,
    /// How tool calls share CPUs.
    pub tools: ToolMode,
    /// When to stop; `None` runs until every session is complete.
    pub horizon: Option<Time>,
    /// Time between samples; `None` for no samples.
    pub sample_every: Option<Nanos>,
}

/// One session of the load.
#[derive(Clone, Debug)]
pub struct Offered {
    /// What it does.
    pub session: Arc<Session>,
    /// When it arrives; never before the one offered before it.
    pub arrival: Time,
}

/// The cost model as policies may ask it.
#[derive(Debug)]
struct Reload {
    cost: Arc<dyn StepCost>,
    budget: std::num::NonZeroU64,
}

impl PrefillCost for Reload {
    fn reload(&self, context: Tokens) -> Nanos {
        self.cost.prefill_alone(Tokens::ZERO, context, self.budget)
    }
}

/// What can come next, in the order in which it goes within one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    StepEnd,
    ToolCpuEnd,
    ToolIoEnd,
    CopyEnd,
    Arrival,
    Timer,
}

pub(super) struct World<'a, I: Iterator<Item = Offered>, O: Observer> {
    pub(super) setup: &'a Setup,
    pub(super) scheduler: Scheduler,
    offered: std::iter::Peekable<I>,
    pub(super) observer: &'a mut O,
    agents: FxHashMap<SessionId, Agent>,
    tools: Tools,
    groups: FxHashMap<Arc<str>, GroupId>,
    step_end: Option<Time>,
    /// What the next plan must not know yet (asynchronous scheduling).
    held: Vec<Event>,
    link: Option<HostLink>,
    /// Copies under way: when they end, whose, which.
    copies: BinaryHeap<Reverse<(Time, SessionId, u64)>>,
    next_sample: Option<Time>,
    window: Option<Window>,
    last_arrival: Time,
    last_completion: Time,
    pub(super) summary: Summary,
}

/// Replays the offered sessions under the policy.
///
/// # Errors
/// [`SimError`]: a limit that cannot be, a tool call that cannot be replayed, or a broken contract.
///
/// # Panics
/// If the virtual clock passes 584 years or a load has 2^32 sessions.
pub fn simulate<O: Observer>(
    setup: &Setup,
    policy: Policy,
    offered: impl Iterator<Item = Offered>,
    observer: &mut O,
) -> Result<Summary, SimError> {
    setup.engine.validate()?;
    check_reach(&setup.engine, setup.cost.reach())?;
    let budget = setup.engine.token_budget.get();
    let reload = Reload {
        cost: Arc::clone(&setup.cost),
        budget: budget.try_into().expect("validated: at least 1 token"),
    };
    let mut world = World {
        setup,
        scheduler: Scheduler::new(setup.engine.clone(), policy, Box::new(reload))?,
        offered: offered.peekable(),
        observer,
        agents: FxHashMap::default(),
        tools: Tools::new(setup.tools),
        groups: FxHashMap::default(),
        step_end: None,
        held: Vec::new(),
        link: setup.engine.offload.map(HostLink::new),
        copies: BinaryHeap::new(),
        next_sample: setup.sample_every.map(|_| Time::ZERO),
        window: None,
        last_arrival: Time::ZERO,
        last_completion: Time::ZERO,
        summary: Summary::default(),
    };
    world.run()
}

/// The session's latency when it has the machine to itself: `T_ideal`. `None` if it does not fit.
///
/// # Errors
/// As [`simulate`].
pub fn alone(
    setup: &Setup,
    policy: Policy,
    session: &Arc<Session>,
) -> Result<Option<Nanos>, SimError> {
    let engine = Config {
        log_decisions: false,
        ..setup.engine.clone()
    };
    let setup = Setup {
        engine,
        horizon: None,
        sample_every: None,
        ..setup.clone()
    };
    let offered = std::iter::once(Offered {
        session: Arc::clone(session),
        arrival: Time::ZERO,
    });
    let summary = simulate(&setup, policy, offered, &mut NoObserver)?;
    Ok((summary.completed == 1).then_some(summary.makespan))
}

impl<I: Iterator<Item = Offered>, O: Observer> World<'_, I, O> {
    fn run(&mut self) -> Result<Summary, SimError> {
        let mut now = Time::ZERO;
        let mut turns_of_the_loop = 0_u32;
        let mut progress = Progress::default();
        while let Some((at, wake)) = self.next_wake(now) {
            debug_assert!(at >= now, "the clock does not run backwards");
            if self.setup.horizon.is_some_and(|end| at > end) {
                break;
            }
            self.take_samples(at);
            now = at;
            self.happen(now, wake)?;
            if self.step_end.is_none() && self.next_wake(now).is_none_or(|(next, _)| next > now) {
                now = self.begin_step(now)?;
            }
            turns_of_the_loop = turns_of_the_loop.wrapping_add(1);
            if turns_of_the_loop.is_multiple_of(4096) {
                progress.check(now, &self.scheduler)?;
                if self.observer.progress(now, self.summary.completed) == Outcome::Stop {
                    break;
                }
            }
        }
        self.close(now);
        Ok(self.summary)
    }

    pub(super) fn next_wake(&mut self, now: Time) -> Option<(Time, Wake)> {
        let arrival = self.offered.peek().map(|o| o.arrival);
        let open = arrival.is_some() || !self.agents.is_empty();
        // A pin's time may have run out during the step that just ended: that is due now.
        let timer = self.scheduler.next_timer().map(|at| at.max(now));
        [
            (self.step_end, Wake::StepEnd),
            (self.tools.next_cpu(), Wake::ToolCpuEnd),
            (self.tools.next_io(), Wake::ToolIoEnd),
            (
                self.copies.peek().map(|Reverse(copy)| copy.0),
                Wake::CopyEnd,
            ),
            (arrival, Wake::Arrival),
            // A tick that is left over when all is done wakes nobody.
            (timer.filter(|_| open), Wake::Timer),
        ]
        .into_iter()
        .filter_map(|(at, wake)| at.map(|at| (at, wake)))
        .min()
    }

    fn happen(&mut self, now: Time, wake: Wake) -> Result<(), SimError> {
        match wake {
            Wake::StepEnd => {
                self.step_end = None;
                self.scheduler.step_done(now, StepOutcome::default())?;
            }
            Wake::ToolCpuEnd => self.tools.advance_cpu(now),
            Wake::ToolIoEnd => {
                if let Some((id, delay)) = self.tools.pop_io(now) {
                    let session = session_of(id);
                    let agent = self.agents.get_mut(&session).expect("its tools run");
                    let after = self.tools.ended(now, id, agent);
                    if !is_think(id) {
                        self.scheduler.handle(
                            now,
                            Event::ToolFinished {
                                session,
                                queue_delay: delay,
                            },
                        )?;
                    }
                    if after == After::PhaseOver {
                        self.next_turn(now, session)?;
                    }
                }
            }
            Wake::CopyEnd => {
                if let Some(Reverse((_, session, copy))) = self.copies.pop() {
                    self.scheduler
                        .handle(now, Event::CopyDone { session, copy })?;
                }
            }
            Wake::Arrival => self.arrive(now)?,
            Wake::Timer => self.scheduler.handle(now, Event::Timer)?,
        }
        self.drain(now)
    }

    fn arrive(&mut self, now: Time) -> Result<(), SimError> {
        let Some(Offered { session, arrival }) = self.offered.next() else {
            return Ok(());
        };
        let index = self.summary.offered;
        if arrival < self.last_arrival {
            return Err(SimError::ArrivalsOutOfOrder {
                index,
                at: arrival,
                before: self.last_arrival,
            });
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
        let most = self.setup.cost.reach().context;
        if peak.get() > most {
            return Err(SimError::ContextBeyondCost {
                session: session.id.to_string(),
                tokens: peak.get(),
                most,
            });
        }
        // The one place where the future is read: for an oracle, and for nobody else.
        let foresight = if self.scheduler.needs_foresight() {
            foresee(self.setup, &session)
        } else {
            Vec::new()
        };
        let agent = Agent::new(id, session, now, foresight);
        let turn = self.tools.request(&agent);
        self.agents.insert(id, agent);
        let last_of_load = self.offered.peek().is_none();
        self.request(
            now,
            Event::SessionArrived(Arrival {
                session: id,
                shared,
                peak,
                turn,
                last_of_load,
            }),
        )?;
        Ok(())
    }

    fn next_turn(&mut self, now: Time, session: SessionId) -> Result<(), SimError> {
        let agent = self.agents.get_mut(&session).expect("its tools ended");
        if agent.is_last_turn() {
            self.scheduler.handle(now, Event::SessionOver { session })?;
        } else {
            agent.next_turn(now);
            let turn = self.tools.request(agent);
            self.request(now, Event::TurnReady { session, turn })?;
        }
        Ok(())
    }

    /// Hands a turn's request to the scheduler, now or after the plan that was already made.
    fn request(&mut self, now: Time, event: Event) -> Result<(), SimError> {
        if self.setup.engine.planning == Planning::Ahead && self.step_end.is_some() {
            self.held.push(event);
        } else {
            self.scheduler.handle(now, event)?;
        }
        Ok(())
    }

    fn release_held(&mut self, now: Time) -> Result<(), SimError> {
        for event in self.held.drain(..) {
            self.scheduler.handle(now, event)?;
        }
        Ok(())
    }

    /// Begins the next step, and the ones after it that are the same. Returns when the last began.
    fn begin_step(&mut self, now: Time) -> Result<Time, SimError> {
        let Some(plan) = self.scheduler.plan(now)? else {
            if !self.held.is_empty() {
                // The engine has nothing to run and looks at what came meanwhile.
                self.release_held(now)?;
                return self.begin_step(now);
            }
            self.drain(now)?;
            return Ok(now);
        };
        let mut shape = BatchShape::default();
        for chunk in &plan.chunks {
            match chunk.phase {
                Phase::Decode => shape.add_decode(chunk.context + chunk.tokens),
                Phase::Prefill => shape.add_prefill(chunk.context, chunk.tokens),
            }
        }
        if let Some(source) = self.setup.cost.outside(&shape) {
            return Err(SimError::OutsideCost { at: now, source });
        }
        let time = self.setup.cost.step(&shape);
        self.observer.step(now, plan, time);
        if !self.held.is_empty() {
            // The next plan knows more than this one: it is not the same again.
            self.release_held(now)?;
            self.drain(now)?;
            self.step_end = Some(now + time);
            return Ok(now);
        }
        self.drain(now)?;
        let (at, end) = self.repeat_step(now, shape, now + time);
        self.step_end = Some(end);
        Ok(at)
    }

    /// Reads what the scheduler says happened, keeps the books and starts tools.
    fn drain(&mut self, now: Time) -> Result<(), SimError> {
        for (at, info) in self.scheduler.drain() {
            self.observer.info(at, &info);
            match info {
                Info::Admitted { session } => {
                    let agent = self.agents.get_mut(&session).expect("it arrived");
                    agent.record.admitted = Some(at);
                    agent.record.phases.admission = at.since(agent.record.arrival);
                }
                Info::Rejected { session, .. } => {
                    let mut agent = self.agents.remove(&session).expect("it arrived");
                    agent.record.status = Status::Rejected;
                    self.summary.rejected += 1;
                    self.observer.session(agent.record);
                }
                Info::TurnStarted {
                    session,
                    hit,
                    first_start: true,
                    ..
                } => {
                    let agent = self.agents.get_mut(&session).expect("it runs");
                    let turn = &mut agent.turn_record;
                    turn.started = at;
                    turn.hit = hit;
                    turn.prompt = agent.record.trace.turns[agent.turn].prompt;
                    agent.record.prompt += turn.prompt;
                    agent.record.hit += hit;
                    let in_engine = agent
                        .record
                        .admitted
                        .map_or(turn.ready, |a| a.max(turn.ready));
                    agent.record.phases.queue += at.since(in_engine);
                }
                Info::FirstToken { session, .. } => {
                    let agent = self.agents.get_mut(&session).expect("it runs");
                    agent.turn_record.first_token = at;
                    agent.record.phases.prefill += at.since(agent.turn_record.started);
                }
                Info::TurnEnded {
                    session,
                    then,
                    usage,
                    ..
                } => {
                    let agent = self.agents.get_mut(&session).expect("it runs");
                    let turn = &mut agent.turn_record;
                    turn.ended = at;
                    turn.output = usage.generated;
                    turn.scheduled = usage.scheduled;
                    turn.recomputed = usage.recomputed;
                    turn.preemptions = usage.preemptions;
                    self.observer.turn(turn);
                    let record = &mut agent.record;
                    record.turns += 1;
                    record.output += usage.generated;
                    record.recomputed += usage.recomputed;
                    record.preemptions += usage.preemptions;
                    record.phases.decode += at.since(turn.first_token);
                    if let Then::Yield { .. } = then {
                        self.tools.start(now, agent)?;
                    }
                }
                Info::SessionEnded { session } => {
                    let mut agent = self.agents.remove(&session).expect("it was in flight");
                    agent.record.finished = Some(at);
                    agent.record.status = Status::Completed;
                    self.summary.completed += 1;
                    self.last_completion = at;
                    self.observer.session(agent.record);
                }
                Info::Window(window) => self.window = Some(window),
                Info::CopyStarted {
                    session,
                    copy,
                    direction,
                    blocks,
                } => {
                    let link = self.link.as_mut().expect("only a host tier starts copies");
                    let ends = link.copy(at, direction, blocks);
                    self.copies.push(Reverse((ends, session, copy)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn take_samples(&mut self, until: Time) {
        let (Some(mut at), Some(every)) = (self.next_sample, self.setup.sample_every) else {
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
        let end = self.setup.horizon.map_or(now, |horizon| horizon.max(now));
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
        self.summary.tool_calls = self.tools.ended;
        self.summary.tool_elapsed = self.tools.elapsed;
        self.summary.tool_alone = self.tools.alone;
    }
}
