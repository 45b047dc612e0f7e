//! Exporters: our sessions in other tools' formats.
//!
//! What: one file for each format; [`Exporter`] is what all of them look like from outside,
//! [`ExportReport`] what they say at the end.
//! Why: a comparison with another simulator has to give it the same work. No format holds all that a
//! session says, so whatever one cannot hold is counted, and where it needs a number that a session
//! does not have, the export ends with an error instead of a made-up one.
//! Limits: what is written is what the importers of the same name read.

mod agentic;
mod azure_llm;
mod blocks;
mod gap;
mod inference_lab;
mod mooncake;
mod report;

use std::fmt;
use std::io::Write;

pub use report::{ExportReport, Lost};

use crate::error::TraceError;
use crate::model::Session;

/// Every exporter, for a command line to choose from by name.
pub const EXPORTERS: &[Exporter] = &[
    agentic::EXPORTER,
    azure_llm::EXPORTER,
    inference_lab::EXPORTER,
    mooncake::EXPORTER,
];

/// One target format.
#[derive(Clone, Copy, Debug)]
pub struct Exporter {
    /// What a command line calls it; the importer of that name reads it back.
    pub name: &'static str,
    /// What it holds of a session, for a person.
    pub holds: &'static str,
    /// Begins a file.
    pub start: for<'a> fn(&'a mut dyn Write) -> Box<dyn Export + 'a>,
}

/// A file that is being written.
pub trait Export {
    /// Appends one session.
    ///
    /// # Errors
    /// [`TraceError::Unlawful`], [`TraceError::Unknown`] for a number that the format needs and the
    /// session does not have, [`TraceError::Write`].
    fn put(&mut self, session: &Session) -> Result<(), TraceError>;

    /// Ends the file.
    ///
    /// # Errors
    /// [`TraceError::Write`].
    fn finish(self: Box<Self>) -> Result<ExportReport, TraceError>;
}

impl fmt::Debug for dyn Export + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Export")
    }
}

impl Exporter {
    /// Writes a whole workload. `output` gets many small writes: buffer it.
    ///
    /// # Errors
    /// As [`Export::put`].
    pub fn write<'s>(
        &self,
        sessions: impl IntoIterator<Item = &'s Session>,
        output: &mut dyn Write,
    ) -> Result<ExportReport, TraceError> {
        let mut export = (self.start)(output);
        for session in sessions {
            export.put(session)?;
        }
        export.finish()
    }
}

/// The exporter called `name`.
pub fn by_name(name: &str) -> Option<&'static Exporter> {
    EXPORTERS.iter().find(|exporter| exporter.name == name)
}

/// One value as a line of JSON.
fn put_line(output: &mut dyn Write, line: &impl serde::Serialize) -> Result<(), TraceError> {
    serde_json::to_writer(&mut *output, line)
        .map_err(std::io::Error::from)
        .and_then(|()| output.write_all(b"\n"))
        .map_err(|source| TraceError::Write { source })
}
