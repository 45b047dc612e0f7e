//! Sessions that repeat another one's opening.
//!
//! Why: a session that was forked or resumed, or a file that was copied, brings calls that another
//! recording already has. Replayed beside it, they would double the load, and look like reuse between
//! sessions that no two users ever had.

use rustc_hash::FxHashSet;

use crate::model::{Session, Turn};

/// Calls that have to be equal.
const CALLS: usize = 3;

/// Remembers the openings of sessions: 16 bytes each.
#[derive(Clone, Debug, Default)]
pub struct Openings {
    seen: FxHashSet<[u8; 16]>,
}

impl Openings {
    /// None seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether an earlier session began with the same three calls; if none did, remembers this one.
    ///
    /// Calls are the same if model, prompt, reused, cached and generated tokens are, the time of the
    /// call, and what passed until the next of the three. Sessions of fewer calls say too little to be
    /// told apart and never count as repeats. Which one is kept depends on the order: the first.
    pub fn repeats(&mut self, session: &Session) -> bool {
        let Some(opening) = session.turns.get(..CALLS) else {
            return false;
        };
        let mut hasher = blake3::Hasher::new();
        let model = session.model.as_deref().unwrap_or("");
        hasher.update(&(model.len() as u64).to_le_bytes());
        hasher.update(model.as_bytes());
        for (i, turn) in opening.iter().enumerate() {
            // What follows the last may differ: there the two may part.
            hash(&mut hasher, turn, i + 1 < CALLS);
        }
        let mut key = [0; 16];
        hasher.finalize_xof().fill(&mut key);
        !self.seen.insert(key)
    }
}

fn hash(hasher: &mut blake3::Hasher, turn: &Turn, with_gap: bool) {
    // Unknown is no number: one more than any.
    let mut number = |n: Option<u64>| {
        let n = n.map_or(u128::from(u64::MAX) + 1, u128::from);
        hasher.update(&n.to_le_bytes());
    };
    number(Some(turn.prompt.get()));
    number(Some(turn.reused.get()));
    number(Some(turn.output.value.get()));
    number(turn.cached.map(units::Tokens::get));
    number(turn.llm.map(units::Nanos::as_nanos));
    if with_gap {
        number(turn.tool_time().map(units::Nanos::as_nanos));
        number(turn.think.map(units::Nanos::as_nanos));
        number(Some(turn.tools.len() as u64));
    }
}
