//! Importers: other tools' recordings, turned into sessions.
//!
//! What: one file (or folder) for each source format; [`Importer`] is what all of them look like from
//! outside, [`guess`] finds the one for a file, [`Imported`] and [`ImportReport`] are what they give
//! back, and [`collect`] makes one workload of many recordings.
//! Why: the traps of a source (repeated usage, placeholder counts, averages that look like readings)
//! belong in one place, and whatever is estimated or left out is counted, never silently dropped.
//! Limits: one session is held as numbers while it is read; its text is dropped line by line.

pub mod azure_llm;
pub mod claude_code;
pub mod codex;
pub mod inference_lab;
pub mod mini_swe;
pub mod mooncake;
pub mod openhands;
pub mod pi;
pub mod swe_agent;
pub mod weka;

mod clock;
mod dialogue;
mod guess;
mod head;
mod json;
mod openings;
mod recording;
mod report;

pub use guess::{Unrecognised, guess};
pub use head::{Facts, HEAD_BYTES, Head};
pub use openings::Openings;
pub use recording::{Folder, OnBadSession, Recording, Sink, fits};
pub use report::{ImportReport, Skip};

use units::Nanos;

use crate::error::TraceError;
use crate::model::Session;
use crate::validate::ARRIVAL_LIMIT;

/// Every importer, for a command line to choose from by name.
pub const IMPORTERS: &[Importer] = &[
    azure_llm::IMPORTER,
    claude_code::IMPORTER,
    codex::IMPORTER,
    inference_lab::IMPORTER,
    mini_swe::IMPORTER,
    mooncake::IMPORTER,
    mooncake::EXACT,
    mooncake::agentic::IMPORTER,
    openhands::IMPORTER,
    pi::IMPORTER,
    swe_agent::IMPORTER,
    weka::IMPORTER,
];

/// What reading one recording as a whole gives: its sessions, and what was read, estimated and left
/// out.
pub type ImportResult = Result<(Vec<Imported>, ImportReport), TraceError>;

/// One source format.
#[derive(Clone, Copy, Debug)]
pub struct Importer {
    /// What a command line calls it.
    pub name: &'static str,
    /// What a recording of this format looks like, for a person: the end of "wanted ...".
    pub looks: &'static str,
    /// Whether a file that begins like this is one. Formats must not overlap: [`guess`] wants one.
    pub recognises: fn(&Head<'_>) -> bool,
    /// The other files of the recording, as patterns of [`fits`], relative to its folder. They are parts
    /// of it and no recordings of their own. Where two files name each other, either opens the whole.
    pub beside: &'static [&'static str],
    /// Reads one recording, and gives its sessions to the sink as they are complete.
    pub run: fn(Recording<'_>, Sink<'_>) -> Result<ImportReport, TraceError>,
}

impl Importer {
    /// Reads one recording into memory.
    ///
    /// # Errors
    /// [`TraceError`] with place and field.
    pub fn read(&self, recording: Recording<'_>) -> ImportResult {
        let mut sessions = Vec::new();
        let report = (self.run)(recording, &mut |imported| {
            sessions.push(imported);
            Ok(())
        })?;
        Ok((sessions, report))
    }
}

/// The importer called `name`.
pub fn by_name(name: &str) -> Option<&'static Importer> {
    IMPORTERS.iter().find(|importer| importer.name == name)
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
/// Sessions that began at the same instant are ordered by id; those without a time come last. One that
/// began more than [`ARRIVAL_LIMIT`] after the earliest was recorded by a clock that nobody had set, or
/// the earliest was: its arrival is unknown.
pub fn collect(imported: Vec<Imported>) -> Vec<Session> {
    let mut imported = imported;
    imported.sort_by(|a, b| {
        let key = |i: &Imported| (i.began.is_none(), i.began, i.session.id.clone());
        key(a).cmp(&key(b))
    });
    let earliest = imported.iter().find_map(|i| i.began).unwrap_or(Nanos::ZERO);
    let placed = imported.into_iter().map(|mut i| {
        let arrival = i.began.map(|began| began.saturating_sub(earliest));
        i.session.arrival = arrival.filter(|arrival| *arrival <= ARRIVAL_LIMIT);
        i.session
    });
    placed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Known, Turn};
    use units::Tokens;

    fn imported(id: &str, began: Option<u64>) -> Imported {
        let turn = Turn {
            prompt: Tokens(1),
            reused: Tokens::ZERO,
            output: Known::recorded(Tokens(1)),
            cached: None,
            llm: None,
            tools: Vec::new(),
            think: None,
        };
        let session = Session {
            id: id.into(),
            model: None,
            arrival: None,
            shared: Vec::new(),
            parent: None,
            turns: vec![turn],
        };
        Imported {
            session,
            began: began.map(|s| Nanos::from_millis(s * 1000)),
        }
    }

    #[test]
    fn sessions_arrive_as_long_after_the_earliest_as_they_began() {
        let all = [
            ("never", None),
            ("b", Some(100)),
            ("far", Some(100 + 1_000_000_001)),
            ("a", Some(100)),
            ("late", Some(100 + 1_000_000_000)),
        ];
        let sessions = collect(all.map(|(id, began)| imported(id, began)).to_vec());
        let arrivals: Vec<_> = sessions
            .iter()
            .map(|s| (&*s.id, s.arrival.map(|a| a.as_nanos() / 1_000_000_000)))
            .collect();
        let late = Some(1_000_000_000);
        assert_eq!(
            arrivals,
            [
                ("a", Some(0)),
                ("b", Some(0)),
                ("late", late),
                ("far", None),
                ("never", None)
            ]
        );
        assert!(sessions.iter().all(|session| session.check().is_ok()));
    }
}
