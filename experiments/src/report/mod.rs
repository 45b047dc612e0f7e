//! What a run comes to, and the three ways to print it.
//!
//! Why: [`RunReport`] *is* the public JSON interface; table, CSV and manifest are views of it.
//! Limits: keys of goodput and attainment are the alphas as the user typed them.

mod csv;
mod table;

use serde::{Serialize, Serializer};
use sim::world::Summary;
use units::Nanos;

use crate::cli::Format;
use crate::metrics::{self, Alpha, Spread, Timed};

/// One run in numbers. The JSON has exactly these keys; null is "not measured".
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// Name of the policy.
    pub policy: String,
    /// The workload, as the user named it.
    pub workload: String,
    /// Arrival rate.
    pub rate_per_s: f64,
    /// Seed.
    pub seed: u64,
    /// Sessions that arrived.
    pub offered: u64,
    /// Of these, completed.
    pub completed: Option<u64>,
    /// Turned away, as larger than the KV pool.
    pub rejected: Option<u64>,
    /// Open at the horizon.
    pub unfinished: Option<u64>,
    /// Arrival to completion, over completed sessions.
    pub latency_s: Spread,
    /// Prompt ready to first token, over turns that ended.
    pub ttft_s: Spread,
    /// Sessions in time per second of makespan, by alpha.
    pub goodput_per_s: ByAlpha,
    /// Sessions in time as a share of those offered, by alpha.
    pub attainment: ByAlpha,
    /// Tokens generated per second of makespan.
    pub output_tokens_per_s: Option<f64>,
    /// Share of prompt tokens found in KV.
    pub prefix_hit_rate: Option<f64>,
    /// Tokens computed more than once.
    pub recomputed_tokens: Option<u64>,
    /// Turns preempted.
    pub preemptions: Option<u64>,
    /// Cached KV blocks dropped per second of makespan.
    pub evicted_blocks_per_s: Option<f64>,
    /// Time of tools as it was over time alone.
    pub tool_stretch: Option<f64>,
    /// Start to last completion, or to the horizon.
    pub makespan_s: Option<f64>,
    /// What the simulation took on this machine.
    pub sim_wall_s: Option<f64>,
}

/// A value per alpha, in the user's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ByAlpha(pub Vec<(String, Option<f64>)>);

impl Serialize for ByAlpha {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(alpha, value)| (alpha, value)))
    }
}

/// What identifies a run in a report.
#[derive(Clone, Copy, Debug)]
pub struct Which<'a> {
    /// Name of the policy.
    pub policy: &'a str,
    /// The workload.
    pub workload: &'a str,
    /// Arrival rate.
    pub rate_per_s: f64,
    /// Seed.
    pub seed: u64,
}

/// By what sessions are judged.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// Goodput factors.
    pub alphas: &'a [Alpha],
    /// How far above `T_ideal` still meets alpha 1.
    pub tolerance: f64,
}

impl RunReport {
    /// The numbers of a run that came to `summary`.
    pub fn new(
        which: Which<'_>,
        summary: &Summary,
        timed: &[Timed],
        mut first_tokens: Vec<Nanos>,
        judge: Judge<'_>,
    ) -> Self {
        let mut latencies: Vec<Nanos> = timed.iter().map(|t| t.latency).collect();
        let by_alpha = |value: &dyn Fn(u64) -> Option<f64>| {
            let one = |alpha: &Alpha| {
                let met = metrics::in_time(timed, alpha, judge.tolerance);
                (alpha.text.clone(), value(met))
            };
            ByAlpha(judge.alphas.iter().map(one).collect())
        };
        let counters = summary.counters;
        Self {
            policy: which.policy.to_owned(),
            workload: which.workload.to_owned(),
            rate_per_s: which.rate_per_s,
            seed: which.seed,
            offered: summary.offered,
            completed: Some(summary.completed),
            rejected: Some(summary.rejected),
            unfinished: Some(summary.unfinished),
            latency_s: Spread::of(&mut latencies),
            ttft_s: Spread::of(&mut first_tokens),
            goodput_per_s: by_alpha(&|met| metrics::per_second(met, summary.makespan)),
            attainment: by_alpha(&|met| metrics::share(met, summary.offered)),
            output_tokens_per_s: metrics::per_second(counters.generated, summary.makespan),
            prefix_hit_rate: metrics::share(counters.hit, counters.prompt),
            recomputed_tokens: Some(counters.recomputed),
            preemptions: Some(counters.preemptions),
            evicted_blocks_per_s: metrics::per_second(counters.evicted, summary.makespan),
            tool_stretch: summary.tool_stretch(),
            makespan_s: Some(summary.makespan.as_secs()),
            sim_wall_s: None,
        }
    }
}

/// The reports as text for stdout.
///
/// # Errors
/// If a report cannot be written down, which none does.
pub fn print(reports: &[RunReport], format: Format, tolerance: f64) -> anyhow::Result<String> {
    match format {
        Format::Table => Ok(table::tables(reports, tolerance)),
        Format::Csv => csv::rows(reports),
        Format::Json => {
            #[derive(Serialize)]
            struct Runs<'a> {
                runs: &'a [RunReport],
            }
            let mut text = serde_json::to_string_pretty(&Runs { runs: reports })?;
            text.push('\n');
            Ok(text)
        }
    }
}

/// Names of values of every report, dotted as in CSV, with the values.
pub fn flat(report: &RunReport) -> Vec<(String, Cell)> {
    let mut cells: Vec<(String, Cell)> = vec![
        ("policy".to_owned(), Cell::Text(report.policy.clone())),
        ("workload".to_owned(), Cell::Text(report.workload.clone())),
        (
            "rate_per_s".to_owned(),
            Cell::Number(Some(report.rate_per_s)),
        ),
        ("seed".to_owned(), Cell::Count(Some(report.seed))),
        ("offered".to_owned(), Cell::Count(Some(report.offered))),
        ("completed".to_owned(), Cell::Count(report.completed)),
        ("rejected".to_owned(), Cell::Count(report.rejected)),
        ("unfinished".to_owned(), Cell::Count(report.unfinished)),
    ];
    for (name, spread) in [("latency_s", report.latency_s), ("ttft_s", report.ttft_s)] {
        for (part, value) in spread.parts() {
            cells.push((format!("{name}.{part}"), Cell::Number(value)));
        }
    }
    let by_alpha = [
        ("goodput_per_s", &report.goodput_per_s),
        ("attainment", &report.attainment),
    ];
    for (name, values) in by_alpha {
        for (alpha, value) in &values.0 {
            cells.push((format!("{name}.{alpha}"), Cell::Number(*value)));
        }
    }
    let number = |name: &str, value| (name.to_owned(), Cell::Number(value));
    let count = |name: &str, value| (name.to_owned(), Cell::Count(value));
    cells.extend([
        number("output_tokens_per_s", report.output_tokens_per_s),
        number("prefix_hit_rate", report.prefix_hit_rate),
        count("recomputed_tokens", report.recomputed_tokens),
        count("preemptions", report.preemptions),
        number("evicted_blocks_per_s", report.evicted_blocks_per_s),
        number("tool_stretch", report.tool_stretch),
        number("makespan_s", report.makespan_s),
        number("sim_wall_s", report.sim_wall_s),
    ]);
    cells
}

/// One value of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A name.
    Text(String),
    /// A whole number; `None` is "not measured".
    Count(Option<u64>),
    /// A measurement; `None` is "not measured".
    Number(Option<f64>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> RunReport {
        let timed: Vec<Timed> = [10.0, 25.0]
            .iter()
            .map(|s| Timed {
                latency: Nanos::from_secs(*s).unwrap(),
                ideal: Some(Nanos::from_secs(10.0).unwrap()),
            })
            .collect();
        let summary = Summary {
            offered: 4,
            completed: 2,
            rejected: 1,
            unfinished: 1,
            makespan: Nanos::from_secs(50.0).unwrap(),
            ..Summary::default()
        };
        let alphas = ["1", "1.5", "3"].map(|text| Alpha {
            text: text.to_owned(),
            value: text.parse().unwrap(),
        });
        let which = Which {
            policy: "fcfs",
            workload: "w",
            rate_per_s: 0.2,
            seed: 1,
        };
        let judge = Judge {
            alphas: &alphas,
            tolerance: 0.01,
        };
        RunReport::new(which, &summary, &timed, Vec::new(), judge)
    }

    #[test]
    fn the_json_is_the_documented_interface() {
        let text = print(&[report()], Format::Json, 0.01).unwrap();
        let flat: String = text.split_whitespace().collect();
        assert_eq!(
            flat,
            concat!(
                r#"{"runs":[{"policy":"fcfs","workload":"w","rate_per_s":0.2,"seed":1,"offered":4,"#,
                r#""completed":2,"rejected":1,"unfinished":1,"#,
                r#""latency_s":{"mean":17.5,"p50":17.5,"p90":23.5,"p95":24.25,"p99":24.85},"#,
                r#""ttft_s":{"mean":null,"p50":null,"p90":null,"p95":null,"p99":null},"#,
                r#""goodput_per_s":{"1":0.02,"1.5":0.02,"3":0.04},"#,
                r#""attainment":{"1":0.25,"1.5":0.25,"3":0.5},"#,
                r#""output_tokens_per_s":0.0,"prefix_hit_rate":null,"recomputed_tokens":0,"#,
                r#""preemptions":0,"evicted_blocks_per_s":0.0,"tool_stretch":null,"#,
                r#""makespan_s":50.0,"sim_wall_s":null}]}"#
            )
        );
    }

    #[test]
    fn csv_has_the_same_names_and_na() {
        let text = print(&[report()], Format::Csv, 0.01).unwrap();
        let mut lines = text.lines();
        let head = lines.next().unwrap();
        let row = lines.next().unwrap();
        assert!(head.starts_with("policy,workload,rate_per_s,seed,offered,completed,rejected,"));
        assert!(head.contains(",latency_s.p95,") && head.contains(",goodput_per_s.1.5,"));
        assert_eq!(head.split(',').count(), row.split(',').count());
        assert!(row.starts_with("fcfs,w,0.2,1,4,2,1,1,17.5,17.5,23.5,24.25,24.85,n/a,n/a,"));
    }

    #[test]
    fn the_table_says_what_it_counts() {
        let text = print(&[report()], Format::Table, 0.01).unwrap();
        assert!(
            text.contains("2 of 4 offered sessions did not complete"),
            "{text}"
        );
        assert!(text.contains("within 1 %"), "{text}");
        assert!(text.contains("n/a"), "{text}");
    }
}
