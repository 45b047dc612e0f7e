//! Who goes first, how much at a time, and who gives way.

use std::fmt::Debug;

use units::{Blocks, SessionId, Time, Tokens};

use crate::foresight::Foresight;

/// Orders turns. Ranks are kept by the mechanism until they say they are out of date, so an order
/// is asked only when its answer can differ.
pub trait Order: Debug + Send {
    /// Place of a turn that waits: the smallest rank starts first.
    fn waiting(&self, now: Time, turn: &TurnView) -> Rank;

    /// Place of a turn that runs: the smallest rank is served first.
    fn running(&self, now: Time, turn: &TurnView) -> Rank;

    /// Most tokens a prefill chunk of this turn may have in one step.
    fn quantum(&self, now: Time, turn: &TurnView) -> Quantum {
        let _ = (now, turn);
        Quantum::Unlimited
    }

    /// How willingly a running turn gives way: the largest key is preempted. Ties go to the session
    /// that arrived last.
    fn victim(&self, turn: &TurnView) -> [i64; 3];

    /// What is tried before anything is evicted when a prefill chunk does not fit.
    fn shrink(&self) -> Shrink {
        Shrink::Never
    }

    /// What a waiting turn must find room for before it starts.
    fn start_rule(&self) -> StartRule {
        StartRule::FirstChunk
    }

    /// Turns inside the engine at once, running and waiting; later ones queue outside in order of
    /// arrival. `None` for no such limit.
    fn turn_window(&self) -> Option<usize> {
        None
    }

    /// Whether this part is an oracle: only then is it shown what its session's future holds.
    fn needs_foresight(&self) -> bool {
        false
    }

    /// For how many more steps a batch goes on as it is, as far as this part knows. `batch` are all the
    /// turns that run, in the sequence in which they were served; each of them decoded in the step that
    /// was just planned, and each would go on to.
    ///
    /// It must hold for all those steps that the turns are served in this sequence, that
    /// [`Order::before_step`] moves nobody, and that the rank and quantum of a *waiting* turn that does
    /// not change itself stay what they are until that rank runs out. An order that cannot say is asked
    /// for every step.
    fn repeat(&self, batch: &mut dyn Iterator<Item = TurnView>) -> Repeat {
        let _ = batch;
        Repeat::Never
    }

    /// Whether the hooks below want to be called.
    fn wants_feedback(&self) -> bool {
        false
    }

    /// A turn became ready.
    fn turn_ready(&mut self, turn: &TurnView) {
        let _ = turn;
    }

    /// A round of planning begins: appends the sessions whose rank changes by what was planned since.
    fn before_step(&mut self, moved: &mut Vec<SessionId>) {
        let _ = moved;
    }

    /// A step was planned: each turn in it with its tokens.
    fn planned(&mut self, step: &[(TurnView, Tokens)]) {
        let _ = step;
    }

    /// The step of the last [`Order::planned`] was planned `times` more times, within what
    /// [`Order::repeat`] said; `step` is as of the last one.
    fn planned_again(&mut self, step: &[(TurnView, Tokens)], times: u64) {
        for _ in 0..times {
            self.planned(step);
        }
    }

    /// A running turn was preempted.
    fn preempted(&mut self, turn: &TurnView) {
        let _ = turn;
    }

    /// A turn ended.
    fn turn_ended(&mut self, turn: &TurnView) {
        let _ = turn;
    }

    /// A session completed.
    fn session_ended(&mut self, session: SessionId) {
        let _ = session;
    }
}

/// A place in an order, and how long it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Compared lexicographically; equal keys go by session id.
    pub key: [i64; 3],
    /// The rank must be asked again from this instant on, even if the turn does not change.
    /// [`Time::NEVER`] for a rank that only a change of the turn can change.
    pub until: Time,
}

/// For how long a batch that only decodes is planned again as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Ask for every step.
    Never,
    /// For at most this many more steps, and until the rank of a running turn runs out.
    WhileRanksHold(u64),
    /// For at most this many more steps, whatever becomes of the ranks of running turns: they change
    /// alike, so their sequence does not.
    InThisOrder(u64),
}

/// The most tokens of one prefill chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantum {
    /// Only the step's token budget limits it.
    Unlimited,
    /// This many and no more.
    Fixed(Tokens),
    /// This many, but what budget nobody else wants in this step is added from free blocks.
    Liftable(Tokens),
}

/// What a prefill chunk that does not fit tries before anything is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// Nothing.
    Never,
    /// Halve it, down to one block; after an eviction try the whole chunk again (`mars`).
    ThenRetryWhole,
    /// Halve it, down to one block, and stay there (`mars-preview`).
    AndStay,
}

/// What must fit before a waiting turn starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartRule {
    /// Its first chunk (vLLM).
    FirstChunk,
    /// All of its uncached prompt plus the mean output length (`mars`).
    WholePromptAndMeanOutput,
}

/// A turn as an order sees it. No output length, no tool: those are the future, which only an oracle
/// is shown ([`TurnView::foresight`]).
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts of a turn, each on its own"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnView {
    /// Whose.
    pub session: SessionId,
    /// When the session arrived.
    pub arrival: Time,
    /// When the turn became ready (the first: when the session was admitted).
    pub ready: Time,
    /// When it was last given tokens.
    pub last_scheduled: Option<Time>,
    /// Rises with every turn that becomes ready.
    pub ready_seq: u64,
    /// Rises with every start; meaningful while it runs.
    pub start_seq: u64,
    /// Rises with every preemption; set while the turn waits because of one.
    pub preempted_seq: Option<u64>,
    /// Prompt tokens.
    pub prompt: Tokens,
    /// Tokens generated so far.
    pub generated: Tokens,
    /// Tokens that would have to be computed before the next one can be sampled: for a waiting turn
    /// those that the prefix cache does not hold.
    pub missing: Tokens,
    /// All of the prompt is computed and exactly one token is missing.
    pub decoding: bool,
    /// Whether the turn ever started.
    pub started: bool,
    /// Blocks it holds (a waiting turn: its session's pin).
    pub held: Blocks,
    /// Whether its session's KV is pinned for it.
    pub pinned: bool,
    /// Whether host memory holds KV of its session.
    pub swapped: bool,
    /// Whether the agent's client flagged it as its session's last.
    pub flagged_last: bool,
    /// Tokens computed for the session so far, all turns, recomputation included.
    pub session_service: Tokens,
    /// The same for this turn.
    pub turn_service: Tokens,
    /// Its session's future as of this turn, for an oracle that asked; `None` for everybody else.
    pub foresight: Option<Foresight>,
}
