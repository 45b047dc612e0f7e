//! `T_ideal` of a machine and a workload: computed once, kept in the sweep's folder.
//!
//! Why: a session alone takes the same time under every policy, rate and seed, and a sweep has
//! hundreds of those.
//! Limits: kept per session of the file; a session that was never offered is not measured. A cache
//! that cannot be read is computed anew. A row `isolated` wants more of those runs than the cache has,
//! so with one they are done again.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use units::Nanos;

use super::folder::Folder;
use super::grid::Job;
use crate::SEMANTICS;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::run::ideal::{self, Ideals};
use crate::run::{Plan, manifest};

/// What `T_ideal` depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(String);

/// The file of one subject.
#[derive(Debug, Serialize, Deserialize)]
struct Cache {
    /// In full, against a hash that two subjects share.
    of: Value,
    /// By index of the session in the workload; null if it does not fit the KV pool.
    t_ideal_ns: BTreeMap<usize, Option<u64>>,
}

fn config(plan: &Plan) -> Value {
    let mut machine = plan.machine.config();
    if let Some(machine) = machine.as_object_mut() {
        // A session alone has all the time there is, and nobody looks.
        machine.remove("horizon_s");
        machine.remove("sample_every_s");
    }
    json!({
        "semantics": SEMANTICS,
        "trace_blake3": plan.workload.digest,
        "machine": machine,
    })
}

impl Subject {
    /// Of this plan.
    pub fn of(plan: &Plan) -> Self {
        Self(manifest::digest_of(&config(plan)).to_hex()[..16].to_owned())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("ideals").join(format!("{}.json", self.0))
    }
}

/// Which sessions of the plan's workload these jobs offer.
pub fn offered<'a>(plan: &Plan, jobs: impl IntoIterator<Item = &'a Job>) -> Vec<bool> {
    let mut offered = vec![false; plan.workload.sessions.len()];
    let mut seeds: Vec<u64> = jobs.into_iter().map(|job| job.case.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    for seed in seeds {
        for index in plan.order(seed) {
            offered[index as usize] = true;
        }
    }
    offered
}

/// `T_ideal` of those that are offered: from the folder, the rest measured and added to it. For a row
/// `isolated`, which the plan then must have, all are measured.
///
/// # Errors
/// A session that cannot be replayed, an interruption, or a folder that cannot be written to.
pub fn ideals(
    plan: &Plan,
    offered: &[bool],
    isolated: bool,
    folder: &Folder,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Ideals, Failure> {
    let path = Subject::of(plan).path();
    let config = config(plan);
    let read = fs::read_to_string(folder.root().join(&path)).ok();
    let cache: Option<Cache> = read.and_then(|text| serde_json::from_str(&text).ok());
    let mut cache = cache.filter(|cache| cache.of == config).unwrap_or(Cache {
        of: config,
        t_ideal_ns: BTreeMap::new(),
    });
    let missing: Vec<bool> = offered
        .iter()
        .enumerate()
        .map(|(i, offered)| *offered && (isolated || !cache.t_ideal_ns.contains_key(&i)))
        .collect();
    let mut measured = Ideals::default();
    if missing.contains(&true) {
        measured = ideal::ideals(plan, &missing, progress, interrupt)?;
        if interrupt.is_set() {
            return Err(Failure {
                exit: Exit::Interrupted,
                error: anyhow::anyhow!("interrupted"),
            });
        }
        for (i, ideal) in measured
            .latency
            .iter()
            .enumerate()
            .filter(|(i, _)| missing[*i])
        {
            cache.t_ideal_ns.insert(i, ideal.map(Nanos::as_nanos));
        }
        let text = serde_json::to_string(&cache).map_err(Failure::bad_input)?;
        folder.write(&path, &text).map_err(|error| Failure {
            exit: Exit::Partial,
            error,
        })?;
    }
    let known = |i| cache.t_ideal_ns.get(&i).copied().flatten();
    measured.latency = (0..offered.len())
        .map(|i| known(i).map(Nanos::new))
        .collect();
    Ok(measured)
}
