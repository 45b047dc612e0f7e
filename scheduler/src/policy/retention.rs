//! What becomes of a session's KV while its tools run.

use std::fmt::Debug;

use units::{Blocks, Nanos, SessionId, Time, Tokens};

use crate::event::ToolClass;
use crate::reason::Reason;
use crate::telemetry::Telemetry;

/// Decides about KV at a tool yield and which pins go first when memory is short.
pub trait Retention: Debug + Send {
    /// A session yields to its tools.
    fn on_yield(&mut self, now: Time, yielding: &Yielding, telemetry: &Telemetry) -> Keep;

    /// A running turn is preempted: what becomes of its KV. Asked only while host memory has room for it;
    /// without that it is recomputed.
    fn on_preempt(&mut self, now: Time, preempted: &Preempted, telemetry: &Telemetry) -> Fate {
        let _ = (now, preempted, telemetry);
        Fate::Recompute
    }

    /// Whether this part is an oracle: only then is it shown what its session's future holds.
    fn needs_foresight(&self) -> bool {
        false
    }

    /// A control tick: what to do with a pin that exists.
    fn reconsider(&mut self, now: Time, pin: &PinView, telemetry: &Telemetry) -> Keep {
        let _ = (now, telemetry);
        pin.keep
    }

    /// Why it answered `keep` at the yield or look that it was just asked about.
    fn reason(&self, keep: Keep) -> Reason {
        let _ = keep;
        Reason::Unstated
    }

    /// From when on the pin is stale, that is, free for anyone; `None` for never.
    /// Not asked for a pin whose session's next turn already waits: that one is never stale.
    fn stale_from(&self, pin: &PinView) -> Option<Time> {
        let _ = pin;
        None
    }

    /// Whether a live pin gives way to this claim. Stale pins give way to every claim.
    fn yields_to(&self, claim: Claim) -> bool {
        let _ = claim;
        false
    }

    /// Worth of a pin per block; among equals by [`PinView::next_turn_waits`] and staleness the
    /// lowest is reclaimed first, ties by larger KV, then by the later session. Never NaN.
    fn value(&self, now: Time, pin: &PinView) -> f64 {
        let _ = (now, pin);
        0.0
    }

    /// A tool phase of this class took `wall`, from yield to the next turn.
    fn tool_phase(&mut self, tool: ToolClass, wall: Nanos) {
        let _ = (tool, wall);
    }

    /// A session's next turn started after the session's KV had been let go.
    fn cold_resume(&mut self, resume: Resume) {
        let _ = resume;
    }

    /// A session completed after `turns` turns.
    fn session_ended(&mut self, turns: u32) {
        let _ = turns;
    }

    /// Time between reconsiderations of the pins that exist; `None` for none.
    fn tick(&self) -> Option<Nanos> {
        None
    }

    /// Grows whenever an observation may have changed [`Retention::stale_from`].
    fn version(&self) -> u64 {
        0
    }
}

/// What to do with a yielding session's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Release them; they stay in the LRU cache until somebody takes them.
    Release,
    /// Pin them. With an instant, the pin ends at the first plan from then on, unless the session's
    /// next turn waits.
    Pin {
        /// When it ends by itself; `None` for a pin that only a claim or a reconsideration ends.
        until: Option<Time>,
    },
    /// Copy them to host memory and release them when that is done. Without a host tier, or when it
    /// is full, a release.
    Offload,
}

/// What becomes of a preempted turn's KV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its blocks are free at once; the turn computes them again, but for what the cache still has.
    Recompute,
    /// They are copied to host memory and free when that is done; the turn that was short of blocks
    /// waits for them.
    Swap,
}

/// A running turn that gives way, just before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preempted {
    /// Whose turn.
    pub session: SessionId,
    /// Tokens of KV it has.
    pub context: Tokens,
    /// Full blocks of it: what a copy would take.
    pub blocks: Blocks,
    /// Time to recompute that context from nothing, alone (cost model).
    pub reload: Nanos,
}

/// A session that yields to its tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yielding {
    /// Which.
    pub session: SessionId,
    /// The kind of tool phase.
    pub tool: ToolClass,
    /// Tokens of KV it has.
    pub context: Tokens,
    /// Blocks it holds.
    pub blocks: Blocks,
    /// Time to recompute that context from nothing, alone (cost model).
    pub reload: Nanos,
    /// When the session's next turn comes if its tools run alone, for an oracle that asked; `None`
    /// for everybody else.
    pub next_use: Option<Time>,
}

/// A pin that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinView {
    /// Whose KV.
    pub session: SessionId,
    /// The kind of tool phase that runs.
    pub tool: ToolClass,
    /// When the session yielded.
    pub since: Time,
    /// Tokens of KV it keeps.
    pub context: Tokens,
    /// Blocks it keeps.
    pub blocks: Blocks,
    /// Time to recompute that context from nothing, alone (cost model).
    pub reload: Nanos,
    /// Whether the session's next turn already waits for it.
    pub next_turn_waits: bool,
    /// What was decided last.
    pub keep: Keep,
    /// When the session's next turn comes if its tools run alone, for an oracle that asked; `None`
    /// for everybody else.
    pub next_use: Option<Time>,
}

/// How a turn came back without its KV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// From ready to its first start.
    pub queued: Nanos,
    /// From the instant its session's KV was let go to its first start.
    pub since_release: Nanos,
}

/// Who wants a pin's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A running turn that is short of blocks.
    Running {
        /// How many turns run.
        running: usize,
    },
    /// A waiting turn while others run.
    Waiting,
    /// A waiting turn while nothing runs.
    WaitingIdle,
}
