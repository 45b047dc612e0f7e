//! Reports as CSV: one row a run, names as in the JSON, joined with dots.

use super::{Cell, RunReport, flat};

/// All reports, with a header line.
///
/// # Errors
/// None in practice: it writes to memory.
pub(super) fn rows(reports: &[RunReport]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (i, report) in reports.iter().enumerate() {
        let cells = flat(report);
        if i == 0 {
            writer.write_record(cells.iter().map(|(name, _)| name))?;
        }
        writer.write_record(cells.iter().map(|(_, cell)| text(cell)))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Count(Some(count)) => count.to_string(),
        // The shortest text that reads back as the same number.
        Cell::Number(Some(number)) => number.to_string(),
        Cell::Count(None) | Cell::Number(None) => "n/a".to_owned(),
    }
}
