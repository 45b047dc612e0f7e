//! Reading a trace, session by session.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use super::{Header, parse};
use crate::error::{Place, TraceError};
use crate::lines::{Lines, utf8};
use crate::model::Session;

/// The first bytes of every zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// Sessions of one trace file, in the file's order.
///
/// An iterator of `Result<Session, TraceError>`. After an error of one line
/// ([`TraceError::is_of_one_line`]) the next call goes on with the next line, so a caller may skip
/// and count bad sessions; after any other error the iterator ends.
///
/// Memory: one line and its session. Zstd files with a window above 128 MiB are refused.
pub struct TraceReader<'a> {
    header: Header,
    version: u64,
    lines: Lines<Box<dyn BufRead + Send + 'a>>,
    sessions: u64,
    ended: bool,
}

impl fmt::Debug for TraceReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceReader")
            .field("header", &self.header)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

impl<'a> TraceReader<'a> {
    /// Reads the header. The content says whether it is compressed; a file's name does not matter.
    ///
    /// # Errors
    /// [`TraceError`] if the input is empty, is no trace, or has another version.
    pub fn open(input: impl Read + Send + 'a) -> Result<Self, TraceError> {
        let mut lines = Lines::new(decompressed(input)?);
        let (place, line) = lines.next_line()?.ok_or(TraceError::Empty)?;
        let (header, version) = parse::header(json(place, line)?, place)?;
        Ok(Self {
            header,
            version,
            lines,
            sessions: 0,
            ended: false,
        })
    }

    /// What line 1 says about the trace.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    fn read_one(&mut self) -> Result<Option<Session>, TraceError> {
        let Some((place, line)) = self.lines.next_line()? else {
            return if self.sessions == 0 {
                Err(TraceError::NoSessions)
            } else {
                Ok(None)
            };
        };
        // Counted before it is judged: a file of bad sessions is not a file without any.
        self.sessions += 1;
        let session = parse::session(json(place, line)?, self.version, place)?;
        match session.check() {
            Ok(()) => Ok(Some(session)),
            Err(broken) => Err(TraceError::Unlawful { place, broken }),
        }
    }
}

impl Iterator for TraceReader<'_> {
    type Item = Result<Session, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read_one().transpose();
        self.ended = match &read {
            None => true,
            Some(Err(error)) => !error.is_of_one_line(),
            Some(Ok(_)) => false,
        };
        read
    }
}

fn json(place: Place, line: &[u8]) -> Result<Value, TraceError> {
    serde_json::from_str(utf8(place, line)?).map_err(|error| TraceError::json(place, &error))
}

/// The plain bytes of `input`, whether it is compressed or not.
fn decompressed<'a>(
    mut input: impl Read + Send + 'a,
) -> Result<Box<dyn BufRead + Send + 'a>, TraceError> {
    let failed = |source| TraceError::Read {
        place: Place::Line(1),
        source,
    };
    let mut start = Vec::with_capacity(ZSTD_MAGIC.len());
    (&mut input)
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut start)
        .map_err(failed)?;
    let compressed = start == ZSTD_MAGIC;
    let whole = std::io::Cursor::new(start).chain(input);
    if !compressed {
        return Ok(Box::new(BufReader::new(whole)));
    }
    let decoder = zstd::stream::read::Decoder::new(whole).map_err(failed)?;
    Ok(Box::new(BufReader::new(decoder)))
}
