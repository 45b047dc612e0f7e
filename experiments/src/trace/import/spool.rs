//! Sessions on their way from recordings to a trace, on disk.
//!
//! Why: a trace is ordered by arrival, which is known once the last recording has been read, and a
//! team's recordings may hold more sessions than memory does. So sessions wait in a temporary file,
//! and only where each one lies, when it began and its name are kept.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use traces::import::Imported;
use traces::{Header, Session, TraceError, TraceReader, TraceWriter};
use units::Nanos;

use crate::failure::{Exit, Failure};

/// Sessions in the order they were read.
#[derive(Debug)]
pub(super) struct Spool {
    file: BufWriter<File>,
    written: u64,
    entries: Vec<Entry>,
}

/// Where a session lies.
#[derive(Debug)]
struct Entry {
    began: Option<Nanos>,
    id: Arc<str>,
    /// Bytes from the file's beginning.
    start: u64,
    length: u64,
}

impl Spool {
    /// Begins in a file that has no name and goes with the program.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new() -> Result<Self, Failure> {
        let file = tempfile::tempfile().map_err(of_disk)?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 16, file),
            written: 0,
            entries: Vec::new(),
        })
    }

    /// Takes a session.
    ///
    /// # Errors
    /// What the system says; a session that breaks a law, which no importer gives.
    pub(super) fn push(&mut self, imported: &Imported) -> Result<(), Failure> {
        let trace = written(&imported.session).map_err(of_disk)?;
        self.file.write_all(&trace).map_err(of_disk)?;
        let length = trace.len() as u64;
        self.entries.push(Entry {
            began: imported.began,
            id: Arc::clone(&imported.session.id),
            start: self.written,
            length,
        });
        self.written += length;
        Ok(())
    }

    /// How many sessions there are.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Hands every session to `each`: by beginning, then name; those without a beginning last.
    /// Arrivals count from the earliest beginning.
    ///
    /// # Errors
    /// What the system says, and what `each` says.
    pub(super) fn drain(
        mut self,
        mut each: impl FnMut(Session) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by(|a, b| {
            let key = |e: &Entry| (e.began.is_none(), e.began);
            key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
        });
        let earliest = entries.iter().find_map(|entry| entry.began);
        let earliest = earliest.unwrap_or(Nanos::ZERO);
        let mut file = self
            .file
            .into_inner()
            .map_err(|error| of_disk(error.into_error()))?;
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.clear();
            file.seek(SeekFrom::Start(entry.start)).map_err(of_disk)?;
            (&mut file)
                .take(entry.length)
                .read_to_end(&mut bytes)
                .map_err(of_disk)?;
            let mut session = read(&bytes).map_err(of_disk)?;
            let arrival = entry.began.map(|began| began.saturating_sub(earliest));
            // A session without a time of its own may have an arrival that its source states.
            session.arrival = arrival.or(session.arrival);
            each(session)?;
        }
        Ok(())
    }
}

/// The session as a trace of its own.
fn written(session: &Session) -> Result<Vec<u8>, TraceError> {
    let mut writer = TraceWriter::plain(Vec::new(), &Header::default())?;
    writer.write(session)?;
    writer.finish()
}

fn read(bytes: &[u8]) -> anyhow::Result<Session> {
    let session = TraceReader::open(io::Cursor::new(bytes.to_owned()))?.next();
    let session = session.ok_or_else(|| anyhow!("the temporary file is damaged"))?;
    Ok(session?)
}

fn of_disk(error: impl Into<anyhow::Error>) -> Failure {
    let error: Result<(), anyhow::Error> = Err(error.into());
    let error = error.context("cannot keep sessions in a temporary file");
    Failure {
        exit: Exit::Partial,
        error: error.err().unwrap_or_else(|| anyhow!("unknown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traces::{Known, Turn};
    use units::Tokens;

    fn imported(id: &str, began_s: Option<u64>) -> Imported {
        let session = Session {
            id: id.into(),
            model: None,
            arrival: None,
            shared: [].into(),
            parent: None,
            turns: vec![Turn {
                prompt: Tokens(10),
                reused: Tokens::ZERO,
                output: Known::estimated(Tokens(3)),
                cached: None,
                llm: Some(Nanos::new(1_234_567_891)),
                tools: Vec::new(),
                think: None,
            }],
        };
        let began = began_s.map(|s| Nanos::from_millis(s * 1_000));
        Imported { session, began }
    }

    /// What waits on disk comes back as `traces::import::collect` gives it in memory.
    #[test]
    fn sessions_come_back_by_arrival() {
        let all = vec![
            imported("late", Some(1_700_000_100)),
            imported("never", None),
            imported("b", Some(1_700_000_000)),
            imported("a", Some(1_700_000_000)),
        ];
        let mut spool = Spool::new().unwrap();
        for one in &all {
            spool.push(one).unwrap();
        }
        assert_eq!(spool.len(), 4);
        let mut back = Vec::new();
        spool
            .drain(|session| {
                back.push(session);
                Ok(())
            })
            .unwrap();
        let ids: Vec<&str> = back.iter().map(|s| &*s.id).collect();
        assert_eq!(ids, ["a", "b", "late", "never"]);
        assert_eq!(back, traces::import::collect(all));
    }
}
