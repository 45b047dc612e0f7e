//! Numbered lines of bounded length.
//!
//! Why: a trace may be larger than memory, and a hostile or broken one may be a single endless line.

use std::io::{self, BufRead, Read};

use crate::error::{Place, TraceError};

/// The most bytes one line may have. A recorded line with pictures in it reaches tens of MiB.
pub(crate) const LINE_LIMIT: u64 = 256 * 1024 * 1024;

/// Reads line by line into one buffer.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    number: u64,
    buffer: Vec<u8>,
    limit: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) const fn new(input: R) -> Self {
        Self::with_limit(input, LINE_LIMIT)
    }

    pub(crate) const fn with_limit(input: R, limit: u64) -> Self {
        Self {
            input,
            number: 0,
            buffer: Vec::new(),
            limit,
        }
    }

    /// The next line that is not blank, with its number from 1 and without its end; `None` at the end.
    pub(crate) fn next_line(&mut self) -> Result<Option<(Place, &[u8])>, TraceError> {
        loop {
            self.buffer.clear();
            let place = Place::Line(self.number + 1);
            let read = (&mut self.input)
                .take(self.limit + 1)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| match source.kind() {
                    io::ErrorKind::UnexpectedEof => TraceError::ZstdCut { place },
                    _ => TraceError::Read { place, source },
                })?;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 > self.limit {
                return Err(TraceError::LineTooLong {
                    place,
                    limit: self.limit,
                });
            }
            self.number += 1;
            if !self.buffer.trim_ascii().is_empty() {
                // Not inside the branch above: the borrow checker would hold the buffer for the loop.
                break;
            }
        }
        Ok(Some((
            Place::Line(self.number),
            self.buffer.trim_ascii_end(),
        )))
    }
}

/// The line as text.
pub(crate) fn utf8(place: Place, line: &[u8]) -> Result<&str, TraceError> {
    std::str::from_utf8(line).map_err(|error| TraceError::NotUtf8 {
        place,
        byte: error.valid_up_to(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_count_but_are_not_given() {
        let mut lines = Lines::new(&b"a\r\n\n  \nb"[..]);
        assert_eq!(
            lines.next_line().unwrap().unwrap(),
            (Place::Line(1), &b"a"[..])
        );
        assert_eq!(
            lines.next_line().unwrap().unwrap(),
            (Place::Line(4), &b"b"[..])
        );
        assert!(lines.next_line().unwrap().is_none());
    }

    #[test]
    fn an_endless_line_is_refused_without_being_held() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        let mut lines = Lines::with_limit(endless, 1000);
        assert!(matches!(
            lines.next_line(),
            Err(TraceError::LineTooLong {
                place: Place::Line(1),
                limit: 1000
            })
        ));
    }
}
