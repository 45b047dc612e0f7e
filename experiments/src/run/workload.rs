//! The sessions that are offered: where they come from and in which order.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use rand_core::Rng;
use serde::Serialize;
use traces::rng::stream;
use traces::{Evidence, Header, Session, TraceWriter};

use crate::failure::Failure;
use crate::trace::args::OnBad;
use crate::trace::input::{Dropped, Input};
use crate::trace::made::Make;

pub use crate::trace::input::DEFAULT;

/// Sessions to offer.
#[derive(Clone, Debug)]
pub struct Workload {
    /// As the user named it.
    pub name: String,
    /// What the trace says about itself.
    pub header: Header,
    /// In the file's order.
    pub sessions: Vec<Arc<Session>>,
    /// BLAKE3 of the sessions as written plain by our own writer: the same for a compressed copy.
    pub digest: String,
    /// Where its numbers come from.
    pub evidence: EvidenceCounts,
    /// Whether its sessions were made from a description, so that there are as many as are offered.
    pub made: bool,
    /// Sessions that cannot be read and were left out.
    pub dropped: Dropped,
}

/// How to load a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loading {
    /// How many sessions of a description, and from which seed: one of its own, so that every run
    /// seed, rate and policy meets the same sessions.
    pub make: Make,
    /// What to do about a session of a file that cannot be read.
    pub on_bad: OnBad,
}

/// Numbers by where they come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// The recording says so.
    pub recorded: u64,
    /// Computed from the recording.
    pub estimated: u64,
    /// Drawn from a fitted distribution.
    pub drawn: u64,
    /// Nobody knows; such a session cannot be replayed.
    pub unknown: u64,
}

impl Counts {
    fn note(&mut self, evidence: Option<Evidence>) {
        match evidence {
            Some(Evidence::Recorded) => self.recorded += 1,
            Some(Evidence::Estimated) => self.estimated += 1,
            Some(Evidence::Drawn) => self.drawn += 1,
            None => self.unknown += 1,
        }
    }
}

/// Numbers of sessions by what they are and where they come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EvidenceCounts {
    /// Prompt lengths; recorded, but in generated sessions.
    pub prompts: Counts,
    /// Output lengths.
    pub outputs: Counts,
    /// Tool times alone.
    pub tool_walls: Counts,
    /// CPU times of tools.
    pub tool_cpus: Counts,
}

impl EvidenceCounts {
    /// Counts one session's numbers.
    pub fn of(session: &Session) -> Self {
        let mut counts = Self::default();
        counts.note(session);
        counts
    }

    fn note(&mut self, session: &Session) {
        for turn in &session.turns {
            self.prompts.note(Some(turn.prompt_evidence()));
            self.outputs.note(Some(turn.output.evidence));
            for tool in &turn.tools {
                self.tool_walls.note(tool.wall.map(|w| w.evidence));
                self.tool_cpus.note(tool.cpu.map(|c| c.evidence));
            }
        }
    }

    /// Over all kinds: recorded, estimated, drawn.
    pub fn totals(&self) -> [u64; 3] {
        let all = [self.prompts, self.outputs, self.tool_walls, self.tool_cpus];
        [
            all.iter().map(|c| c.recorded).sum(),
            all.iter().map(|c| c.estimated).sum(),
            all.iter().map(|c| c.drawn).sum(),
        ]
    }
}

impl Workload {
    /// The workload called `name`: a bundled one, a generator's preset or `.toml` description, a trace
    /// file, or `-` for stdin.
    ///
    /// # Errors
    /// Bad input: no such workload, or a trace that cannot be used, with the line.
    pub fn load(name: &str, loading: Loading) -> Result<Self, Failure> {
        let (input, made) = Input::open_or_make(name, loading.make)?;
        let header = input.header.clone();
        let mut sessions = Vec::new();
        let dropped = input.each(loading.on_bad, |session| {
            sessions.push(session);
            Ok(())
        })?;
        Ok(Self {
            made,
            dropped,
            ..Self::new(name, header, sessions)?
        })
    }

    /// A workload of these sessions.
    ///
    /// # Errors
    /// Bad input: a session that breaks a law of the model.
    pub fn new(name: &str, header: Header, sessions: Vec<Session>) -> Result<Self, Failure> {
        let digest = digest(&sessions).map_err(Failure::bad_input)?;
        let mut evidence = EvidenceCounts::default();
        for session in &sessions {
            evidence.note(session);
        }
        Ok(Self {
            name: name.to_owned(),
            header,
            sessions: sessions.into_iter().map(Arc::new).collect(),
            digest,
            evidence,
            made: false,
            dropped: Dropped::default(),
        })
    }

    /// The first `count` sessions to offer, as indices: a new order for every cycle through the file,
    /// drawn from `(seed, "session_order", cycle)`.
    pub fn order(&self, seed: u64, count: usize) -> Vec<u32> {
        let each = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let mut order = Vec::with_capacity(count);
        let mut cycle = 0;
        while order.len() < count && each > 0 {
            let mut indices: Vec<u32> = (0..each).collect();
            shuffle(&mut indices, &mut stream(seed, "session_order", cycle));
            indices.truncate(count - order.len());
            order.append(&mut indices);
            cycle += 1;
        }
        order
    }
}

/// Fisher and Yates: every order is as likely as any other.
fn shuffle(items: &mut [u32], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        // The high half of a product is uniform to within 2^-32 for up to 2^32 items.
        let wide = u128::from(rng.next_u64()) * (last as u128 + 1);
        let pick = usize::try_from(wide >> 64).expect("at most `last`");
        items.swap(last, pick);
    }
}

struct Hashing(blake3::Hasher);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn digest(sessions: &[Session]) -> anyhow::Result<String> {
    let hashing = BufWriter::new(Hashing(blake3::Hasher::new()));
    // Without the header: a note on the licence does not change what is run. The version does.
    let header = Header {
        commands: sessions.iter().any(|session| session.commands() > 0),
        ..Header::default()
    };
    let mut writer = TraceWriter::plain(hashing, &header)?;
    for session in sessions {
        writer.write(session)?;
    }
    let hashing = writer
        .finish()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok(hashing.0.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cycle_offers_every_session_once_in_its_own_order() {
        let workload = Workload::load("bundled", Loading::default()).unwrap();
        let n = workload.sessions.len();
        let order = workload.order(1, 2 * n + 5);
        assert_eq!(order.len(), 2 * n + 5);
        let (first, rest) = order.split_at(n);
        let second = &rest[..n];
        assert_ne!(first, second);
        for cycle in [first, second] {
            let mut sorted = cycle.to_vec();
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..u32::try_from(n).unwrap()));
        }
        // More sessions do not move the ones before, and another seed is another order.
        assert_eq!(workload.order(1, n), first);
        assert_ne!(workload.order(2, n), first);
    }

    #[test]
    fn more_made_sessions_do_not_move_those_before() {
        let load = |sessions, seed| {
            let make = Make { sessions, seed };
            let loading = Loading {
                make,
                ..Loading::default()
            };
            Workload::load("ilr-2", loading).unwrap()
        };
        let (few, many, other) = (load(3, 1), load(5, 1), load(3, 2));
        assert!(few.made && few.sessions.len() == 3);
        assert_eq!(few.sessions, many.sessions[..3]);
        assert_ne!(few.digest, other.digest);
        assert_eq!(few.evidence.tool_walls.recorded, 0);
    }

    #[test]
    fn compression_does_not_change_the_digest() {
        let named = Workload::load("swebench-mini", Loading::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain.jsonl");
        let plain = std::fs::File::create(&path).unwrap();
        zstd::stream::copy_decode(traces::bundled::SWEBENCH_MINI, plain).unwrap();
        let copy = Workload::load(path.to_str().unwrap(), Loading::default()).unwrap();
        assert_eq!(copy.header, named.header);
        assert_eq!(copy.digest, named.digest);
        assert_eq!(copy.evidence.tool_cpus.recorded, 0);
    }
}
