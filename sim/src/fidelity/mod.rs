//! A real engine's requests replayed, and how far the simulated times are from the recorded ones.
//!
//! What: [`replay`] gives a simulated [`Timing`] for every recorded [`Request`]; [`Comparison`] holds the two
//! against each other, in the mean, at percentiles and request by request.
//! Why: a cost model may fit every kernel and the engine around it still be wrong. Only a run shows both.
//! Limits: single-turn requests. A recording of lengths does not say which prompts share openings; unless
//! their tokens are given too ([`share_openings`]), a replay computes all of them, where an engine with
//! prefix caching computed less.

mod compare;
mod openings;
mod replay;

use traces::model::SharedPrefix;
use units::{Nanos, Tokens};

pub use compare::{Comparison, Errors, Grade};
pub use openings::share_openings;
pub use replay::{Replay, replay};

/// One recorded request. Instants count from the start of the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The recording's name for it.
    pub id: String,
    /// When the engine had it.
    pub queued: Nanos,
    /// Prompt tokens, at least 1.
    pub input: Tokens,
    /// Tokens generated, at least 1.
    pub output: Tokens,
    /// The openings that its prompt shares with others, shortest first, as in a session; empty if nothing
    /// is known.
    pub shared: Vec<SharedPrefix>,
    /// When its first token was there.
    pub first_token: Nanos,
    /// When its last token was there.
    pub last_token: Nanos,
}

/// A request's times in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// First token less queued.
    pub ttft: f64,
    /// Last token less first, over the tokens after the first; `None` for a request of one token.
    pub tpot: Option<f64>,
    /// Last token less queued.
    pub latency: f64,
}

impl Timing {
    /// Of a request with these instants.
    pub fn of(queued: Nanos, first: Nanos, last: Nanos, output: Tokens) -> Self {
        let since = |end: Nanos, start: Nanos| end.as_secs() - start.as_secs();
        #[expect(clippy::cast_precision_loss, reason = "a count of tokens")]
        let steps = output.get().saturating_sub(1) as f64;
        Self {
            ttft: since(first, queued),
            tpot: (steps > 0.0).then(|| since(last, first) / steps),
            latency: since(last, queued),
        }
    }
}

impl Request {
    /// Its recorded times.
    pub fn timing(&self) -> Timing {
        Timing::of(self.queued, self.first_token, self.last_token, self.output)
    }
}
