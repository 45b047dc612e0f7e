//! Writing a trace, session by session.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use super::Header;
use super::emit::{HeaderLine, SessionLine};
use crate::error::{Place, TraceError};
use crate::model::Session;

/// Writes one trace. Call [`TraceWriter::finish`]: a compressed trace is cut short without it.
///
/// The same sessions give the same bytes on every machine (for one version of the zstd library).
pub struct TraceWriter<W: Write> {
    output: Output<W>,
    line: u64,
    /// Whether sessions may carry commands: line 1 has said so.
    commands: bool,
}

enum Output<W: Write> {
    Plain(W),
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
}

impl<W: Write> fmt::Debug for TraceWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceWriter")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl<W: Write> TraceWriter<W> {
    /// Starts a trace of plain text. `output` gets many small writes a session: buffer it.
    ///
    /// # Errors
    /// [`TraceError::Write`].
    pub fn plain(output: W, header: &Header) -> Result<Self, TraceError> {
        Self::start(Output::Plain(output), header)
    }

    /// Starts a compressed trace; `level` as in zstd (3 is fast, 19 is small).
    ///
    /// # Errors
    /// [`TraceError::Write`].
    pub fn zstd(output: W, header: &Header, level: i32) -> Result<Self, TraceError> {
        let failed = |source| TraceError::Write { source };
        let mut encoder = zstd::stream::write::Encoder::new(output, level).map_err(failed)?;
        // A flipped bit on disk then is an error and not another workload.
        encoder.include_checksum(true).map_err(failed)?;
        Self::start(Output::Zstd(Box::new(encoder)), header)
    }

    fn start(output: Output<W>, header: &Header) -> Result<Self, TraceError> {
        let mut writer = Self {
            output,
            line: 0,
            commands: header.commands,
        };
        writer.put(&HeaderLine::of(header))?;
        Ok(writer)
    }

    /// Appends one session.
    ///
    /// # Errors
    /// [`TraceError::Unlawful`] if it breaks a law, [`TraceError::CommandsNotSaid`] if it has a command and
    /// the header has none (nothing is written then); [`TraceError::Write`].
    pub fn write(&mut self, session: &Session) -> Result<(), TraceError> {
        let place = Place::Line(self.line + 1);
        session
            .check()
            .map_err(|broken| TraceError::Unlawful { place, broken })?;
        if !self.commands && session.commands() > 0 {
            return Err(TraceError::CommandsNotSaid { place });
        }
        self.put(&SessionLine::of(session))
    }

    /// Ends the trace and hands the output back.
    ///
    /// # Errors
    /// [`TraceError::Write`].
    pub fn finish(self) -> Result<W, TraceError> {
        let failed = |source| TraceError::Write { source };
        match self.output {
            Output::Plain(mut output) => {
                output.flush().map_err(failed)?;
                Ok(output)
            }
            Output::Zstd(encoder) => {
                let mut output = encoder.finish().map_err(failed)?;
                output.flush().map_err(failed)?;
                Ok(output)
            }
        }
    }

    fn put(&mut self, line: &impl Serialize) -> Result<(), TraceError> {
        self.line += 1;
        let output: &mut dyn Write = match &mut self.output {
            Output::Plain(output) => output,
            Output::Zstd(encoder) => encoder,
        };
        serde_json::to_writer(&mut *output, line)
            .map_err(io::Error::from)
            .and_then(|()| output.write_all(b"\n"))
            .map_err(|source| TraceError::Write { source })
    }
}
