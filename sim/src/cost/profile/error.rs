//! What can be wrong with kernel tables.

/// Tables that cannot be used. `file` is the caller's name for a text; lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each variant's doc and message name its fields"
)]
pub enum ProfileError {
    /// A column that must be there is not.
    #[error("`{file}`: no column `{column}` (found: {found})")]
    NoColumn {
        file: Box<str>,
        column: &'static str,
        found: Box<str>,
    },
    /// A field that is no number, or no time above zero.
    #[error("`{file}` line {line}: `{column}` is `{value}` (wanted: {wanted})")]
    Field {
        file: Box<str>,
        line: u64,
        column: &'static str,
        value: Box<str>,
        wanted: &'static str,
    },
    /// The text is not CSV.
    #[error("`{file}`: {message}")]
    Csv { file: Box<str>, message: Box<str> },
    /// Two times for one point.
    #[error("`{file}` line {line}: {point} was given before")]
    Twice {
        file: Box<str>,
        line: u64,
        point: Box<str>,
    },
    /// A layer whose place in the model is not known.
    #[error("`{file}`: unknown layer `{layer}` (known: {known})")]
    UnknownLayer {
        file: Box<str>,
        layer: Box<str>,
        known: Box<str>,
    },
    /// A layer that the model needs is not there.
    #[error("`{file}`: no times of layer `{layer}`, which this model has")]
    NoLayer { file: Box<str>, layer: &'static str },
    /// A table that is not the product of its axes.
    #[error("`{file}`: a hole in the table: no time at {point}")]
    Hole { file: Box<str>, point: Box<str> },
    /// A table without rows of a kind.
    #[error("`{file}`: no rows {what}")]
    Empty { file: Box<str>, what: &'static str },
    /// Experts in the table against those of the model.
    #[error(
        "`{file}`: activated experts {found} (wanted: from {active} to {total}, as the model has)"
    )]
    Experts {
        file: Box<str>,
        found: Box<str>,
        active: u32,
        total: u32,
    },
}
