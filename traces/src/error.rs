//! What can be wrong with a trace or a recording, and where.
//!
//! Every variant carries the place and the offending value; the caller adds the file's name.

use std::fmt;
use std::io;

use crate::validate::Unlawful;

/// Where in the input an error lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line, counted from 1.
    Line(u64),
    /// A file that is one JSON document: the field's path says where.
    Document,
    /// A session that is to be written, counted from 1.
    Session(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(n) => write!(f, "line {n}"),
            Self::Document => f.write_str("document"),
            Self::Session(n) => write!(f, "session {n}"),
        }
    }
}

/// A trace or recording that cannot be used as it is.
///
/// Source: `field` is a path from the root of the line or document (`turns[3].tools[0].wall_s`).
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file holds nothing at all.
    #[error("the file is empty (wanted: a header line, then one session a line)")]
    Empty,
    /// A header, and no session after it.
    #[error("the file has a header and no session (wanted: one session a line from line 2)")]
    NoSessions,
    /// The first line is not the header of this format.
    #[error(
        "line 1 is no trace header (wanted: {{\"orrery_trace\": {version}, ...}})",
        version = crate::format::VERSION
    )]
    NotATrace,
    /// Written by a version of the format that this program does not know.
    #[error(
        "line 1: `orrery_trace` is version {got} (wanted: {oldest} to {version})",
        oldest = crate::format::OLDEST_VERSION,
        version = crate::format::VERSION
    )]
    Version {
        /// The version in the header.
        got: String,
    },
    /// The text ends in the middle of a JSON value.
    #[error("{place}: the JSON ends too early, at column {column}: the line is cut short")]
    CutShort {
        /// Where.
        place: Place,
        /// Bytes into the line, from 1.
        column: usize,
    },
    /// The text is not JSON.
    #[error("{place}, column {column}: not JSON: {what}")]
    NotJson {
        /// Where; for a document, the line within it.
        place: Place,
        /// Bytes into the line, from 1.
        column: usize,
        /// The parser's words.
        what: String,
    },
    /// JSON of another shape than the format has.
    #[error("{place}, column {column}: {what}")]
    Shape {
        /// Where; for a document, the line within it.
        place: Place,
        /// Bytes into the line, from 1.
        column: usize,
        /// The parser's words: what is there and what was wanted.
        what: String,
    },
    /// The bytes are not UTF-8.
    #[error("{place}: byte {byte} of the line is not UTF-8")]
    NotUtf8 {
        /// Where.
        place: Place,
        /// Offset in the line of the first bad byte, from 0.
        byte: usize,
    },
    /// One line, or a file that is one document, exceeds what the reader will hold in memory.
    #[error("{place} is longer than {limit} bytes")]
    LineTooLong {
        /// Where.
        place: Place,
        /// The most bytes a line may have.
        limit: u64,
    },
    /// A compressed stream that stops before its end.
    #[error(
        "{place}: the zstd stream ends here, before its last frame is complete: the file is cut short"
    )]
    ZstdCut {
        /// The line that was being read.
        place: Place,
    },
    /// The system failed to deliver the bytes, or the compressed bytes are damaged.
    #[error("{place}: cannot read")]
    Read {
        /// The line that was being read.
        place: Place,
        /// What the reader said.
        source: io::Error,
    },
    /// A command in a trace whose header says that there are none.
    #[error(
        "{place}: tool calls with a command need version {version} of the format, and the header is of \
         an older one",
        version = crate::format::VERSION
    )]
    CommandsNotSaid {
        /// The line that was to be written.
        place: Place,
    },
    /// The system failed to take the bytes.
    #[error("cannot write the trace")]
    Write {
        /// What the writer said.
        source: io::Error,
    },
    /// A number that a session does not have and the format to write needs.
    #[error(
        "session `{session}`: `{field}` is unknown, and {format} has no word for that\nhint: draws for \
         tool times (`fill`) mark what they add"
    )]
    Unknown {
        /// Whose.
        session: String,
        /// Path of the field.
        field: String,
        /// The format.
        format: &'static str,
    },
    /// A key that the format does not have.
    #[error("{place}: unknown field `{field}` (nearest known: `{nearest}`)")]
    UnknownField {
        /// Where.
        place: Place,
        /// Path of the unknown key.
        field: String,
        /// The known key at that place with the most similar spelling.
        nearest: &'static str,
    },
    /// A field that must be there and is not.
    #[error("{place}: `{field}` is missing (wanted: {wanted})")]
    Missing {
        /// Where.
        place: Place,
        /// Path of the field.
        field: String,
        /// What should be there.
        wanted: String,
    },
    /// A field with a value it cannot have.
    #[error("{place}: `{field}` is {value} (wanted: {wanted})")]
    Value {
        /// Where.
        place: Place,
        /// Path of the field.
        field: String,
        /// The value as written, shortened if long.
        value: String,
        /// What should be there.
        wanted: String,
    },
    /// An error in a file beside the recording that belongs to it.
    #[error("`{name}`, {error}")]
    Beside {
        /// The file's name, relative to the recording's folder.
        name: String,
        /// What is wrong with it.
        error: Box<TraceError>,
    },
    /// Fields that are well formed, but break a law of the session model.
    #[error("{place}: {broken}")]
    Unlawful {
        /// Where.
        place: Place,
        /// Which law, and by which numbers.
        broken: Unlawful,
    },
}

impl TraceError {
    /// Whether reading can go on with the next line (the input itself is sound).
    pub const fn is_of_one_line(&self) -> bool {
        matches!(
            self,
            Self::CutShort { .. }
                | Self::NotJson { .. }
                | Self::Shape { .. }
                | Self::NotUtf8 { .. }
                | Self::UnknownField { .. }
                | Self::Missing { .. }
                | Self::Value { .. }
                | Self::Unlawful { .. }
        )
    }

    /// Whether the system is to blame, and not what the input says.
    pub(crate) fn is_of_the_system(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Write { .. } => true,
            Self::Beside { error, .. } => error.is_of_the_system(),
            _ => false,
        }
    }

    /// The parser's complaint about one line or document.
    pub(crate) fn json(place: Place, error: &serde_json::Error) -> Self {
        let column = error.column();
        // In a document the parser counts lines itself; a single line is always its line 1.
        let place = match place {
            Place::Document if error.line() > 0 => Place::Line(error.line() as u64),
            other => other,
        };
        if error.is_eof() {
            return Self::CutShort { place, column };
        }
        // The parser appends its own "at line 1 column c", which would contradict the file's line.
        let what = error.to_string();
        let what = what
            .rfind(" at line ")
            .map_or(what.as_str(), |end| &what[..end])
            .to_owned();
        if error.is_data() {
            return Self::Shape {
                place,
                column,
                what,
            };
        }
        Self::NotJson {
            place,
            column,
            what,
        }
    }
}

/// A value as an error shows it: JSON, at most 60 characters.
pub(crate) fn shown(value: &impl fmt::Display) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    let mut short: String = text.chars().take(57).collect();
    short.push_str("...");
    short
}
