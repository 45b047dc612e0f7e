//! Capacity: the search against brute force over `orrery run`, on a load that takes no time.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{folder, run, succeed, trace, two_turns};

const LOAD: [&str; 12] = [
    "--workload",
    "w.jsonl",
    "--sessions",
    "60",
    "--seed",
    "1,2,3",
    "--policy",
    "fcfs",
    "--arrivals",
    "poisson",
    "--alpha",
    "1.5,3",
];

fn workload(at: &Path) {
    let sessions: Vec<String> = (0..6).map(|i| two_turns(&format!("s{i}"))).collect();
    trace(at, "w.jsonl", &sessions);
}

fn capacity(at: &Path, more: &[&str]) -> Value {
    let args = [
        &["capacity", "--quiet", "--format", "json"],
        &LOAD[..],
        more,
    ]
    .concat();
    succeed(at, &args).json()
}

fn close(a: &Value, b: f64) -> bool {
    (a.as_f64().unwrap() - b).abs() < 1e-12
}

/// Mean attainment over the seeds at every rate, by `orrery run`.
fn by_force(at: &Path, rates: &[f64], alpha: &str) -> Vec<f64> {
    let list: Vec<String> = rates.iter().map(f64::to_string).collect();
    let list = list.join(",");
    let args = [
        &["run", "--quiet", "--format", "json", "--rate", &list],
        &LOAD[..],
    ]
    .concat();
    let runs = succeed(at, &args).runs();
    let mean = |rate: &f64| {
        let of_rate = runs.iter().filter(|r| close(&r["rate_per_s"], *rate));
        let shares: Vec<f64> = of_rate
            .map(|r| r["attainment"][alpha].as_f64().unwrap())
            .collect();
        assert_eq!(shares.len(), 3);
        shares.iter().sum::<f64>() / 3.0
    };
    rates.iter().map(mean).collect()
}

#[test]
fn the_highest_rate_is_that_of_brute_force() {
    let at = folder();
    workload(at.path());
    let rates: Vec<f64> = (0..16).map(|k| f64::from(12 + 2 * k)).collect();
    let range = [
        "--from", "12", "--to", "42", "--step", "2", "--target", "0.8",
    ];
    let found = capacity(at.path(), &range);
    let scanned = capacity(at.path(), &[&range[..], &["--scan"]].concat());
    for (i, alpha) in ["1.5", "3"].into_iter().enumerate() {
        let shares = by_force(at.path(), &rates, alpha);
        let first_miss = shares.iter().position(|share| *share < 0.8 - 1e-12);
        let first_miss = first_miss.expect("the highest rate is too much");
        assert!(first_miss > 0, "the lowest rate is not: {shares:?}");
        let scan = &scanned["capacities"][i];
        assert_eq!(scan["alpha"], alpha);
        assert!(close(&scan["capacity"], rates[first_miss - 1]), "{scan}");
        assert!(close(&scan["next"], rates[first_miss]), "{scan}");
        let points = scan["points"].as_array().unwrap();
        assert_eq!(points.len(), rates.len());
        for ((point, rate), share) in points.iter().zip(&rates).zip(&shares) {
            assert!(close(&point["value"], *rate) && close(&point["attainment"]["mean"], *share));
        }
        let again: Vec<f64> = rates[first_miss..]
            .iter()
            .zip(&shares[first_miss..])
            .filter(|(_, share)| **share >= 0.8)
            .map(|(rate, _)| *rate)
            .collect();
        let beyond = scan["beyond"].as_array().unwrap();
        assert!(
            beyond.len() == again.len() && beyond.iter().zip(&again).all(|(a, b)| close(a, *b))
        );
        // The search tries fewer, and where attainment is monotone it finds the same.
        let search = &found["capacities"][i];
        assert!(search["points"].as_array().unwrap().len() < rates.len());
        if again.is_empty() {
            assert_eq!(
                (&search["capacity"], &search["next"]),
                (&scan["capacity"], &scan["next"])
            );
        }
    }
}

#[test]
fn the_fewest_cores_and_blocks_are_those_of_brute_force() {
    let at = folder();
    workload(at.path());
    for (knob, range) in [
        ("tool-cores", ["--from", "1", "--to", "6", "--step", "1"]),
        (
            "kv-blocks",
            ["--from", "100", "--to", "1300", "--step", "200"],
        ),
    ] {
        let more = ["--for", knob, "--rate", "12", "--target", "0.6"];
        let more = [&more[..], &range[..]].concat();
        let found = capacity(at.path(), &more);
        let scanned = capacity(at.path(), &[&more[..], &["--scan"]].concat());
        let scan = &scanned["capacities"][0];
        let points = scan["points"].as_array().unwrap();
        // From the easiest, the last, down to the first that misses.
        let met: Vec<f64> = points
            .iter()
            .rev()
            .take_while(|point| point["meets"] == true)
            .map(|point| point["value"].as_f64().unwrap())
            .collect();
        assert!(
            !met.is_empty() && met.len() < points.len(),
            "{knob}: {scan}"
        );
        assert!(
            close(&scan["capacity"], *met.last().unwrap()),
            "{knob}: {scan}"
        );
        assert_eq!(
            scan["capacity"], found["capacities"][0]["capacity"],
            "{knob}"
        );
    }
}

#[test]
fn a_target_out_of_reach_is_told_and_the_figure_is_drawn() {
    let at = folder();
    workload(at.path());
    let range = [
        "--from", "50", "--to", "60", "--step", "5", "--target", "1", "--svg", "c.svg",
    ];
    let args = [&["capacity"], &LOAD[..], &range[..]].concat();
    let ran = succeed(at.path(), &args);
    assert!(
        ran.stdout
            .contains("even the easiest candidate misses the target"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("fcfs: 50 sessions/s: attainment(1.5)"),
        "{}",
        ran.stderr
    );
    let svg = fs::read_to_string(at.path().join("c.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("fcfs: n/a"));
    let refused = |more: &[&str], words: &str| {
        let ran = run(
            at.path(),
            &[&["capacity", "--quiet"], &LOAD[..], more].concat(),
        );
        assert_eq!(ran.code, Some(2), "{more:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{more:?}: {}", ran.stderr);
    };
    refused(
        &["--target", "0"],
        "`--target` is `0` (wanted: above 0, at most 1)",
    );
    refused(
        &["--rate", "1"],
        "`--rate` is `1` (wanted: no value where the rate is searched for)",
    );
    refused(
        &["--from", "2", "--to", "1"],
        "`--from` is 2, above `--to`, which is 1",
    );
    refused(&["--step", "1e-9"], "(wanted: at most 100000)");
    refused(
        &["--for", "tool-cores", "--from", "0"],
        "`--from` is `0` (wanted: tool cores, 1 to 65536)",
    );
    refused(
        &["--policy", "bound"],
        "`bound` is a limit, and only policies have a capacity",
    );
}
