//! The simulated world around the scheduler: a virtual clock, tools, and the cost of steps.
//!
//! What: [`simulate`] replays sessions under one policy and tells an [`Observer`] what happened.
//! Why: the scheduler is the very object that the real engine drives, and the loop around it
//! ([`replay::run`]) is the same too; only the machine is virtual.
//! Limits: one engine. A run is a function of its arguments: same input, same bytes.

mod drive;
mod error;
mod foresight;
mod tools;

pub use drive::{Setup, Simulated, ToolMode, alone, simulate};
pub use error::SimError;
pub use replay::{
    CommandRecord, NoObserver, Observer, Offered, Outcome, Phases, ReplayError, Sample,
    SessionRecord, Status, Summary, ToolFailure, TurnRecord,
};
