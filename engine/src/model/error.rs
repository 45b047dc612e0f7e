//! What can be wrong with a model's files.

use std::path::{Path, PathBuf};

/// A model that cannot be loaded: which file, what in it, and what would help.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no model file, or it is cut off or damaged.
    #[error("{path}: {what}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong, where, and what would help.
        what: String,
    },
    /// A field of the file's description of the model is missing, impossible or not supported.
    #[error("{path}: {field} is {value}; wanted: {wanted}", path = path.display())]
    Field {
        /// Which file.
        path: PathBuf,
        /// The field as the file calls it.
        field: String,
        /// Its value, or `missing`.
        value: String,
        /// What it may be.
        wanted: String,
    },
    /// A tensor is missing, has another shape or type than the model needs, or is not part of it.
    #[error("{path}: tensor {tensor} is {found}; wanted: {wanted}", path = path.display())]
    Tensor {
        /// Which file.
        path: PathBuf,
        /// The tensor as the file calls it.
        tensor: String,
        /// Its shape and type, or `missing`.
        found: String,
        /// What the model needs.
        wanted: String,
    },
}

impl LoadError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn file(path: &Path, what: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            what: what.into(),
        }
    }

    pub(super) fn field(
        path: &Path,
        field: impl Into<String>,
        value: impl std::fmt::Display,
        wanted: impl Into<String>,
    ) -> Self {
        Self::Field {
            path: path.to_owned(),
            field: field.into(),
            value: value.to_string(),
            wanted: wanted.into(),
        }
    }

    pub(super) fn tensor(
        path: &Path,
        tensor: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        Self::Tensor {
            path: path.to_owned(),
            tensor: tensor.into(),
            found: found.into(),
            wanted: wanted.into(),
        }
    }
}
