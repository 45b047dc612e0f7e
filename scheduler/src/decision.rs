//! The decision log: what a policy decided, why, and what it saw.
//!
//! What: with [`Config::log_decisions`](crate::Config::log_decisions) every decision goes into the
//! information stream as [`Info::Decided`], just before what it causes.
//! Why: two policies on one load can be laid side by side, and the first point where they part found.
//! Limits: a choice to change nothing (a pin kept at a control tick, a turn that keeps its place) is
//! no entry, and neither are ranks and chunk sizes. Taking the log changes no decision.

use units::{Blocks, SessionId, Time, Tokens};

use crate::info::{Info, Window};
use crate::policy::Trigger;
use crate::reason::Reason;
use crate::scheduler::Scheduler;
use crate::telemetry::Telemetry;

/// One decision with what led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// About whom; `None` for the admission window.
    pub session: Option<SessionId>,
    /// What was decided.
    pub kind: DecisionKind,
    /// Why.
    pub reason: Reason,
    /// The machine just before.
    pub seen: Telemetry,
    /// Smoothed run-queue delay of tool calls, seconds; `None` before the first call.
    pub tool_wait_s: Option<f64>,
    /// The numbers that belong to this kind of decision.
    pub detail: Detail,
}

/// What can be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecisionKind {
    /// A session enters.
    Admit,
    /// A waiting turn starts.
    Start,
    /// A running turn gives up its blocks.
    Preempt,
    /// A yielding session's blocks are pinned.
    Pin,
    /// A session's blocks are let go, at the yield or at a later look.
    Release,
    /// A session's blocks are copied to host memory and then let go.
    Offload,
    /// A pin ends because somebody needs its blocks.
    Reclaim,
    /// A pin ends because its time is up.
    Expire,
    /// A session's next turn is to be held.
    Pause,
    /// A paused session may go on.
    Resume,
    /// The admission window is set.
    Window,
}

impl DecisionKind {
    /// Its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Start => "start",
            Self::Preempt => "preempt",
            Self::Pin => "pin",
            Self::Release => "release",
            Self::Offload => "offload",
            Self::Reclaim => "reclaim",
            Self::Expire => "expire",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Window => "window",
        }
    }
}

/// Numbers of one decision; `None` where a kind has no such number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail {
    /// What the policy was asked at (admit, window).
    pub trigger: Option<Trigger>,
    /// The session on whose behalf (preempt, reclaim: who needs the blocks).
    pub claimant: Option<SessionId>,
    /// Blocks it needs: the first prompt (admit), what must be there (start), what is missing
    /// (preempt).
    pub demand: Option<Blocks>,
    /// Blocks it concerns: those pinned, released, copied, reclaimed or given up.
    pub blocks: Option<Blocks>,
    /// Tokens of its prompt (admit, start) or of the context in KV (preempt, pin, release, offload).
    pub tokens: Option<Tokens>,
    /// Of these, tokens found in KV (start).
    pub hit: Option<Tokens>,
    /// Key by which it was chosen: rank (start, the smallest goes first) or willingness to give way
    /// (preempt, the largest goes first).
    pub key: Option<[i64; 3]>,
    /// Worth of the pin per block in the retention part's own measure (reclaim).
    pub value: Option<f64>,
    /// When the pin ends by itself (pin).
    pub until: Option<Time>,
    /// The window as it is set (window).
    pub window: Option<Window>,
}

/// What a decision is about, before the machine's state is added.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) session: Option<SessionId>,
    pub(crate) kind: DecisionKind,
    pub(crate) reason: Reason,
    pub(crate) detail: Detail,
}

impl Scheduler {
    /// Writes a decision down, if anybody wants it. What it is about is worked out only then.
    #[inline]
    pub(crate) fn log(&mut self, now: Time, entry: impl FnOnce(&mut Self) -> Entry) {
        if self.config.log_decisions {
            let entry = entry(self);
            let seen = self.telemetry(now);
            self.log_seen(now, seen, entry);
        }
    }

    /// Writes a decision down whose policy was shown `seen`.
    pub(crate) fn log_seen(&mut self, now: Time, seen: Telemetry, entry: Entry) {
        if !self.config.log_decisions {
            return;
        }
        let Entry {
            session,
            kind,
            reason,
            detail,
        } = entry;
        let decision = Decision {
            session,
            kind,
            reason,
            seen,
            tool_wait_s: self.tool_wait.get(),
            detail,
        };
        self.emit(now, Info::Decided(Box::new(decision)));
    }

    /// A decision about the blocks that a session holds while its tools run.
    pub(crate) fn log_keep(&mut self, now: Time, slot: u32, kind: DecisionKind, reason: Reason) {
        self.log(now, |this| {
            let s = &this.sessions[slot];
            Entry {
                session: Some(s.id),
                kind,
                reason,
                detail: Detail {
                    blocks: Some(Blocks(s.blocks.len() as u64)),
                    tokens: Some(s.computed),
                    ..Detail::default()
                },
            }
        });
    }
}
