//! The real world around the scheduler: a wall clock, real tools, and an executor that computes.
//!
//! What: [`drive`] replays sessions on an [`crate::Executor`] and a [`crate::tools::ToolPool`] in real
//! time, with the loop, the agents and the records of the simulator ([`replay::run`]). [`Live`] is the
//! executor's part (batches, tokens, copies) and takes the time from any [`Surroundings`]: [`Wall`] is the
//! real clock with real tools, the simulator's machine serves too. So the same steps can be computed
//! under a virtual clock, and every decision then equals the simulator's.
//! Why: what decides is the same object in both worlds; here is only what is real.
//! A tool call computes and waits as recorded, or runs the command it carries if that is asked for
//! ([`Commands`]).
//! Limits: steps run one after the other on the driver's thread. What happens during a step is taken in
//! after it, at the time at which it happened, so no plan misses anything that came before it. A copy
//! that a plan or an event during its step asks for starts after that step. Recorded output lengths are forced.

mod affinity;
mod commands;
mod error;
mod live;
mod reload;
mod run;
mod wall;

pub use affinity::{CoresError, allowed_cores, pin_to};
pub use commands::Commands;
pub use error::{DriveError, WallError};
pub use live::{Live, Surroundings, Work};
pub use reload::{MeasureError, MeasuredLink, MeasuredPrefill};
pub use run::{Drive, Driven, StartError, drive};
pub use wall::Wall;
