//! The real scheduler against a slow one that shares no idea with it, on random tiny loads.

use std::collections::BTreeMap;

use policies::PolicySpec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use workspace_tests::account::{account, difference, load, setup};
use workspace_tests::loads::{case, case_of_resets, fixed};
use workspace_tests::machine::{preset, run};
use workspace_tests::naive::{self, Case, Mlfq, Rules, SoftPins};

fn agree(case: &Case, policy: &PolicySpec, rules: &Rules) -> Result<(), TestCaseError> {
    let real = run(&setup(case), policy, &load(case));
    let real = real.map_err(|e| TestCaseError::fail(e.to_string()))?;
    let naive = naive::run(case, rules);
    match difference(&naive, &account(&real)) {
        None => Ok(()),
        Some(what) => Err(TestCaseError::fail(what)),
    }
}

/// Levels, quanta and times in proportion to tiny turns.
const MLFQ: Mlfq = Mlfq {
    footprint: [8, 16, 40],
    service: [24, 60, 100],
    quanta: [32, 16, 8, 4],
    aging_ns: 70_000_000,
};

const PINS: SoftPins = SoftPins {
    bound_ns: 60_000_000,
    tool_min: 3,
    // exp(-3.506_557_897_319_982) s = 30 ms.
    prior_ns: 30_000_000,
};

const ORDER: &[(&str, &str)] = &[
    ("order.kind", "mars-mlfq"),
    ("order.footprint", "[8, 16, 40]"),
    ("order.service", "[24, 60, 100]"),
    ("order.quanta", "[32, 16, 8, 4]"),
    ("order.aging_s", "0.07"),
];

const RETENTION: &[(&str, &str)] = &[
    ("retention.kind", "soft-pins"),
    ("retention.bound_s", "0.06"),
    ("retention.tool_min", "3"),
    ("retention.prior_mu", "-3.506557897319982"),
    ("retention.prior_sigma", "0.0"),
];

fn policy(order: bool, pins: bool) -> (PolicySpec, Rules) {
    let mut overrides = Vec::new();
    if order {
        overrides.extend_from_slice(ORDER);
    }
    if pins {
        overrides.extend_from_slice(RETENTION);
    }
    let rules = Rules {
        mlfq: order.then_some(MLFQ),
        pins: pins.then_some(PINS),
    };
    (preset("fcfs", &overrides), rules)
}

proptest! {
    #![proptest_config(fixed(6000, 1))]

    /// First come, first served: same steps, hits, preemptions, evictions.
    #[test]
    fn fcfs_agrees(case in case(false)) {
        let (policy, rules) = policy(false, false);
        agree(&case, &policy, &rules)?;
    }

    /// The same with shared openings.
    #[test]
    fn fcfs_agrees_with_shared_openings(case in case(true)) {
        let (policy, rules) = policy(false, false);
        agree(&case, &policy, &rules)?;
    }

    /// The multi-level queue alone.
    #[test]
    fn the_mars_order_agrees(case in case(true)) {
        let (policy, rules) = policy(true, false);
        agree(&case, &policy, &rules)?;
    }

    /// Soft pins under the plain order.
    #[test]
    fn soft_pins_agree(case in case(false)) {
        let (policy, rules) = policy(false, true);
        agree(&case, &policy, &rules)?;
    }

    /// Order and pins together.
    #[test]
    fn order_and_pins_agree(case in case(false)) {
        let (policy, rules) = policy(true, true);
        agree(&case, &policy, &rules)?;
    }

    /// Everything together.
    #[test]
    fn order_and_pins_agree_with_shared_openings(case in case(true)) {
        let (policy, rules) = policy(true, true);
        agree(&case, &policy, &rules)?;
    }

    /// The same where contexts are cut back below what several sessions hold.
    #[test]
    fn order_and_pins_agree_over_context_resets(case in case_of_resets()) {
        let (policy, rules) = policy(true, true);
        agree(&case, &policy, &rules)?;
    }

    /// And with first come, first served, where more turns wait while others run.
    #[test]
    fn pins_agree_over_context_resets(case in case_of_resets()) {
        let (policy, rules) = policy(false, true);
        agree(&case, &policy, &rules)?;
    }
}

/// The draws above reach what they are there for: without this, agreement could mean that nothing ever
/// ran short.
#[test]
fn the_random_loads_reach_every_rule() {
    let (policy, rules) = policy(true, true);
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let words = [
        " preempted by",
        "unpinned: running",
        "unpinned: waiting",
        "unpinned: resumed",
        "again: hit",
        "rejected",
        "hit 0",
        "hit 4",
        "hit 16",
    ];
    let mut runner = TestRunner::new(fixed(1, 1));
    let (mut evicted, mut recomputed, mut mixed) = (0, 0, 0);
    for _ in 0..2000 {
        let case = case(true).new_tree(&mut runner).expect("a case").current();
        let account = naive::run(&case, &rules);
        for word in words {
            let hits = account
                .facts
                .iter()
                .filter(|(_, fact)| fact.contains(word))
                .count();
            *seen.entry(word).or_default() += u32::from(hits > 0);
        }
        evicted += u32::from(account.evicted > 0);
        recomputed += u32::from(
            account
                .facts
                .iter()
                .any(|(_, f)| f.contains("again ") && !f.contains("again 0")),
        );
        mixed += u32::from(
            account
                .steps
                .iter()
                .any(|(_, s)| s.contains("decode") && s.contains("prefill")),
        );
    }
    for (word, count) in seen {
        assert!(count >= 40, "only {count} of 2000 loads show `{word}`");
    }
    assert!(
        evicted > 400 && recomputed > 200 && mixed > 400,
        "{evicted} {recomputed} {mixed}"
    );
    assert_eq!(policy.name, "fcfs");
}

/// A difference is seen: the naive fcfs against the real queue of `mars`.
#[test]
fn two_policies_are_told_apart() {
    let (_, fcfs) = policy(false, false);
    let (mars, _) = policy(true, false);
    let mut runner = TestRunner::new(fixed(1, 1));
    let apart = (0..300).filter(|_| {
        let case = case(true).new_tree(&mut runner).expect("a case").current();
        agree(&case, &mars, &fcfs).is_err()
    });
    assert!(apart.count() > 50);
}
