//! `orrery compare`: where two policies first decide differently on the same load, and what it cost.
//!
//! What: [`find`] turns the arguments into pairs of run directories, [`run`] reads one,
//! [`same_load`] checks that a pair may be compared, [`first`] finds where their decisions part,
//! [`paired`] holds session against session, [`seeds`] sums up over seeds, [`mod@print`] writes it down.
//! Why: all policies meet the same draws, so the n-th session of one run is the n-th of the other, and
//! differences within a pair say more than two means.
//! Limits: whatever comes after the first difference is a consequence of it or not; nobody can tell
//! which of the later decisions cost the most.

pub mod find;
pub mod first;
pub mod paired;
pub mod print;
pub mod run;
pub mod same_load;
pub mod seeds;
pub mod totals;

use anyhow::anyhow;
use serde::Serialize;

use crate::cli::CompareArgs;
use crate::failure::Failure;
use crate::output::{data, note};
use first::Decisions;
use paired::Paired;
use run::Run;
use seeds::OverSeeds;
use totals::{Named, Total};

/// Two policies, seed by seed. The JSON has exactly these keys; null is "not measured".
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Policy of A.
    pub policy_a: String,
    /// Policy of B.
    pub policy_b: String,
    /// One per seed.
    pub pairs: Vec<Pair>,
    /// Means over seeds of differences, B less A.
    pub over_seeds: Named<OverSeeds>,
}

/// Two runs of one load. Differences are B less A.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The workload, as A's user named it.
    pub workload: String,
    /// Sessions per second.
    pub rate_per_s: f64,
    /// Seed.
    pub seed: u64,
    /// Name of run A.
    pub run_a: String,
    /// Name of run B.
    pub run_b: String,
    /// What differs in load and machine; empty unless the user asked for it with `--anyway`.
    pub load_differences: Vec<same_load::Difference>,
    /// Where the decisions part; `None` without both logs.
    pub decisions: Option<Decisions>,
    /// Latency, session by session.
    pub sessions: Paired,
    /// The same by quartile of session size, the smallest first.
    pub by_size: Vec<Paired>,
    /// The runs' totals.
    pub totals: Named<Total>,
}

/// `orrery compare`.
///
/// # Errors
/// Bad input: no such runs, or runs of different loads.
pub fn command(args: &CompareArgs) -> Result<(), Failure> {
    let found = find::pairs(&args.a, args.b.as_deref(), args.anyway).map_err(Failure::bad_input)?;
    let mut pairs = Vec::new();
    for (a, b) in &found {
        pairs.push(pair(a, b, args.anyway).map_err(Failure::bad_input)?);
    }
    let (a, b) = &found[0];
    let comparison = Comparison {
        policy_a: a.policy().to_owned(),
        policy_b: b.policy().to_owned(),
        over_seeds: seeds::over(&pairs),
        pairs,
    };
    for pair in comparison
        .pairs
        .iter()
        .filter(|p| !p.load_differences.is_empty())
    {
        let line = format!(
            "warning: the loads or machines differ (seed {}): {}",
            pair.seed,
            same_load::sentence(&pair.load_differences)
        );
        note(false, &line);
    }
    data(&print::text(&comparison, args.shown.format).map_err(Failure::bad_input)?)?;
    let limit = a.limit().or(b.limit());
    if let Some(limit) = limit {
        let line = format!("note: `{limit}` is a limit; it decides nothing");
        note(false, &line);
    } else if comparison.pairs.iter().any(|p| p.decisions.is_none()) {
        note(
            false,
            "hint: run both again with `orrery run --decisions` to see where they first decide \
             differently",
        );
    }
    Ok(())
}

fn pair(a: &Run, b: &Run, anyway: bool) -> anyhow::Result<Pair> {
    let load_differences = same_load::differences(a.config(), b.config());
    if !load_differences.is_empty() && !anyway {
        return Err(anyhow!(
            "`{}` and `{}` do not replay the same load on the same machine\n{}\nhint: `--anyway` \
             compares them all the same",
            a.path().display(),
            b.path().display(),
            same_load::lines(&load_differences)
        ));
    }
    let decisions = match (a.decisions()?, b.decisions()?) {
        (Some(a), Some(b)) => Some(first::decisions(&a, &b)?),
        _ => None,
    };
    let sessions = paired::pair(&a.sessions()?, &b.sessions()?);
    Ok(Pair {
        workload: a.workload().to_owned(),
        rate_per_s: a.rate_per_s(),
        seed: a.seed(),
        run_a: a.name().to_owned(),
        run_b: b.name().to_owned(),
        load_differences,
        decisions,
        by_size: sessions.by_size(),
        sessions: sessions.all(),
        totals: totals::totals(a.totals(), b.totals()),
    })
}
