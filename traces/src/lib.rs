//! What agents did: the session model, its file format, importers, and a bundled workload.
//!
//! What: [`model`] is a session in token counts and durations; [`mod@format`] reads and writes it;
//! [`import`] turns other tools' recordings into it, [`export`] hands it to other simulators; [`fill`]
//! draws what a recording does not say; [`generate`] draws whole workloads from a description;
//! [`bundled`] ships real sessions; [`stats`] describes a trace, [`ops`] makes traces of traces.
//! Why: every experiment starts from one description of the work, checked once ([`validate`]), so a
//! number in a figure can be traced to a line of a recording or to a named fit.
//! Limits: no text of prompts or tools is kept, but for commands that a trace says to run. Nothing here
//! opens a file or reads a clock: callers hand in readers and bytes. Memory grows with one session (or
//! one recording), not with the trace.

pub mod bundled;
pub mod error;
pub mod export;
pub mod fill;
pub mod fit;
pub mod format;
pub mod generate;
pub mod import;
pub mod model;
pub mod ops;
pub mod rng;
pub mod stats;
pub mod validate;

mod lines;
mod seconds;

pub use error::{Place, TraceError};
pub use format::{Header, TraceReader, TraceWriter};
pub use model::{Command, Evidence, Known, Session, SharedPrefix, ToolCall, Turn};
