//! Runs in the real world.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::anyhow;
use engine::drive::{Commands, Drive, drive};
use engine::tools::{Limits as ToolLimits, Mode, Settings};
use policies::PolicySpec;
use scheduler::policy::Policy;
use scheduler::{Phase, PrefillCost, StepPlan};
use sim::cost::StepCost;
use sim::world::{Observer, Offered, Outcome, Summary};
use traces::{Known, Session, Turn};
use units::{Nanos, Time, Tokens};

use super::bench::Bench;
use super::calibration::{Calibration, runner};
use super::watch::Took;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;

/// Time after which a tool is taken to hang: far longer than any that is replayed here should take.
const TOOL_TIMEOUT: Nanos = Nanos::from_millis(600_000);

/// A policy and what it is offered.
#[derive(Debug)]
pub struct Real<'a> {
    /// The price of computing a context again, for policies that ask: the same as in the simulation.
    pub cost: &'a Arc<dyn StepCost>,
    /// The policy.
    pub policy: Policy,
    /// How tools share their cores: the same as in the simulation.
    pub tools: Mode,
    /// The load.
    pub offered: Vec<Offered>,
}

#[derive(Debug)]
struct Reload {
    cost: Arc<dyn StepCost>,
    budget: NonZeroU64,
}

impl PrefillCost for Reload {
    fn reload(&self, context: Tokens) -> Nanos {
        self.cost.prefill_alone(Tokens::ZERO, context, self.budget)
    }
}

impl Real<'_> {
    /// Runs it on the engine, in real time.
    ///
    /// # Errors
    /// An engine or tools that fail; what there is of the run is not kept.
    pub fn run(self, bench: &mut Bench, observer: &mut impl Observer) -> Result<Summary, Failure> {
        let failed = |error: anyhow::Error| Failure {
            exit: Exit::Partial,
            error,
        };
        let engine = bench.config();
        let budget = NonZeroU64::new(engine.token_budget.get()).unwrap_or(NonZeroU64::MIN);
        let reload = Box::new(Reload {
            cost: Arc::clone(self.cost),
            budget,
        });
        let limits = ToolLimits {
            timeout: Some(TOOL_TIMEOUT),
            ..ToolLimits::default()
        };
        let setup = Drive {
            engine,
            context_length: Tokens(bench.shape.context_length as u64),
            seed: 1,
            tools: Settings {
                mode: self.tools,
                cores: bench.engine.cores.tools.clone(),
                limits,
                runner: runner().map_err(failed)?,
                sandboxes: None,
            },
            // Both worlds take the recorded times.
            commands: Commands::Burn,
            limits: replay::Limits::default(),
            poison: false,
        };
        let driven = drive(
            &setup,
            self.policy,
            reload,
            &mut bench.executor,
            self.offered.into_iter(),
            observer,
        )
        .map_err(Failure::bad_input)?;
        if let Some(error) = driven.error {
            return Err(Failure::of_drive(error));
        }
        if driven.summary.failed > 0 {
            return Err(failed(anyhow!(
                "{} sessions failed because their tools did: such a run compares with nothing",
                driven.summary.failed
            )));
        }
        Ok(driven.summary)
    }
}

/// Tokens that each probe generates.
const PROBE: Tokens = Tokens(96);
/// Probes at once that show what a turn costs.
const TOGETHER: u32 = 4;

/// What a step keeps the engine for beside computing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Each step.
    pub per_step: Nanos,
    /// Each turn in the batch.
    pub per_running: Nanos,
}

/// Measures what planning, arrays and books take: sessions that do nothing but decode, one and several at
/// once, with the executor's own time taken off.
///
/// # Errors
/// As [`Real::run`].
pub fn beside_computing(
    bench: &mut Bench,
    calibration: &Calibration,
    interrupt: &Interrupt,
) -> Result<Beside, Failure> {
    let one = probe(bench, calibration, interrupt, 1)?;
    let several = probe(bench, calibration, interrupt, TOGETHER)?;
    let per_running = Nanos::new(several.saturating_sub(one).as_nanos() / u64::from(TOGETHER - 1));
    Ok(Beside {
        per_step: one.saturating_sub(per_running),
        per_running,
    })
}

/// From the start of a step to the start of the next, less the executor's time: the middle of all, with so
/// many sessions in every step.
fn probe(
    bench: &mut Bench,
    calibration: &Calibration,
    interrupt: &Interrupt,
    sessions: u32,
) -> Result<Nanos, Failure> {
    let turn = Turn {
        prompt: Tokens(8),
        reused: Tokens::ZERO,
        output: Known::drawn(PROBE),
        cached: None,
        llm: None,
        tools: Vec::new(),
        think: None,
    };
    let session = |number: u32| Session {
        id: format!("probe-{number}").into(),
        model: None,
        arrival: None,
        shared: Vec::new(),
        parent: None,
        turns: vec![turn.clone()],
    };
    let offered = (0..sessions).map(|number| Offered {
        session: Arc::new(session(number)),
        arrival: Time::ZERO,
    });
    let cost: Arc<dyn StepCost> = Arc::new(calibration.cost()?);
    let fcfs = PolicySpec::preset("fcfs").map_err(Failure::bad_input)?;
    let world = Real {
        cost: &cost,
        policy: fcfs.build().map_err(Failure::bad_input)?,
        // Probes have no tools.
        tools: Mode::FreeForAll,
        offered: offered.collect(),
    };
    let mut starts = Starts {
        turns: sessions as usize,
        took: bench.executor.last(),
        interrupt: interrupt.clone(),
        last: None,
        beside: Vec::new(),
    };
    world.run(bench, &mut starts)?;
    starts.beside.sort_unstable();
    starts
        .beside
        .get(starts.beside.len() / 2)
        .copied()
        .ok_or_else(|| Failure {
            exit: Exit::Partial,
            error: anyhow!("no step decoded {sessions} sessions at once"),
        })
}

struct Starts {
    /// Steps of so many turns are looked at.
    turns: usize,
    took: Rc<Cell<Took>>,
    interrupt: Interrupt,
    /// The start of the step before, if it was one of those, and what the executor took for it.
    last: Option<(Time, Nanos)>,
    beside: Vec<Nanos>,
}

impl Observer for Starts {
    fn step(&mut self, at: Time, plan: &StepPlan, _time: Nanos) {
        let decodes = plan.chunks.iter().all(|chunk| chunk.phase == Phase::Decode);
        if let Some((before, computing)) = self.last {
            self.beside.push(at.since(before).saturating_sub(computing));
        }
        let these = decodes && plan.chunks.len() == self.turns;
        self.last = these.then(|| (at, self.took.get().wall));
    }

    fn progress(&mut self, _at: Time, _completed: u64) -> Outcome {
        if self.interrupt.is_set() {
            Outcome::Stop
        } else {
            Outcome::Continue
        }
    }
}
