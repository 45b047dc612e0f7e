//! The bundled workload: readable, lawful, complete, and what its README says it is.

mod common;

use common::{archived_files, each_archived, recordings};
use rand_core::Rng;
use traces::import::{Openings, Recording, mini_swe, weka};
use traces::validate::Ids;
use traces::{Evidence, bundled};
use units::{Nanos, Tokens};

#[test]
fn it_is_complete_and_lawful() {
    let (header, sessions) = bundled::swebench_mini();
    assert_eq!(header.license.as_deref(), Some("MIT"));
    assert!(
        header
            .source
            .unwrap()
            .contains("d12a71affd95403b036b2bdbd827349b77bfffb9")
    );
    assert_eq!(sessions.len(), 101);
    assert_eq!(sessions.iter().map(|s| s.turns.len()).sum::<usize>(), 3679);
    let mut ids = Ids::new();
    for session in &sessions {
        assert_eq!(session.check(), Ok(()));
        assert!(ids.insert(&session.id), "{} comes twice", session.id);
        assert!(session.arrival.is_some() && !session.shared.is_empty() && session.model.is_some());
        assert!(session.idle_time().is_some(), "every tool has a time");
        for tool in session.turns.iter().flat_map(|turn| &turn.tools) {
            let wall = tool.wall.unwrap();
            assert!(wall.value <= Nanos::from_millis(60_000));
            assert_ne!(wall.evidence, Evidence::Recorded);
            assert_eq!(tool.cpu.unwrap().evidence, Evidence::Drawn);
        }
    }
    assert!(sessions.is_sorted_by_key(|session| session.arrival));
    let peak = sessions.iter().map(traces::Session::peak_tokens).max();
    eprintln!("largest session: {} tokens", peak.unwrap_or(Tokens::ZERO));
}

#[test]
fn the_long_one_is_complete_and_lawful() {
    let (header, sessions) = bundled::weka_long();
    assert_eq!(header.license.as_deref(), Some("Apache-2.0"));
    let source = header.source.unwrap();
    assert!(source.contains("94f6046dfd9c0c8bc0cdb24a5aa6579bac8669bf"));
    assert_eq!(sessions.len(), 200);
    assert_eq!(
        sessions.iter().map(|s| s.turns.len()).sum::<usize>(),
        13_142
    );
    assert!(bundled::WEKA_LONG.len() < 300_000);
    let mut ids = Ids::new();
    let hour = Nanos::from_millis(3_600_000);
    for session in &sessions {
        assert_eq!(session.check(), Ok(()));
        assert!(ids.insert(&session.id), "{} comes twice", session.id);
        assert!(session.arrival.is_none() && !session.shared.is_empty());
        assert!(session.model.is_some() && session.parent.is_none());
        assert!(session.peak_tokens() <= Tokens(262_144));
        assert!(session.idle_time().is_some(), "every tool has a time");
        for turn in &session.turns {
            assert!(turn.think.is_none_or(|think| think <= hour));
            for tool in &turn.tools {
                let wall = tool.wall.unwrap();
                assert!(wall.value <= hour);
                // An upper bound is no recorded run time.
                assert_eq!(wall.evidence, Evidence::Estimated);
                assert_eq!(tool.cpu.unwrap().evidence, Evidence::Drawn);
            }
        }
    }
    let mut peaks: Vec<u64> = sessions.iter().map(|s| s.peak_tokens().0).collect();
    peaks.sort_unstable();
    eprintln!("largest contexts: median {}", peaks[peaks.len() / 2]);
}

#[test]
fn the_long_one_is_what_the_rule_takes_from_the_recordings() {
    let Some(folder) = recordings() else { return };
    let mut all = Vec::new();
    each_archived(&folder.join("weka-claude-code"), |name, bytes| {
        let mut input = bytes;
        let (sessions, _) = weka::IMPORTER.read(Recording::new("", &mut input)).unwrap();
        all.push((
            name.to_owned(),
            sessions.into_iter().next().unwrap().session,
        ));
    });
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let mut openings = Openings::new();
    all.retain(|(_, main)| main.peak_tokens() <= Tokens(262_144) && !openings.repeats(main));
    assert_eq!(all.len(), 387);
    // The 200 smallest draws.
    let draws: Vec<u64> = (0..387)
        .map(|at| traces::rng::stream(1, "weka-long", at).next_u64())
        .collect();
    let smaller = |draw: u64| draws.iter().filter(|other| **other < draw).count();
    let taken = all
        .iter()
        .zip(&draws)
        .filter(|(_, draw)| smaller(**draw) < 200);
    let hour = Nanos::from_millis(3_600_000);
    let mut cut = 0;
    let (_, sessions) = bundled::weka_long();
    let mut bundled = sessions.into_iter();
    for (((name, recorded), _), mut bundled) in taken.zip(&mut bundled) {
        let mut recorded = recorded.clone();
        for (turn, ours) in recorded.turns.iter_mut().zip(&mut bundled.turns) {
            cut += usize::from(turn.think.is_some_and(|think| think > hour));
            turn.think = turn.think.map(|think| think.min(hour));
            for (tool, ours) in turn.tools.iter_mut().zip(&mut ours.tools) {
                let wall = tool.wall.as_mut().unwrap();
                cut += usize::from(wall.value > hour);
                wall.value = wall.value.min(hour);
                // 55 % of it, in whole microseconds; a sub-agent waits for a model.
                let percent = if &*tool.name == "Task" { 0 } else { 55 };
                let share = wall.value.as_nanos() * percent / 100 / 1000 * 1000;
                assert_eq!(ours.cpu.take().unwrap().value, Nanos::new(share));
            }
        }
        assert_eq!(recorded, bundled, "{name}");
    }
    assert!(bundled.next().is_none());
    assert_eq!(cut, 77);
}

#[test]
fn every_name_has_a_workload() {
    for name in bundled::NAMES {
        assert!(
            bundled::by_name(name).is_some_and(|(_, sessions)| !sessions.is_empty()),
            "{name}"
        );
    }
    assert!(bundled::by_name("no such").is_none());
}

#[test]
fn it_is_what_the_rule_takes_from_the_recordings() {
    let Some(folder) = recordings() else { return };
    let files = archived_files(&folder.join("mini-swe-agent-gemini3pro"));
    let files: Vec<_> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".traj.json"))
        .collect();
    let (_, mut sessions) = bundled::swebench_mini();
    sessions.sort_by(|a, b| a.id.cmp(&b.id));
    let taken = files
        .iter()
        .enumerate()
        .filter(|(position, _)| [0, 3, 6].contains(&(position % 10)));
    let mut compared = 0;
    for ((_, (name, bytes)), bundled) in taken.zip(&mut sessions) {
        let (imported, _) = mini_swe::import(bytes, name).unwrap();
        // Take back what came after the import.
        bundled.arrival = None;
        for tool in bundled.turns.iter_mut().flat_map(|turn| &mut turn.tools) {
            tool.wall = tool.wall.filter(|wall| wall.evidence != Evidence::Drawn);
            tool.cpu = tool.cpu.filter(|cpu| cpu.evidence != Evidence::Drawn);
        }
        assert_eq!(&imported.session, bundled, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 101);
}
