//! The agents: which session is where in its recording, and what it does next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use scheduler::{Foresight, Then, ToolClass, TurnRequest};
use traces::model::{Session, ToolCall};
use units::{Nanos, SessionId, Time, Tokens};

use crate::call::CallId;
use crate::record::{Phases, SessionRecord, Status, TurnRecord};

/// One session in flight.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) record: SessionRecord,
    /// Index of the current turn.
    pub(crate) turn: usize,
    pub(crate) turn_record: TurnRecord,
    /// A tool failed: when its other calls have ended, it is over.
    pub(crate) failed: bool,
    /// Of each turn, for a policy that asked; else empty.
    foresight: Vec<Foresight>,
    /// Tool calls of this turn that have not ended.
    calls_left: usize,
    /// The longest that one of them took or would have taken alone.
    calls_alone: Nanos,
    tools_started: Time,
    think_started: Time,
}

impl Agent {
    pub(crate) fn new(
        session: SessionId,
        trace: Arc<Session>,
        arrival: Time,
        foresight: Vec<Foresight>,
    ) -> Self {
        Self {
            turn: 0,
            failed: false,
            foresight,
            turn_record: fresh_turn(session, 0, arrival),
            calls_left: 0,
            calls_alone: Nanos::ZERO,
            tools_started: arrival,
            think_started: arrival,
            record: SessionRecord {
                session,
                trace,
                arrival,
                admitted: None,
                finished: None,
                status: Status::Unfinished,
                turns: 0,
                output: Tokens::ZERO,
                prompt: Tokens::ZERO,
                hit: Tokens::ZERO,
                recomputed: Tokens::ZERO,
                preemptions: 0,
                phases: Phases::default(),
            },
        }
    }

    pub(crate) fn is_last_turn(&self) -> bool {
        self.turn + 1 == self.record.trace.turns.len()
    }

    pub(crate) fn next_turn(&mut self, now: Time) {
        self.turn += 1;
        let turn = u32::try_from(self.turn).unwrap_or(u32::MAX);
        self.turn_record = fresh_turn(self.record.session, turn, now);
    }

    /// The turn ended and this many calls start.
    pub(crate) fn begin_tools(&mut self, now: Time, calls: usize) {
        self.tools_started = now;
        self.calls_left = calls;
        self.calls_alone = Nanos::ZERO;
    }

    /// One of the turn's calls ended, which alone takes so long: what now?
    pub(crate) fn call_ended(&mut self, now: Time, alone: Nanos) -> After {
        self.calls_left -= 1;
        self.calls_alone = self.calls_alone.max(alone);
        if self.calls_left > 0 {
            return After::MoreCalls;
        }
        let turn = &self.record.trace.turns[self.turn];
        let took = now.since(self.tools_started);
        self.record.phases.tool_run += self.calls_alone.min(took);
        self.record.phases.tool_wait += took.saturating_sub(self.calls_alone);
        if turn.think.is_some() && !self.is_last_turn() && !self.failed {
            return After::Pause;
        }
        After::PhaseOver
    }

    /// The pause ended.
    pub(crate) fn pause_ended(&mut self, now: Time) {
        self.record.phases.think += now.since(self.think_started);
    }
}

fn fresh_turn(session: SessionId, turn: u32, ready: Time) -> TurnRecord {
    TurnRecord {
        session,
        turn,
        ready,
        started: ready,
        first_token: ready,
        ended: ready,
        prompt: Tokens::ZERO,
        hit: Tokens::ZERO,
        output: Tokens::ZERO,
        scheduled: Tokens::ZERO,
        recomputed: Tokens::ZERO,
        preemptions: 0,
    }
}

/// What happens when a tool call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Other calls of the turn still run.
    MoreCalls,
    /// A human thinks now.
    Pause,
    /// The tool phase is over.
    PhaseOver,
}

/// Humans' pauses, by their end.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    ends: BinaryHeap<Reverse<(Time, CallId)>>,
}

impl Pauses {
    /// The next to end.
    pub(crate) fn next(&self) -> Option<(Time, CallId)> {
        self.ends.peek().map(|Reverse(next)| *next)
    }

    pub(crate) fn pop(&mut self) {
        self.ends.pop();
    }

    /// Begins the pause after the agent's turn: as recorded, or none at all.
    pub(crate) fn begin(&mut self, now: Time, agent: &mut Agent) {
        // After the last turn nobody waits for the human.
        let think = agent.record.trace.turns[agent.turn].think;
        let pause = think
            .filter(|_| !agent.is_last_turn())
            .unwrap_or(Nanos::ZERO);
        agent.think_started = now;
        let id = CallId::pause(agent.record.session);
        self.ends.push(Reverse((now + pause, id)));
    }
}

/// Names of tools as classes.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    by_name: FxHashMap<Arc<str>, ToolClass>,
}

impl Classes {
    /// The class of a turn's tool phase: its tools' names, each once, in order.
    fn of(&mut self, tools: &[ToolCall]) -> ToolClass {
        let name: Arc<str> = match tools {
            [] => Arc::from("(pause)"),
            [one] => Arc::clone(&one.name),
            several => {
                let mut names: Vec<&str> = several.iter().map(|t| &*t.name).collect();
                names.sort_unstable();
                names.dedup();
                Arc::from(names.join("+"))
            }
        };
        let next = ToolClass(u32::try_from(self.by_name.len()).unwrap_or(u32::MAX));
        *self.by_name.entry(name).or_insert(next)
    }

    /// The agent's turn as the scheduler is told of it.
    pub(crate) fn request(&mut self, agent: &Agent) -> TurnRequest {
        let trace = Arc::clone(&agent.record.trace);
        let turn = &trace.turns[agent.turn];
        let then = if turn.tools.is_empty() && (agent.is_last_turn() || turn.think.is_none()) {
            if agent.is_last_turn() {
                Then::End
            } else {
                // The agent answers at once, without a tool: a yield that takes no time.
                Then::Yield {
                    tool: self.of(&[]),
                    calls: 0,
                }
            }
        } else {
            Then::Yield {
                tool: self.of(&turn.tools),
                calls: u32::try_from(turn.tools.len()).unwrap_or(u32::MAX),
            }
        };
        TurnRequest {
            prompt: turn.prompt,
            reused: turn.reused,
            output: turn.output.value,
            then,
            flagged_last: agent.is_last_turn(),
            foresight: agent.foresight.get(agent.turn).copied(),
        }
    }
}
