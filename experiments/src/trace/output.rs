//! Writing a trace: whole or not at all.
//!
//! Why: a half-written trace is a lawful shorter one. So a file is written beside its place under
//! another name, and takes its own in one rename; a program that dies leaves the old one.
//! Limits: a pipe or a device is written directly; stdout that is cut short cannot be taken back.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;
use traces::{Header, Session, TraceError, TraceWriter};

use crate::failure::{Exit, Failure};

/// Compression of written files: a good size at some 100 MB/s.
const LEVEL: i32 = 9;

/// A trace on its way out. Dropped before [`TraceFile::finish`], a file leaves nothing.
#[derive(Debug)]
pub struct TraceFile {
    target: Option<PathBuf>,
    writer: TraceWriter<BufWriter<Sink>>,
    sessions: u64,
}

/// Where bytes go.
#[derive(Debug)]
pub enum Sink {
    /// Stdout.
    Stdout(io::Stdout),
    /// Something at the path that is no file: a pipe, a device.
    Direct(File),
    /// A file that has not its name yet.
    Draft(NamedTempFile),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // A reader who leaves (`| head -1`) has what it wanted.
            Self::Stdout(out) => match out.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
                written => written,
            },
            Self::Direct(out) => out.write(bytes),
            Self::Draft(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => match out.flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                flushed => flushed,
            },
            Self::Direct(out) => out.flush(),
            Self::Draft(out) => out.flush(),
        }
    }
}

impl Sink {
    /// Opens what `target` names; stdout for `None`.
    ///
    /// # Errors
    /// Bad input: a folder, or a place where nothing can be written.
    pub fn open(target: Option<&Path>) -> Result<Self, Failure> {
        let Some(target) = target else {
            return Ok(Self::Stdout(io::stdout()));
        };
        let cannot = || format!("cannot write `{}`", target.display());
        if target.is_dir() {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(Failure::bad_input(
                anyhow::Error::new(error).context(cannot()),
            ));
        }
        let opened = if target.exists() && !target.is_file() {
            fs::OpenOptions::new()
                .write(true)
                .open(target)
                .map(Self::Direct)
        } else {
            let folder = target.parent().filter(|p| !p.as_os_str().is_empty());
            draft(folder.unwrap_or(Path::new("."))).map(Self::Draft)
        };
        opened.with_context(cannot).map_err(Failure::bad_input)
    }

    /// Gives a file its name.
    ///
    /// # Errors
    /// What the system says.
    pub fn publish(self, target: Option<&Path>) -> Result<(), Failure> {
        let (Self::Draft(draft), Some(target)) = (self, target) else {
            return Ok(());
        };
        draft.persist(target).map(drop).map_err(|error| Failure {
            exit: Exit::Partial,
            error: anyhow::Error::new(error.error)
                .context(format!("cannot write `{}`", target.display())),
        })
    }
}

/// A file in `folder` without a name of its own, with the rights that any new file gets.
fn draft(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".orrery-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666)); // less the umask
    }
    builder.tempfile_in(folder)
}

impl TraceFile {
    /// Starts a trace at `target`, compressed if its name ends in `.zst`; on stdout for `None`.
    ///
    /// # Errors
    /// Bad input: nothing can be written there.
    pub fn create(target: Option<&Path>, header: &Header) -> Result<Self, Failure> {
        let output = BufWriter::with_capacity(1 << 16, Sink::open(target)?);
        let packed = target.is_some_and(|t| t.extension().is_some_and(|end| end == "zst"));
        let writer = if packed {
            TraceWriter::zstd(output, header, LEVEL)
        } else {
            TraceWriter::plain(output, header)
        };
        Ok(Self {
            writer: writer.map_err(|error| failed(target, error))?,
            target: target.map(Path::to_owned),
            sessions: 0,
        })
    }

    /// Appends one session.
    ///
    /// # Errors
    /// What the system says, or the law that the session breaks.
    pub fn write(&mut self, session: &Session) -> Result<(), Failure> {
        self.sessions += 1;
        let target = self.target.as_deref();
        self.writer
            .write(session)
            .map_err(|error| failed(target, error).context(format!("session `{}`", session.id)))
    }

    /// Ends the trace, gives the file its name, and says how many sessions it has.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(self) -> Result<u64, Failure> {
        let target = self.target.as_deref();
        let ended = self.writer.finish().and_then(|output| {
            output.into_inner().map_err(|error| TraceError::Write {
                source: error.into_error(),
            })
        });
        match ended {
            Ok(sink) => sink.publish(target)?,
            Err(error) => return Err(failed(target, error)),
        }
        Ok(self.sessions)
    }
}

fn failed(target: Option<&Path>, error: TraceError) -> Failure {
    let exit = match &error {
        TraceError::Unlawful { .. } => Exit::BadInput,
        _ => Exit::Partial,
    };
    let place = target.map_or_else(|| "stdout".to_owned(), |t| format!("`{}`", t.display()));
    Failure {
        exit,
        error: anyhow::Error::new(error).context(format!("cannot write the trace to {place}")),
    }
}
