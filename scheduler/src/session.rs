//! One session inside the scheduler: its turn, its blocks, its counters. And the table of them.

use rustc_hash::FxHashMap;
use units::{BlockId, BlockSize, Blocks, Nanos, SessionId, Time, Tokens};

use crate::event::{Then, ToolClass, TurnRequest};
use crate::foresight::{Doors, Foresight};
use crate::info::TurnUsage;
use crate::lineage::Lineage;
use crate::offload::{Copy, HostCopy};
use crate::policy::{Keep, PinView, Rank, TurnView};

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for admission.
    Queued,
    /// Its turn was chosen to start; its blocks come from host memory.
    Restoring,
    /// Its turn was preempted; its blocks go to host memory.
    SwappingOut,
    /// Its turn is held because the session is paused.
    Held,
    /// Its turn waits outside the turn window.
    Outside,
    /// Its turn waits for a start.
    Waiting,
    /// Its turn runs.
    Running,
    /// Its tools run (or a human thinks).
    Yielded,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued for admission",
            Self::Restoring => "waiting for its blocks from host memory",
            Self::SwappingOut => "preempted, its blocks on their way to host memory",
            Self::Held => "held while it is paused",
            Self::Outside => "waiting outside the turn window",
            Self::Waiting => "waiting for a start",
            Self::Running => "running a turn",
            Self::Yielded => "yielded to its tools",
        }
    }
}

/// KV kept for a session while its tools run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pin {
    pub(crate) reload: Nanos,
    pub(crate) keep: Keep,
    /// When the next turn comes if the tools run alone; known to oracles only.
    pub(crate) next_use: Option<Time>,
    /// From when on it is stale; kept up to date by [`crate::Scheduler`].
    pub(crate) stale_from: Option<Time>,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "facts of a turn, each on its own"
)]
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) arrival: Time,
    pub(crate) state: State,
    pub(crate) lineage: Lineage,

    // The current turn.
    pub(crate) turn: u32,
    pub(crate) prompt: Tokens,
    pub(crate) reused: Tokens,
    pub(crate) output: Tokens,
    pub(crate) then: Then,
    pub(crate) flagged_last: bool,
    pub(crate) foresight: Option<Foresight>,
    pub(crate) generated: Tokens,
    /// It has its last token and ends with the next plan ([`crate::Planning::Ahead`]).
    pub(crate) ending: bool,
    /// Tokens in KV.
    pub(crate) computed: Tokens,
    /// Tokens in the step being planned or executed.
    pub(crate) scheduled: Tokens,
    /// Positions whose content was computed before, by any turn of the session.
    pub(crate) seen: Tokens,
    pub(crate) usage: TurnUsage,

    /// Blocks that the turn or the pin holds, shallow to deep.
    pub(crate) blocks: Vec<BlockId>,
    /// How many of them are registered in the prefix cache.
    pub(crate) registered: usize,
    /// While waiting: leading full blocks that a start would find in KV.
    pub(crate) hit: Blocks,
    /// Blocks the turn still has to allocate, as counted in the scheduler's sum.
    pub(crate) owed: Blocks,
    /// The same as counted in the sum over waiting turns.
    pub(crate) owed_waiting: Blocks,

    // Places and times.
    pub(crate) ready: Time,
    pub(crate) last_scheduled: Option<Time>,
    pub(crate) started: bool,
    pub(crate) ready_seq: u64,
    pub(crate) start_seq: u64,
    pub(crate) preempted_seq: Option<u64>,
    pub(crate) rank: Rank,
    pub(crate) rank_stale: bool,
    /// The waiting pass that passed over it last.
    pub(crate) passed_over: u64,
    /// Tokens computed for it so far, all turns, recomputation included.
    pub(crate) service: Tokens,

    // The tool phase.
    pub(crate) yielded_at: Time,
    pub(crate) tool: ToolClass,
    pub(crate) calls_left: u32,
    pub(crate) pin: Option<Pin>,
    /// The copy that is under way for it.
    pub(crate) copy: Option<Copy>,
    /// Its KV in host memory.
    pub(crate) host: Option<HostCopy>,
    /// Whether its next turn is to be held.
    pub(crate) paused: bool,
    /// Whether the current turn found its session's pin when it became ready.
    pub(crate) kept_warm: bool,
    /// When the session's KV was last let go after a yield.
    pub(crate) released_at: Time,
}

impl Session {
    /// A session as it arrives, with its first turn; it waits for admission.
    pub(crate) fn new(id: SessionId, now: Time, lineage: Lineage, turn: &TurnRequest) -> Self {
        Self {
            id,
            arrival: now,
            state: State::Queued,
            lineage,
            turn: 0,
            prompt: turn.prompt,
            reused: turn.reused,
            output: turn.output,
            then: turn.then,
            flagged_last: turn.flagged_last,
            foresight: turn.foresight,
            generated: Tokens::ZERO,
            ending: false,
            computed: Tokens::ZERO,
            scheduled: Tokens::ZERO,
            seen: Tokens::ZERO,
            usage: TurnUsage::default(),
            blocks: Vec::new(),
            registered: 0,
            hit: Blocks::ZERO,
            owed: Blocks::ZERO,
            owed_waiting: Blocks::ZERO,
            ready: now,
            last_scheduled: None,
            started: false,
            ready_seq: 0,
            start_seq: 0,
            preempted_seq: None,
            rank: Rank {
                key: [0; 3],
                until: Time::NEVER,
            },
            rank_stale: false,
            passed_over: 0,
            service: Tokens::ZERO,
            yielded_at: now,
            tool: ToolClass(0),
            calls_left: 0,
            pin: None,
            copy: None,
            host: None,
            paused: false,
            kept_warm: false,
            released_at: now,
        }
    }

    /// Tokens whose KV the next sample needs: the prompt and all that was generated.
    #[inline]
    pub(crate) fn total(&self) -> Tokens {
        self.prompt + self.generated
    }

    /// Tokens to compute before the next sample, for a running turn.
    #[inline]
    pub(crate) fn missing(&self) -> Tokens {
        self.total() - self.computed
    }

    /// Tokens in KV: those of a running turn, those that a start of a waiting one would find.
    #[inline]
    fn in_kv(&self, size: BlockSize) -> Tokens {
        match self.state {
            State::Running => self.computed,
            _ => size.capacity(self.hit),
        }
    }

    /// All of the prompt is in KV and exactly one token is missing.
    #[inline]
    pub(crate) fn decoding(&self, size: BlockSize) -> bool {
        let in_kv = self.in_kv(size);
        in_kv >= self.prompt && in_kv + Tokens(1) == self.total()
    }

    /// Most full blocks a start may hit: never the last token, whose sample needs it computed.
    pub(crate) fn hit_limit(&self, size: BlockSize) -> Blocks {
        size.filled_by(self.total().saturating_sub(Tokens(1)))
    }

    pub(crate) fn view(&self, size: BlockSize, doors: Doors) -> TurnView {
        TurnView {
            session: self.id,
            arrival: self.arrival,
            ready: self.ready,
            last_scheduled: self.last_scheduled,
            ready_seq: self.ready_seq,
            start_seq: self.start_seq,
            preempted_seq: self.preempted_seq,
            prompt: self.prompt,
            generated: self.generated,
            missing: self.total().saturating_sub(self.in_kv(size)),
            decoding: self.decoding(size),
            started: self.started,
            held: Blocks(self.blocks.len() as u64),
            pinned: self.pin.is_some(),
            swapped: self.host.is_some(),
            flagged_last: self.flagged_last,
            session_service: self.service,
            turn_service: self.usage.scheduled,
            foresight: Doors::through(doors.order, self.foresight),
        }
    }

    pub(crate) fn pin_view(&self, pin: &Pin, doors: Doors) -> PinView {
        PinView {
            session: self.id,
            tool: self.tool,
            since: self.yielded_at,
            context: self.computed,
            blocks: Blocks(self.blocks.len() as u64),
            reload: pin.reload,
            next_turn_waits: matches!(
                self.state,
                State::Waiting
                    | State::Outside
                    | State::Held
                    | State::Restoring
                    | State::SwappingOut
            ),
            keep: pin.keep,
            next_use: pin.next_use.filter(|_| doors.retention),
        }
    }
}

/// Sessions in flight or in the backlog; slots are reused, so memory follows those, not the trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    slots: Vec<Option<Session>>,
    free: Vec<u32>,
    by_id: FxHashMap<SessionId, u32>,
}

impl Sessions {
    pub(crate) fn insert(&mut self, session: Session) -> u32 {
        let id = session.id;
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(session);
            slot
        } else {
            self.slots.push(Some(session));
            u32::try_from(self.slots.len() - 1).expect("session ids are 32 bits")
        };
        self.by_id.insert(id, slot);
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Session {
        let session = self.slots[slot as usize].take().expect("a live slot");
        self.by_id.remove(&session.id);
        self.free.push(slot);
        session
    }

    #[inline]
    pub(crate) fn find(&self, id: SessionId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// Whether a session lives in the slot and its turn runs.
    pub(crate) fn is_running(&self, slot: u32) -> bool {
        self.slots[slot as usize]
            .as_ref()
            .is_some_and(|s| s.state == State::Running)
    }

    /// All sessions, in order of slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten()
    }
}

impl std::ops::Index<u32> for Sessions {
    type Output = Session;
    #[inline]
    fn index(&self, slot: u32) -> &Session {
        self.slots[slot as usize].as_ref().expect("a live slot")
    }
}

impl std::ops::IndexMut<u32> for Sessions {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Session {
        self.slots[slot as usize].as_mut().expect("a live slot")
    }
}

impl crate::policy::InFlight for Sessions {
    fn held(&self, session: SessionId) -> Blocks {
        self.find(session)
            .map_or(Blocks::ZERO, |slot| Blocks(self[slot].blocks.len() as u64))
    }
}
