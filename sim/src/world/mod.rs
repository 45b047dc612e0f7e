//! The simulated world around the scheduler: a virtual clock, agents, tools, and the cost of steps.
//!
//! What: [`simulate`] replays sessions under one policy and tells an [`Observer`] what happened.
//! Why: the scheduler is the very object that the real engine drives; only the clock is virtual.
//! Limits: one engine. A run is a function of its arguments: same input, same bytes.
//!
//! Order within one instant: step end, tool CPU phase end, tool I/O end, arrival, timer, then id;
//! the next step is planned when nothing else happens at that instant.

mod agents;
mod drive;
mod error;
mod foresight;
mod record;
mod repeat;

pub use drive::{Offered, Setup, ToolMode, alone, simulate};
pub use error::SimError;
pub use record::{
    NoObserver, Observer, Outcome, Phases, Sample, SessionRecord, Status, Summary, TurnRecord,
};
