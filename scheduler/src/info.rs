//! The unified information stream: everything that happened, when and why (MARS paper §4.1).
//!
//! One closed enum. The scheduler appends; the world drains. Recorders, tests and the world's own
//! bookkeeping read it; policies see the aggregate ([`crate::Telemetry`]). Nothing in it predicts.
//! Per-token facts are absent on purpose: steps are described by [`crate::StepPlan`].

use units::{Blocks, SessionId, Tokens};

use crate::decision::Decision;
use crate::event::Then;
use crate::offload::Direction;
use crate::reason::Reason;

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Info {
    /// A session arrived and waits for admission (it may be admitted in the same instant).
    Arrived {
        /// Which.
        session: SessionId,
        /// Blocks its first prompt needs (projected KV demand).
        demand: Blocks,
    },
    /// A session can never fit the pool and was turned away.
    Rejected {
        /// Which.
        session: SessionId,
        /// Blocks it needs at its largest.
        needs: Blocks,
        /// Blocks there are.
        usable: Blocks,
    },
    /// A session was admitted; it holds its place until it completes.
    Admitted {
        /// Which.
        session: SessionId,
    },
    /// A turn's prefill started.
    TurnStarted {
        /// Whose.
        session: SessionId,
        /// Which turn, from 0.
        turn: u32,
        /// Prompt tokens found in KV.
        hit: Tokens,
        /// False when it starts again after a preemption.
        first_start: bool,
    },
    /// A turn sampled its first token.
    FirstToken {
        /// Whose.
        session: SessionId,
        /// Which turn, from 0.
        turn: u32,
    },
    /// A turn generated its last token.
    TurnEnded {
        /// Whose.
        session: SessionId,
        /// Which turn, from 0.
        turn: u32,
        /// What follows; the world starts the tools.
        then: Then,
        /// What the turn cost.
        usage: TurnUsage,
    },
    /// A session is complete.
    SessionEnded {
        /// Which.
        session: SessionId,
    },
    /// A running turn lost its blocks and waits again; if a copy to host memory starts with it, when that
    /// is done.
    Preempted {
        /// Whose.
        session: SessionId,
        /// The turn whose shortage it was; may be the same.
        by: SessionId,
        /// Blocks it gave up.
        freed: Blocks,
    },
    /// A session's blocks were pinned at a yield.
    Pinned {
        /// Whose.
        session: SessionId,
        /// How many blocks.
        blocks: Blocks,
    },
    /// A pin ended.
    Unpinned {
        /// Whose.
        session: SessionId,
        /// Why.
        why: Unpin,
    },
    /// A copy between GPU and host memory is to start; the world reports when it is done.
    CopyStarted {
        /// Whose KV.
        session: SessionId,
        /// Its number.
        copy: u64,
        /// Which way.
        direction: Direction,
        /// How many blocks.
        blocks: Blocks,
    },
    /// A session was paused: its next turn will be held.
    Paused {
        /// Which.
        session: SessionId,
    },
    /// A paused session may go on.
    Unpaused {
        /// Which.
        session: SessionId,
    },
    /// The admission window was updated.
    Window(Window),
    /// The policy decided something; what comes of it follows. Only when asked for
    /// ([`crate::Config::log_decisions`]).
    Decided(Box<Decision>),
}

/// Why a pin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpin {
    /// The session's next turn took the blocks over.
    Resumed,
    /// Its time was up.
    Expired,
    /// A running turn needed the blocks.
    ReclaimedForRunning,
    /// A waiting turn needed the blocks.
    ReclaimedForWaiting,
    /// The policy let go at a reconsideration.
    Reconsidered,
    /// Its content is in host memory now.
    Offloaded,
    /// It was to be copied to host memory, and there is no room.
    HostFull,
    /// The session completed without another turn.
    SessionOver,
}

/// What one turn cost the engine, over all its starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnUsage {
    /// Tokens computed, recomputation included.
    pub scheduled: Tokens,
    /// Of these, tokens at positions whose content had been computed before.
    pub recomputed: Tokens,
    /// Times it was preempted.
    pub preemptions: u32,
    /// Tokens generated.
    pub generated: Tokens,
}

/// One update of an admission window (MARS paper Algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Sessions the window allows.
    pub size: u64,
    /// Cap from the tool CPUs.
    pub cpu_cap: u64,
    /// Cap from the KV pool.
    pub kv_cap: u64,
    /// Share of the pool that turns hold.
    pub kv_pressure: f64,
    /// Tools in flight per core.
    pub cpu_backlog: f64,
    /// Smoothed run-queue delay, seconds.
    pub tool_wait_s: f64,
    /// Whether either pressure flag is set.
    pub overloaded: bool,
    /// Why it is what it is now.
    pub reason: Reason,
}
