//! The page of a sweep: all of it inside, nothing to fetch, and a browser shows it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{folder, names, run, succeed, trace, two_turns};

/// A sweep of 2 policies, 2 rates, 2 seeds on 2 machines.
fn sweep(at: &Path) {
    let sessions: Vec<String> = (0..4).map(|i| two_turns(&format!("s{i}"))).collect();
    trace(at, "w.jsonl", &sessions);
    let text = "name = 'a <b>'\nworkload = 'w.jsonl'\nsessions = 8\nrate = [5, 10]\nseed = [1, 2]\n\
                arrivals = 'poisson'\ntool_cores = [1, 8]\n";
    fs::write(at.join("s.toml"), text).unwrap();
    succeed(at, &["sweep", "s.toml", "--out", "out", "--quiet"]);
}

#[test]
fn the_page_has_all_and_asks_for_nothing() {
    let at = folder();
    sweep(at.path());
    succeed(at.path(), &["report", "out"]);
    let path = at.path().join("out/report.html");
    let page = fs::read_to_string(&path).unwrap();
    for fetched in [
        "<script", "src=", "href=", "url(", "@import", "<link", "<iframe",
    ] {
        assert!(
            !page.contains(fetched),
            "`{fetched}` would ask for something"
        );
    }
    assert!(page.contains("<h1>Sweep a &lt;b&gt;</h1>"));
    // A figure for each number of cores, with four plots in each.
    assert_eq!(page.matches("<svg").count(), 2);
    assert_eq!(page.matches("<figure").count(), 2);
    for axis in [
        "mean latency (s)",
        "P95 latency (s)",
        "alpha 3",
        "attainment",
    ] {
        assert!(page.contains(axis), "{axis}");
    }
    for name in names(&at.path().join("out/runs")) {
        let manifest =
            fs::read(at.path().join("out/runs").join(&name).join("manifest.json")).unwrap();
        assert!(page.contains(&name));
        assert!(page.contains(&*blake3::hash(&manifest).to_hex()), "{name}");
    }
    let rows = fs::read(at.path().join("out/runs.csv")).unwrap();
    assert!(page.contains(&*blake3::hash(&rows).to_hex()));
    // The same sweep is the same page.
    succeed(at.path(), &["report", "out", "-o", "again.html"]);
    assert_eq!(
        fs::read_to_string(at.path().join("again.html")).unwrap(),
        page
    );
    // What is missing is said, not left out.
    let lost = names(&at.path().join("out/runs"))[0].clone();
    fs::remove_dir_all(at.path().join("out/runs").join(&lost)).unwrap();
    let ran = run(at.path(), &["report", "out"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.contains("1 planned runs are missing") && page.contains(&lost));
    let none = run(at.path(), &["report", "nowhere"]);
    assert_eq!(none.code, Some(2));
    assert!(
        none.stderr.contains("`nowhere` is no folder of a sweep"),
        "{}",
        none.stderr
    );
}

/// A browser, if this machine has one.
fn browser() -> Option<&'static str> {
    let found = |name: &&str| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|v| v.status.success())
    };
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| found(name))
}

#[test]
fn a_browser_shows_it_without_a_network() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium on this machine (Debian: apt-get install chromium)");
        return;
    };
    let at = folder();
    sweep(at.path());
    succeed(at.path(), &["report", "out", "-o", "page.html"]);
    let url = format!("file://{}", at.path().join("page.html").display());
    let look = |what: &str| {
        let profile = format!("--user-data-dir={}", at.path().join("profile").display());
        let output = Command::new(browser)
            .current_dir(at.path())
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--window-size=1300,2000",
            ])
            .args([
                "--host-resolver-rules=MAP * ~NOTFOUND",
                &profile,
                what,
                &url,
            ])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let dom = look("--dump-dom");
    assert_eq!(dom.matches("<svg").count(), 2);
    assert!(dom.contains("Sweep a &lt;b&gt;"), "{dom}");
    look("--screenshot=page.png");
    let picture = fs::read(at.path().join("page.png")).unwrap();
    // An empty page of this size takes some 10 kB.
    assert!(picture.len() > 40_000, "{} bytes", picture.len());
}
