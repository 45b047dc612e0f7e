//! What both worlds share: the event loop around the scheduler, the agents, and the records.
//!
//! What: [`run`] replays offered sessions on a [`Machine`] and tells an [`Observer`] what happened. It
//! knows which session is where in its recording, hands turns to the scheduler, starts tools and
//! pauses, keeps the books from the information stream, and takes samples.
//! Why: the simulator and the real engine differ in what a machine is and in nothing else. With one
//! loop, a decision that differs between them comes from a time that differs.
//! Limits: one engine; recorded output lengths are forced; a session's turns follow one another.
//!
//! Order within one instant: step end, tool CPU phase end, tool call end, copy end, arrival, timer,
//! then id; the next step is planned when nothing else happens at that instant.

mod agents;
mod books;
mod call;
mod drive;
mod error;
mod machine;
mod record;
mod repeat;

pub use call::CallId;
pub use drive::{Ended, Limits, Offered, run};
pub use error::ReplayError;
pub use machine::{Call, CallEnd, CommandEnd, CopyOrder, Machine, Waited};
pub use record::{
    CommandRecord, NoObserver, Observer, Outcome, Phases, Sample, SessionRecord, Status, Summary,
    ToolFailure, TurnRecord,
};
