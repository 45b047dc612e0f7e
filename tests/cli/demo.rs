//! The program without arguments.

use crate::support::{folder, names, succeed};

#[test]
fn the_demo_prints_a_table_and_draws_a_figure() {
    let at = folder();
    let ran = succeed(at.path(), &[]);
    for word in [
        "fcfs",
        "mars",
        "goodput(3)",
        "runs/demo/goodput.svg",
        "orrery run --help",
    ] {
        assert!(ran.stdout.contains(word), "no `{word}` in {}", ran.stdout);
    }
    let out = at.path().join("runs/demo");
    let svg = std::fs::read_to_string(out.join("goodput.svg")).unwrap();
    for word in [
        "<svg",
        "goodput(3) (sessions/s)",
        "mean latency (s)",
        "fcfs",
        "mars",
    ] {
        assert!(svg.contains(word), "no `{word}` in the figure");
    }
    let csv = std::fs::read_to_string(out.join("goodput.csv")).unwrap();
    let png = std::fs::read(out.join("goodput.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    // A header, and fcfs and mars at each rate; beside figure (twice) and data a directory per run.
    assert_eq!(names(&out).len(), csv.lines().count() - 1 + 3);
}
