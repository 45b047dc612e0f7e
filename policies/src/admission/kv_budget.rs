//! Admission by free KV alone: no window, no gate, no tool CPUs; only who of those that wait goes first.
//!
//! Rule: while what is free, less a reserve and what admitted turns still have to allocate, holds the
//! first prompt of a waiting session, it enters; one that does not fit is skipped and blocks nobody.
//! With nobody inside the oldest enters whatever its size.
//! Why: MARS packs its backlog smallest first *and* bounds it by a window (arXiv 2604.26963, Algorithm 1,
//! `PackQueue`). This part is the packing without the window, so that a figure can tell what the order
//! alone is worth: `smallest-first` against `arrival` under the same budget.
//! Limits: under `smallest-first` a large session waits for as long as smaller ones keep coming that
//! fit. Only first prompts are counted: what later turns grow to is not known here.

use scheduler::policy::{Admission, Backlog, Candidate, Choice, InFlight, Trigger};
use scheduler::{Reason, Telemetry, Window};
use serde::{Deserialize, Serialize};
use units::{Blocks, Time, ceil_share};

/// Settings of [`KvBudget`]; defaults are in `presets/parts.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvBudgetSettings {
    /// Who of those that wait is tried first.
    pub first: First,
    /// Share of the pool that admissions leave free, percent, rounded up.
    pub reserve_percent: u64,
}

/// Who of those that wait is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// The smallest first prompt, then the oldest.
    Smallest,
    /// The oldest.
    Oldest,
}

/// The packing.
#[derive(Clone, Debug)]
pub struct KvBudget {
    set: KvBudgetSettings,
}

impl KvBudget {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: KvBudgetSettings) -> Result<Self, String> {
        if set.reserve_percent > 100 {
            let got = set.reserve_percent;
            return Err(format!("reserve_percent is {got}, wanted 0 to 100"));
        }
        Ok(Self { set })
    }
}

/// Admits of `candidates` whoever fits what is left of the budget.
fn pack<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    reason: Reason,
    budget: &mut Blocks,
    admit: &mut Vec<Choice>,
) {
    for candidate in candidates {
        if *budget == Blocks::ZERO {
            break;
        }
        let entered = admit.iter().any(|c| c.session == candidate.session);
        if !entered && candidate.demand <= *budget {
            *budget -= candidate.demand;
            admit.push(Choice::new(candidate.session, reason));
        }
    }
}

impl Admission for KvBudget {
    fn admit(
        &mut self,
        _now: Time,
        _why: Trigger,
        telemetry: &Telemetry,
        backlog: &Backlog,
        _in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window> {
        let t = telemetry;
        let reserve = Blocks(ceil_share(t.usable.get(), self.set.reserve_percent));
        let mut budget = (t.free + t.stale).saturating_sub(reserve + t.owed);
        if t.in_flight == 0
            && let Some(oldest) = backlog.by_arrival().next()
        {
            // No dead end: whatever its size, the oldest enters an empty machine.
            budget = budget.saturating_sub(oldest.demand);
            admit.push(Choice::new(oldest.session, Reason::MachineEmpty));
        }
        match self.set.first {
            First::Smallest => {
                pack(backlog.by_size(), Reason::SmallestFirst, &mut budget, admit);
            }
            First::Oldest => {
                pack(
                    backlog.by_arrival(),
                    Reason::OldestThatFits,
                    &mut budget,
                    admit,
                );
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::{SessionId, Tokens};

    struct Nobody;

    impl InFlight for Nobody {
        fn held(&self, _session: SessionId) -> Blocks {
            Blocks::ZERO
        }
    }

    /// A pool of 1000 blocks; sessions 0, 1, 2, ... wait with first prompts of so many blocks of 16 tokens.
    fn entering(first: First, in_flight: usize, free: u64, owed: u64, demands: &[u64]) -> Vec<u32> {
        let mut backlog = Backlog::default();
        for (id, &demand) in (0..).zip(demands) {
            backlog.insert(Candidate {
                session: SessionId(id),
                arrival: Time::ZERO,
                prompt: Tokens(16 * demand),
                demand: Blocks(demand),
                foresight: None,
            });
        }
        let telemetry = Telemetry {
            free: Blocks(free),
            owed: Blocks(owed),
            in_flight,
            ..crate::retention::tests::idle()
        };
        let settings = KvBudgetSettings {
            first,
            reserve_percent: 10,
        };
        let mut admitted = Vec::new();
        let window = KvBudget::new(settings).unwrap().admit(
            Time::ZERO,
            Trigger::Arrival,
            &telemetry,
            &backlog,
            &Nobody,
            &mut admitted,
        );
        assert!(window.is_none());
        admitted.iter().map(|c| c.session.0).collect()
    }

    #[test]
    fn the_smallest_enter_while_the_budget_lasts() {
        // 500 free less 100 in reserve and 50 owed: 350 to give, 100 + 200 of them.
        let demands = [300, 200, 100, 360];
        assert_eq!(entering(First::Smallest, 1, 500, 50, &demands), [2, 1]);
        // By arrival the first takes 300; of the others none fits the 50 that are left.
        assert_eq!(entering(First::Oldest, 1, 500, 50, &demands), [0]);
    }

    #[test]
    fn who_does_not_fit_blocks_nobody() {
        // 400 to give: 0 is passed over, 1 enters, and 2 takes the rest to the block.
        assert_eq!(entering(First::Oldest, 1, 500, 0, &[401, 150, 250]), [1, 2]);
        assert_eq!(entering(First::Smallest, 1, 100, 0, &[1]), []);
    }

    #[test]
    fn an_empty_machine_takes_the_oldest_whatever_its_size() {
        // It leaves nothing of the 900 to the others ...
        assert_eq!(entering(First::Smallest, 0, 1000, 0, &[950, 10]), [0]);
        // ... or something, and enters once.
        assert_eq!(
            entering(First::Smallest, 0, 1000, 0, &[800, 90, 20]),
            [0, 2]
        );
        assert_eq!(entering(First::Oldest, 0, 1000, 0, &[800, 90, 20]), [0, 1]);
    }

    #[test]
    fn a_reserve_of_more_than_all_is_refused() {
        let settings = KvBudgetSettings {
            first: First::Smallest,
            reserve_percent: 101,
        };
        let error = KvBudget::new(settings).unwrap_err();
        assert_eq!(error, "reserve_percent is 101, wanted 0 to 100");
    }
}
