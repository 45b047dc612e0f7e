//! `orrery sweep --dry-run`: what would run, and about how long it would take.
//!
//! How: seconds per simulated session, of each policy, from the sweep's log where it has runs of the
//! policy; else from a calibration of at most two seconds in all: the policy at the sweep's middle
//! rate with at most 40 sessions. Times the sessions to do, divided by the threads.
//! Limits: an overloaded run is dearer per session than a short one, threads that share memory are
//! slower than one, and writing is not counted. Expect the right order of magnitude.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use super::folder::{Took, logged};
use super::go::{Pending, pending};
use super::grid::{Grid, Job};
use super::table::text;
use crate::cli::Format;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::progress::Progress;
use crate::run::ideal::Ideals;
use crate::run::{self, Plan, manifest};

/// Sessions of a calibration run.
const SESSIONS: usize = 40;
/// After this long no further policy is calibrated; the others are taken to be like those before.
const ENOUGH: Duration = Duration::from_secs(2);
/// Runs that the table lists.
const LISTED: usize = 20;

/// Seconds per session, and where that is from.
#[derive(Clone, Debug, Default)]
struct Speeds {
    by_policy: BTreeMap<String, f64>,
    recorded: usize,
    calibrated: usize,
}

impl Speeds {
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn of(grid: &Grid, jobs: &[&Job], log: &[Took], interrupt: &Interrupt) -> Self {
        let mut speeds = Self::default();
        let policy = |job: &Job| grid.plans[job.plan].policies[job.case.policy].name.clone();
        let known: BTreeMap<&str, String> = jobs
            .iter()
            .map(|job| (job.name.as_str(), policy(job)))
            .collect();
        let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for took in log {
            if let Some(policy) = known.get(took.run.as_str()) {
                let sum = sums.entry(policy.clone()).or_default();
                let Some(seconds) = took.sim_wall_s else {
                    continue;
                };
                sum.0 += seconds;
                sum.1 += took.sessions;
                speeds.recorded += 1;
            }
        }
        for (policy, (seconds, sessions)) in sums {
            speeds
                .by_policy
                .insert(policy, seconds / sessions.max(1) as f64);
        }
        let began = Instant::now();
        // Later runs of a policy are at higher rates: the middle one is typical.
        let mut of_policy: BTreeMap<String, Vec<&Job>> = BTreeMap::new();
        for job in jobs {
            of_policy.entry(policy(job)).or_default().push(job);
        }
        for (policy, jobs) in of_policy {
            if speeds.by_policy.contains_key(&policy) || began.elapsed() > ENOUGH {
                continue;
            }
            if let Some(seconds) = calibrate(grid, jobs[jobs.len() / 2], interrupt) {
                speeds.by_policy.insert(policy, seconds);
                speeds.calibrated += 1;
            }
        }
        speeds
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn seconds(&self, grid: &Grid, jobs: &[&Job]) -> Option<f64> {
        let n = self.by_policy.len();
        let typical = (n > 0).then(|| self.by_policy.values().sum::<f64>() / n as f64)?;
        let of = |job: &&Job| {
            let plan = &grid.plans[job.plan];
            let policy = &plan.policies[job.case.policy].name;
            self.by_policy.get(policy).unwrap_or(&typical) * plan.sessions as f64
        };
        Some(jobs.iter().map(of).sum())
    }

    fn said(&self) -> String {
        match (self.recorded, self.calibrated) {
            (0, 0) => "no run could be timed".to_owned(),
            (0, n) => format!("by a run of up to {SESSIONS} sessions of {n} policies"),
            (n, 0) => format!("by {n} runs in its log"),
            (n, m) => format!("by {n} runs in its log and a short run of {m} policies"),
        }
    }
}

/// Seconds per session of a shorter run of the job; `None` if it fails, which the sweep will tell.
#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
fn calibrate(grid: &Grid, job: &Job, interrupt: &Interrupt) -> Option<f64> {
    let plan = &grid.plans[job.plan];
    let plan = Plan {
        sessions: plan.sessions.min(SESSIONS),
        out: None,
        ..plan.clone()
    };
    let order = plan.order(job.case.seed);
    let ideals = Ideals::known(vec![None; plan.workload.sessions.len()]);
    let progress = Progress::new(0, true);
    let done = run::guarded(&plan, job.case, || {
        run::one(&plan, job.case, &order, &ideals, &progress, interrupt)
    });
    Some(done.ok()?.report.sim_wall_s? / plan.sessions as f64)
}

/// The plan as text for stdout.
///
/// # Errors
/// If something cannot be written down, which nothing is.
pub fn print(
    name: &str,
    grid: &Grid,
    jobs: &[&Job],
    out: &std::path::Path,
    (threads, format): (usize, Format),
    interrupt: &Interrupt,
) -> Result<String, Failure> {
    let found = pending(grid, jobs, &out.join("runs"));
    let speeds = Speeds::of(grid, jobs, &logged(out), interrupt);
    #[expect(clippy::cast_precision_loss, reason = "threads are few")]
    let busy = threads.min(found.jobs.len().max(1)) as f64;
    let seconds = speeds.seconds(grid, &found.jobs).map(|s| s / busy);
    let broken = found
        .broken
        .iter()
        .map(|(name, _)| (name.as_str(), "broken"));
    let to_do = found.jobs.iter().map(|job| (job.name.as_str(), "to do"));
    let states: BTreeMap<&str, &str> = to_do.chain(broken).collect();
    let rows: Vec<[String; 7]> = jobs.iter().map(|job| row(grid, job, &states)).collect();
    match format {
        Format::Table => Ok(table(name, grid, &rows, &found, &speeds, seconds, threads)),
        Format::Json => {
            let runs: Vec<_> = rows
                .iter()
                .map(|row| {
                    HEAD.iter()
                        .zip(row)
                        .map(|(h, c)| ((*h).to_owned(), json!(c)))
                })
                .map(|cells| serde_json::Value::Object(cells.collect()))
                .collect();
            let plan = json!({
                "sweep": name, "runs": runs, "finished": found.before,
                "to_do": found.jobs.len(), "repeated": grid.repeated, "skipped": grid.skipped,
                "threads": threads, "estimated_s": seconds, "estimated_from": speeds.said(),
            });
            Ok(format!("{plan:#}\n"))
        }
        Format::Csv => {
            let write = || -> anyhow::Result<String> {
                let mut writer = csv::Writer::from_writer(Vec::new());
                writer.write_record(HEAD)?;
                for row in &rows {
                    writer.write_record(row)?;
                }
                Ok(String::from_utf8(writer.into_inner()?)?)
            };
            write().map_err(Failure::bad_input)
        }
    }
}

const HEAD: [&str; 7] = [
    "workload",
    "gpu",
    "model",
    "rate_per_s",
    "seed",
    "run",
    "state",
];

fn row(grid: &Grid, job: &Job, states: &BTreeMap<&str, &str>) -> [String; 7] {
    let plan = &grid.plans[job.plan];
    let config = manifest::config(plan, job.case);
    let machine = &config["machine"];
    let state = states.get(job.name.as_str()).unwrap_or(&"finished");
    [
        plan.workload.name.clone(),
        text(&machine["gpu"]),
        text(&machine["model"]),
        text(&config["rate_per_s"]),
        text(&config["seed"]),
        job.name.clone(),
        (*state).to_owned(),
    ]
}

fn table(
    name: &str,
    grid: &Grid,
    rows: &[[String; 7]],
    found: &Pending<'_>,
    speeds: &Speeds,
    seconds: Option<f64>,
    threads: usize,
) -> String {
    let mut table = output::table(&HEAD);
    for row in rows.iter().take(LISTED) {
        table.add_row(row);
    }
    let mut text = format!("{}\n", table.trim_fmt());
    if rows.len() > LISTED {
        let more = rows.len() - LISTED;
        let _ = writeln!(text, "... and {more} more (`--format csv` lists all)");
    }
    let _ = writeln!(
        text,
        "\n{name}: {} runs, of which {} are finished and {} to do ({} broken). Combinations left out: {} \
         as the same run,\n{} by [[skip]].",
        rows.len(),
        found.before,
        found.jobs.len(),
        found.broken.len(),
        grid.repeated,
        grid.skipped
    );
    let _ = match seconds {
        Some(seconds) => writeln!(
            text,
            "About {} on {threads} threads, judged {}. A guess: overloaded runs take longer.",
            span(seconds),
            speeds.said()
        ),
        None => writeln!(text, "No estimate of the time: {}.", speeds.said()),
    };
    text
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "a second".to_owned(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
