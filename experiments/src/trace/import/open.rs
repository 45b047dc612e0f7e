//! Opening a file whatever it is packed in, and looking at how it begins.
//!
//! The content says how a file is packed (gzip, zstd, tar in either or neither), not its name.
//! Limits: zstd windows up to 128 MiB, the largest that `zstd` itself takes without being asked.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use traces::import::{Folder, HEAD_BYTES, fits};

/// The first bytes of every zstd frame (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// The first bytes of every gzip member (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// Where a tar header says that it is one (POSIX ustar).
const TAR_AT: usize = 257;

/// Base-2 logarithm of the largest zstd window.
const WINDOW_LOG: u32 = 27;

/// The plain bytes of the file at `path`.
///
/// # Errors
/// What the system says.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let start = file.fill_buf()?;
    if start.starts_with(&ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
        decoder.window_log_max(WINDOW_LOG)?;
        Ok(Box::new(BufReader::with_capacity(1 << 16, decoder)))
    } else if start.starts_with(&GZIP) {
        let decoder = MultiGzDecoder::new(file);
        Ok(Box::new(BufReader::with_capacity(1 << 16, decoder)))
    } else {
        Ok(Box::new(file))
    }
}

/// The first plain bytes of the file at `path`, enough to recognise it.
///
/// # Errors
/// What the system says.
pub(super) fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    open(path)?.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether a file that begins like this is a tar archive.
pub(super) fn is_tar(head: &[u8]) -> bool {
    head.get(TAR_AT..TAR_AT + 5) == Some(b"ustar")
}

/// The name without the ending of a packer.
pub(super) fn plain_name(name: &str) -> &str {
    let plain = name
        .strip_suffix(".zst")
        .or_else(|| name.strip_suffix(".gz"));
    plain.filter(|plain| !plain.is_empty()).unwrap_or(name)
}

/// Unpacks the plain files of an archive into `folder`. Links and devices are left out, and so is
/// what would lie outside.
///
/// # Errors
/// What the system says, or an archive that is damaged or cut short.
pub(super) fn unpack(archive: &Path, folder: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(open(archive)?);
    archive.set_preserve_mtime(false);
    archive.set_preserve_permissions(false);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            entry.unpack_in(folder)?;
        }
    }
    Ok(())
}

/// A folder on disk.
#[derive(Debug)]
pub(super) struct Disk(pub(super) PathBuf);

impl Folder for Disk {
    fn names(&mut self, pattern: &str) -> io::Result<Vec<String>> {
        let (below, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        if !last.contains('*') {
            let there = self.0.join(pattern).is_file();
            return Ok(there.then(|| pattern.to_owned()).into_iter().collect());
        }
        let entries = match fs::read_dir(self.0.join(below)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 fits no pattern.
            let Ok(name) = entry?.file_name().into_string() else {
                continue;
            };
            let name = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            if fits(pattern, &name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(open(&self.0.join(name))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_only_the_packers_ending() {
        let names = ["a.jsonl.zst", "b.json.gz", "c.json", ".gz"].map(plain_name);
        assert_eq!(names, ["a.jsonl", "b.json", "c.json", ".gz"]);
    }

    #[test]
    fn a_folder_on_disk_is_a_folder() {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir(at.path().join("events")).unwrap();
        for name in [
            "state.json",
            "events/event-2.json",
            "events/event-1.json",
            "events/x",
        ] {
            fs::write(at.path().join(name), name).unwrap();
        }
        let mut disk = Disk(at.path().to_owned());
        assert_eq!(disk.names("state.json").unwrap(), ["state.json"]);
        assert!(disk.names("other.json").unwrap().is_empty());
        assert!(disk.names("none/event-*.json").unwrap().is_empty());
        let events = disk.names("events/event-*.json").unwrap();
        assert_eq!(events, ["events/event-1.json", "events/event-2.json"]);
        let mut text = String::new();
        disk.open("events/x")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "events/x");
    }
}
