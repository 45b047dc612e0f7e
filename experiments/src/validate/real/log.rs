//! What is kept of a run, in either world.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use scheduler::{Phase, StepPlan};
use sim::cost::{BatchShape, StepCost};
use sim::world::{Observer, Outcome, SessionRecord, Summary, TurnRecord};
use units::{Nanos, Time};

use super::result::{RunResult, Which};
use super::watch::Took;
use crate::interrupt::Interrupt;

/// Listens to a run.
#[derive(Debug)]
pub(super) struct Log {
    cost: Arc<dyn StepCost>,
    interrupt: Interrupt,
    latency_ns: Vec<Option<u64>>,
    first_token_ns: Vec<u64>,
    steps: u64,
    steps_ns: u64,
    priced_ns: u64,
    watch: Option<Rc<Cell<Took>>>,
    computing_ns: u64,
    cpu_ns: u64,
}

impl Log {
    /// Of a run of so many sessions; steps are priced with `cost`.
    pub(super) fn new(sessions: usize, cost: Arc<dyn StepCost>, interrupt: &Interrupt) -> Self {
        Self {
            cost,
            interrupt: interrupt.clone(),
            latency_ns: vec![None; sessions],
            first_token_ns: Vec::new(),
            steps: 0,
            steps_ns: 0,
            priced_ns: 0,
            watch: None,
            computing_ns: 0,
            cpu_ns: 0,
        }
    }

    /// Looks at this watch after every step.
    pub(super) fn watch(&mut self, watch: Rc<Cell<Took>>) {
        self.watch = Some(watch);
    }

    /// The run's result.
    pub(super) fn result(self, which: Which, summary: &Summary) -> RunResult {
        RunResult {
            which,
            latency_ns: self.latency_ns,
            first_token_ns: self.first_token_ns,
            makespan_ns: summary.makespan.as_nanos(),
            steps: self.steps,
            steps_ns: self.steps_ns,
            priced_ns: self.priced_ns,
            computing_ns: self.watch.as_ref().map(|_| self.computing_ns),
            cpu_ns: self.watch.as_ref().map(|_| self.cpu_ns),
            tool_calls: summary.tool_calls,
            tools_ns: summary.tool_elapsed.as_nanos(),
            tools_alone_ns: summary.tool_alone.as_nanos(),
            discarded: 0,
            grid_before_ns: Vec::new(),
            grid_after_ns: Vec::new(),
        }
    }
}

/// The sums of a plan that its price depends on.
pub(super) fn shape(plan: &StepPlan) -> BatchShape {
    let mut shape = BatchShape::default();
    for chunk in &plan.chunks {
        match chunk.phase {
            Phase::Decode => shape.add_decode(chunk.context + chunk.tokens),
            Phase::Prefill => shape.add_prefill(chunk.context, chunk.tokens),
        }
    }
    shape
}

impl Observer for Log {
    fn session(&mut self, record: SessionRecord) {
        let latency = record
            .finished
            .map(|end| end.since(record.arrival).as_nanos());
        if let Some(slot) = self.latency_ns.get_mut(record.session.0 as usize) {
            *slot = latency;
        }
    }

    fn turn(&mut self, record: &TurnRecord) {
        let wait = record.first_token.since(record.ready);
        self.first_token_ns.push(wait.as_nanos());
    }

    fn step(&mut self, _at: Time, plan: &StepPlan, time: Nanos) {
        self.steps += 1;
        self.steps_ns += time.as_nanos();
        self.priced_ns += self.cost.step(&shape(plan)).as_nanos();
        if let Some(took) = &self.watch {
            let took = took.get();
            self.computing_ns += took.wall.as_nanos();
            self.cpu_ns += took.cpu.as_nanos();
        }
    }

    fn progress(&mut self, _at: Time, _completed: u64) -> Outcome {
        if self.interrupt.is_set() {
            Outcome::Stop
        } else {
            Outcome::Continue
        }
    }
}
