//! What a sweep says to a wrong file, and to a disk that takes no more.

use std::fs;

use crate::support::{folder, names, run, trace, two_turns};

fn refused(text: &str, words: &[&str]) {
    let at = folder();
    fs::write(at.path().join("s.toml"), text).unwrap();
    let ran = run(at.path(), &["sweep", "s.toml"]);
    assert_eq!(ran.code, Some(2), "{text}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{text}");
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "{text}: no `{word}` in: {}",
            ran.stderr
        );
    }
    assert_eq!(names(at.path()), ["s.toml"], "{text} left files");
}

#[test]
fn a_wrong_file_is_told_with_line_key_value_and_the_nearest() {
    refused(
        "rate = 0.1\n\npolicies = 'mars'\n",
        &[
            "`s.toml` line 3: unknown key `policies`",
            "hint: did you mean `policy`?",
        ],
    );
    refused(
        "rate = [\n  0.1,\n  -1,\n]\n",
        &[
            "`s.toml` line 3: `rate` cannot be `-1`",
            "(wanted: sessions per second",
        ],
    );
    refused(
        "policy = ['mars',\n'marz']\n",
        &[
            "`s.toml` line 2: `policy` cannot be `marz`",
            "hint: did you mean `mars`?",
        ],
    );
    refused(
        "\ngpu = 'h100-nlv'\n",
        &[
            "`s.toml` line 2: `gpu` cannot be `h100-nlv`",
            "hint: did you mean `h100-nvl`?",
        ],
    );
    refused(
        "workload = 'nope.jsonl'\n",
        &[
            "`s.toml` line 1: `workload` cannot be `nope.jsonl`",
            "No such file",
        ],
    );
    refused(
        "workload = '-'\n",
        &[
            "line 1: `workload` cannot be `-`",
            "stdin is no workload of a sweep",
        ],
    );
    refused(
        "arrivals = 'possion'\n",
        &["line 1: `arrivals` cannot be `possion`", "poisson"],
    );
    refused(
        "[set]\nengine.token_bugdet = 9\n",
        &[
            "line 2: `set.engine.token_bugdet` cannot be `9`",
            "hint: did you mean `engine.token_budget`?",
        ],
    );
    refused(
        "[set]\nengine.kv_blocks = [100, 1]\n",
        &[
            "line 2: `set.engine.kv_blocks` cannot be `1`",
            "(wanted: blocks, 2 to 2^24)",
        ],
    );
    refused("rate = \n", &["`s.toml` line 1: "]);
    refused(
        "rate = 0.1\nrate = 0.2\n",
        &["`s.toml` line 2: ", "duplicate key"],
    );
    refused(
        "policy = 'fcfs'\n[[skip]]\npolicy = 'fcfs'\n",
        &["leaves no run"],
    );
    let at = folder();
    let ran = run(at.path(), &["sweep", "none.toml"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("cannot read sweep `none.toml`"),
        "{}",
        ran.stderr
    );
    let ran = run(at.path(), &["merge", "none", "-o", "out"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("`none` is no folder of a sweep"),
        "{}",
        ran.stderr
    );
    assert_eq!(names(at.path()), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_before_anything_runs() {
    let at = folder();
    fs::write(at.path().join("file"), "").unwrap();
    fs::write(at.path().join("s.toml"), "rate = 0.1\n").unwrap();
    // Below a file no user can create anything, not even root.
    let ran = run(at.path(), &["sweep", "s.toml", "--out", "file/out"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .contains("cannot create the output folder `file/out`"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("Not a directory"), "{}", ran.stderr);
}

/// A small file system in memory, unmounted when dropped; `None` where nobody may mount one.
#[cfg(target_os = "linux")]
pub(crate) struct Tmpfs(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl Tmpfs {
    pub(crate) fn mount(at: &std::path::Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "none"])
            .arg(at)
            .output()
            .ok()?;
        mount.status.success().then(|| Self(at.to_owned()))
    }

    fn remount(&self, option: &str) {
        let status = std::process::Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(&self.0)
            .status();
        assert!(status.unwrap().success(), "remount with {option}");
    }
}

#[cfg(target_os = "linux")]
impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_or_read_only_disk_stops_the_sweep_and_loses_nothing() {
    let at = folder();
    let sessions: Vec<String> = (0..40).map(|i| two_turns(&format!("s{i}"))).collect();
    trace(at.path(), "w.jsonl", &sessions);
    fs::write(
        at.path().join("s.toml"),
        "workload = 'w.jsonl'\nsessions = 40\nseed = '1-12'\npolicy = 'fcfs'\n",
    )
    .unwrap();
    let disk = at.path().join("disk");
    let Some(mounted) = Tmpfs::mount(&disk, "size=160k") else {
        eprintln!("skipped: nobody may mount a tmpfs here");
        return;
    };
    let args = [
        "sweep",
        "s.toml",
        "--out",
        "disk/out",
        "--format",
        "json",
        "--threads",
        "1",
    ];
    let full = run(at.path(), &args);
    assert_eq!(full.code, Some(1), "{}", full.stderr);
    assert!(
        full.stderr.contains("No space left on device"),
        "{}",
        full.stderr
    );
    assert!(
        full.stderr
            .contains("hint: the same command goes on from there"),
        "{}",
        full.stderr
    );
    let there = names(&disk.join("out/runs"));
    assert!(!there.is_empty() && there.len() < 12, "{there:?}");
    assert!(
        there.iter().all(|name| !name.starts_with('.')),
        "half a run stayed: {there:?}"
    );
    mounted.remount("ro");
    let read_only = run(at.path(), &args);
    assert_eq!(read_only.code, Some(2), "{}", read_only.stderr);
    assert!(
        read_only.stderr.contains("Read-only file system"),
        "{}",
        read_only.stderr
    );
    mounted.remount("rw,size=8m");
    let done = run(at.path(), &args);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(done.json()["counts"]["before"], there.len());
    drop(mounted);
}

/// The limit on file sizes stands for a disk that fills up, where none can be mounted.
#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_is_told_and_leaves_no_half_run() {
    let at = folder();
    let sessions: Vec<String> = (0..400).map(|i| two_turns(&format!("s{i}"))).collect();
    trace(at.path(), "w.jsonl", &sessions);
    fs::write(
        at.path().join("s.toml"),
        "workload = 'w.jsonl'\nsessions = 400\npolicy = 'fcfs'\n",
    )
    .unwrap();
    // Files of at most 8 KiB; the signal that would end the program is ignored, so that it gets the
    // error.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" sweep s.toml";
    let ran = std::process::Command::new("bash")
        .current_dir(at.path())
        .args(["-c", script, env!("CARGO_BIN_EXE_orrery")])
        .output()
        .unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("File too large"), "{stderr}");
    assert_eq!(names(&at.path().join("runs/s/runs")), Vec::<String>::new());
}
