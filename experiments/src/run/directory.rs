//! Run directories: complete or not there.
//!
//! Files are written into a hidden folder beside the final one, which then takes its name in one
//! rename. What is interrupted, killed or failed never looks finished.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// A run directory that is being written. Dropped before [`Draft::publish`], it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    temporary: PathBuf,
    published: bool,
}

impl Draft {
    /// Starts the directory `name` in `out`.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn create(out: &Path, name: &str) -> anyhow::Result<Self> {
        let temporary = out.join(format!(".{name}.{}.tmp", std::process::id()));
        remove(&temporary)?;
        fs::create_dir_all(&temporary)
            .with_context(|| format!("cannot create `{}`", temporary.display()))?;
        Ok(Self {
            temporary,
            published: false,
        })
    }

    /// Where to put the files.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// What has been put there so far, by name.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn written(&self) -> anyhow::Result<Vec<Written>> {
        let cannot = || format!("cannot read `{}`", self.temporary.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.temporary).with_context(cannot)? {
            names.push(entry.with_context(cannot)?.file_name());
        }
        names.sort();
        let one = |name: OsString| Written::of(&self.temporary, &name.to_string_lossy());
        names.into_iter().map(one).collect()
    }

    /// Gives the directory its name. One of the same name is replaced: it holds the same run.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn publish(mut self, target: &Path) -> anyhow::Result<()> {
        let cannot = || format!("cannot write run directory `{}`", target.display());
        if fs::rename(&self.temporary, target).is_err() {
            // A directory with content cannot be renamed over: move it out of the way first.
            let old = self.temporary.with_extension("old");
            remove(&old)?;
            fs::rename(target, &old).with_context(cannot)?;
            fs::rename(&self.temporary, target).with_context(cannot)?;
            remove(&old)?;
        }
        self.published = true;
        Ok(())
    }
}

/// A file of a finished run: what it must be to be whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its name in the run directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content, in hexadecimal digits.
    pub blake3: String,
}

impl Written {
    /// The file `name` in `folder` as it is now.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn of(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(name);
        let cannot = || format!("cannot read `{}`", path.display());
        let mut file = File::open(&path).with_context(cannot)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        let mut bytes = 0;
        loop {
            let read = file.read(&mut buffer).with_context(cannot)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            bytes += read as u64;
        }
        Ok(Self {
            name: name.to_owned(),
            bytes,
            blake3: hasher.finalize().to_hex().to_string(),
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// Makes sure that run directories can be written to `out`, before hours of work depend on it.
///
/// # Errors
/// What the system says, with the path.
pub fn prepare(out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out)
        .with_context(|| format!("cannot create the output folder `{}`", out.display()))?;
    Draft::create(out, "probe")
        .with_context(|| format!("cannot write to the output folder `{}`", out.display()))?;
    Ok(())
}

/// A name without what a file system may refuse.
pub fn plain_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            c
        } else {
            '-'
        }
    };
    let cut: String = name.chars().map(plain).take(80).collect();
    // A leading dot would hide it; `..` is another folder.
    cut.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_appears_whole_and_replaces_its_predecessor() {
        let out = tempfile::tempdir().unwrap();
        let target = out.path().join("run");
        for content in ["one", "two"] {
            let draft = Draft::create(out.path(), "run").unwrap();
            fs::write(draft.path().join("a"), content).unwrap();
            draft.publish(&target).unwrap();
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), content);
        }
        drop(Draft::create(out.path(), "run").unwrap());
        let left: Vec<_> = fs::read_dir(out.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn names_become_plain() {
        assert_eq!(plain_name("../my policy/é"), "-my-policy--");
    }
}
