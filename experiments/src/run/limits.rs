//! Rows for what no policy can beat: `isolated` and `bound`, named like policies in `--policy`.
//!
//! What: `isolated` gives every session a machine of its own, so its latency is `T_ideal` itself;
//! `bound` is a mean latency that no policy can go below on the load as a whole ([`sim::bound`]).
//! Why: a policy's numbers mean more beside the best that could be.
//! Limits: nothing is scheduled, so what only an engine under load has (hits, recomputation,
//! preemptions, KV removal) is null. Of the bound there is a mean and nothing else. Both are of loads
//! that run to their end, so a horizon is refused. A session in company may be faster than alone where
//! others warmed its shared opening; the bound allows for that, `isolated` does not.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use sim::world::{Offered, SessionRecord, Status, Summary};
use units::{Nanos, SessionId, Time};

use super::columns::SessionColumns;
use super::ideal::Ideals;
use super::manifest::{self, Case};
use super::plan::Plan;
use super::recorder::Rows;
use super::{Done, directory};
use crate::failure::{Exit, Failure};
use crate::metrics::Timed;
use crate::report::{ByAlpha, RunReport};

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Every session alone.
    Isolated,
    /// A lower bound on the mean.
    Bound,
}

impl Limit {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Isolated, Self::Bound];

    /// The limit of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.name() == name)
    }

    /// Its name in lists of policies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Bound => "bound",
        }
    }

    /// What it is, in a line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Isolated => {
                "Limit: every session on a machine of its own, T_ideal itself; a row, not a policy."
            }
            Self::Bound => {
                "Limit: a mean latency that no policy can go below; a row with this mean alone."
            }
        }
    }
}

/// The limit's row, and its directory if the plan keeps them.
///
/// # Errors
/// A directory that cannot be written.
pub fn one(
    plan: &Plan,
    case: Case,
    limit: Limit,
    order: &[u32],
    ideals: &Ideals,
) -> Result<Done, Failure> {
    let sessions = &plan.workload.sessions;
    let load: Vec<Offered> = order
        .iter()
        .zip(plan.times(case.rate_per_s, case.seed)?)
        .map(|(&index, arrival)| Offered {
            session: Arc::clone(&sessions[index as usize]),
            arrival,
        })
        .collect();
    match limit {
        Limit::Isolated => isolated(plan, case, order, &load, ideals),
        Limit::Bound => bound(plan, case, &load),
    }
}

fn isolated(
    plan: &Plan,
    case: Case,
    order: &[u32],
    load: &[Offered],
    ideals: &Ideals,
) -> Result<Done, Failure> {
    let mut columns = SessionColumns::default();
    let mut timed = Vec::new();
    let mut first_tokens = Vec::new();
    let mut end = Time::ZERO;
    for ((number, offered), &index) in (0_u32..).zip(load).zip(order) {
        let alone = ideals.alone(index).ok_or_else(|| Failure {
            exit: Exit::Invariant,
            error: anyhow!("session {index} of the workload was not run alone"),
        })?;
        let record = moved(&alone.record, SessionId(number), offered.arrival);
        if let (Status::Completed, Some(finished)) = (record.status, record.finished) {
            let latency = finished.since(record.arrival);
            let ideal = Some(latency);
            timed.push(Timed { latency, ideal });
            first_tokens.extend_from_slice(&alone.first_tokens);
            end = end.max(finished);
        }
        columns.push(&record, ideals.latency[index as usize]);
    }
    let summary = Summary {
        offered: load.len() as u64,
        completed: timed.len() as u64,
        rejected: (load.len() - timed.len()) as u64,
        makespan: end.since(Time::ZERO),
        ..Summary::default()
    };
    let report = RunReport::new(
        plan.which(case),
        &summary,
        &timed,
        first_tokens,
        plan.judge(),
    );
    let report = without_an_engine(report);
    keep(plan, case, report, Some(columns), &Value::Null)
}

/// The session's run alone, as the one with this number that arrives then.
fn moved(record: &SessionRecord, session: SessionId, arrival: Time) -> SessionRecord {
    let shift = |at: Time| arrival + at.since(Time::ZERO);
    SessionRecord {
        session,
        arrival,
        admitted: record.admitted.map(shift),
        finished: record.finished.map(shift),
        ..record.clone()
    }
}

fn bound(plan: &Plan, case: Case, load: &[Offered]) -> Result<Done, Failure> {
    let found = sim::bound::bound(&plan.machine.setup, load);
    let fitting = found.map_or(0, |b| b.sessions);
    let summary = Summary {
        offered: load.len() as u64,
        rejected: load.len() as u64 - fitting,
        ..Summary::default()
    };
    let blank = RunReport::new(plan.which(case), &summary, &[], Vec::new(), plan.judge());
    let mut report = without_an_engine(blank);
    report.latency_s.mean = found.map(|b| b.mean().as_secs());
    (report.completed, report.unfinished) = (None, None);
    report.makespan_s = None;
    for values in [&mut report.goodput_per_s, &mut report.attainment] {
        let unknown = values.0.drain(..).map(|(alpha, _)| (alpha, None));
        *values = ByAlpha(unknown.collect());
    }
    let parts = found.map_or(Value::Null, |b| {
        json!({
            "sessions": b.sessions,
            "mean_of_least_latencies_s": b.alone.as_secs(),
            "mean_flow_of_the_relaxed_server_s": b.shared.as_secs(),
        })
    });
    keep(plan, case, report, None, &parts)
}

/// What was not measured, because nothing was scheduled.
fn without_an_engine(report: RunReport) -> RunReport {
    RunReport {
        output_tokens_per_s: None,
        prefix_hit_rate: None,
        recomputed_tokens: None,
        preemptions: None,
        evicted_blocks_per_s: None,
        tool_stretch: None,
        sim_wall_s: None,
        ..report
    }
}

fn keep(
    plan: &Plan,
    case: Case,
    report: RunReport,
    sessions: Option<SessionColumns>,
    bound: &Value,
) -> Result<Done, Failure> {
    let Some(out) = &plan.out else {
        return Ok(Done {
            report,
            directory: None,
            failed_sessions: 0,
        });
    };
    let name = manifest::name(plan, case);
    let directory = out.join(&name);
    let write = || -> anyhow::Result<()> {
        let draft = directory::Draft::create(out, &name)?;
        let rows = sessions.map(|s| s.write(&draft.path().join("sessions.parquet")));
        let rows = Rows {
            sessions: rows.transpose()?,
            ..Rows::default()
        };
        let files = draft.written()?;
        let kept = manifest::Kept { rows, files };
        let text = manifest::of_limit(plan, case, &report, &kept, bound)?;
        let path = draft.path().join("manifest.json");
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        draft.publish(&directory)
    };
    write().map_err(|error| Failure {
        exit: Exit::Partial,
        error,
    })?;
    Ok(Done {
        report,
        directory: Some(directory),
        failed_sessions: 0,
    })
}

/// Refuses limits that the plan cannot have.
///
/// # Errors
/// Bad input: a horizon.
pub fn check(
    mut limits: impl Iterator<Item = Limit>,
    horizon: Option<Nanos>,
) -> Result<(), Failure> {
    let (Some(limit), Some(horizon)) = (limits.next(), horizon) else {
        return Ok(());
    };
    Err(Failure::bad_input(anyhow!(
        "`{}` is a limit of loads that run to their end, and `--horizon` is {} (wanted: one of the \
         two)\nhint: leave out `--horizon`, or `{}` in `--policy`",
        limit.name(),
        horizon.as_secs(),
        limit.name()
    )))
}
