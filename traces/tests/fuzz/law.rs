//! What holds for every input of every parser.

use std::collections::BTreeSet;

use traces::import::{ImportReport, Imported, OnBadSession, Recording, by_name, collect, guess};
use traces::{Header, Session, TraceReader, TraceWriter};
use units::Nanos;

use crate::corpus::Sample;

/// What an import that went through gave.
type Read = Option<(Vec<Imported>, ImportReport)>;

/// Below this a time survives our own format to the nanosecond; above it, to the millisecond.
const EXACT: Nanos = Nanos::new((1 << 23) * 1_000_000_000);

/// Imports the sample both ways and checks what comes out.
pub(crate) fn holds(importer: &str, sample: &Sample) -> Read {
    // Looking at it is a parser too.
    let _ = guess(&sample.name, &sample.main);
    let strict = read(importer, sample, OnBadSession::Fail);
    let (sessions, report) = read(importer, sample, OnBadSession::Skip)
        .expect("a session that cannot be read is dropped");
    assert_eq!(sessions.len() as u64, report.sessions);
    if let Some(strict) = &strict {
        assert_eq!(report.dropped, 0);
        assert_eq!(
            strict.0, sessions,
            "a sound recording is read alike both ways"
        );
    } else {
        assert!(report.dropped > 0, "what fails is dropped and counted");
    }
    let mut ids = BTreeSet::new();
    for imported in &sessions {
        assert_eq!(imported.session.check(), Ok(()));
        assert!(
            ids.insert(imported.session.id.clone()),
            "two of {}",
            imported.session.id
        );
    }
    bounded(sample, &sessions, &report);
    round_trip(&collect(sessions));
    strict
}

fn read(importer: &str, sample: &Sample, on_bad: OnBadSession) -> Read {
    let mut input = &sample.main[..];
    let mut folder = sample.beside.clone();
    let recording = Recording::new(&sample.name, &mut input)
        .with_folder(&mut folder)
        .on_bad(on_bad);
    by_name(importer).expect("an importer").read(recording).ok()
}

/// What comes out is paid for by what went in, byte by byte, and reports do not grow at all.
fn bounded(sample: &Sample, sessions: &[Imported], report: &ImportReport) {
    let beside = sample.beside.values().map(Vec::len).sum::<usize>();
    let turns = sessions.iter().flat_map(|i| &i.session.turns);
    let parts: usize = turns.map(|turn| 1 + turn.tools.len()).sum();
    assert!(sessions.len() + parts <= sample.main.len() + beside);
    assert!(report.skipped.len() <= 100 && report.dropped_because.len() <= 20);
    for reason in &report.dropped_because {
        assert!(reason.len() <= 1000, "{reason}");
    }
}

/// Reads a trace, and writes it back.
pub(crate) fn reader_holds(bytes: &[u8]) -> Option<Vec<Session>> {
    let sessions: Vec<Session> = TraceReader::open(bytes)
        .ok()?
        .collect::<Result<_, _>>()
        .ok()?;
    for session in &sessions {
        assert_eq!(session.check(), Ok(()));
    }
    round_trip(&sessions);
    Some(sessions)
}

/// Written and read again, sessions are the same.
fn round_trip(sessions: &[Session]) {
    let header = Header {
        commands: sessions.iter().any(|session| session.commands() > 0),
        ..Header::default()
    };
    let mut writer = TraceWriter::plain(Vec::new(), &header).unwrap();
    for session in sessions {
        writer.write(session).expect("a lawful session");
    }
    let bytes = writer.finish().unwrap();
    if sessions.is_empty() {
        return;
    }
    let again: Vec<Session> = TraceReader::open(&bytes[..])
        .and_then(Iterator::collect)
        .expect("what was written can be read");
    assert_eq!(again.len(), sessions.len());
    for (session, again) in sessions.iter().zip(&again) {
        if times(session).all(|time| time < EXACT || time.as_nanos() % 1_000_000 == 0) {
            assert_eq!(session, again);
        } else {
            assert_eq!(session.prompt_tokens(), again.prompt_tokens());
        }
    }
}

fn times(session: &Session) -> impl Iterator<Item = Nanos> {
    let turns = session.turns.iter();
    let in_turns = turns.flat_map(|turn| {
        let tools = turn.tools.iter();
        let of_tools = tools
            .flat_map(|tool| [tool.wall, tool.cpu])
            .flatten()
            .map(|t| t.value);
        [turn.llm, turn.think].into_iter().flatten().chain(of_tools)
    });
    session.arrival.into_iter().chain(in_turns)
}
