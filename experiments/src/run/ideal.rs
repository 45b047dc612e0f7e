//! `T_ideal`: how long each session takes when it has the machine to itself.
//!
//! Measured once per distinct session, under preset `fcfs`, and shared by every policy, rate and
//! seed. `None` for a session that does not fit the KV pool. What else is known of those runs is kept
//! only where a row `isolated` is to show it.

use policies::PolicySpec;
use rayon::prelude::*;
use scheduler::Config;
use sim::world::{Observer, Offered, SessionRecord, Setup, Status, TurnRecord, alone, simulate};
use std::sync::Arc;
use traces::Session;
use units::{Nanos, Time};

use super::limits::Limit;
use super::plan::Plan;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// Every session of the workload alone, by its index in the file.
#[derive(Debug, Default)]
pub struct Ideals {
    /// `T_ideal`; `None` if it does not fit or is not offered.
    pub latency: Vec<Option<Nanos>>,
    /// Empty unless a row `isolated` is wanted.
    alone: Vec<Option<Alone>>,
}

impl Ideals {
    /// Known latencies, and no runs.
    pub fn known(latency: Vec<Option<Nanos>>) -> Self {
        Self {
            latency,
            alone: Vec::new(),
        }
    }

    /// The session's run alone, if it was kept.
    pub fn alone(&self, index: u32) -> Option<&Alone> {
        self.alone.get(index as usize)?.as_ref()
    }
}

/// One session's run alone, from time zero.
#[derive(Clone, Debug)]
pub struct Alone {
    /// How it went.
    pub record: SessionRecord,
    /// Time to first token of each turn.
    pub first_tokens: Vec<Nanos>,
}

type Found = (Option<Nanos>, Option<Alone>);

/// Keeps what a run of one session tells.
#[derive(Default)]
struct Keep {
    record: Option<SessionRecord>,
    first_tokens: Vec<Nanos>,
}

impl Observer for Keep {
    fn session(&mut self, record: SessionRecord) {
        self.record = Some(record);
    }

    fn turn(&mut self, record: &TurnRecord) {
        self.first_tokens
            .push(record.first_token.since(record.ready));
    }
}

/// `T_ideal` of every session of the workload that is offered, by its index in the file.
///
/// # Errors
/// A session that cannot be replayed (the first in the file's order), or an interruption.
pub fn ideals(
    plan: &Plan,
    offered: &[bool],
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Ideals, Failure> {
    let fcfs = PolicySpec::preset("fcfs").map_err(Failure::bad_input)?;
    let keep = plan
        .policies
        .iter()
        .any(|p| p.limit() == Some(Limit::Isolated));
    let each: Vec<Result<Found, Failure>> = plan
        .workload
        .sessions
        .par_iter()
        .zip(offered)
        .map(|(session, &offered)| {
            if !offered || interrupt.is_set() {
                return Ok((None, None));
            }
            let policy = fcfs.build().map_err(Failure::bad_input)?;
            let setup = &plan.machine.setup;
            let found = if keep {
                let alone = observed(setup, policy, session)?;
                (alone.as_ref().and_then(latency), alone)
            } else {
                let ideal = alone(setup, policy, session).map_err(Failure::of_run)?;
                (ideal, None)
            };
            progress.share().completed(1);
            Ok(found)
        })
        .collect();
    // Collected first: which error is reported must not depend on which thread was faster.
    let (latency, alone) = each
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .unzip();
    Ok(Ideals { latency, alone })
}

/// As [`alone`], with all that it tells.
fn observed(
    setup: &Setup,
    policy: scheduler::policy::Policy,
    session: &Arc<Session>,
) -> Result<Option<Alone>, Failure> {
    let setup = Setup {
        engine: Config {
            log_decisions: false,
            ..setup.engine.clone()
        },
        horizon: None,
        sample_every: None,
        ..setup.clone()
    };
    let offered = std::iter::once(Offered {
        session: Arc::clone(session),
        arrival: Time::ZERO,
    });
    let mut keep = Keep::default();
    simulate(&setup, policy, offered, &mut keep).map_err(Failure::of_run)?;
    Ok(keep.record.map(|record| Alone {
        record,
        first_tokens: keep.first_tokens,
    }))
}

fn latency(alone: &Alone) -> Option<Nanos> {
    let finished = alone
        .record
        .finished
        .filter(|_| alone.record.status == Status::Completed)?;
    Some(finished.since(Time::ZERO))
}
