//! Tool calls as real processes.
//!
//! What: a [`ToolPool`] runs each [`Call`] as a process of its own on the tool cores: it computes as many
//! CPU seconds as were recorded and then waits, or it runs a command in the session's own folder. How it
//! ended comes through a channel as [`Ended`].
//! Why: what tools do to each other on shared cores is what tool-aware admission reads. Only real
//! processes on a real kernel show whether the simulator's `tool_cpu` is right.
//! Limits: Linux. A command's folder is a folder, not a jail: it keeps tools apart, it stops no attacker. A
//! process that leaves its process group (`setsid`) is not found when its tool is killed.
//!
//! Every process is a child of one thread (`supervisor.rs`) which polls their ends, their output and the
//! next time limit. So nothing here waits for anything else, and a process id is never used after it has
//! been given back.

pub mod child;

mod call;
mod launch;
mod process;
mod sandbox;
mod settings;
mod supervisor;

pub use call::{Call, Command, Ended, Outcome, Output, Work};
pub use replay::CallId;
pub use settings::{Hold, Limits, Mode, Settings, ToolPoolError};
pub use supervisor::ToolPool;
