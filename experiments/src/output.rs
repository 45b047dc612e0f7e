//! Writing to stdout, where a reader may leave at any time.

use std::io::{self, ErrorKind, Write};

use comfy_table::{ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};

use crate::failure::{Exit, Failure};

/// Writes data to stdout. A closed pipe (`| head -1`) is the reader's right, not an error.
///
/// # Errors
/// A [`Failure`] if the system refuses the bytes for another reason, such as a full disk.
pub fn data(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure {
            exit: Exit::Partial,
            error: anyhow::Error::new(error).context("cannot write to stdout"),
        }),
        _ => Ok(()),
    }
}

/// Writes a line for people to stderr, unless they asked for quiet.
pub fn note(quiet: bool, line: &str) {
    if !quiet {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// A table without frames: columns, and a rule below their heads. Narrow terminals wrap it rather
/// than lose a column.
pub fn table(header: &[&str]) -> Table {
    let style = TableStyle::new()
        .header_lines(ContentLineStyle::none())
        .header_separator(LineStyle::none().fill('-'))
        .content_lines(ContentLineStyle::none());
    let mut table = Table::new();
    table
        .load_style(style)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table
}
