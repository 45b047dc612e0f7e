//! A second scheduler, slow and plain, written from the reference's section 4 alone.
//!
//! What: the step skeleton of 4.1 with fcfs, the queue of 4.2 and 4.3, the soft pins of 4.4, and a
//! world of 10 ms steps and tools that only wait.
//! Why: it shares no idea with the real one. Tokens have names, content is compared token by token,
//! every list is walked to its end. Where the two differ, one of them misread the reference.
//! Limits: open admission, one tool per turn, every step takes [`STEP_NS`]. No host memory: swaps have
//! hand-computed scenarios and laws instead.

mod order;
mod pins;
mod plan;
mod pool;
mod session;

use pool::NaivePool;
use session::{At, NaiveSession};

/// The name of a token.
pub type Token = u64;

/// Every step takes 10 ms.
pub const STEP_NS: u64 = 10_000_000;

/// A tiny machine and its load.
#[derive(Clone, Debug)]
pub struct Case {
    /// Tokens per block.
    pub block: usize,
    /// Usable blocks.
    pub pool: usize,
    /// Tokens per step.
    pub budget: usize,
    /// Turns that may run at once.
    pub max_running: usize,
    /// Whether a turn that does not fit is skipped instead of stopping the waiting pass.
    pub skip: bool,
    /// The load, by arrival.
    pub sessions: Vec<CaseSession>,
}

/// A session of a [`Case`].
#[derive(Clone, Debug)]
pub struct CaseSession {
    /// When it arrives.
    pub arrival_ms: u64,
    /// Groups along its opening, each with the leading tokens of the first prompt up to which it
    /// reaches. A group stands in the same place of the tree wherever it is named.
    pub openings: Vec<(usize, usize)>,
    /// At least one.
    pub turns: Vec<CaseTurn>,
}

/// A turn of a [`Case`].
#[derive(Clone, Debug)]
pub struct CaseTurn {
    /// Prompt tokens.
    pub prompt: usize,
    /// Leading ones that the turn before left.
    pub reused: usize,
    /// Generated tokens.
    pub output: usize,
    /// Time of its tool, if it has one.
    pub tool_ms: Option<u64>,
}

/// The queue of 4.2 and 4.3.
#[derive(Clone, Debug)]
pub struct Mlfq {
    /// Most missing tokens of levels 0, 1, 2.
    pub footprint: [u64; 3],
    /// Least service of levels 1, 2, 3.
    pub service: [u64; 3],
    /// Prefill tokens per step by level.
    pub quanta: [u64; 4],
    /// One level up per this long.
    pub aging_ns: u64,
}

/// The pins of 4.4.
#[derive(Clone, Debug)]
pub struct SoftPins {
    /// Age past which a pin is stale.
    pub bound_ns: u64,
    /// Durations that a tool's own record needs.
    pub tool_min: usize,
    /// Every duration of the prior.
    pub prior_ns: u64,
}

/// Which rules hold beyond the skeleton.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Without: fcfs.
    pub mlfq: Option<Mlfq>,
    /// Without: nothing is pinned.
    pub pins: Option<SoftPins>,
}

/// What happened, as text, so that two accounts can be laid side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Starts, preemptions, pins, ends.
    pub facts: Vec<(u64, String)>,
    /// Each step's chunks.
    pub steps: Vec<(u64, String)>,
    /// Cached blocks dropped by allocations.
    pub evicted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    session: usize,
    context: usize,
    tokens: usize,
    decode: bool,
}

struct Naive {
    case: Case,
    rules: Rules,
    pool: NaivePool,
    sessions: Vec<NaiveSession>,
    /// In order of start.
    running: Vec<usize>,
    /// In order of readiness, preempted ones in front.
    waiting: Vec<usize>,
    pieces: Vec<Piece>,
    /// Pieces of this step that a quantum cut, with their place in the order.
    cut: Vec<((u64, bool, u64, usize), usize)>,
    changed: bool,
    outputs: Vec<usize>,
    /// Per turn in flight: tokens computed, of these again, preemptions.
    usage: Vec<(u64, u64, u64)>,
    record: pins::PinRecord,
    account: Account,
}

/// Runs the case and tells what happened.
///
/// # Panics
/// If the case is none, or nothing can go on although sessions are open.
pub fn run(case: &Case, rules: &Rules) -> Account {
    let sessions = NaiveSession::all(case);
    let mut naive = Naive {
        pool: NaivePool::new(case.pool),
        usage: vec![(0, 0, 0); sessions.len()],
        sessions,
        running: Vec::new(),
        waiting: Vec::new(),
        pieces: Vec::new(),
        cut: Vec::new(),
        changed: false,
        outputs: Vec::new(),
        record: pins::PinRecord::default(),
        account: Account::default(),
        case: case.clone(),
        rules: rules.clone(),
    };
    naive.live();
    naive.account.evicted = naive.pool.evicted;
    naive.account
}

impl Naive {
    fn tell(&mut self, now: u64, fact: String) {
        self.account.facts.push((now, fact));
    }

    /// The clock: step end, tool end, arrival, in this order, then id; then the next plan.
    fn live(&mut self) {
        let mut step_end: Option<u64> = None;
        loop {
            let tool = |s: &NaiveSession| s.yielded + s.tools[s.turn].unwrap_or(0) * 1_000_000;
            let next = self
                .sessions
                .iter()
                .filter_map(|s| match s.at {
                    At::Tool => Some((tool(s), 1, s.id)),
                    At::Future => Some((s.arrival, 2, s.id)),
                    _ => None,
                })
                .chain(step_end.map(|at| (at, 0, 0)))
                .min();
            let Some((now, what, id)) = next else {
                break;
            };
            match what {
                0 => {
                    step_end = None;
                    self.end_step(now);
                }
                1 => self.tool_over(now, id),
                _ => self.arrive(now, id),
            }
            let more_now = self.sessions.iter().any(|s| match s.at {
                At::Tool => tool(s) == now,
                At::Future => s.arrival == now,
                _ => false,
            });
            if step_end.is_none() && !more_now {
                self.plan(now);
                if !self.pieces.is_empty() {
                    let text: Vec<String> = self.pieces.iter().map(Piece::text).collect();
                    self.account.steps.push((now, text.join(", ")));
                    step_end = Some(now + STEP_NS);
                }
            }
        }
        assert!(
            self.sessions.iter().all(|s| s.at == At::Over),
            "the naive model is stuck"
        );
    }

    fn arrive(&mut self, now: u64, id: usize) {
        if self.sessions[id].peak().div_ceil(self.case.block) > self.pool.usable() {
            self.sessions[id].at = At::Over;
            self.tell(now, format!("s{id} rejected"));
            return;
        }
        self.ready(now, id);
    }

    fn ready(&mut self, now: u64, id: usize) {
        let s = &mut self.sessions[id];
        s.at = At::Waiting;
        s.ready = now;
        s.last_scheduled = None;
        s.started = false;
        s.generated = 0;
        s.warm = s.pinned;
        self.usage[id] = (0, 0, 0);
        self.waiting.push(id);
    }

    fn tool_over(&mut self, now: u64, id: usize) {
        let s = &self.sessions[id];
        let named = s.tools[s.turn].is_some();
        self.record.tool(named, now - s.yielded);
        if s.last_turn() {
            if s.pinned {
                self.unpin(now, id, "over");
            }
            self.over(now, id);
        } else {
            self.sessions[id].turn += 1;
            self.ready(now, id);
        }
    }

    fn over(&mut self, now: u64, id: usize) {
        self.sessions[id].at = At::Over;
        self.tell(now, format!("s{id} over"));
    }

    fn end_step(&mut self, now: u64) {
        for piece in std::mem::take(&mut self.pieces) {
            let id = piece.session;
            let s = &mut self.sessions[id];
            let tokens = s.tokens();
            let usage = &mut self.usage[id];
            let places = piece.context..piece.context + piece.tokens;
            for (place, &token) in places.clone().zip(&tokens[places]) {
                usage.0 += 1;
                usage.1 += u64::from(!s.had.insert((place, token)));
            }
            s.computed += piece.tokens;
            s.scheduled = 0;
            if s.computed < s.total() {
                continue;
            }
            s.generated += 1;
            if s.generated == s.output() {
                self.end_turn(now, id);
            }
        }
    }

    fn end_turn(&mut self, now: u64, id: usize) {
        self.running.retain(|&r| r != id);
        let s = &self.sessions[id];
        let (computed, again, preempted) = self.usage[id];
        let fact = format!(
            "s{id} ends turn {}: computed {computed}, again {again}, preempted {preempted}",
            s.turn
        );
        self.outputs.push(s.generated);
        self.tell(now, fact);
        let s = &mut self.sessions[id];
        if s.last_turn() && s.tools[s.turn].is_none() {
            self.release(id);
            self.over(now, id);
            return;
        }
        s.at = At::Tool;
        s.yielded = now;
        if self.rules.pins.is_some() {
            s.pinned = true;
            let blocks = s.blocks.len();
            self.tell(now, format!("s{id} pins {blocks}"));
        } else {
            self.release(id);
        }
    }

    /// Deepest block first, so that it is lost first.
    fn release(&mut self, id: usize) {
        self.sessions[id].full = 0;
        while let Some(block) = self.sessions[id].blocks.pop() {
            self.pool.let_go(block);
        }
    }
}

impl Piece {
    fn text(&self) -> String {
        let kind = if self.decode { "decode" } else { "prefill" };
        format!("s{} {kind} {} @{}", self.session, self.tokens, self.context)
    }
}
