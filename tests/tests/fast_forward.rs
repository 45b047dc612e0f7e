//! Fast-forward changes nothing: every fact with its time, every step, sample, record and total is the
//! same with it and without.

#![allow(clippy::disallowed_methods, reason = "tests read files")]

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use policies::{PRESETS, PolicySpec};
use proptest::prelude::*;
use scheduler::{Planning, StartRoom};
use sim::cost::{ClosedForm, Coefficients, Host, InMillis};
use sim::world::{Offered, Setup, SimError, simulate};
use units::{Nanos, Tokens};
use workspace_tests::loads::{fixed, full_case};
use workspace_tests::machine::{Record, preset};
use workspace_tests::mixes::any_policy;
use workspace_tests::scenario::Scenario;
use workspace_tests::{medium, vectors};

fn run(
    setup: &Setup,
    policy: &PolicySpec,
    load: &[Offered],
    fast_forward: bool,
    blind: bool,
) -> Result<Record, SimError> {
    let mut setup = setup.clone();
    setup.engine.fast_forward = fast_forward;
    let mut record = Record {
        blind,
        ..Record::default()
    };
    let policy = policy.build().expect("a policy that can be built");
    record.summary = simulate(&setup, policy, load.iter().cloned(), &mut record)?;
    Ok(record)
}

/// The first place where two lists part.
fn differ<T: PartialEq + Debug>(what: &str, slow: &[T], fast: &[T]) -> Result<(), String> {
    let longer = slow.len().max(fast.len());
    match (0..longer).find(|&i| slow.get(i) != fast.get(i)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{what} {at}: {:?} without, {:?} with",
            slow.get(at),
            fast.get(at)
        )),
    }
}

/// Compares the two; returns the steps and those that were repeated.
fn same(setup: &Setup, policy: &PolicySpec, load: &[Offered]) -> Result<(u64, u64), String> {
    let slow = run(setup, policy, load, false, false);
    let fast = run(setup, policy, load, true, false);
    let blind = run(setup, policy, load, true, true);
    let (slow, fast, blind) = match (slow, fast, blind) {
        (Ok(slow), Ok(fast), Ok(blind)) => (slow, fast, blind),
        (Err(a), Err(b), Err(c)) if a == b && b == c => return Ok((0, 0)),
        (a, b, c) => {
            let (a, b, c) = (a.map(|_| ()), b.map(|_| ()), c.map(|_| ()));
            return Err(format!("{a:?}, {b:?}, {c:?}"));
        }
    };
    let steps = slow.summary.counters.steps;
    let repeated = fast.summary.repeated_steps;
    if slow.summary.repeated_steps != 0 || blind.summary.repeated_steps != repeated {
        return Err("repeated without being told to, or not alike".to_owned());
    }
    differ("step", &slow.steps, &fast.steps)?;
    for other in [&fast, &blind] {
        differ("fact", &slow.infos, &other.infos)?;
        differ("sample", &slow.samples, &other.samples)?;
        let records = |r: &Record| format!("{:?} {:?}", r.turns, r.sessions);
        if records(&slow) != records(other) {
            return Err("records differ".to_owned());
        }
        let mut summary = other.summary;
        summary.repeated_steps = 0;
        if slow.summary != summary {
            return Err(format!("{:?} without, {summary:?} with", slow.summary));
        }
    }
    Ok((steps, repeated))
}

/// Samples and decisions too.
fn look_closely(setup: &mut Setup, sample_ms: u64) {
    setup.engine.log_decisions = true;
    setup.sample_every = Some(Nanos::from_millis(sample_ms));
}

#[test]
fn every_scenario_is_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy();
        let text = fs::read_to_string(&path).expect("readable");
        let mut scenario = Scenario::parse(&name, &text);
        look_closely(&mut scenario.setup, 7);
        if let Err(what) = same(&scenario.setup, &scenario.policy, &scenario.load) {
            wrong.push(format!("{name}: {what}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 40, "only {count} scenarios");
}

#[test]
fn every_hand_computed_case_is_the_same() {
    let Some(folder) = vectors::folder() else {
        eprintln!("skipped: the reference vectors are not beside this checkout");
        return;
    };
    for vector in vectors::load(&folder).iter().filter(|v| v.kind.is_empty()) {
        let mut setup = vector.setup();
        look_closely(&mut setup, 7);
        // Every policy on every case, not only the one that it was computed for.
        for (name, _) in PRESETS {
            let policy = preset(name, &vector.overrides());
            if let Err(what) = same(&setup, &policy, &vector.offered()) {
                panic!("{} under {name}: {what}", vector.name);
            }
        }
    }
}

/// Every preset on the medium load, and how much of it is repeated: every shipped order says for how
/// long its batches go on, so none may be stepped all the way.
#[test]
fn every_preset_is_the_same_and_repeats() {
    let load = medium::load();
    let mut setup = medium::setup();
    look_closely(&mut setup, 130);
    for (name, _) in PRESETS {
        match same(&setup, &preset(name, &[]), &load) {
            Err(what) => panic!("{name}: {what}"),
            Ok((steps, repeated)) => {
                eprintln!("{name}: {repeated} of {steps} steps repeated");
                assert!(repeated * 4 > steps, "{name}: {repeated} of {steps}");
            }
        }
    }
}

/// A cost with a bit of everything and no round number, so that rounding shows.
fn uneven(setup: &mut Setup) {
    let cost = InMillis {
        p0: 3.137,
        p1: 0.211,
        p2: 1.7e-3,
        d0: 2.719,
        e: 1.3,
        d1: 0.013_7,
        d2: 7.3e-4,
    };
    let host = Host {
        per_step: Nanos::new(801),
        per_running: Nanos::new(77),
        overlapped: false,
    };
    let coefficients = Coefficients::from_ms(&cost, 0.11).expect("coefficients");
    setup.cost = Arc::new(ClosedForm::new(coefficients, host).expect("a cost model"));
}

/// A tiny machine with the sessions of two loads, so that some wait while others decode.
fn crowd() -> impl Strategy<Value = (Setup, Vec<Offered>)> {
    (full_case(), full_case()).prop_map(|((setup, mut load), (_, more))| {
        load.extend(more);
        load.sort_by_key(|o| o.arrival);
        (setup, load)
    })
}

proptest! {
    #![proptest_config(fixed(4000, 11))]

    /// Every mix of parts, on tiny machines where memory is always short, with outputs of up to some
    /// blocks.
    #[test]
    fn every_mix_is_the_same(
        (mut setup, mut load) in prop_oneof![full_case(), crowd()],
        policy in any_policy(),
        longer in 1_u64..9,
        larger in 1_u64..4,
        odd_cost in any::<bool>(),
        (ahead, whole) in any::<(bool, bool)>(),
        sample_ms in 1_u64..60,
    ) {
        setup.engine.usable_blocks.0 *= larger;
        look_closely(&mut setup, sample_ms);
        if odd_cost {
            uneven(&mut setup);
        }
        if ahead {
            setup.engine.planning = Planning::Ahead;
        }
        if whole {
            setup.engine.start_room = StartRoom::WholeContext;
        }
        for one in &mut load {
            for turn in &mut Arc::make_mut(&mut one.session).turns {
                turn.output.value = Tokens(turn.output.value.get() * longer);
            }
        }
        if let Err(what) = same(&setup, &policy, &load) {
            return Err(TestCaseError::fail(format!("{what}\n{}", policy.to_toml().expect("TOML"))));
        }
    }
}
