//! A run as a timeline for <https://ui.perfetto.dev>: steps of the GPU, sessions with their turns and
//! tools, and counters.
//!
//! What: [`Timeline`] listens to a run and keeps slices; `write` puts them down in the Trace Event
//! Format (JSON) that Chrome and Perfetto read.
//! Why: where a policy makes sessions wait is seen at once, and in numbers only when one knows what to
//! ask.
//! Limits: everything is in memory until the run ends, up to a size at which the timeline is cut.
//! Tools are shown as one phase per turn, from the turn's end to the next prompt.

pub mod args;
mod write;

use std::collections::BTreeMap;

use scheduler::{Info, Phase, StepPlan};
use sim::world::{Sample, SessionRecord, TurnRecord};
use units::{Nanos, Time};

pub use args::Wanted;

/// About how much a slice of a session takes in the file: a begin and an end.
const SLICE_BYTES: u64 = 190;
/// A step.
const STEP_BYTES: u64 = 170;
/// A sample: five counters.
const SAMPLE_BYTES: u64 = 620;

/// What happened, as far as it was wanted.
#[derive(Debug)]
pub struct Timeline {
    wanted: Wanted,
    bytes: u64,
    /// When it was cut short.
    cut: Option<Time>,
    now: Time,
    steps: Vec<Step>,
    slices: Vec<Slice>,
    samples: Vec<Sample>,
    open: BTreeMap<u32, Open>,
}

/// A step of the GPU.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: Time,
    time: Nanos,
    decodes: u32,
    prefills: u32,
    prefill_tokens: u64,
    context_tokens: u64,
}

/// A part of a session's time.
#[derive(Clone, Debug)]
struct Slice {
    session: u32,
    from: Time,
    to: Time,
    /// 0 the session, 1 what it waits for or does, 2 what a turn does.
    depth: u8,
    what: What,
}

/// What a slice is of.
#[derive(Clone, Debug)]
enum What {
    Session {
        trace: String,
        status: &'static str,
        turns: u32,
    },
    Admission,
    Turn {
        turn: u32,
        prompt: u64,
        hit: u64,
        output: u64,
        recomputed: u64,
    },
    Tools {
        name: String,
    },
    Queue,
    Prefill,
    Decode,
    Preempted,
}

/// A session that is not over.
#[derive(Clone, Debug, Default)]
struct Open {
    /// The parts of the current turn so far: when each began.
    parts: Vec<(Time, What)>,
    /// When the turn before ended.
    ended: Option<Time>,
    admitted: Option<Time>,
    /// Slices of tools, to be named when the session tells its recording: index and turn.
    tools: Vec<(usize, u32)>,
}

impl Timeline {
    /// Nothing yet.
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            bytes: 0,
            cut: None,
            now: Time::ZERO,
            steps: Vec::new(),
            slices: Vec::new(),
            samples: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    /// When it was cut for its size, if it was.
    pub fn cut(&self) -> Option<Time> {
        self.cut
    }

    /// Whether anything at this span is wanted; counts it.
    fn takes(&mut self, from: Time, to: Time, bytes: u64) -> bool {
        let end = self.cut.unwrap_or(self.wanted.to);
        if to <= self.wanted.from || from >= end {
            return false;
        }
        self.bytes += bytes;
        if self.bytes > self.wanted.limit && self.cut.is_none() {
            self.cut = Some(self.now);
        }
        true
    }

    /// A step starts.
    pub fn step(&mut self, at: Time, plan: &StepPlan, time: Nanos) {
        self.now = at;
        if !self.takes(at, at + time, STEP_BYTES) {
            return;
        }
        let mut step = Step {
            at,
            time,
            decodes: 0,
            prefills: 0,
            prefill_tokens: 0,
            context_tokens: 0,
        };
        for chunk in &plan.chunks {
            step.context_tokens += (chunk.context + chunk.tokens).get();
            match chunk.phase {
                Phase::Decode => step.decodes += 1,
                Phase::Prefill => {
                    step.prefills += 1;
                    step.prefill_tokens += chunk.tokens.get();
                }
            }
        }
        self.steps.push(step);
    }

    /// The sampling interval passed.
    pub fn sample(&mut self, sample: &Sample) {
        self.now = sample.at;
        if self.takes(sample.at, sample.at + Nanos::new(1), SAMPLE_BYTES) {
            self.samples.push(*sample);
        }
    }

    /// One fact.
    pub fn info(&mut self, at: Time, info: &Info) {
        self.now = at;
        let part = |open: &mut Open, what| open.parts.push((at, what));
        match info {
            Info::Arrived { session, .. } => {
                self.open.entry(session.0).or_default();
            }
            Info::Admitted { session } => {
                self.open.entry(session.0).or_default().admitted = Some(at);
            }
            Info::TurnStarted { session, .. } => {
                part(self.open.entry(session.0).or_default(), What::Prefill);
            }
            Info::FirstToken { session, .. } => {
                part(self.open.entry(session.0).or_default(), What::Decode);
            }
            Info::Preempted { session, .. } => {
                part(self.open.entry(session.0).or_default(), What::Preempted);
            }
            _ => {}
        }
    }

    /// A turn ended.
    pub fn turn(&mut self, record: &TurnRecord) {
        let session = record.session.0;
        let mut open = self.open.remove(&session).unwrap_or_default();
        if let Some(ended) = open.ended
            && self.slice(
                session,
                ended,
                record.ready,
                1,
                What::Tools {
                    name: String::new(),
                },
            )
        {
            open.tools.push((self.slices.len() - 1, record.turn - 1));
        }
        // The first turn waits for admission first, which is a slice of its own.
        let ready = open
            .admitted
            .map_or(record.ready, |at| at.max(record.ready));
        self.parts(session, ready, record.ended, &mut open);
        let turn = What::Turn {
            turn: record.turn,
            prompt: record.prompt.get(),
            hit: record.hit.get(),
            output: record.output.get(),
            recomputed: record.recomputed.get(),
        };
        self.slice(session, ready, record.ended, 1, turn);
        open.ended = Some(record.ended);
        self.open.insert(session, open);
    }

    /// The parts of a turn that was ready then and is over at `end`.
    fn parts(&mut self, session: u32, ready: Time, end: Time, open: &mut Open) {
        let mut from = ready;
        let mut what = What::Queue;
        for (at, next) in open.parts.drain(..) {
            self.slice(session, from, at, 2, what);
            (from, what) = (at, next);
        }
        self.slice(session, from, end, 2, what);
    }

    /// A session is over.
    pub fn session(&mut self, record: &SessionRecord) {
        let session = record.session.0;
        let mut open = self.open.remove(&session).unwrap_or_default();
        let end = record.finished.unwrap_or(self.now.max(record.arrival));
        let admitted = record.admitted.unwrap_or(end);
        self.slice(session, record.arrival, admitted, 1, What::Admission);
        let tools_of = |turn: u32| {
            let turn = record.trace.turns.get(turn as usize);
            let mut names: Vec<&str> = turn
                .map(|turn| turn.tools.iter().map(|tool| &*tool.name).collect())
                .unwrap_or_default();
            names.sort_unstable();
            names.dedup();
            if names.is_empty() {
                "pause".to_owned()
            } else {
                names.join("+")
            }
        };
        for (index, turn) in open.tools.drain(..) {
            self.slices[index].what = What::Tools {
                name: tools_of(turn),
            };
        }
        let since = open.ended.unwrap_or(admitted);
        if open.parts.is_empty() {
            if let Some(last) = record.turns.checked_sub(1).filter(|_| since < end) {
                // Of an open session it may also be the queue of the next turn.
                let name = tools_of(last);
                self.slice(session, since, end, 1, What::Tools { name });
            }
        } else {
            // A turn that was under way: when it was ready is not known, its first start is.
            let started = open.parts[0].0;
            self.parts(session, started, end, &mut open);
        }
        let status = match record.status {
            sim::world::Status::Completed => "completed",
            sim::world::Status::Rejected => "rejected",
            sim::world::Status::Failed => "failed",
            sim::world::Status::Unfinished => "unfinished",
        };
        let what = What::Session {
            trace: record.trace.id.to_string(),
            status,
            turns: record.turns,
        };
        self.slice(session, record.arrival, end, 0, what);
    }

    /// Keeps a slice, if it lasts and is wanted.
    fn slice(&mut self, session: u32, from: Time, to: Time, depth: u8, what: What) -> bool {
        let keep = from < to && self.takes(from, to, SLICE_BYTES);
        if keep {
            self.slices.push(Slice {
                session,
                from,
                to,
                depth,
                what,
            });
        }
        keep
    }
}
