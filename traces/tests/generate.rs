//! Generated sessions: lawful, a function of seed and index, and as described.

use traces::Evidence;
use traces::generate::{PRESETS, Quantity, Spec, achieved, preset};

#[test]
fn every_preset_can_be_read_and_generates_lawful_sessions() {
    for (name, _) in PRESETS {
        let spec = preset(name).expect("a preset");
        assert_eq!(&*spec.name, *name);
        assert!(!spec.about.is_empty() && !spec.sources.is_empty(), "{name}");
        for session in spec.sessions(1, 300) {
            assert_eq!(session.check(), Ok(()), "{}", session.id);
            let calls = session.turns.iter().flat_map(|turn| &turn.tools);
            for call in calls {
                assert_eq!(call.wall.map(|w| w.evidence), Some(Evidence::Drawn));
                assert_eq!(call.cpu.map(|c| c.evidence), Some(Evidence::Drawn));
            }
            assert!(
                session
                    .turns
                    .iter()
                    .all(|t| (t.output.evidence, t.prompt_evidence())
                        == (Evidence::Drawn, Evidence::Drawn))
            );
        }
    }
    assert!(preset("no such").is_none());
}

#[test]
fn a_session_depends_on_seed_and_index_alone() {
    for (name, _) in PRESETS {
        let spec = preset(name).expect("a preset");
        let all: Vec<_> = spec.sessions(7, 20).collect();
        for index in (0..20).rev() {
            let at = usize::try_from(index).unwrap();
            assert_eq!(spec.session(7, index), all[at]);
        }
        assert_ne!(spec.session(8, 0).turns, all[0].turns);
    }
}

#[test]
fn a_description_needs_a_name() {
    let refused = Spec::from_toml("turns = 1").unwrap_err().to_string();
    assert!(refused.contains("`first_prompt` is missing"), "{refused}");
}

#[test]
fn every_preset_has_the_statistics_it_states() {
    for (name, _) in PRESETS {
        let spec = preset(name).expect("a preset");
        assert!(!spec.targets.is_empty(), "{name}");
        // Shares of classes need more sessions than values of turns do.
        let count = if spec.classes.len() > 1 {
            10_000
        } else {
            3_000
        };
        for got in achieved(&spec, 1, count) {
            let target = &got.target;
            if target.of == Quantity::IdealS {
                // Only a machine can tell.
                assert_eq!((got.value, got.within()), (None, None));
                continue;
            }
            let (of, statistic) = (target.of.name(), target.statistic.name());
            eprintln!(
                "{name}: {of} {statistic}: wanted {}, got {:?}",
                target.wanted, got.value
            );
            assert_eq!(
                got.within(),
                Some(true),
                "{name} {of} {statistic} {:?}",
                got.value
            );
        }
    }
}

/// What a preset draws is part of every result that names it: a change here changes those.
#[test]
fn a_seed_gives_these_sessions_for_ever() {
    let mut lines = Vec::new();
    for (name, _) in PRESETS {
        let mut hasher = blake3::Hasher::new();
        let mut number = |n: u64| {
            hasher.update(&n.to_le_bytes());
        };
        for session in preset(name).expect("a preset").sessions(1, 200) {
            for turn in &session.turns {
                for n in [turn.prompt, turn.reused, turn.output.value] {
                    number(n.0);
                }
                for call in &turn.tools {
                    number(call.wall.map_or(u64::MAX, |w| w.value.as_nanos()));
                    number(call.cpu.map_or(u64::MAX, |c| c.value.as_nanos()));
                }
            }
        }
        let digest = hasher.finalize().to_hex();
        lines.push(format!("{name} {}", &digest[..16]));
    }
    assert_eq!(lines, DIGESTS);
}

const DIGESTS: [&str; 11] = [
    "swebench 931f8820ab292837",
    "claude-code 5894cf771473f970",
    "ilr-1 c7714134db3e6c3f",
    "ilr-2 69af8fc63024f025",
    "ilr-3 c0fae5f1b8187405",
    "ilr-4 3b7bbda8f2e4ca7b",
    "s-ilr-1 4df7c1a2ac995efb",
    "s-ilr-2 815530c0a3ac1ad3",
    "s-ilr-3 5be7d14899a840f9",
    "continuum-swebench ca16ef0fbda849ee",
    "continuum-bfcl 67b6b47ba3257966",
];
