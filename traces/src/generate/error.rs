//! What can be wrong with the description of a workload, and on which line.
//!
//! Limits: the first mistake in the text's order of its table is reported, one at a time.

/// A description that cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The text is not TOML.
    #[error("not TOML: {source}")]
    Syntax {
        /// Where and why, in the parser's words.
        source: Box<toml::de::Error>,
    },
    /// A key that means nothing here.
    #[error("line {line}: `{key}` is unknown here (known: {known}){hint}", hint = hint(nearest.as_deref()))]
    UnknownKey {
        /// Line of the key, from 1.
        line: usize,
        /// Path of the key.
        key: String,
        /// The known key that is most like it, if one is likely meant.
        nearest: Option<String>,
        /// All keys that may stand there.
        known: String,
    },
    /// A key that must be there.
    #[error("line {line}: `{key}` is missing (wanted: {wanted})")]
    Missing {
        /// Line of the table that should have it, from 1.
        line: usize,
        /// Path of the key.
        key: String,
        /// What it would be.
        wanted: &'static str,
    },
    /// A value that cannot be.
    #[error("line {line}: `{key}` is {value} (wanted: {wanted})")]
    Value {
        /// Line of the value, from 1.
        line: usize,
        /// Path of the key.
        key: String,
        /// The value as written.
        value: String,
        /// What it may be, with its limits.
        wanted: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| {
        format!("\nhint: did you mean `{name}`?")
    })
}

/// The known name most like `name`, if any is likely meant.
pub(super) fn nearest(name: &str, known: &[&str]) -> Option<String> {
    // Jaro-Winkler is 0..=1; below 0.7 a suggestion is noise. The first of equals wins.
    const LIKELY: f64 = 0.7;
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        let likeness = strsim::jaro_winkler(name, candidate);
        if likeness >= LIKELY && best.is_none_or(|(so_far, _)| likeness > so_far) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, name)| name.to_owned())
}

/// Names as a list for a message.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
