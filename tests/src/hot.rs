//! The hot paths of the scheduler, each as one round that can be repeated without end.
//!
//! What: a plan while turns decode and others wait; a session that comes, computes and goes, which takes and
//! gives back its blocks; a turn that comes back and looks its prefix up.
//! Why: a bench times a round (`benches/hot_paths.rs`), and the instructions of a round are counted
//! (`examples/hot_path.rs`, `experiments/benches/instructions.sh`). Both must do the same.
//! Limits: first come, first served. A round goes through the scheduler's doors as a world would, so it
//! holds what comes with an allocation or a look-up, and not those alone.

use scheduler::{Arrival, Config, Event, PrefillCost, Scheduler, Then, ToolClass, TurnRequest};
use units::{Blocks, Nanos, SessionId, Time, Tokens};

use crate::crowd::{Crowd, Short, all_inside};
use crate::machine::preset;

/// Tokens of the sessions that come and go: 1024 blocks.
const CONTEXT: u64 = 16_384;

/// Rounds before those that decode run out of blocks.
pub const ROUNDS: u32 = 400;

/// One of the paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A plan and the end of its step, with so many turns that decode and 1000 that wait for blocks.
    Plan(u32),
    /// A session of 1024 blocks arrives, is computed in one step and is gone: they are allocated, made
    /// hittable and released, and those before it are evicted.
    AllocateAndFree,
    /// A turn of 1024 blocks becomes ready, finds them all, computes a token and yields.
    LookUp,
}

/// All of them with their names.
pub const PATHS: [(&str, Path); 5] = [
    ("plan-1", Path::Plan(1)),
    ("plan-32", Path::Plan(32)),
    ("plan-256", Path::Plan(256)),
    ("allocate-and-free", Path::AllocateAndFree),
    ("look-up", Path::LookUp),
];

#[derive(Debug)]
struct Free;

impl PrefillCost for Free {
    fn reload(&self, _context: Tokens) -> Nanos {
        Nanos::ZERO
    }
}

/// A path, ready for its next round.
#[derive(Debug)]
pub struct Hot {
    path: Path,
    crowd: Crowd,
    rounds_left: u32,
    sessions: u32,
}

impl Hot {
    /// The path before its first round.
    pub fn new(path: Path) -> Self {
        let running = match path {
            Path::Plan(running) => running,
            Path::AllocateAndFree | Path::LookUp => 0,
        };
        let mut this = Self {
            path,
            crowd: if running == 0 { idle() } else { crowd(running) },
            rounds_left: ROUNDS,
            sessions: 0,
        };
        if path == Path::LookUp {
            this.arrive(Then::Yield {
                tool: ToolClass(0),
                calls: 0,
            });
            this.step();
        }
        this
    }

    /// One round, of at most [`ROUNDS`].
    pub fn round(&mut self) {
        self.rounds_left = self.rounds_left.checked_sub(1).expect("not spent");
        match self.path {
            Path::Plan(_) => self.step(),
            Path::AllocateAndFree => {
                self.arrive(Then::End);
                self.step();
            }
            Path::LookUp => {
                let turn = request(Then::Yield {
                    tool: ToolClass(0),
                    calls: 0,
                });
                let turn = TurnRequest {
                    reused: Tokens(CONTEXT),
                    ..turn
                };
                let ready = Event::TurnReady {
                    session: SessionId(0),
                    turn,
                };
                let now = self.crowd.now;
                self.crowd.scheduler.handle(now, ready).expect("it yielded");
                self.step();
            }
        }
    }

    fn arrive(&mut self, then: Then) {
        let arrival = Arrival {
            session: SessionId(self.sessions),
            shared: Vec::new(),
            peak: Tokens(CONTEXT + 1),
            turn: request(then),
            last_of_load: false,
        };
        self.sessions += 1;
        let now = self.crowd.now;
        let event = Event::SessionArrived(arrival);
        self.crowd.scheduler.handle(now, event).expect("an arrival");
    }

    fn step(&mut self) {
        let planned = self.crowd.scheduler.plan(self.crowd.now);
        assert!(planned.expect("a plan").is_some(), "there is work");
        self.crowd.finish_step();
    }
}

fn request(then: Then) -> TurnRequest {
    TurnRequest {
        prompt: Tokens(CONTEXT),
        reused: Tokens::ZERO,
        output: Tokens(1),
        then,
        flagged_last: false,
        foresight: None,
    }
}

fn crowd(running: u32) -> Crowd {
    let policy = preset("fcfs", all_inside("fcfs")).build();
    // 31 blocks are 496 steps.
    Crowd::with_spare(policy.expect("a preset"), running, Short::OfBlocks, 31)
}

/// A machine with nothing to do that takes a whole context in a step, and holds three.
fn idle() -> Crowd {
    let config = Config {
        usable_blocks: Blocks(3 * CONTEXT / 16),
        token_budget: Tokens(CONTEXT),
        ..Config::default()
    };
    let policy = preset("fcfs", &[]).build().expect("a preset");
    Crowd {
        scheduler: Scheduler::new(config, policy, Box::new(Free)).expect("a machine"),
        now: Time::ZERO,
    }
}
