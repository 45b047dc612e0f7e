//! Importers: other tools' recordings, turned into sessions.
//!
//! What: one file for each source format; [`Imported`] and [`ImportReport`] are what all of them
//! give back, and [`collect`] makes one workload of many recordings.
//! Why: the traps of a source (repeated usage, placeholder counts, averages that look like readings)
//! belong in one place, and whatever is estimated or left out is counted, never silently dropped.
//! Limits: a recording is held as numbers while it is read; its text is dropped line by line.

pub mod claude_code;
pub mod mini_swe;

mod clock;
mod json;
mod report;

pub use report::{ImportReport, Skip};

use std::io::{BufRead, Read};

use units::Nanos;

use crate::error::{Place, TraceError};
use crate::lines::LINE_LIMIT;
use crate::model::Session;

/// Every importer, for a command line to choose from by name or by a file's ending.
pub const IMPORTERS: &[Importer] = &[claude_code::IMPORTER, mini_swe::IMPORTER];

/// What reading one recording gives: its sessions, and what was read, estimated and left out.
pub type ImportResult = Result<(Vec<Imported>, ImportReport), TraceError>;

/// One source format.
#[derive(Clone, Copy, Debug)]
pub struct Importer {
    /// What a command line calls it.
    pub name: &'static str,
    /// What its files' names end with.
    pub ending: &'static str,
    /// Name of a file in the same folder that tells more about the recording, if the source has one.
    pub beside: Option<&'static str>,
    /// Reads one recording.
    pub run: fn(Recording<'_>) -> ImportResult,
}

/// What an [`Importer`] gets: the opened files.
pub struct Recording<'a> {
    /// The recording.
    pub input: &'a mut dyn BufRead,
    /// A name for sessions that have none of their own, such as the file's.
    pub name: &'a str,
    /// The content of the file [`Importer::beside`], where there is one.
    pub beside: Option<&'a [u8]>,
}

impl std::fmt::Debug for Recording<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The importer called `name`.
pub fn by_name(name: &str) -> Option<&'static Importer> {
    IMPORTERS.iter().find(|importer| importer.name == name)
}

/// The importer whose ending the file's name has; the longest such ending decides.
pub fn by_file_name(file: &str) -> Option<&'static Importer> {
    let fitting = IMPORTERS
        .iter()
        .filter(|importer| file.ends_with(importer.ending));
    fitting.max_by_key(|importer| importer.ending.len())
}

/// A session as a recording tells it, with its place in real time.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The session. Its `arrival` is `None`: one recording does not know when the others began.
    pub session: Session,
    /// When it began, from 1970-01-01T00:00:00Z; `None` where the source does not say.
    pub began: Option<Nanos>,
}

/// Makes one workload: arrivals from the earliest beginning, sessions in order of arrival.
///
/// Sessions that began at the same instant are ordered by id; those without a time come last.
pub fn collect(imported: Vec<Imported>) -> Vec<Session> {
    let mut imported = imported;
    imported.sort_by(|a, b| {
        let key = |i: &Imported| (i.began.is_none(), i.began, i.session.id.clone());
        key(a).cmp(&key(b))
    });
    let earliest = imported.iter().find_map(|i| i.began).unwrap_or(Nanos::ZERO);
    let placed = imported.into_iter().map(|mut i| {
        i.session.arrival = i.began.map(|began| began.saturating_sub(earliest));
        i.session
    });
    placed.collect()
}

/// The whole of a recording that is one document.
fn whole(input: &mut dyn BufRead) -> Result<Vec<u8>, TraceError> {
    let place = Place::Document;
    let mut bytes = Vec::new();
    input
        .take(LINE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| TraceError::Read { place, source })?;
    if bytes.len() as u64 > LINE_LIMIT {
        return Err(TraceError::LineTooLong {
            place,
            limit: LINE_LIMIT,
        });
    }
    Ok(bytes)
}

/// Checks a finished session, so that no importer hands out what the model forbids.
fn lawful(session: Session, place: Place) -> Result<Session, TraceError> {
    match session.check() {
        Ok(()) => Ok(session),
        Err(broken) => Err(TraceError::Unlawful { place, broken }),
    }
}
