//! The bundled workload: readable, lawful, complete, and what its README says it is.

mod common;

use common::{archived_files, recordings};
use traces::import::mini_swe;
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
