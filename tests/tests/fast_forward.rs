//! Fast-forward changes nothing: every fact with its time, every step, sample, record and total is the
//! same with it and without.

#![allow(clippy::disallowed_methods, reason = "tests read files")]

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use policies::{PRESETS, PolicySpec};
use proptest::prelude::*;
use scheduler::{Planning, StartRoom};
use sim::cost::{ClosedForm, Coefficients, Host, InMillis};
use sim::world::{Offered, Setup, ToolMode};
use units::{Nanos, Tokens};
use workspace_tests::loads::{fixed, full_case};
use workspace_tests::machine::preset;
use workspace_tests::mixes::any_policy;
use workspace_tests::scenario::Scenario;
use workspace_tests::{both_ways, medium, vectors};

/// [`both_ways::same`] for a policy by its settings.
fn same(setup: &Setup, policy: &PolicySpec, load: &[Offered]) -> Result<(u64, u64), String> {
    let build = || policy.build().expect("a policy that can be built");
    both_ways::same(setup, &build, load)
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
        engine_threads in 0_u32..3,
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
        if let (ToolMode::Shared(cores), Some(threads)) = (setup.tools, NonZeroU32::new(engine_threads)) {
            setup.tools = ToolMode::WithEngine { cores, threads };
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
