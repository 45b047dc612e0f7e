//! Which tokens each session's context is made of.
//!
//! What: a replayed turn says how many tokens it has, how many of them the context before it had
//! already, and which openings it shares; not what they are. [`Transcripts`] gives every one of them an
//! id: those of a shared opening depend on the group and the position alone, new ones on the session,
//! turn and position, and what the model generates is appended as it comes.
//! Why: the scheduler names content by lineage. With these ids two contexts are equal exactly where their
//! lineages are, so a reused block holds what a recomputation would give.
//! Limits: the ids say nothing; openings follow the promise of [`scheduler::Arrival::shared`], that a
//! group is named after the same groups wherever it appears.

use rustc_hash::FxHashMap;
use scheduler::{Arrival, TurnRequest};
use units::{GroupId, SessionId, Tokens};

use crate::batch::Batch;

/// The context of every open session, as token ids.
#[derive(Clone, Debug)]
pub struct Transcripts {
    vocabulary: u32,
    seed: u64,
    open: FxHashMap<SessionId, Transcript>,
}

#[derive(Clone, Debug)]
struct Transcript {
    turn: u32,
    /// Prompt of the turn, then what it has generated.
    ids: Vec<u32>,
}

impl Transcripts {
    /// No sessions yet. Ids are below `vocabulary`; another seed gives other ids.
    ///
    /// # Panics
    /// If the vocabulary is empty.
    pub fn new(vocabulary: u32, seed: u64) -> Self {
        assert!(vocabulary > 0, "a vocabulary has at least one token");
        Self {
            vocabulary,
            seed,
            open: FxHashMap::default(),
        }
    }

    /// A session arrives with its first prompt.
    pub fn arrived(&mut self, arrival: &Arrival) {
        let mut ids = Vec::new();
        for &(GroupId(group), Tokens(end)) in &arrival.shared {
            let from = ids.len() as u64;
            let end = end.min(arrival.turn.prompt.get());
            ids.extend((from..end).map(|at| self.id([1, u64::from(group), 0, at])));
        }
        self.open
            .insert(arrival.session, Transcript { turn: 0, ids });
        self.fill(arrival.session, arrival.turn.prompt);
    }

    /// A session's next turn is here: its context is what it reuses of the one before, then new tokens.
    ///
    /// # Panics
    /// If the session is not open: a bug of the world.
    pub fn next_turn(&mut self, session: SessionId, turn: &TurnRequest) {
        let of = self.open.get_mut(&session).expect("the session is open");
        of.turn += 1;
        of.ids.truncate(index(turn.reused.get()));
        self.fill(session, turn.prompt);
    }

    /// The model generated a token of the session's turn.
    ///
    /// # Panics
    /// If the session is not open: a bug of the world.
    pub fn generated(&mut self, session: SessionId, token: u32) {
        let of = self.open.get_mut(&session).expect("the session is open");
        of.ids.push(token);
    }

    /// The session is over.
    pub fn ended(&mut self, session: SessionId) {
        self.open.remove(&session);
    }

    /// The session's context: its turn's prompt and what that has generated; empty if it is not open.
    pub fn context(&self, session: SessionId) -> &[u32] {
        self.open.get(&session).map_or(&[], |of| &of.ids)
    }

    /// Ids of a batch's tokens, `[tokens]`, into a buffer that is reused.
    ///
    /// # Panics
    /// If a row computes a token that its session's context does not have: a bug of the world.
    pub fn inputs(&self, batch: &Batch, ids: &mut Vec<u32>) {
        ids.clear();
        for row in &batch.rows {
            let end = row.context.get();
            let from = end - row.query.get();
            ids.extend_from_slice(&self.context(row.session)[index(from)..index(end)]);
        }
    }

    /// New tokens of the session's turn, up to so many in all.
    fn fill(&mut self, session: SessionId, Tokens(prompt): Tokens) {
        let of = &self.open[&session];
        let (turn, from) = (u64::from(of.turn), of.ids.len() as u64);
        let new: Vec<u32> = (from..prompt)
            .map(|at| self.id([2, u64::from(session.0), turn, at]))
            .collect();
        let of = self.open.get_mut(&session).expect("the session is open");
        of.ids.extend(new);
    }

    fn id(&self, what: [u64; 4]) -> u32 {
        let mixed = what.iter().fold(mix(self.seed), |h, x| mix(h ^ x));
        let id = (u128::from(mixed) * u128::from(self.vocabulary)) >> 64;
        u32::try_from(id).expect("below the vocabulary")
    }
}

fn index(tokens: u64) -> usize {
    usize::try_from(tokens).expect("contexts are in memory")
}

/// Spreads a number over all 64 bits (the finaliser of `SplitMix64`).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use scheduler::Then;

    use super::*;
    use crate::batch::Row;

    fn turn(prompt: u64, reused: u64) -> TurnRequest {
        TurnRequest {
            prompt: Tokens(prompt),
            reused: Tokens(reused),
            output: Tokens(2),
            then: Then::End,
            flagged_last: false,
            foresight: None,
        }
    }

    fn arrival(session: u32, prompt: u64, shared: &[(u32, u64)]) -> Arrival {
        Arrival {
            session: SessionId(session),
            shared: shared
                .iter()
                .map(|&(g, n)| (GroupId(g), Tokens(n)))
                .collect(),
            peak: Tokens(prompt),
            turn: turn(prompt, 0),
            last_of_load: false,
        }
    }

    #[test]
    fn sessions_share_the_openings_that_they_share_and_nothing_else() {
        let mut book = Transcripts::new(50_000, 7);
        book.arrived(&arrival(0, 100, &[(3, 20), (4, 50)]));
        book.arrived(&arrival(1, 100, &[(3, 20), (4, 40)]));
        book.arrived(&arrival(2, 30, &[(3, 20), (9, 60)]));
        let [a, b, c] = [0, 1, 2].map(|s| book.context(SessionId(s)));
        assert_eq!([a.len(), b.len(), c.len()], [100, 100, 30]);
        assert_eq!(a[..40], b[..40]);
        assert_eq!(a[..20], c[..20]);
        let equal = |a: &[u32], b: &[u32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        // 60 and 10 draws of 50,000: one coincidence is unlikely, and these draws are fixed.
        assert_eq!(equal(&a[40..], &b[40..]), 0);
        assert_eq!(equal(&a[20..30], &c[20..]), 0);
        assert!(a.iter().all(|id| *id < 50_000));
        // They spread over the whole vocabulary.
        assert!(a.iter().any(|id| *id < 5_000) && a.iter().any(|id| *id > 45_000));
    }

    #[test]
    fn a_turn_keeps_what_it_reuses_of_prompt_and_output() {
        let mut book = Transcripts::new(50_000, 7);
        let session = SessionId(5);
        book.arrived(&arrival(5, 10, &[]));
        let first = book.context(session).to_vec();
        book.generated(session, 11);
        book.generated(session, 12);

        // All of prompt and output, and three more.
        book.next_turn(session, &turn(15, 12));
        let second = book.context(session).to_vec();
        assert_eq!(second[..10], first[..]);
        assert_eq!(second[10..12], [11, 12]);
        assert_eq!(second.len(), 15);

        // Four tokens of it; what follows is new, not what stood there before.
        book.next_turn(session, &turn(15, 4));
        let third = book.context(session);
        assert_eq!(third[..4], first[..4]);
        assert!(third[4..].iter().zip(&second[4..]).all(|(a, b)| a != b));

        book.ended(session);
        assert!(book.context(session).is_empty());
    }

    #[test]
    fn a_row_takes_the_tokens_that_it_computes() {
        let mut book = Transcripts::new(50_000, 7);
        book.arrived(&arrival(0, 8, &[]));
        book.arrived(&arrival(1, 4, &[]));
        book.generated(SessionId(1), 77);
        let row = |session, query, context| Row {
            session: SessionId(session),
            query: Tokens(query),
            context: Tokens(context),
            samples: false,
        };
        let batch = Batch {
            rows: vec![row(1, 1, 5), row(0, 3, 6)],
            ..Batch::default()
        };
        let mut ids = vec![1, 2, 3];
        book.inputs(&batch, &mut ids);
        let first = book.context(SessionId(0));
        assert_eq!(ids, [77, first[3], first[4], first[5]]);
    }
}
