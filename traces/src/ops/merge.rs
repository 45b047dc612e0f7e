//! Several traces as one.
//!
//! - Ids stay where they are unique. One that several traces have becomes `LABEL/id` in each of them,
//!   and so do the links of sub-agents to it.
//! - Groups of shared openings stay: equal names mean equal tokens. [`Rules::own_groups`] gives each
//!   trace its own, for traces that number their groups.
//! - Arrivals are kept, and the sessions of all traces interleaved by them; or each trace begins when
//!   the last session of the one before has arrived.
//!
//! Limits: all sessions are in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use units::Nanos;

use crate::model::Session;
use crate::validate::ARRIVAL_LIMIT;

/// What becomes of arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// All traces begin together.
    #[default]
    Kept,
    /// Each trace begins with the last arrival of the one before it.
    OneAfterAnother,
}

/// How to merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What becomes of arrivals.
    pub arrivals: Arrivals,
    /// Whether groups of shared openings become `LABEL/group`.
    pub own_groups: bool,
}

/// A trace to merge.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What to tell its ids apart by; unique among the parts.
    pub label: String,
    /// Its sessions, ids unique among them.
    pub sessions: Vec<Session>,
}

/// Two things that must differ and do not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Two parts of one label.
    #[error("two of the traces are labelled `{label}` (wanted: a label for each)")]
    SameLabel {
        /// The label.
        label: String,
    },
    /// Traces one after another that pass the latest arrival of the format.
    #[error("session `{id}` would arrive at {arrival} (wanted: at most {ARRIVAL_LIMIT})")]
    TooLate {
        /// The session.
        id: String,
        /// When it would arrive.
        arrival: Nanos,
    },
    /// An id that even the label does not make unique.
    #[error("the merged trace has two sessions `{id}` (wanted: unique ids)")]
    SameId {
        /// The id.
        id: String,
    },
}

/// What merging came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// Every session of every part. By arrival; equal ones and those without any (last) in the
    /// order of the parts.
    pub sessions: Vec<Session>,
    /// Sessions whose id got a label.
    pub renamed: u64,
}

/// Merges the parts in their order.
///
/// # Errors
/// [`MergeError`] for labels or ids that are not unique.
pub fn merge(parts: Vec<Part>, rules: Rules) -> Result<Merged, MergeError> {
    let mut labels: Vec<&str> = parts.iter().map(|part| part.label.as_str()).collect();
    labels.sort_unstable();
    if let Some(pair) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
        let label = pair[0].to_owned();
        return Err(MergeError::SameLabel { label });
    }
    let clashes = clashes(&parts);
    let mut renamed = 0;
    let mut begins = Nanos::ZERO;
    let mut sessions = Vec::new();
    for part in parts {
        let labelled = |name: &Arc<str>| Arc::from(format!("{}/{name}", part.label));
        let mut last = begins;
        for mut session in part.sessions {
            if clashes.contains_key(&session.id) {
                session.id = labelled(&session.id);
                renamed += 1;
            }
            if let Some(parent) = &mut session.parent
                && clashes.contains_key(parent)
            {
                *parent = labelled(parent);
            }
            if rules.own_groups {
                relabel_groups(&mut session, &labelled);
            }
            if let Some(arrival) = &mut session.arrival {
                if rules.arrivals == Arrivals::OneAfterAnother {
                    *arrival += begins;
                }
                if *arrival > ARRIVAL_LIMIT {
                    return Err(MergeError::TooLate {
                        id: session.id.to_string(),
                        arrival: *arrival,
                    });
                }
                last = last.max(*arrival);
            }
            sessions.push(session);
        }
        begins = last;
    }
    // Stable: what arrives together keeps the order of the parts.
    sessions.sort_by_key(|session| (session.arrival.is_none(), session.arrival));
    unique(&sessions)?;
    Ok(Merged { sessions, renamed })
}

fn relabel_groups(session: &mut Session, labelled: &impl Fn(&Arc<str>) -> Arc<str>) {
    for segment in &mut session.shared {
        segment.group = labelled(&segment.group);
    }
}

/// Ids that more than one part has.
fn clashes(parts: &[Part]) -> BTreeMap<Arc<str>, usize> {
    let mut seen: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for part in parts {
        for session in &part.sessions {
            *seen.entry(Arc::clone(&session.id)).or_default() += 1;
        }
    }
    seen.retain(|_, parts| *parts > 1);
    seen
}

fn unique(sessions: &[Session]) -> Result<(), MergeError> {
    let mut ids: Vec<&str> = sessions.iter().map(|s| &*s.id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(MergeError::SameId {
            id: pair[0].to_owned(),
        }),
        None => Ok(()),
    }
}
