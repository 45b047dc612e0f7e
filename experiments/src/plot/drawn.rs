//! A figure in its formats, and its files.
//!
//! Why both: SVG is exact, small and searchable; PNG is what slides, chats and most viewers take.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::png::png;
use super::{Figure, svg};
use crate::sweep::folder::whole;

/// A figure that is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// As SVG text.
    pub svg: String,
    /// The same as PNG, twice as many pixels each way.
    pub png: Vec<u8>,
}

impl Drawn {
    /// Draws the figure.
    ///
    /// # Errors
    /// As [`svg`] and [`png`].
    pub fn of(figure: &Figure) -> anyhow::Result<Self> {
        let svg = svg(figure)?;
        let png = png(&svg)?;
        Ok(Self { svg, png })
    }

    /// Writes the SVG to `path`, and the PNG beside it where `path` ends in `.svg`: another name, or a
    /// pipe, is given the SVG alone. Returns what was written, the SVG first.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn write(&self, path: &Path) -> anyhow::Result<Vec<PathBuf>> {
        put(path, self.svg.as_bytes())?;
        let mut written = vec![path.to_owned()];
        let is_svg = |ending: &std::ffi::OsStr| ending.eq_ignore_ascii_case("svg");
        if path.extension().is_some_and(is_svg) {
            let beside = path.with_extension("png");
            put(&beside, &self.png)?;
            written.push(beside);
        }
        Ok(written)
    }
}

/// A file appears whole or not at all; a pipe or a device is written to as it is.
fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    if path.exists() && !path.is_file() {
        return fs::write(path, bytes).with_context(cannot);
    }
    whole(path, |draft| fs::write(draft, bytes).with_context(cannot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_is_written_beside_what_is_called_svg() {
        let at = tempfile::tempdir().unwrap();
        let drawn = Drawn {
            svg: "<svg/>".to_owned(),
            png: vec![1, 2, 3],
        };
        let path = at.path().join("a.svg");
        let written = drawn.write(&path).unwrap();
        assert_eq!(written, [path.clone(), at.path().join("a.png")]);
        assert_eq!(fs::read(&written[0]).unwrap(), b"<svg/>");
        assert_eq!(fs::read(&written[1]).unwrap(), [1, 2, 3]);
        // Another name is the user's own: nothing is put beside it.
        let other = at.path().join("picture");
        assert_eq!(drawn.write(&other).unwrap(), std::slice::from_ref(&other));
        let error = drawn.write(&at.path().join("no/a.svg")).unwrap_err();
        assert!(format!("{error:#}").contains("a.svg"), "{error:#}");
    }
}
