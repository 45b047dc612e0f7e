//! What the world tells the scheduler.

use units::{GroupId, Nanos, SessionId, Tokens};

use crate::foresight::Foresight;

/// Everything that can happen outside the scheduler. The world calls
/// [`crate::Scheduler::handle`] with one of these at the time it happens; a finished step is
/// reported by [`crate::Scheduler::step_done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session arrived with its first turn.
    SessionArrived(Arrival),
    /// All tools (or the pause) of the session's last turn are over and the next turn is here.
    TurnReady {
        /// Whose.
        session: SessionId,
        /// What it asks for.
        turn: TurnRequest,
    },
    /// One tool call ended.
    ToolFinished {
        /// Whose.
        session: SessionId,
        /// How long it was ready to run but not on a core.
        queue_delay: Nanos,
    },
    /// The tools of a session's last turn are over: the session is complete.
    SessionOver {
        /// Which.
        session: SessionId,
    },
    /// A copy between GPU and host memory is done.
    CopyDone {
        /// Whose KV.
        session: SessionId,
        /// Its number in [`crate::Info::CopyStarted`].
        copy: u64,
    },
    /// The instant of [`crate::Scheduler::next_timer`] has come.
    Timer,
}

/// A session as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its id: larger than every earlier arrival's.
    pub session: SessionId,
    /// The openings its first prompt shares with other sessions: each group covers the leading
    /// tokens from where the one before it ends up to its own number, and the numbers rise. A group
    /// stands for all leading tokens up to there.
    pub shared: Vec<(GroupId, Tokens)>,
    /// Most tokens of KV that the session ever needs at once (its declared context limit). A
    /// session that could never fit is rejected on arrival; policies do not see this.
    pub peak: Tokens,
    /// Its first turn.
    pub turn: TurnRequest,
    /// Whether the load generator says that no session follows. A replay knows; an online server
    /// cannot. Only the released MARS code asks.
    pub last_of_load: bool,
}

/// One model call as it enters the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnRequest {
    /// All prompt tokens.
    pub prompt: Tokens,
    /// Leading prompt tokens equal to the previous turn's prompt followed by its output.
    pub reused: Tokens,
    /// Tokens to generate: in replay the recorded number is forced, in service it is the limit.
    /// Policies do not see it before they are generated.
    pub output: Tokens,
    /// What follows. Policies learn it when the turn ends.
    pub then: Then,
    /// Whether the agent's client flags this as the session's last turn.
    pub flagged_last: bool,
    /// What comes after, for oracles; `None` unless the policy asks
    /// ([`crate::Scheduler::needs_foresight`]), and always where nobody can know.
    pub foresight: Option<Foresight>,
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The session yields: its tools run, then its next turn comes (or it is over).
    Yield {
        /// Which tools, as a class that estimators can key on.
        tool: ToolClass,
        /// How many calls.
        calls: u32,
    },
    /// The session is complete.
    End,
}

/// A kind of tool phase (one tool's name, or the set of names that ran side by side), numbered by
/// the world. Estimators keep one record per class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolClass(pub u32);
