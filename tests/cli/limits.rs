//! Rows `isolated` and `bound` beside the policies', on the trace of `numbers`.
//!
//! Each session takes 319.558 ms alone and, at one per second, in company.

use serde_json::Value;

use crate::errors::refused;
use crate::numbers::{KEYS, close, keys, parquet, three};
use crate::support::{folder, names, run, succeed};

/// What only an engine under load has.
const OF_AN_ENGINE: [&str; 7] = [
    "evicted_blocks_per_s",
    "output_tokens_per_s",
    "preemptions",
    "prefix_hit_rate",
    "recomputed_tokens",
    "sim_wall_s",
    "tool_stretch",
];

#[test]
fn limits_are_rows_with_null_for_what_they_do_not_have() {
    let at = folder();
    let runs = three(
        at.path(),
        &["--policy", "isolated,mars,bound", "--alpha", "1,3"],
    )
    .runs();
    let policies: Vec<&str> = runs.iter().filter_map(|r| r["policy"].as_str()).collect();
    assert_eq!(policies, ["isolated", "mars", "bound"]);
    for run in &runs {
        assert_eq!(keys(run), KEYS);
        assert_eq!(run["offered"], 3);
        assert_eq!(run["rejected"], 0);
    }
    let [isolated, mars, bound] = &runs[..] else {
        panic!("three rows");
    };
    for limit in [isolated, bound] {
        for key in OF_AN_ENGINE {
            assert_eq!(limit[key], Value::Null, "{key}");
            assert_ne!(mars[key], Value::Null, "{key}");
        }
    }
    for part in ["mean", "p50", "p90", "p95", "p99"] {
        close(&isolated["latency_s"][part], 0.319_558);
        assert_eq!(isolated["ttft_s"][part], mars["ttft_s"][part]);
        assert_eq!(bound["ttft_s"][part], Value::Null);
        if part != "mean" {
            assert_eq!(bound["latency_s"][part], Value::Null);
        }
    }
    // Alone from its arrival on: the last is done 0.319558 s after it arrived at 2 s.
    close(&isolated["makespan_s"], 2.319_558);
    for alpha in ["1", "3"] {
        close(&isolated["goodput_per_s"][alpha], 3.0 / 2.319_558);
        close(&isolated["attainment"][alpha], 1.0);
        assert_eq!(bound["goodput_per_s"][alpha], Value::Null);
        assert_eq!(bound["attainment"][alpha], Value::Null);
    }
    assert_eq!(
        (&isolated["completed"], &isolated["unfinished"]),
        (&3.into(), &0.into())
    );
    for key in ["completed", "unfinished", "makespan_s"] {
        assert_eq!(bound[key], Value::Null, "{key}");
    }
    // Nobody shares an opening and the host costs nothing here, so the bound is T_ideal but for rounding.
    let mean = bound["latency_s"]["mean"].as_f64().expect("a number");
    assert!(mean <= 0.319_558 && mean > 0.319_557, "{mean}");
}

/// Ten at once on a slow machine: nobody is alone, and the limits stay below every policy.
#[test]
fn under_load_the_limits_are_below_the_policies() {
    let at = folder();
    let args = [
        "--policy",
        "fcfs,mars,isolated,bound",
        "--rate",
        "100",
        "--sessions",
        "30",
    ];
    let runs = three(at.path(), &args).runs();
    let mean = |i: usize| runs[i]["latency_s"]["mean"].as_f64().expect("a number");
    let [fcfs, mars, isolated, bound] = [0, 1, 2, 3].map(mean);
    assert!(
        isolated < fcfs && isolated < mars,
        "{isolated} {fcfs} {mars}"
    );
    assert!(bound < fcfs && bound < mars, "{bound} {fcfs} {mars}");
    // Not slowed down by company at all.
    close(&runs[2]["latency_s"]["p99"], 0.319_558);
    close(&runs[2]["attainment"]["1"], 1.0);
}

#[test]
fn what_never_fits_is_rejected_and_in_no_mean() {
    let at = folder();
    let args = [
        "--policy",
        "isolated,bound",
        "--set",
        "engine.kv_blocks=101",
    ];
    for run in three(at.path(), &args).runs() {
        assert_eq!((&run["offered"], &run["rejected"]), (&3.into(), &3.into()));
        assert_eq!(run["latency_s"]["mean"], Value::Null);
    }
}

#[test]
fn table_and_csv_say_na() {
    let at = folder();
    let limits = ["--policy", "isolated,bound"];
    let csv = three(at.path(), &[&limits[..], &["--format", "csv"]].concat()).stdout;
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let of = |row: usize, name: &str| {
        let column = rows[0].iter().position(|n| *n == name).expect("a column");
        rows[row][column]
    };
    for name in OF_AN_ENGINE {
        assert_eq!((of(1, name), of(2, name)), ("n/a", "n/a"), "{name}");
    }
    assert_eq!((of(1, "completed"), of(2, "completed")), ("3", "n/a"));
    assert_eq!(
        (of(1, "latency_s.p95"), of(2, "latency_s.p95")),
        ("0.319558", "n/a")
    );
    let table = three(at.path(), &[&limits[..], &["--format", "table"]].concat()).stdout;
    for text in [
        "isolated: Limit: every session on a machine of its own",
        "bound: Limit: a mean latency that no policy can go below",
    ] {
        assert!(table.contains(text), "no `{text}` in {table}");
    }
    let preemptions = table.lines().find(|line| line.contains("preemptions"));
    assert_eq!(preemptions.map(|line| line.matches("n/a").count()), Some(2));
}

#[test]
fn directories_hold_what_there_is() {
    let at = folder();
    three(at.path(), &["--policy", "isolated,bound", "--decisions"]);
    let out = at.path().join("out");
    let found = names(&out);
    let [bound, isolated] = &found[..] else {
        panic!("two: {found:?}");
    };
    assert!(bound.starts_with("bound-r1-s1-") && isolated.starts_with("isolated-r1-s1-"));
    assert_eq!(names(&out.join(bound)), ["manifest.json"]);
    assert_eq!(
        names(&out.join(isolated)),
        ["manifest.json", "sessions.parquet"]
    );
    let sessions = parquet(&out.join(isolated).join("sessions.parquet"));
    for column in ["latency_s", "t_ideal_s"] {
        let values = sessions.column(column).unwrap().f64().unwrap();
        assert_eq!(values.iter().collect::<Vec<_>>(), [Some(0.319_558); 3]);
    }
    let arrivals = sessions.column("arrival_s").unwrap().f64().unwrap();
    assert_eq!(
        arrivals.iter().collect::<Vec<_>>(),
        [Some(0.0), Some(1.0), Some(2.0)]
    );
    for name in [bound, isolated] {
        let text = std::fs::read_to_string(out.join(name).join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest["config"]["policy_toml"], Value::Null);
        assert_eq!(manifest["config"]["limit"], manifest["config"]["policy"]);
        assert_eq!(manifest["totals"]["preemptions"], Value::Null);
        assert_eq!(manifest["rows"]["turns"], Value::Null);
        let parts = &manifest["totals"]["bound"];
        assert_eq!(
            parts["sessions"],
            if name == bound { 3.into() } else { Value::Null }
        );
    }
}

#[test]
fn compare_takes_isolated_and_says_why_not_bound() {
    let at = folder();
    three(at.path(), &["--policy", "isolated,bound,mars"]);
    let out = at.path().join("out");
    let found = names(&out);
    let path = |policy: &str| {
        let name = found.iter().find(|n| n.starts_with(policy)).expect("a run");
        format!("out/{name}")
    };
    let compared = succeed(
        at.path(),
        &[
            "compare",
            &path("isolated"),
            &path("mars"),
            "--format",
            "json",
        ],
    );
    let pair = &compared.json()["pairs"][0];
    close(&pair["sessions"]["mean_s"], 0.0);
    assert_eq!(pair["totals"]["preemptions"]["a"], Value::Null);
    assert_eq!(pair["totals"]["preemptions"]["difference"], Value::Null);
    assert!(
        compared
            .stderr
            .contains("`isolated` is a limit; it decides nothing")
    );
    let refused = run(at.path(), &["compare", &path("bound"), &path("mars")]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused
            .stderr
            .contains("is the limit `bound`: one mean of the whole load")
            && refused.stderr.contains("hint: "),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_limit_and_a_horizon_exclude_each_other() {
    let at = folder();
    for limit in ["isolated", "bound"] {
        let list = format!("mars,{limit}");
        let words = format!("`{limit}` is a limit of loads that run to their end");
        refused(
            at.path(),
            &["--policy", &list, "--horizon", "100"],
            &[&words, "`--horizon` is 100", "hint: "],
        );
    }
    refused(
        at.path(),
        &["--policy", "bound", "--set", "order.aging_s=3"],
        &["unknown key `order.aging_s`"],
    );
}

#[test]
fn a_race_takes_them_too() {
    let at = folder();
    three(at.path(), &[]);
    let args = "race --workload three.jsonl --sessions 3 --rate 1 --seed 1,2 --gpu h100-sxm --policy \
                mars,isolated,bound --quiet --format json";
    let args: Vec<&str> = args.split_whitespace().collect();
    let json = succeed(at.path(), &args).json();
    let rate = &json["rates"][0];
    for (row, limit) in [(1, "isolated_s"), (2, "bound_s")] {
        let policy = &rate["policies"][row];
        assert_eq!(policy["estimates"][0]["name"], "latency_s.mean");
        close(
            &policy["estimates"][0]["mean"],
            rate[limit]["mean"].as_f64().expect("a number"),
        );
    }
    assert_eq!(rate["policies"][2]["completed"], Value::Null);
    assert_eq!(rate["best_baseline"], Value::Null);
}
