//! Run directories: complete or not there.
//!
//! Files are written into a hidden folder beside the final one, which then takes its name in one
//! rename. What is interrupted, killed or failed never looks finished.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

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
