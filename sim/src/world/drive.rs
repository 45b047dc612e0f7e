//! The simulated machine: steps by a cost model, tools on modelled cores, copies over a modelled link.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::sync::Arc;

use replay::{
    Call, CallEnd, CallId, CopyOrder, Limits, Machine, NoObserver, Observer, Offered, Summary,
};
use scheduler::policy::Policy;
use scheduler::{Config, Foresight, Phase, PrefillCost, Scheduler};
use traces::model::Session;
use units::{Nanos, SessionId, Time, Tokens};

use super::error::{SimError, check_reach};
use super::foresight::foresee;
use super::tools::Tools;
use crate::cost::{BatchShape, StepCost};
use crate::link::HostLink;
use crate::tool_cpu::Hold;

/// How tool calls share CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolMode {
    /// Processor sharing over this many cores.
    Shared(NonZeroU32),
    /// The same, and while a step runs so many threads of the engine share the cores with them, each like
    /// any other thread. The host's part of a step then takes as much longer as each thread gets less than
    /// a core when the step is planned: tool threads that start or end later do not change it.
    WithEngine {
        /// Cores of tools and engine together.
        cores: NonZeroU32,
        /// Threads of the engine that are busy while a step runs.
        threads: NonZeroU32,
    },
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

/// A [`Setup`] at work: the machine in virtual time.
///
/// [`simulate`] is all that a simulation needs. This is for who puts something beside it, such as an
/// executor that computes the simulated steps.
#[derive(Debug)]
pub struct Simulated<'a> {
    setup: &'a Setup,
    /// Of the last step.
    shape: BatchShape,
    tools: Tools,
    link: Option<HostLink>,
    /// Copies under way: when they end, whose, which.
    copies: BinaryHeap<Reverse<(Time, SessionId, u64)>>,
}

impl<'a> Simulated<'a> {
    /// The machine before anything happens.
    ///
    /// # Errors
    /// [`SimError`]: a limit that cannot be, or that the cost model does not know.
    pub fn new(setup: &'a Setup) -> Result<Self, SimError> {
        setup.engine.validate()?;
        check_reach(&setup.engine, setup.cost.reach())?;
        Ok(Self {
            setup,
            shape: BatchShape::default(),
            tools: Tools::new(setup.tools),
            link: setup.engine.offload.map(HostLink::new),
            copies: BinaryHeap::new(),
        })
    }

    /// The scheduler that this machine runs, with its cost model for policies that ask.
    ///
    /// # Errors
    /// [`SimError`]: a policy that cannot go with these limits.
    ///
    /// # Panics
    /// Never: the limits are valid.
    pub fn scheduler(&self, policy: Policy) -> Result<Scheduler, SimError> {
        let engine = &self.setup.engine;
        let budget = engine.token_budget.get().try_into();
        let reload = Reload {
            cost: Arc::clone(&self.setup.cost),
            budget: budget.expect("validated: at least 1 token"),
        };
        Ok(Scheduler::new(engine.clone(), policy, Box::new(reload))?)
    }

    /// The time of a step of this shape that begins now.
    fn time(&self) -> Nanos {
        match self.tools.crowd() {
            Some(crowd) => self.setup.cost.step_in(&self.shape, crowd),
            None => self.setup.cost.step(&self.shape),
        }
    }

    /// How long to go on, and how often to look.
    pub fn limits(&self) -> Limits {
        Limits {
            horizon: self.setup.horizon,
            sample_every: self.setup.sample_every,
        }
    }
}

impl Machine for Simulated<'_> {
    type Error = SimError;

    const FORETELLS_STEPS: bool = true;

    fn accept(&self, session: &Session) -> Result<(), SimError> {
        let tokens = session.peak_tokens().get();
        let most = self.setup.cost.reach().context;
        if tokens > most {
            return Err(SimError::ContextBeyondCost {
                session: session.id.to_string(),
                tokens,
                most,
            });
        }
        Ok(())
    }

    fn foresee(&self, session: &Session) -> Vec<Foresight> {
        foresee(self.setup, session)
    }

    fn step(&mut self, now: Time, scheduler: &Scheduler) -> Result<Nanos, SimError> {
        let mut shape = BatchShape::default();
        for chunk in &scheduler.planned().chunks {
            match chunk.phase {
                Phase::Decode => shape.add_decode(chunk.context + chunk.tokens),
                Phase::Prefill => shape.add_prefill(chunk.context, chunk.tokens),
            }
        }
        if let Some(source) = self.setup.cost.outside(&shape) {
            return Err(SimError::OutsideCost { at: now, source });
        }
        self.shape = shape;
        let time = self.time();
        self.tools.engine_runs(now, true);
        Ok(time)
    }

    fn step_again(&mut self) -> Option<Nanos> {
        self.shape.next_decode();
        Some(self.time())
    }

    fn idle(&mut self, now: Time) {
        self.tools.engine_runs(now, false);
    }

    fn start_call(&mut self, now: Time, call: Call<'_>) -> Result<(), SimError> {
        self.tools.start(now, call)
    }

    fn next_cpu(&self) -> Option<Time> {
        self.tools.next_cpu()
    }

    fn advance_cpu(&mut self, now: Time) {
        self.tools.advance_cpu(now);
    }

    fn next_call(&self) -> Option<(Time, CallId)> {
        self.tools.next_end()
    }

    fn end_call(&mut self) -> CallEnd {
        self.tools.end()
    }

    fn start_copy(
        &mut self,
        at: Time,
        order: CopyOrder,
        _scheduler: &Scheduler,
    ) -> Result<(), SimError> {
        let link = self.link.as_mut().expect("only a host tier starts copies");
        let ends = link.copy(at, order.direction, order.blocks);
        self.copies.push(Reverse((ends, order.session, order.copy)));
        Ok(())
    }

    fn next_copy(&self) -> Option<(Time, SessionId, u64)> {
        self.copies.peek().map(|Reverse(copy)| *copy)
    }

    fn end_copy(&mut self) {
        self.copies.pop();
    }
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
    let mut machine = Simulated::new(setup)?;
    let (scheduler, limits) = (machine.scheduler(policy)?, machine.limits());
    replay::run(&mut machine, scheduler, limits, offered, observer).whole()
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
