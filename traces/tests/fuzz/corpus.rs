//! The recordings that the targets damage.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read their corpus from disk"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use traces::import::{Head, by_name};

/// One recording: its main file and what lies beside it.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) main: Vec<u8>,
    pub(crate) beside: BTreeMap<String, Vec<u8>>,
}

/// The folder of an importer's samples: a variant, which nobody guesses, shares those of its format.
pub(crate) fn folder(importer: &str) -> &str {
    importer.strip_suffix("-exact").unwrap_or(importer)
}

/// The samples in `corpus/<importer>`: files, and folders whose main file the importer recognises.
pub(crate) fn samples(importer: &str) -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(self::folder(importer));
    let mut samples = Vec::new();
    let mut entries = BTreeMap::new();
    files(&folder, "", &mut entries);
    let mut folders: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for (name, bytes) in entries {
        match name.split_once('/') {
            Some((folder, file)) => {
                let folder = folders.entry(folder.to_owned()).or_default();
                folder.insert(file.to_owned(), bytes);
            }
            None => samples.push(Sample {
                name,
                main: bytes,
                beside: BTreeMap::new(),
            }),
        }
    }
    for (folder, beside) in folders {
        let importer = by_name(importer).expect("an importer");
        let is_main = |name: &str, bytes: &[u8]| (importer.recognises)(&Head::new(name, bytes));
        let main = beside.iter().find(|(name, bytes)| is_main(name, bytes));
        let (name, main) = main.expect("a main file");
        samples.push(Sample {
            name: format!("{folder}/{name}"),
            main: main.clone(),
            beside,
        });
    }
    samples
}

fn files(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            files(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}
