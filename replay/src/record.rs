//! What a run reports: one record per session and turn, samples over time, a summary.

use std::sync::Arc;

use scheduler::{Counters, Info, StepPlan, Window};
use traces::model::Session;
use units::{Nanos, SessionId, Time, Tokens};

use crate::machine::CommandEnd;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All turns and tools are done.
    Completed,
    /// It could never fit the KV pool and was turned away on arrival.
    Rejected,
    /// One of its tools failed or took too long, so it could not go on. Only real tools do.
    Failed,
    /// The horizon came first. It counts as offered and missed, never as dropped.
    Unfinished,
}

/// Where a session's time went. The parts add up to its latency when it completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Arrival to admission.
    pub admission: Nanos,
    /// Turns ready to first start.
    pub queue: Nanos,
    /// First start to first token.
    pub prefill: Nanos,
    /// First token to last token.
    pub decode: Nanos,
    /// Tool phases as they would have been alone.
    pub tool_run: Nanos,
    /// What tool phases took beyond that.
    pub tool_wait: Nanos,
    /// A human's pauses.
    pub think: Nanos,
}

/// One session of a run.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Its id in the run, in order of arrival.
    pub session: SessionId,
    /// The recorded session it replays.
    pub trace: Arc<Session>,
    /// When it arrived.
    pub arrival: Time,
    /// When it was admitted.
    pub admitted: Option<Time>,
    /// When it completed.
    pub finished: Option<Time>,
    /// How it ended.
    pub status: Status,
    /// Turns that ended.
    pub turns: u32,
    /// Tokens generated.
    pub output: Tokens,
    /// Prompt tokens of its turns that started.
    pub prompt: Tokens,
    /// Of these, tokens found in KV.
    pub hit: Tokens,
    /// Tokens computed at positions whose content had been computed before.
    pub recomputed: Tokens,
    /// Times one of its turns was preempted.
    pub preemptions: u32,
    /// Where its time went.
    pub phases: Phases,
}

/// One turn of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnRecord {
    /// Whose.
    pub session: SessionId,
    /// Which, from 0.
    pub turn: u32,
    /// When its prompt was there: the first turn's arrival, else the end of the tools.
    pub ready: Time,
    /// When its prefill first started.
    pub started: Time,
    /// When its first token was sampled. Time to first token is this less `ready`.
    pub first_token: Time,
    /// When its last token was sampled.
    pub ended: Time,
    /// Prompt tokens.
    pub prompt: Tokens,
    /// Of these, tokens found in KV at the first start.
    pub hit: Tokens,
    /// Tokens generated.
    pub output: Tokens,
    /// Tokens computed, recomputation included.
    pub scheduled: Tokens,
    /// Of these, at positions whose content had been computed before.
    pub recomputed: Tokens,
    /// Times it was preempted.
    pub preemptions: u32,
}

/// The state of the machine at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Time,
    /// Blocks nobody holds.
    pub free: u64,
    /// Blocks that only pins hold.
    pub pinned: u64,
    /// Blocks of the pool.
    pub usable: u64,
    /// Turns that run.
    pub running: u64,
    /// Turns that wait for a start.
    pub waiting: u64,
    /// Sessions that wait for admission.
    pub backlog: u64,
    /// Sessions admitted and not complete.
    pub in_flight: u64,
    /// Tool calls in flight.
    pub tools: u64,
    /// Smoothed run-queue delay of tool calls, seconds.
    pub tool_wait_s: f64,
    /// Cached blocks dropped by an allocation, so far.
    pub evicted: u64,
    /// The last update of the admission window, for policies that have one.
    pub window: Option<Window>,
}

/// Totals of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Sessions that arrived.
    pub offered: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Turned away.
    pub rejected: u64,
    /// Given up because a tool failed.
    pub failed: u64,
    /// Still open at the horizon.
    pub unfinished: u64,
    /// From the first instant to the last completion (or the horizon, if that came first).
    pub makespan: Nanos,
    /// The scheduler's totals.
    pub counters: Counters,
    /// Of its steps, those that were taken without planning them (fast-forward). It says how a run was
    /// computed, not what came of it.
    pub repeated_steps: u64,
    /// Tool calls that ended.
    pub tool_calls: u64,
    /// The time that those took which did not fail, summed.
    pub tool_elapsed: Nanos,
    /// Their time alone, summed.
    pub tool_alone: Nanos,
}

impl Summary {
    /// How much longer tools took than alone; `None` without tool time.
    pub fn tool_stretch(&self) -> Option<f64> {
        (self.tool_alone > Nanos::ZERO)
            .then(|| self.tool_elapsed.as_secs() / self.tool_alone.as_secs())
    }
}

/// A tool call that did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolFailure {
    /// Whose.
    pub session: SessionId,
    /// Which turn, from 0.
    pub turn: u32,
    /// The tool.
    pub tool: Arc<str>,
    /// What became of it.
    pub why: String,
}

/// A command that a tool call ran. Only a real engine runs any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRecord {
    /// Whose.
    pub session: SessionId,
    /// Which turn, from 0.
    pub turn: u32,
    /// Which of the turn's calls, from 0.
    pub call: u32,
    /// The tool.
    pub tool: Arc<str>,
    /// From the turn's end to its own.
    pub elapsed: Nanos,
    /// Of that, its wait for a worker.
    pub queue_delay: Nanos,
    /// How it ended.
    pub end: CommandEnd,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Go on.
    Continue,
    /// Stop at once; what is open is reported as unfinished.
    Stop,
}

/// Who is told what happens. Every method may be left out.
pub trait Observer {
    /// A tool call failed, so its session is given up; [`Observer::session`] follows when the turn's other
    /// calls have ended.
    fn tool_failed(&mut self, at: Time, failure: &ToolFailure) {
        let _ = (at, failure);
    }

    /// A tool call's command ended, well or not. If it failed, [`Observer::tool_failed`] follows.
    fn command_ended(&mut self, at: Time, record: &CommandRecord) {
        let _ = (at, record);
    }

    /// A session is over, one way or another.
    fn session(&mut self, record: SessionRecord) {
        let _ = record;
    }

    /// A turn ended.
    fn turn(&mut self, record: &TurnRecord) {
        let _ = record;
    }

    /// The sampling interval passed.
    fn sample(&mut self, sample: &Sample) {
        let _ = sample;
    }

    /// Whether [`Observer::step`] is to be told of every step. An observer that does not look says no,
    /// and repeated steps (see [`scheduler::Config::fast_forward`]) are taken without a plan of their own.
    fn wants_steps(&self) -> bool {
        true
    }

    /// Whether [`Observer::plans`] and [`Observer::planned`] are to be called: for whoever times them.
    fn wants_plans(&self) -> bool {
        false
    }

    /// The scheduler is asked for a plan now, with so many turns that run or wait for a start.
    fn plans(&mut self, turns: usize) {
        let _ = turns;
    }

    /// It has answered; nothing was done in between. An empty plan is no step.
    fn planned(&mut self) {}

    /// A step starts and will take `time`.
    fn step(&mut self, at: Time, plan: &StepPlan, time: Nanos) {
        let _ = (at, plan, time);
    }

    /// One fact of the information stream.
    fn info(&mut self, at: Time, info: &Info) {
        let _ = (at, info);
    }

    /// Asked now and then whether to go on.
    fn progress(&mut self, at: Time, completed: u64) -> Outcome {
        let _ = (at, completed);
        Outcome::Continue
    }
}

/// Nobody looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn wants_steps(&self) -> bool {
        false
    }
}
