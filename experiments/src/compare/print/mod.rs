//! A comparison as text for stdout: for people, as JSON, or one CSV row per pair.

mod csv;
mod table;

use super::Comparison;
use crate::cli::Format;

/// The comparison in this format.
///
/// # Errors
/// If it cannot be written down, which does not happen.
pub fn text(comparison: &Comparison, format: Format) -> anyhow::Result<String> {
    match format {
        Format::Table => Ok(table::text(comparison)),
        Format::Csv => csv::rows(comparison),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(comparison)?;
            text.push('\n');
            Ok(text)
        }
    }
}
