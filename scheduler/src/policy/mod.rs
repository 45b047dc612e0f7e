//! The traits a policy implements: plain values in, decisions out.
//!
//! A policy has three parts, each of which can be swapped alone: who may enter ([`Admission`]), who
//! goes first and who gives way ([`Order`]), and what happens to KV while tools run ([`Retention`]).
//! None of them holds a clock, a file, a random source or the trace's future. The mechanism applies
//! their answers and refuses those that cannot be.

mod admission;
mod order;
mod retention;

pub use admission::{
    Admission, Backlog, Candidate, Choice, InFlight, Program, Regulation, Trigger,
};
pub use order::{Order, Quantum, Rank, Repeat, Shrink, StartRule, TurnView};
pub use retention::{Claim, Fate, Keep, PinView, Preempted, Resume, Retention, Yielding};

/// One of each part, under one name.
#[derive(Debug)]
pub struct Policy {
    /// The preset's name, for reports and errors.
    pub name: String,
    /// Which sessions enter.
    pub admission: Box<dyn Admission>,
    /// Which turns go first.
    pub order: Box<dyn Order>,
    /// Which KV stays while tools run.
    pub retention: Box<dyn Retention>,
}

impl Policy {
    /// Whether any part is an oracle: it asks for [`crate::Foresight`], which only a replay has.
    pub fn needs_foresight(&self) -> bool {
        self.admission.needs_foresight()
            || self.order.needs_foresight()
            || self.retention.needs_foresight()
    }
}
