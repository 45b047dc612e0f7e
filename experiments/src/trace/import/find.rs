//! From what a user names to files, in an order that does not depend on the system.
//!
//! What: a path is a file, a folder (searched through), a pattern, or `-`. Archives are unpacked into
//! a temporary folder and searched like one.
//! Limits: an archive within an archive is a file like any other.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use rayon::prelude::*;
use tempfile::TempDir;
use traces::import::{self, Importer};
use walkdir::WalkDir;

use super::open::{self, Disk};
use crate::failure::Failure;
use traces::import::Folder as _;

/// A file that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// As people are told.
    pub(super) shown: String,
    /// Its name without folder and packer's ending; sessions without a name get this one.
    pub(super) name: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether the user named it, and it should be a recording.
    pub(super) named: bool,
}

/// A recording to import.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) file: Found,
    pub(super) importer: &'static Importer,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) jobs: Vec<Job>,
    /// Files in all.
    pub(super) count: u64,
    /// Files in folders that are no recordings, and no parts of one.
    pub(super) not_recognised: Vec<Found>,
    /// Files that are traces already, and so no recordings.
    pub(super) already_traces: u64,
    /// Files that are parts of a recording.
    pub(super) parts: u64,
    /// Files that could not be looked at, with what the system says.
    pub(super) unreadable: Vec<String>,
    /// Unpacked archives; they are there as long as this is.
    unpacked: Vec<TempDir>,
}

/// What a file turned out to be.
enum Looked {
    Recording(&'static Importer),
    Archive,
    Trace,
    Nothing(String),
    Unreadable(io::Error),
}

/// Finds the recordings behind `paths`, in the order of the paths and, within a folder, by name.
/// With `format` every file is taken for one, whatever it looks like.
///
/// # Errors
/// Bad input: a path that is not there, or a named file that is no recording.
pub(super) fn find(paths: &[String], format: Option<&'static Importer>) -> Result<Files, Failure> {
    let mut files = Files::default();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        let before = found.len();
        files.named(path, &mut found)?;
        // The same file under two names is one recording.
        let mut rest = found.split_off(before);
        rest.retain(|file| {
            let same = fs::canonicalize(&file.path).unwrap_or_else(|_| file.path.clone());
            seen.insert(same)
        });
        found.append(&mut rest);
    }
    files.sort_out(found, format, true)?;
    files.without_parts();
    Ok(files)
}

impl Files {
    /// The files behind one path.
    fn named(&mut self, path: &str, found: &mut Vec<Found>) -> Result<(), Failure> {
        if path == "-" {
            found.push(self.stdin()?);
            return Ok(());
        }
        let place = Path::new(path);
        if place.is_dir() {
            self.walk(place, &|below| Path::new(path).join(below), found);
            return Ok(());
        }
        if place.exists() {
            found.push(Found::new(path.to_owned(), place.to_owned(), true));
            return Ok(());
        }
        if path.contains(['*', '?', '[']) {
            let matches = glob::glob(path)
                .with_context(|| format!("cannot import `{path}`: not a pattern"))
                .map_err(Failure::bad_input)?;
            let before = found.len();
            // In the order of names.
            for entry in matches {
                match entry {
                    Ok(file) if file.is_dir() => self.walk(&file, &|below| file.join(below), found),
                    Ok(file) => {
                        found.push(Found::new(file.display().to_string(), file, false));
                    }
                    Err(error) => self.unreadable.push(error.to_string()),
                }
            }
            if found.len() > before {
                return Ok(());
            }
        }
        Err(Failure::bad_input(anyhow!(
            "cannot import `{path}`: there is no such file or folder, and no file that fits it as a \
             pattern"
        )))
    }

    /// Stdin as a file, since it may have to be looked at before it is read.
    fn stdin(&mut self) -> Result<Found, Failure> {
        let copied = tempfile::tempdir().and_then(|folder| {
            let path = folder.path().join("stdin");
            io::copy(&mut io::stdin().lock(), &mut fs::File::create(&path)?)?;
            Ok((folder, path))
        });
        let (folder, path) = copied
            .context("cannot read stdin into a temporary file")
            .map_err(Failure::bad_input)?;
        self.unpacked.push(folder);
        Ok(Found::new("stdin".to_owned(), path, true))
    }

    /// Every file below `folder`, by name; `shown` makes the path for people.
    fn walk(&mut self, folder: &Path, shown: &dyn Fn(&Path) -> PathBuf, found: &mut Vec<Found>) {
        for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    let below = entry.path().strip_prefix(folder).unwrap_or(entry.path());
                    let shown = shown(below).display().to_string();
                    found.push(Found::new(shown, entry.into_path(), false));
                }
                Ok(_) => {}
                Err(error) => self.unreadable.push(error.to_string()),
            }
        }
    }

    /// Tells recordings from other files, and unpacks archives.
    fn sort_out(
        &mut self,
        found: Vec<Found>,
        format: Option<&'static Importer>,
        unpack: bool,
    ) -> Result<(), Failure> {
        let looked: Vec<Looked> = found
            .par_iter()
            .map(|file| look(file, format, unpack))
            .collect();
        for (file, looked) in found.into_iter().zip(looked) {
            match looked {
                Looked::Archive => self.unpack(&file, format)?,
                _ if file.named => {
                    self.count += 1;
                    let importer = named_recording(&file, looked)?;
                    self.jobs.push(Job { file, importer });
                }
                looked => {
                    self.count += 1;
                    match looked {
                        Looked::Recording(importer) => self.jobs.push(Job { file, importer }),
                        Looked::Trace => self.already_traces += 1,
                        Looked::Unreadable(error) => {
                            self.unreadable.push(format!("{}: {error}", file.shown));
                        }
                        Looked::Nothing(_) | Looked::Archive => self.not_recognised.push(file),
                    }
                }
            }
        }
        Ok(())
    }

    fn unpack(&mut self, file: &Found, format: Option<&'static Importer>) -> Result<(), Failure> {
        let unpacked = tempfile::tempdir().and_then(|folder| {
            open::unpack(&file.path, folder.path())?;
            Ok(folder)
        });
        let folder = match unpacked {
            Ok(folder) => folder,
            Err(error) if file.named => {
                let what = format!("cannot unpack archive `{}`", file.shown);
                return Err(Failure::bad_input(anyhow::Error::new(error).context(what)));
            }
            Err(error) => {
                self.unreadable.push(format!("{}: {error}", file.shown));
                return Ok(());
            }
        };
        let mut members = Vec::new();
        self.walk(
            folder.path(),
            &|below| Path::new(&file.shown).join(below),
            &mut members,
        );
        self.unpacked.push(folder);
        self.sort_out(members, format, false)
    }

    /// Takes out what an importer reads beside another recording: it is no recording of its own.
    /// The first of two that name each other is the recording.
    fn without_parts(&mut self) {
        let mut parts: BTreeSet<PathBuf> = BTreeSet::new();
        let mut jobs = Vec::new();
        for job in std::mem::take(&mut self.jobs) {
            if parts.contains(&job.file.path) {
                self.parts += 1;
                continue;
            }
            let folder = job.file.path.parent().unwrap_or(Path::new(""));
            let mut disk = Disk(folder.to_owned());
            for pattern in job.importer.beside {
                // A folder that cannot be read is the import's to report.
                for name in disk.names(pattern).unwrap_or_default() {
                    let part = folder.join(name);
                    if part != job.file.path {
                        parts.insert(part);
                    }
                }
            }
            jobs.push(job);
        }
        self.jobs = jobs;
        let others = self.not_recognised.len();
        self.not_recognised
            .retain(|file| !parts.contains(&file.path));
        self.parts += (others - self.not_recognised.len()) as u64;
    }
}

impl Found {
    fn new(shown: String, path: PathBuf, named: bool) -> Self {
        let file = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = open::plain_name(&file.unwrap_or_default()).to_owned();
        Self {
            shown,
            name,
            path,
            named,
        }
    }
}

fn look(file: &Found, format: Option<&'static Importer>, unpack: bool) -> Looked {
    let head = match open::head(&file.path) {
        Ok(head) => head,
        Err(error) => return Looked::Unreadable(error),
    };
    if unpack && open::is_tar(&head) {
        return Looked::Archive;
    }
    if head.starts_with(b"{\"orrery_trace\"") {
        return Looked::Trace;
    }
    if let Some(importer) = format {
        return Looked::Recording(importer);
    }
    match import::guess(&file.name, &head) {
        Ok(importer) => Looked::Recording(importer),
        Err(unrecognised) => Looked::Nothing(unrecognised.to_string()),
    }
}

/// The importer of a file that the user named.
fn named_recording(file: &Found, looked: Looked) -> Result<&'static Importer, Failure> {
    let error = match looked {
        Looked::Recording(importer) => return Ok(importer),
        Looked::Trace => anyhow!(
            "it is a trace already\nhint: use it as it is; `orrery trace merge` joins traces"
        ),
        Looked::Unreadable(error) => error.into(),
        Looked::Archive => anyhow!("it is an archive within an archive"),
        Looked::Nothing(why) => anyhow!(
            "{}",
            why.replace(
                "hint: name the format",
                "hint: name the format with `--from`"
            )
        ),
    };
    let what = format!("cannot import `{}`", file.shown);
    Err(Failure::bad_input(error.context(what)))
}
