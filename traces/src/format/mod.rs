//! The trace file format: JSON Lines, plain or zstd, one header and then one session a line.
//!
//! Why: a trace should be readable with `zstdcat` and `jq`, grow by appending, and stream. What the
//! fields mean is in `FORMAT.md` beside this crate's manifest; a test parses its example.
//! Limits: reads versions 1 to 3; writes 2, or 3 where tool calls may carry commands. A line is at most 256 MiB. Unknown fields are errors: a misspelt
//! `wall_s` must not turn into an unknown tool time.

mod emit;
mod field;
mod parse;
mod read;

mod write;

pub use read::TraceReader;
pub use write::TraceWriter;

/// The newest version of the format: tool calls may carry commands. Written for those traces alone, so
/// that all others stay what they were, to the byte, and older programs read them.
pub const VERSION: u64 = 3;

/// The version that is written for a trace without commands.
pub const WITHOUT_COMMANDS: u64 = 2;

/// The oldest version that it reads: in version 1, `shared` is one segment and no list.
pub const OLDEST_VERSION: u64 = 1;

/// The first line of a trace: what it is and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Where the sessions come from: repository and commit, or the generator and its seed.
    pub source: Option<String>,
    /// Under which licence they may be passed on (an SPDX name).
    pub license: Option<String>,
    /// Anything a reader should know.
    pub note: Option<String>,
    /// Whether tool calls may carry commands: what the version says.
    pub commands: bool,
}

impl Header {
    /// The version of a file with this header.
    pub const fn version(&self) -> u64 {
        if self.commands {
            VERSION
        } else {
            WITHOUT_COMMANDS
        }
    }
}
