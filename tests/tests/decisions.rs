//! The decision log: every effect has its decision before it, and taking the log changes nothing.

use std::collections::BTreeMap;

use scheduler::{Decision, DecisionKind, Info, Reason, Unpin};
use sim::world::{Offered, Setup};
use units::{SessionId, Time};
use workspace_tests::machine::{
    Record, TEN_MS, machine, offered, preset, run, turn, with_pool, with_tool,
};

/// Ten sessions of three turns each that do not fit the pool together.
fn crowd() -> Vec<Offered> {
    let session = |i: u32| {
        let turns = vec![
            with_tool(turn(600, 0, 120), "bash", 0.3, 0.1),
            with_tool(turn(900, 719, 150), "edit", 0.2, 0.1),
            turn(1200, 1049, 90),
        ];
        offered(f64::from(i) * 0.15, turns)
    };
    (0..10).map(session).collect()
}

fn small() -> Setup {
    with_pool(machine(&TEN_MS, 1.0, 0.0), 200)
}

fn logging(mut setup: Setup) -> Setup {
    setup.engine.log_decisions = true;
    setup
}

fn decisions(record: &Record) -> Vec<(Time, &Decision)> {
    record
        .infos
        .iter()
        .filter_map(|(at, info)| match info {
            Info::Decided(decision) => Some((*at, &**decision)),
            _ => None,
        })
        .collect()
}

/// What the log must say just before this fact.
fn asked_for(info: &Info) -> Option<(SessionId, &'static [DecisionKind])> {
    use DecisionKind as K;
    Some(match info {
        Info::Admitted { session } => (*session, &[K::Admit]),
        Info::TurnStarted { session, .. } => (*session, &[K::Start]),
        Info::Preempted { session, .. } => (*session, &[K::Preempt]),
        Info::Paused { session } => (*session, &[K::Pause]),
        Info::Unpaused { session } => (*session, &[K::Resume]),
        Info::Unpinned { session, why } => match why {
            Unpin::Expired => (*session, &[K::Expire]),
            Unpin::ReclaimedForRunning | Unpin::ReclaimedForWaiting => (*session, &[K::Reclaim]),
            Unpin::Reconsidered | Unpin::HostFull => (*session, &[K::Release]),
            // A start, a copy that ended and a session's end are no decisions about a pin.
            Unpin::Resumed | Unpin::Offloaded | Unpin::SessionOver => return None,
        },
        _ => return None,
    })
}

const POLICIES: [&str; 7] = [
    "fcfs",
    "mars",
    "mars-preview",
    "autellix",
    "infercept",
    "continuum",
    "thunderagent",
];

#[test]
fn every_effect_has_its_decision() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for policy in POLICIES {
        let record = run(&logging(small()), &preset(policy, &[]), &crowd()).unwrap();
        // The latest decision about each session.
        let mut last: BTreeMap<SessionId, DecisionKind> = BTreeMap::new();
        for (at, info) in &record.infos {
            if let Info::Decided(d) = info {
                *seen.entry(d.kind.name()).or_default() += 1;
                assert_ne!(d.reason, Reason::Unstated, "{policy} at {at}: {d:?}");
                if let Some(session) = d.session {
                    last.insert(session, d.kind);
                }
            } else if let Some((session, kinds)) = asked_for(info) {
                let kind = last.get(&session);
                assert!(
                    kind.is_some_and(|kind| kinds.contains(kind)),
                    "{policy} at {at}: {info:?} after {kind:?}"
                );
            }
        }
    }
    for kind in ["admit", "start", "preempt", "pin", "release", "window"] {
        assert!(seen.contains_key(kind), "no `{kind}` in {seen:?}");
    }
}

#[test]
fn the_log_changes_nothing() {
    for policy in POLICIES {
        let policy = preset(policy, &[]);
        let without = run(&small(), &policy, &crowd()).unwrap();
        let mut with = run(&logging(small()), &policy, &crowd()).unwrap();
        assert!(!decisions(&with).is_empty());
        with.infos
            .retain(|(_, info)| !matches!(info, Info::Decided(_)));
        assert_eq!(without.infos, with.infos, "{}", policy.name);
        assert_eq!(without.steps, with.steps, "{}", policy.name);
    }
}

/// A: 600 tokens into an empty machine: 38 blocks. Its start finds nothing in KV. It yields at its
/// 120th token with 719 tokens in KV, the last one sampled not computed: 45 blocks.
#[test]
fn the_numbers_of_one_session_by_hand() {
    let record = run(&logging(small()), &preset("mars", &[]), &crowd()[..1]).unwrap();
    let all = decisions(&record);
    let of = |kind| {
        let mut found = all.iter().filter(|(_, d)| d.kind == kind);
        found.next().expect("there is one").1
    };
    let admit = of(DecisionKind::Admit);
    assert_eq!(admit.reason, Reason::MachineEmpty);
    assert_eq!(admit.detail.demand.map(units::Blocks::get), Some(38));
    assert_eq!(admit.detail.tokens.map(units::Tokens::get), Some(600));
    assert_eq!((admit.seen.backlog, admit.seen.in_flight), (1, 0));
    assert_eq!(admit.detail.key, None);
    let start = of(DecisionKind::Start);
    assert_eq!(start.reason, Reason::HeadOfOrder);
    assert_eq!(start.detail.hit.map(units::Tokens::get), Some(0));
    assert_eq!((start.seen.waiting, start.seen.running), (1, 0));
    let pin = of(DecisionKind::Pin);
    assert_eq!(pin.reason, Reason::SoftPin);
    assert_eq!(pin.detail.tokens.map(units::Tokens::get), Some(719));
    assert_eq!(pin.detail.blocks.map(units::Blocks::get), Some(45));
    assert_eq!(pin.tool_wait_s, None);
    let window = of(DecisionKind::Window);
    assert_eq!(window.session, None);
    assert_eq!(window.reason, Reason::NoPressure);
}
