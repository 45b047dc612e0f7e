//! One folder a session for its commands, gone with the session.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use units::SessionId;

/// Attempts at removing the folders.
const TRIES: u32 = 50;
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// The folders of all sessions, in one folder that goes with the pool.
#[derive(Debug)]
pub(super) struct Sandboxes {
    root: TempDir,
    made: BTreeMap<SessionId, PathBuf>,
}

impl Sandboxes {
    /// Below this folder, or the system's temporary one.
    pub(super) fn new(below: Option<&Path>) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("orrery-tools-");
        let root = match below {
            Some(folder) => builder.tempdir_in(folder)?,
            None => builder.tempdir()?,
        };
        Ok(Self {
            root,
            made: BTreeMap::new(),
        })
    }

    /// The session's folder, made at its first command.
    pub(super) fn of(&mut self, session: SessionId) -> io::Result<PathBuf> {
        if let Some(path) = self.made.get(&session) {
            return Ok(path.clone());
        }
        let path = self.root.path().join(session.to_string());
        std::fs::create_dir(&path)?;
        self.made.insert(session, path.clone());
        Ok(path)
    }

    /// Removes all folders. Whoever was killed a moment ago may still be writing: tries a few times.
    pub(super) fn close(self) {
        let root = self.root.keep();
        for _ in 0..TRIES {
            if std::fs::remove_dir_all(&root).is_ok() || !root.exists() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Removes what the session left. What cannot be removed goes with the pool, or stays.
    pub(super) fn remove(&mut self, session: SessionId) {
        if let Some(path) = self.made.remove(&session) {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}
