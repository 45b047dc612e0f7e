//! Figures and claims on tiny loads: the numbers in each figure against golden text, its drawing
//! against its numbers.
//!
//! Golden files are in `tests/golden/figures`; `UPDATE_GOLDEN=1` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{folder, run, succeed};

const TINY: [&str; 5] = ["--sessions", "6", "--seeds", "2", "--quiet"];

fn golden(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join("tests/golden/figures").join(name)
}

fn hold(name: &str, got: &str) {
    let path = golden(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, got).unwrap();
        return;
    }
    let want = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let differs = got.lines().zip(want.lines()).find(|(g, w)| g != w);
    assert!(
        got == want,
        "`{name}` differs; first at (ours, golden): {differs:?}"
    );
}

/// Column `column` of a CSV of figures, quoted cells included.
fn column(csv: &str, column: usize) -> BTreeSet<String> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows = reader.records().map(|row| row.unwrap());
    rows.map(|row| row[column].to_owned()).collect()
}

/// The head of a CSV of figures, and every panel, metric, series and axis in it, once each. Every value
/// is a number above zero.
fn measured(csv: &str) -> String {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let mut lines = BTreeSet::new();
    for row in reader.records().map(|row| row.unwrap()) {
        assert!(row[5].parse::<f64>().unwrap() > 0.0, "{row:?}");
        lines.insert(format!(
            "{} | {} | {} | {}",
            &row[0], &row[1], &row[2], &row[3]
        ));
    }
    let head = csv.lines().next().unwrap_or("").to_owned();
    let lines = std::iter::once(head).chain(lines);
    lines.map(|line| line + "\n").collect()
}

/// The first number after `name` in the head of an SVG.
fn length(svg: &str, name: &str) -> u32 {
    let text = svg.split(name).nth(1).expect(name);
    text.split('"').nth(1).unwrap().parse().unwrap()
}

/// A PNG beside an SVG has twice its width and height, as its header says, and something on it.
fn is_twice_its_svg(path: &Path) {
    let svg = fs::read_to_string(path.with_extension("svg")).unwrap();
    let png = fs::read(path).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", path.display());
    // Signature, length and name of the first chunk, then width and height, big end first.
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!(
        [number(16), number(20)],
        [2 * length(&svg, "width="), 2 * length(&svg, "height=")],
        "{}",
        path.display()
    );
    // White paper of this size packs into a hundredth of this.
    assert!(
        png.len() > 10_000,
        "{}: {} bytes",
        path.display(),
        png.len()
    );
}

/// Every figure: the numbers are the golden ones, and the drawing names every panel and line.
#[test]
fn figures_have_their_golden_numbers_and_draw_them() {
    let at = folder();
    let args = [&["figure", "all", "--out", "f"], &TINY[..]].concat();
    let ran = succeed(at.path(), &args);
    let files: Vec<&str> = ran.stdout.lines().collect();
    assert!(files.len() >= 54, "{files:?}");
    for file in files {
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        if Path::new(file).extension().is_some_and(|e| e == "png") {
            is_twice_its_svg(&at.path().join(file));
            continue;
        }
        let text = fs::read_to_string(at.path().join(file)).unwrap();
        let Some(stem) = name.strip_suffix(".csv") else {
            assert!(text.starts_with("<svg"), "{name}");
            continue;
        };
        if stem == "overhead" {
            // Times of this machine: what is measured is golden, not what came out.
            hold("overhead.txt", &measured(&text));
        } else {
            hold(name, &text);
        }
        let svg = fs::read_to_string(at.path().join(format!("f/{stem}.svg"))).unwrap();
        for series in column(&text, 2) {
            assert!(
                svg.contains(&series),
                "{stem}: `{series}` is not in the drawing"
            );
        }
        // Nothing that is drawn lies outside: numbers in the drawing are no NaN.
        assert!(!svg.contains("NaN"), "{stem}");
    }

    // A second call has nothing to run, and the claims need no other runs than the figures.
    let again = [&["figure", "7", "--out", "f"], &TINY[..4]].concat();
    let again = succeed(at.path(), &again);
    assert!(
        again.stderr.contains("240 runs, 240 finished before"),
        "{}",
        again.stderr
    );
    let claims = [&["claims", "--out", "f", "--format", "csv"], &TINY[..]].concat();
    let claims = succeed(at.path(), &claims);
    hold("claims.csv", &claims.stdout);
    let markdown = [&["claims", "--out", "f", "--format", "markdown"], &TINY[..]].concat();
    let markdown = succeed(at.path(), &markdown);
    let rows = markdown
        .stdout
        .lines()
        .filter(|l| l.starts_with("| "))
        .count();
    // A row per claim, a head, a rule.
    assert_eq!(rows, claims.stdout.lines().count() - 1 + 2);
}

#[test]
fn wrong_names_and_numbers_are_told() {
    let at = folder();
    let ran = run(at.path(), &["figure", "starvtion"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("did you mean `starvation`"),
        "{}",
        ran.stderr
    );
    let ran = run(at.path(), &["figure", "7", "--seeds", "0"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .contains("--seeds is `0` (wanted: a whole number from 1 to 1000000)")
    );
    let listed = succeed(at.path(), &["figure", "list"]);
    assert!(listed.stdout.contains("13"), "{}", listed.stdout);
}
