//! A scheduler with so many turns that decode and a thousand that wait, for counting and timing a plan.
//!
//! Limits: nothing ends and nobody can start, so every step is like the one before. That is the step
//! which most of a loaded engine's steps are.

use scheduler::policy::Policy;
use scheduler::{
    Arrival, Config, Event, PrefillCost, Scheduler, StepOutcome, Then, ToolClass, TurnRequest,
};
use units::{BlockSize, Blocks, Nanos, SessionId, Time, Tokens};

/// Turns that wait.
pub const WAITING: u32 = 1000;
/// Prompt of a turn that runs.
const PROMPT: u64 = 512;
/// Steps before a turn needs another block.
pub const STEPS: u64 = 14;

#[derive(Debug)]
struct PerToken;

impl PrefillCost for PerToken {
    fn reload(&self, context: Tokens) -> Nanos {
        Nanos::new(20_000 * context.get())
    }
}

/// What keeps those that wait from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// All running places are taken: nobody who waits is looked at.
    OfPlaces,
    /// The head of the waiting order does not fit, and is tried at every step.
    OfBlocks,
}

/// The scheduler and its clock.
#[derive(Debug)]
pub struct Crowd {
    /// Between two steps.
    pub scheduler: Scheduler,
    /// The instant of the next plan.
    pub now: Time,
}

/// Settings that let everybody into the engine: no admission control, no window over turns.
pub fn all_inside(preset: &str) -> &'static [(&'static str, &'static str)] {
    match preset {
        "mars-preview" => &[("admission.kind", "open"), ("order.turn_window", "5000")],
        _ => &[("admission.kind", "open")],
    }
}

impl Crowd {
    /// `running` turns decode and all others wait.
    ///
    /// # Panics
    /// If the policy does not serve them all.
    pub fn new(policy: Policy, running: u32, short: Short) -> Self {
        Self::with_spare(policy, running, short, 0)
    }

    /// The same with so many spare blocks per turn, at most 31, so that those that decode can do so for 16
    /// more steps each. They are too few for those that wait.
    ///
    /// # Panics
    /// As [`Crowd::new`].
    pub fn with_spare(policy: Policy, running: u32, short: Short, spare: u64) -> Self {
        let held = u64::from(running) * ((PROMPT + 1).div_ceil(16) + spare);
        let config = Config {
            block_size: BlockSize::default(),
            usable_blocks: match short {
                Short::OfPlaces => Blocks(1 << 20),
                Short::OfBlocks => Blocks(held),
            },
            // All of them begin in one step, so that they need their next blocks together.
            token_budget: Tokens((u64::from(running) * PROMPT).max(8192)),
            max_running: match short {
                Short::OfPlaces => running as usize,
                Short::OfBlocks => 2000,
            },
            ..Config::default()
        };
        let scheduler = Scheduler::new(config, policy, Box::new(PerToken)).expect("a machine");
        let mut this = Self {
            scheduler,
            now: Time::ZERO,
        };
        for id in 0..running {
            this.arrive(id, PROMPT);
        }
        for _ in 0..10_000 {
            let plan = this.scheduler.plan(this.now).expect("a plan");
            let chunks = &plan.expect("work").chunks;
            let all = chunks.len() == running as usize && chunks.iter().all(|c| c.samples);
            this.finish_step();
            if all {
                break;
            }
        }
        for id in running..running + WAITING {
            // The short machine could hold it, and has nothing left.
            this.arrive(id, (held - 4) * 16);
        }
        // The first plan with them takes them in.
        this.scheduler.plan(this.now).expect("a plan");
        this.finish_step();
        this
    }

    /// The planned step is over.
    ///
    /// # Panics
    /// If none was planned.
    pub fn finish_step(&mut self) {
        self.now += Nanos::from_millis(25);
        self.scheduler
            .step_done(self.now, StepOutcome::default())
            .expect("a step");
        self.scheduler.drain();
    }

    fn arrive(&mut self, id: u32, prompt: u64) {
        let turn = TurnRequest {
            prompt: Tokens(prompt),
            reused: Tokens::ZERO,
            output: Tokens(4000),
            then: Then::Yield {
                tool: ToolClass(0),
                calls: 1,
            },
            flagged_last: false,
            foresight: None,
        };
        let arrival = Arrival {
            session: SessionId(id),
            shared: Vec::new(),
            peak: Tokens(prompt + 16),
            turn,
            last_of_load: false,
        };
        self.scheduler
            .handle(self.now, Event::SessionArrived(arrival))
            .expect("an arrival");
    }
}
