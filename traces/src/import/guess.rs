//! Which importer a file is for, by what it begins with.

use std::fmt;

use super::head::Head;
use super::{IMPORTERS, Importer};

/// A file that no importer, or more than one, takes for its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrecognised {
    /// The file's name.
    pub name: String,
    /// The importers that take it for theirs; empty where none does.
    pub taken_by: Vec<&'static str>,
}

impl fmt::Display for Unrecognised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.taken_by.is_empty() {
            write!(f, "`{}` begins like no known recording", self.name)?;
        } else {
            write!(
                f,
                "`{}` may be any of {}",
                self.name,
                self.taken_by.join(", ")
            )?;
        }
        for importer in IMPORTERS
            .iter()
            .filter(|i| self.taken_by.is_empty() || self.taken_by.contains(&i.name))
        {
            write!(f, "\n  {}: wanted {}", importer.name, importer.looks)?;
        }
        f.write_str("\nhint: name the format")
    }
}

impl std::error::Error for Unrecognised {}

/// The importer for a file that begins with `head`: its first [`HEAD_BYTES`](super::HEAD_BYTES), or
/// all of it if it is shorter.
///
/// # Errors
/// [`Unrecognised`], which lists what each format looks like.
pub fn guess(name: &str, head: &[u8]) -> Result<&'static Importer, Unrecognised> {
    let head = Head::new(name, head);
    let takers: Vec<&'static Importer> = IMPORTERS
        .iter()
        .filter(|importer| (importer.recognises)(&head))
        .collect();
    match takers[..] {
        [one] => Ok(one),
        _ => Err(Unrecognised {
            name: name.to_owned(),
            taken_by: takers.iter().map(|importer| importer.name).collect(),
        }),
    }
}
