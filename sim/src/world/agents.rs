//! The agents: which session is where in its recording, and the tools that run for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use scheduler::{Foresight, Then, ToolClass, TurnRequest};
use traces::model::{Session, ToolCall};
use units::{Nanos, SessionId, Time, Tokens};

use super::drive::ToolMode;
use super::error::SimError;
use super::record::{Phases, SessionRecord, Status, TurnRecord};
use crate::tool_cpu::{CallId, CpuEnd, Demand, ToolCpu, Workers};

/// Calls that one turn may have: the low bits of a [`CallId`].
const CALL_BITS: u32 = 20;
/// The "call" that stands for a human's pause.
const THINK: u64 = (1 << CALL_BITS) - 1;

fn call_id(session: SessionId, call: u64) -> CallId {
    CallId(u64::from(session.0) << CALL_BITS | call)
}

pub(super) fn session_of(id: CallId) -> SessionId {
    SessionId(u32::try_from(id.0 >> CALL_BITS).expect("built from a 32-bit id"))
}

pub(super) fn is_think(id: CallId) -> bool {
    id.0 & THINK == THINK
}

/// One session in flight.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) record: SessionRecord,
    /// Index of the current turn.
    pub(super) turn: usize,
    pub(super) turn_record: TurnRecord,
    /// Of each turn, for a policy that asked; else empty.
    foresight: Vec<Foresight>,
    /// Tool calls of this turn that have not ended.
    calls_left: usize,
    tools_started: Time,
    think_started: Time,
}

impl Agent {
    pub(super) fn new(
        session: SessionId,
        trace: Arc<Session>,
        arrival: Time,
        foresight: Vec<Foresight>,
    ) -> Self {
        Self {
            turn: 0,
            foresight,
            turn_record: fresh_turn(session, 0, arrival),
            calls_left: 0,
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

    pub(super) fn is_last_turn(&self) -> bool {
        self.turn + 1 == self.record.trace.turns.len()
    }

    pub(super) fn next_turn(&mut self, now: Time) {
        self.turn += 1;
        let turn = u32::try_from(self.turn).unwrap_or(u32::MAX);
        self.turn_record = fresh_turn(self.record.session, turn, now);
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

/// What happens when something of a tool phase ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Other calls of the turn still run.
    MoreCalls,
    /// A human thinks now.
    Think,
    /// The tool phase is over.
    PhaseOver,
}

/// What CPU phases run on.
#[derive(Debug)]
enum Cpu {
    Cores(ToolCpu),
    Workers(Workers),
}

impl Cpu {
    fn start(&mut self, now: Time, id: CallId, demand: Demand) -> Option<CpuEnd> {
        match self {
            Self::Cores(cores) => cores.start(now, id, demand),
            Self::Workers(workers) => workers.start(now, id, demand),
        }
    }

    fn next_change(&self) -> Option<Time> {
        match self {
            Self::Cores(cores) => cores.next_change(),
            Self::Workers(workers) => workers.next_change(),
        }
    }

    fn advance(&mut self, now: Time) -> Vec<CpuEnd> {
        match self {
            Self::Cores(cores) => cores.advance(now),
            Self::Workers(workers) => workers.advance(now),
        }
    }
}

/// Tool calls in flight, their names as classes, and their totals.
#[derive(Debug)]
pub(super) struct Tools {
    cpu: Cpu,
    io: BinaryHeap<Reverse<(Time, u64)>>,
    /// Calls past their CPU phase, by id, until their I/O ends.
    in_io: FxHashMap<u64, CpuEnd>,
    classes: FxHashMap<Arc<str>, ToolClass>,
    pub(super) ended: u64,
    pub(super) elapsed: Nanos,
    pub(super) alone: Nanos,
}

impl Tools {
    pub(super) fn new(mode: ToolMode) -> Self {
        Self {
            cpu: match mode {
                ToolMode::Shared(cores) => Cpu::Cores(ToolCpu::shared(cores)),
                ToolMode::Fifo(workers, hold) => Cpu::Workers(Workers::new(workers, hold)),
                ToolMode::Unlimited => Cpu::Cores(ToolCpu::unlimited()),
            },
            io: BinaryHeap::new(),
            in_io: FxHashMap::default(),
            classes: FxHashMap::default(),
            ended: 0,
            elapsed: Nanos::ZERO,
            alone: Nanos::ZERO,
        }
    }

    /// When the next CPU phase ends.
    pub(super) fn next_cpu(&self) -> Option<Time> {
        self.cpu.next_change()
    }

    /// When the next I/O part (or pause) ends.
    pub(super) fn next_io(&self) -> Option<Time> {
        self.io.peek().map(|Reverse((at, _))| *at)
    }

    /// CPU phases end; their calls go on with I/O.
    pub(super) fn advance_cpu(&mut self, now: Time) {
        for end in self.cpu.advance(now) {
            self.begin_io(end);
        }
    }

    fn begin_io(&mut self, end: CpuEnd) {
        self.io.push(Reverse((end.ends(), end.id.0)));
        self.in_io.insert(end.id.0, end);
    }

    /// The next I/O part or pause that ends at `now`, with how long its call waited for a core.
    pub(super) fn pop_io(&mut self, now: Time) -> Option<(CallId, Nanos)> {
        let &Reverse((at, id)) = self.io.peek()?;
        if at > now {
            return None;
        }
        self.io.pop();
        let delay = self.in_io.remove(&id).map_or(Nanos::ZERO, |end| {
            self.ended += 1;
            self.elapsed += end.elapsed();
            self.alone += end.alone();
            end.queue_delay()
        });
        Some((CallId(id), delay))
    }

    /// The class of a turn's tool phase: its tools' names, each once, in order.
    fn class(&mut self, tools: &[ToolCall]) -> ToolClass {
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
        let next = ToolClass(u32::try_from(self.classes.len()).unwrap_or(u32::MAX));
        *self.classes.entry(name).or_insert(next)
    }

    /// The turn as the scheduler is told of it.
    pub(super) fn request(&mut self, agent: &Agent) -> TurnRequest {
        let trace = Arc::clone(&agent.record.trace);
        let turn = &trace.turns[agent.turn];
        let then = if turn.tools.is_empty() && (agent.is_last_turn() || turn.think.is_none()) {
            if agent.is_last_turn() {
                Then::End
            } else {
                // The agent answers at once, without a tool: a yield that takes no time.
                Then::Yield {
                    tool: self.class(&[]),
                    calls: 0,
                }
            }
        } else {
            Then::Yield {
                tool: self.class(&turn.tools),
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

    /// Starts the tools of the turn that just ended, side by side; without tools, the pause.
    pub(super) fn start(&mut self, now: Time, agent: &mut Agent) -> Result<(), SimError> {
        let trace = Arc::clone(&agent.record.trace);
        let turn = &trace.turns[agent.turn];
        let session = agent.record.session;
        agent.tools_started = now;
        agent.calls_left = turn.tools.len();
        for (index, tool) in turn.tools.iter().enumerate() {
            let demand = demand(&trace, agent.turn, tool)?;
            let id = call_id(session, index as u64);
            if let Some(end) = self.cpu.start(now, id, demand) {
                self.begin_io(end);
            }
        }
        if turn.tools.is_empty() {
            self.start_think(now, agent);
        }
        Ok(())
    }

    fn start_think(&mut self, now: Time, agent: &mut Agent) {
        // After the last turn nobody waits for the human.
        let think = agent.record.trace.turns[agent.turn].think;
        let pause = think
            .filter(|_| !agent.is_last_turn())
            .unwrap_or(Nanos::ZERO);
        agent.think_started = now;
        let id = call_id(agent.record.session, THINK);
        self.io.push(Reverse((now + pause, id.0)));
    }

    /// One of the agent's calls (or its pause) ended: what now?
    pub(super) fn ended(&mut self, now: Time, id: CallId, agent: &mut Agent) -> After {
        if is_think(id) {
            agent.record.phases.think += now.since(agent.think_started);
            return After::PhaseOver;
        }
        agent.calls_left -= 1;
        if agent.calls_left > 0 {
            return After::MoreCalls;
        }
        let turn = &agent.record.trace.turns[agent.turn];
        let alone = turn
            .tools
            .iter()
            .filter_map(|t| t.wall)
            .map(|w| w.value)
            .max();
        let run = alone.unwrap_or(Nanos::ZERO);
        let took = now.since(agent.tools_started);
        agent.record.phases.tool_run += run.min(took);
        agent.record.phases.tool_wait += took.saturating_sub(run);
        if turn.think.is_some() && !agent.is_last_turn() {
            self.start_think(now, agent);
            return After::Think;
        }
        After::PhaseOver
    }
}

fn demand(trace: &Session, turn: usize, tool: &ToolCall) -> Result<Demand, SimError> {
    let unknown = |what| SimError::UnknownTool {
        session: trace.id.to_string(),
        turn,
        tool: tool.name.to_string(),
        what,
    };
    let wall = tool.wall.ok_or_else(|| unknown("wall time"))?.value;
    let cpu = tool.cpu.ok_or_else(|| unknown("CPU time"))?.value;
    Demand::new(wall, cpu, tool.parallelism).map_err(|source| SimError::BadTool {
        session: trace.id.to_string(),
        turn,
        tool: tool.name.to_string(),
        source,
    })
}
