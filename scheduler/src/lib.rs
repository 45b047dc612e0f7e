//! The serving loop as a deterministic state machine, and the traits that policies implement.
//!
//! What: sessions, KV blocks with a prefix cache, batch forming, pins, and the information stream.
//! Why: the simulator drives it with a virtual clock, the engine with a wall clock. It is the same
//! object, so a policy that wins in simulation is the code that runs.
//! Limits: one engine, one node. It has no clock, no I/O and no randomness; the world tells it the
//! time, executes its [`StepPlan`]s and reports back. Step semantics are those of vLLM V1.
//!
//! ```text
//! world ── handle(now, Event) ──▶ Scheduler ── plan(now) ──▶ StepPlan ──▶ world executes
//!   ▲                                │  ▲                                   │
//!   └──── drain() ◀── Info stream ───┘  └────────── step_done(now) ◀────────┘
//! ```

mod admit;
mod cache;
mod check;
mod config;
mod copies;
mod counters;
mod decision;
mod error;
mod event;
mod feedback;
mod foresight;
mod info;
mod lineage;
mod livelock;
mod members;
mod offload;
mod pins;
mod plan;
pub mod policy;
mod pool;
mod prefix;
mod reason;
mod repeat;
mod running_pass;
mod scheduler;
mod session;
mod step_end;
mod swap;
mod telemetry;
mod ticks;
mod waiting;
mod waiting_pass;

pub use config::{Config, HeadOfLine, Offload, Planning, StartRoom};
pub use counters::Counters;
pub use decision::{Decision, DecisionKind, Detail};
pub use error::{ConfigError, SchedulerError};
pub use event::{Arrival, Event, Then, ToolClass, TurnRequest};
pub use foresight::Foresight;
pub use info::{Info, TurnUsage, Unpin, Window};
pub use offload::Direction;
pub use plan::{Chunk, Phase, StepOutcome, StepPlan};
pub use reason::Reason;
pub use repeat::Repeatable;
pub use scheduler::Scheduler;
pub use telemetry::{Ema, PrefillCost, Telemetry};
