//! Ctrl-C: the right exit code, and nothing that only looks complete.

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use crate::support::{Ran, folder, names, orrery};

    let at = folder();
    let args = [
        "run",
        "--sessions",
        "200000",
        "--rate",
        "1",
        "--policy",
        "mars",
    ];
    let child = orrery(at.path(), &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The output folder is made just before the simulation starts, after the handler is in place.
    let out = at.path().join("runs/run");
    let began = Instant::now();
    while !out.exists() {
        assert!(began.elapsed() < Duration::from_mins(1), "it never started");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("interrupted: 0 of 1 runs"),
        "{}",
        ran.stderr
    );
    assert_eq!(names(&out), Vec::<String>::new());
}
