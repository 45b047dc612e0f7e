//! Admission of an oracle: shortest remaining work first, and never more than fits.
//!
//! Rule: the session with the least remaining work enters while the peaks of all that are inside, its
//! own included, fit the pool; with nobody inside it enters whatever its peak. A session's peak is
//! counted until it completes.
//! Source: shortest remaining processing time with the memory known (reference section 2). An oracle,
//! not a bound: tools, shared steps and memory make the shortest first a rule of thumb.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::policy::{Admission, Backlog, Candidate, Choice, InFlight, Trigger};
use scheduler::{Reason, Telemetry, Window};
use serde::{Deserialize, Serialize};
use units::{Blocks, Nanos, SessionId, Time};

use crate::oracle::Remaining;

/// Settings of [`SrptAdmission`]; defaults are in `presets/srpt-oracle.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SrptAdmissionSettings {
    /// Which remaining work is short.
    pub by: Remaining,
    /// Share of the pool that the peaks of the sessions inside may add up to, percent.
    pub peak_percent: u64,
    /// Whether a session that fits may pass a shorter one that does not.
    pub overtake: bool,
}

/// The shortest that fit.
#[derive(Clone, Debug)]
pub struct SrptAdmission {
    set: SrptAdmissionSettings,
    /// The backlog by remaining work, with the peaks.
    queue: BTreeSet<(Nanos, SessionId, Blocks)>,
    /// Peaks of those inside.
    inside: BTreeMap<SessionId, Blocks>,
    taken: Blocks,
}

impl SrptAdmission {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: SrptAdmissionSettings) -> Result<Self, String> {
        if set.peak_percent == 0 || set.peak_percent > 10_000 {
            let got = set.peak_percent;
            return Err(format!("peak_percent is {got}, wanted 1 to 10000"));
        }
        Ok(Self {
            set,
            queue: BTreeSet::new(),
            inside: BTreeMap::new(),
            taken: Blocks::ZERO,
        })
    }
}

impl Admission for SrptAdmission {
    fn needs_foresight(&self) -> bool {
        true
    }

    fn arrived(&mut self, _now: Time, candidate: &Candidate) {
        let remaining = self.set.by.of(candidate.foresight);
        // Without foresight the first prompt is all that is known of its memory.
        let peak = candidate.foresight.map_or(candidate.demand, |f| f.peak);
        self.queue.insert((remaining, candidate.session, peak));
    }

    fn admit(
        &mut self,
        _now: Time,
        _why: Trigger,
        telemetry: &Telemetry,
        _backlog: &Backlog,
        _in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window> {
        let room = Blocks(telemetry.usable.get() * self.set.peak_percent / 100);
        let mut entering = Vec::new();
        for &(remaining, session, peak) in &self.queue {
            if self.taken + peak <= room || self.inside.is_empty() {
                self.taken += peak;
                self.inside.insert(session, peak);
                entering.push((remaining, session, peak));
            } else if !self.set.overtake {
                break;
            }
        }
        for entry in entering {
            self.queue.remove(&entry);
            admit.push(Choice::new(entry.1, Reason::ShortestThatFits));
        }
        None
    }

    fn ended(&mut self, session: SessionId) {
        if let Some(peak) = self.inside.remove(&session) {
            self.taken -= peak;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduler::Foresight;
    use units::Tokens;

    fn candidate(session: u32, seconds: u64, peak: u64) -> Candidate {
        Candidate {
            session: SessionId(session),
            arrival: Time::ZERO,
            prompt: Tokens(16),
            demand: Blocks(1),
            foresight: Some(Foresight {
                remaining: Nanos::from_millis(1000 * seconds),
                gpu_work: Nanos::ZERO,
                peak: Blocks(peak),
                idle_after: Nanos::ZERO,
            }),
        }
    }

    /// A pool of 1000 blocks. By remaining time: session 2 (1 s, 600), 0 (2 s, 500), 1 (3 s, 300).
    fn entering(overtake: bool) -> (SrptAdmission, Vec<u32>) {
        let set = SrptAdmissionSettings {
            by: Remaining::IdealTime,
            peak_percent: 100,
            overtake,
        };
        let mut admission = SrptAdmission::new(set).unwrap();
        for c in [
            candidate(0, 2, 500),
            candidate(1, 3, 300),
            candidate(2, 1, 600),
        ] {
            admission.arrived(Time::ZERO, &c);
        }
        let entered = ask(&mut admission);
        (admission, entered)
    }

    fn ask(admission: &mut SrptAdmission) -> Vec<u32> {
        let mut admit = Vec::new();
        let telemetry = crate::retention::tests::idle();
        let (backlog, held) = (Backlog::default(), Nobody);
        admission.admit(
            Time::ZERO,
            Trigger::Arrival,
            &telemetry,
            &backlog,
            &held,
            &mut admit,
        );
        admit.into_iter().map(|c| c.session.0).collect()
    }

    struct Nobody;
    impl InFlight for Nobody {
        fn held(&self, _session: SessionId) -> Blocks {
            Blocks::ZERO
        }
    }

    #[test]
    fn the_shortest_enter_while_their_peaks_fit() {
        // 600, and 500 more do not fit: whether 300 may pass is a setting.
        let (mut strict, entered) = entering(false);
        assert_eq!(entered, [2]);
        let (_, entered) = entering(true);
        assert_eq!(entered, [2, 1]);
        // With 2 gone, 500 and 300 fit.
        strict.ended(SessionId(2));
        assert_eq!(ask(&mut strict), [0, 1]);
    }

    #[test]
    fn an_empty_machine_takes_the_shortest_whatever_its_peak() {
        let set = SrptAdmissionSettings {
            by: Remaining::IdealTime,
            peak_percent: 50,
            overtake: true,
        };
        let mut admission = SrptAdmission::new(set).unwrap();
        admission.arrived(Time::ZERO, &candidate(0, 2, 900));
        admission.arrived(Time::ZERO, &candidate(1, 3, 1));
        assert_eq!(ask(&mut admission), [0]);
    }
}
