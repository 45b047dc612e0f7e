//! What an importer is handed, and how it hands sessions on.
//!
//! What: [`Recording`] is the opened input, [`Folder`] the files beside it, [`OnBadSession`] what to
//! do about a session that cannot be read, [`Sink`] where finished sessions go.
//! Why: one recording may hold a hundred thousand sessions. They leave one by one, so memory grows
//! with one session, and a broken one need not cost the others.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::{ImportReport, Imported, Skip};
use crate::error::{Place, TraceError, shown};
use crate::lines::{LINE_LIMIT, Lines};
use crate::validate::Ids;

/// Where an importer puts its sessions, in the order of the recording. An error ends the import.
pub type Sink<'a> = &'a mut dyn FnMut(Imported) -> Result<(), TraceError>;

/// What to do about a session that the recording holds and that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadSession {
    /// The import ends with the error.
    #[default]
    Fail,
    /// The session is left out and counted in [`ImportReport::dropped`], with the reason; the other
    /// sessions of the recording stay. Input that the system cannot deliver is an error even so.
    Skip,
}

/// What an [`Importer`](super::Importer) gets.
///
/// A caller opens the file, and, if [`Importer::beside`](super::Importer::beside) names any, gives
/// access to the files beside it:
///
/// ```
/// use traces::import::{self, Folder, Recording};
/// # fn demo(input: &[u8], folder: &mut dyn Folder) -> Result<(), traces::TraceError> {
/// let importer = import::by_name("claude-code").unwrap();
/// let mut input = input; // any `BufRead`
/// let recording = Recording::new("session-1", &mut input).with_folder(folder);
/// let report = (importer.run)(recording, &mut |imported| {
///     println!("{}", imported.session.id);
///     Ok(())
/// })?;
/// # drop(report); Ok(()) }
/// ```
pub struct Recording<'a> {
    /// The recording.
    pub input: &'a mut dyn BufRead,
    /// A name for sessions that have none of their own, such as the file's.
    pub name: &'a str,
    /// The folder the recording lies in, where there is one to look at.
    pub folder: Option<&'a mut dyn Folder>,
    /// What to do about a session that cannot be read.
    pub on_bad: OnBadSession,
}

impl<'a> Recording<'a> {
    /// A recording without files beside it, in which a bad session is an error.
    pub fn new(name: &'a str, input: &'a mut dyn BufRead) -> Self {
        Self {
            input,
            name,
            folder: None,
            on_bad: OnBadSession::Fail,
        }
    }

    /// With the files beside it.
    pub fn with_folder(self, folder: &'a mut dyn Folder) -> Self {
        Self {
            folder: Some(folder),
            ..self
        }
    }

    /// With that rule for bad sessions.
    pub fn on_bad(self, on_bad: OnBadSession) -> Self {
        Self { on_bad, ..self }
    }
}

impl fmt::Debug for Recording<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("name", &self.name)
            .field("on_bad", &self.on_bad)
            .finish_non_exhaustive()
    }
}

/// The files in the folder of a recording. Names are relative to it, with `/` between the parts.
///
/// An importer asks by pattern, so a caller need not walk the folder before: for the parts of the
/// recording, which [`Importer::beside`](super::Importer::beside) lists, and, where one recording tells
/// of another, for those beside it.
pub trait Folder {
    /// The names that fit `pattern`, sorted: the name itself if such a file exists, or, with one `*`
    /// in the last part, every file of that folder that fits. No match is an empty list.
    ///
    /// # Errors
    /// What the system says about a folder that exists and cannot be read.
    fn names(&mut self, pattern: &str) -> io::Result<Vec<String>>;

    /// Opens one of these files.
    ///
    /// # Errors
    /// What the system says.
    fn open(&mut self, name: &str) -> io::Result<Box<dyn BufRead + '_>>;
}

/// Files in memory, by name.
impl Folder for std::collections::BTreeMap<String, Vec<u8>> {
    fn names(&mut self, pattern: &str) -> io::Result<Vec<String>> {
        Ok(self
            .keys()
            .filter(|name| fits(pattern, name))
            .cloned()
            .collect())
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn BufRead + '_>> {
        match self.get(name) {
            Some(bytes) => Ok(Box::new(&bytes[..])),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Whether `name` fits `pattern`: equal to it, or, where its last part has a `*`, equal but for any
/// text without `/` in that place.
pub fn fits(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let middle = name
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after));
    middle.is_some_and(|middle| !middle.contains('/'))
}

/// The files beside the recording that fit `pattern`, sorted; none where there is no folder.
pub(super) fn names(
    folder: &mut Option<&mut dyn Folder>,
    pattern: &str,
) -> Result<Vec<String>, TraceError> {
    let Some(folder) = folder else {
        return Ok(Vec::new());
    };
    folder
        .names(pattern)
        .map_err(|source| unreadable(pattern, source))
}

/// The whole content of the file `name` beside the recording; `None` if there is none.
pub(super) fn beside(
    folder: &mut Option<&mut dyn Folder>,
    name: &str,
) -> Result<Option<Vec<u8>>, TraceError> {
    if names(folder, name)?.is_empty() {
        return Ok(None);
    }
    let Some(folder) = folder else {
        return Ok(None);
    };
    let mut file = folder
        .open(name)
        .map_err(|source| unreadable(name, source))?;
    let bytes = whole(&mut *file).map_err(|error| within(name, error))?;
    Ok(Some(bytes))
}

fn unreadable(name: &str, source: io::Error) -> TraceError {
    let place = Place::Document;
    within(name, TraceError::Read { place, source })
}

/// An error in a file beside the recording.
pub(super) fn within(name: &str, error: TraceError) -> TraceError {
    TraceError::Beside {
        name: name.to_owned(),
        error: Box::new(error),
    }
}

/// The sessions of one import on their way out.
pub(super) struct Out<'a> {
    name: String,
    on_bad: OnBadSession,
    sink: Sink<'a>,
    ids: Ids,
    report: ImportReport,
}

impl<'a> Out<'a> {
    pub(super) fn new(recording: &Recording<'_>, sink: Sink<'a>) -> Self {
        Self {
            name: recording.name.to_owned(),
            on_bad: recording.on_bad,
            sink,
            ids: Ids::new(),
            report: ImportReport::default(),
        }
    }

    /// Hands one session on, or deals with the fault that it has. `skipped` is what its part of the
    /// recording holds beside the session.
    pub(super) fn put(
        &mut self,
        place: Place,
        session: Result<(Imported, ImportReport), TraceError>,
    ) -> Result<(), TraceError> {
        match counted(place, session) {
            Ok((imported, _)) if !self.ids.insert(&imported.session.id) => {
                self.fault(TraceError::Value {
                    place,
                    field: "id".to_owned(),
                    value: shown(&imported.session.id),
                    wanted: "a name that no session before it in the recording has".to_owned(),
                })
            }
            Ok((imported, report)) => {
                self.report.absorb(report);
                (self.sink)(imported)
            }
            Err(error) => self.fault(error),
        }
    }

    /// A session that cannot be read: an error, or one dropped.
    pub(super) fn fault(&mut self, error: TraceError) -> Result<(), TraceError> {
        if error.is_of_the_system() || self.on_bad == OnBadSession::Fail {
            return Err(error);
        }
        self.report.drop_session(format!("{}: {error}", self.name));
        Ok(())
    }

    /// Counts of what belongs to no session.
    pub(super) const fn report(&mut self) -> &mut ImportReport {
        &mut self.report
    }

    pub(super) fn finish(self) -> ImportReport {
        self.report
    }
}

/// Checks and counts a finished session, so that no importer hands out what the model forbids.
pub(super) fn counted(
    place: Place,
    session: Result<(Imported, ImportReport), TraceError>,
) -> Result<(Imported, ImportReport), TraceError> {
    let (imported, mut report) = session?;
    match imported.session.check() {
        Ok(()) => {
            report.count(&imported.session);
            Ok((imported, report))
        }
        Err(broken) => Err(TraceError::Unlawful { place, broken }),
    }
}

/// Imports an input that is one document and one session.
pub(super) fn document(
    recording: &mut Recording<'_>,
    sink: Sink<'_>,
    parse: impl FnOnce(&[u8], &str) -> Result<(Imported, ImportReport), TraceError>,
) -> Result<ImportReport, TraceError> {
    let mut out = Out::new(recording, sink);
    let session = whole(recording.input).and_then(|bytes| parse(&bytes, recording.name));
    out.put(Place::Document, session)?;
    Ok(out.finish())
}

/// Imports an input that is JSON lines and one session: `read` takes each line, and `finish` makes the
/// session, or nothing if there was no model call.
pub(super) fn one_of_lines<T>(
    recording: &mut Recording<'_>,
    sink: Sink<'_>,
    mut file: T,
    mut read: impl FnMut(&mut T, Place, &[u8]) -> Result<(), TraceError>,
    finish: impl FnOnce(T, &str) -> Result<Option<(Imported, ImportReport)>, TraceError>,
) -> Result<ImportReport, TraceError> {
    let mut out = Out::new(recording, sink);
    let mut lines = Lines::new(&mut recording.input);
    let mut read_all = || {
        while let Some((place, line)) = lines.next_line()? {
            read(&mut file, place, line)?;
        }
        Ok(())
    };
    let all = read_all();
    match all.and_then(|()| finish(file, recording.name)) {
        Ok(Some(session)) => out.put(Place::Document, Ok(session))?,
        Ok(None) => out.report().skip(Skip::NoCalls),
        Err(error) => out.fault(error)?,
    }
    Ok(out.finish())
}

/// The whole of an input that is one document.
pub(super) fn whole(input: &mut dyn BufRead) -> Result<Vec<u8>, TraceError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_part_of_a_name() {
        assert!(fits("resources.json", "resources.json"));
        assert!(!fits("resources.json", "x/resources.json"));
        assert!(fits("events/event-*.json", "events/event-00001-ab.json"));
        assert!(!fits("events/event-*.json", "events/event-a/b.json"));
        assert!(!fits("events/event-*.json", "event-1.json"));
        // The parts before and after do not overlap.
        assert!(!fits("ab*ba", "aba"));
    }
}
