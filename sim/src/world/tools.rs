//! Tool calls in virtual time: a CPU phase on shared cores or workers, then I/O.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use replay::{Call, CallEnd, CallId};
use rustc_hash::FxHashMap;
use units::Time;

use super::drive::ToolMode;
use super::error::SimError;
use crate::cost::Crowd;
use crate::tool_cpu::{CpuEnd, Demand, ToolCpu, Workers};

/// What CPU phases run on.
#[derive(Debug)]
enum Cpu {
    Cores(ToolCpu),
    Workers(Workers),
}

/// Tool calls in flight.
#[derive(Debug)]
pub(super) struct Tools {
    cpu: Cpu,
    /// The cores, and the threads of the engine that share them while a step runs; `None` if it has cores
    /// of its own.
    engine: Option<(NonZeroU32, NonZeroU32)>,
    io: BinaryHeap<Reverse<(Time, CallId)>>,
    /// Calls past their CPU phase, until their I/O ends.
    in_io: FxHashMap<CallId, CpuEnd>,
}

impl Tools {
    pub(super) fn new(mode: ToolMode) -> Self {
        Self {
            cpu: match mode {
                ToolMode::Shared(cores) | ToolMode::WithEngine { cores, .. } => {
                    Cpu::Cores(ToolCpu::shared(cores))
                }
                ToolMode::Fifo(workers, hold) => Cpu::Workers(Workers::new(workers, hold)),
                ToolMode::Unlimited => Cpu::Cores(ToolCpu::unlimited()),
            },
            engine: match mode {
                ToolMode::WithEngine { cores, threads } => Some((cores, threads)),
                ToolMode::Shared(_) | ToolMode::Fifo(..) | ToolMode::Unlimited => None,
            },
            io: BinaryHeap::new(),
            in_io: FxHashMap::default(),
        }
    }

    /// The engine's threads take part in the sharing while a step runs.
    pub(super) fn engine_runs(&mut self, now: Time, runs: bool) {
        if let (Some((_, threads)), Cpu::Cores(cores)) = (self.engine, &mut self.cpu) {
            cores.set_guests(now, u64::from(threads.get()) * u64::from(runs));
        }
    }

    /// What the engine's threads share their cores with if a step begins now; `None` if with nobody.
    pub(super) fn crowd(&self) -> Option<Crowd> {
        let (cores, threads) = self.engine?;
        let calls = match &self.cpu {
            Cpu::Cores(cores) => cores.threads(),
            Cpu::Workers(_) => 0,
        };
        Some(Crowd {
            threads: calls + u64::from(threads.get()),
            cores: u64::from(cores.get()),
        })
    }

    pub(super) fn start(&mut self, now: Time, call: Call<'_>) -> Result<(), SimError> {
        let (wall, cpu) = call.times()?;
        let demand = Demand::new(wall, cpu, call.tool.parallelism);
        let demand = demand.map_err(|source| SimError::BadTool {
            session: call.session.id.to_string(),
            turn: call.turn,
            tool: call.tool.name.to_string(),
            source,
        })?;
        let at_once = match &mut self.cpu {
            Cpu::Cores(cores) => cores.start(now, call.id, demand),
            Cpu::Workers(workers) => workers.start(now, call.id, demand),
        };
        if let Some(end) = at_once {
            self.begin_io(end);
        }
        Ok(())
    }

    /// When the next CPU phase ends.
    pub(super) fn next_cpu(&self) -> Option<Time> {
        match &self.cpu {
            Cpu::Cores(cores) => cores.next_change(),
            Cpu::Workers(workers) => workers.next_change(),
        }
    }

    /// CPU phases end; their calls go on with I/O.
    pub(super) fn advance_cpu(&mut self, now: Time) {
        let ended = match &mut self.cpu {
            Cpu::Cores(cores) => cores.advance(now),
            Cpu::Workers(workers) => workers.advance(now),
        };
        for end in ended {
            self.begin_io(end);
        }
    }

    fn begin_io(&mut self, end: CpuEnd) {
        self.io.push(Reverse((end.ends(), end.id)));
        self.in_io.insert(end.id, end);
    }

    /// The call that ends next, and when.
    pub(super) fn next_end(&self) -> Option<(Time, CallId)> {
        self.io.peek().map(|Reverse(next)| *next)
    }

    /// Takes the end of that call.
    pub(super) fn end(&mut self) -> CallEnd {
        let id = self.io.pop().map(|Reverse((_, id))| id);
        let end = id.and_then(|id| self.in_io.remove(&id));
        end.map_or_else(CallEnd::default, |end| CallEnd {
            queue_delay: end.queue_delay(),
            elapsed: end.elapsed(),
            alone: end.alone(),
            failed: None,
            command: None,
        })
    }
}
