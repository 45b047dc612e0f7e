//! Listens to a run and keeps its records as columns.

use std::path::Path;

use scheduler::{Info, StepPlan};
use sim::world::{
    CommandRecord, Observer, Outcome, Sample, SessionRecord, Status, ToolFailure, TurnRecord,
};
use units::{Nanos, SessionId, Time};

use super::columns::{SampleColumns, SessionColumns, TurnColumns};
use super::commands::CommandColumns;
use super::decisions::DecisionColumns;
use crate::interrupt::Interrupt;
use crate::metrics::Timed;
use crate::perfetto::{Timeline, Wanted};
use crate::progress::Share;

/// Rows of samples at most. When they are full every other one goes and the interval doubles, so a
/// run of years fits memory.
const SAMPLE_ROWS: usize = 1 << 20;

/// Calls of [`Observer::progress`] at one instant, of 4096 events each, after which a run is taken to
/// turn on the spot. No load has 16 million events in one instant.
const STALLED_CALLS: u32 = 4096;

/// Everything a run directory holds, while the run lasts.
#[derive(Debug)]
pub struct Recorder<'a> {
    sessions: SessionColumns,
    turns: TurnColumns,
    samples: SampleColumns,
    /// `None` when nobody asked for the log.
    decisions: Option<DecisionColumns>,
    /// `None` when nobody asked for it.
    timeline: Option<Timeline>,
    samples_seen: u64,
    sample_stride: u64,
    /// `T_ideal` of the session that is offered as number `i`.
    ideals: &'a [Option<Nanos>],
    timed: Vec<Timed>,
    progress: Share<'a>,
    interrupt: &'a Interrupt,
    last_seen: Time,
    calls_at_last: u32,
    failures: Vec<(Time, ToolFailure)>,
    /// `None` when none can be run.
    commands: Option<CommandColumns>,
}

/// Rows written, by file; `None` when there is no such file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rows {
    /// Of `sessions.parquet`.
    pub sessions: Option<usize>,
    /// Of `turns.parquet`.
    pub turns: Option<usize>,
    /// Of `samples.parquet`.
    pub samples: Option<usize>,
    /// Of `decisions.parquet`.
    pub decisions: Option<usize>,
    /// Of `commands.parquet`. Not told where there is none, as in every simulation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<usize>,
    /// Sampling intervals from one row of samples to the next.
    pub sample_stride: Option<u64>,
}

impl<'a> Recorder<'a> {
    /// Nothing recorded yet. `ideals` are those of the offered sessions, in order of arrival.
    pub fn new(ideals: &'a [Option<Nanos>], progress: Share<'a>, interrupt: &'a Interrupt) -> Self {
        Self {
            sessions: SessionColumns::default(),
            turns: TurnColumns::default(),
            samples: SampleColumns::default(),
            decisions: None,
            timeline: None,
            samples_seen: 0,
            sample_stride: 1,
            ideals,
            timed: Vec::new(),
            progress,
            interrupt,
            last_seen: Time::ZERO,
            calls_at_last: 0,
            failures: Vec::new(),
            commands: None,
        }
    }

    /// Keeps commands that tool calls run too.
    pub fn keep_commands(&mut self) {
        self.commands = Some(CommandColumns::default());
    }

    /// Commands that tool calls ran, if they are kept.
    pub fn commands(&self) -> Option<&CommandColumns> {
        self.commands.as_ref()
    }

    /// Tools that failed, and when; none in a simulation.
    pub fn failures(&self) -> &[(Time, ToolFailure)] {
        &self.failures
    }

    /// Keeps the decision log too, if the scheduler writes one.
    pub fn keep_decisions(&mut self) {
        self.decisions = Some(DecisionColumns::default());
    }

    /// Keeps a timeline too.
    pub fn keep_timeline(&mut self, wanted: Wanted) {
        self.timeline = Some(Timeline::new(wanted));
    }

    /// When the timeline was cut for its size, if it was.
    pub fn timeline_cut(&self) -> Option<Time> {
        self.timeline.as_ref().and_then(Timeline::cut)
    }

    fn ideal(&self, session: SessionId) -> Option<Nanos> {
        self.ideals.get(session.0 as usize).copied().flatten()
    }

    /// Latency and `T_ideal` of the completed sessions.
    pub fn timed(&self) -> &[Timed] {
        &self.timed
    }

    /// When the clock stopped for good, if it did: a bug of the scheduler or a policy.
    pub fn stalled(&self) -> Option<Time> {
        (self.calls_at_last >= STALLED_CALLS).then_some(self.last_seen)
    }

    /// Sessions that the progress has been told of.
    pub fn counted(&self) -> u64 {
        self.progress.counted()
    }

    /// Time to first token of every turn that ended.
    pub fn first_tokens(&self) -> Vec<Nanos> {
        self.turns.first_tokens()
    }

    /// Writes the Parquet files into `folder`.
    ///
    /// # Errors
    /// What the system or polars says.
    pub fn write(self, policy: &str, folder: &Path) -> anyhow::Result<Rows> {
        if let Some(timeline) = &self.timeline {
            timeline.write(policy, &folder.join("perfetto.json"))?;
        }
        let commands = |ran: CommandColumns| ran.write(&folder.join("commands.parquet"));
        let decisions = |log: DecisionColumns| log.write(policy, &folder.join("decisions.parquet"));
        Ok(Rows {
            sessions: Some(self.sessions.write(&folder.join("sessions.parquet"))?),
            turns: Some(self.turns.write(&folder.join("turns.parquet"))?),
            samples: Some(self.samples.write(&folder.join("samples.parquet"))?),
            decisions: self.decisions.map(decisions).transpose()?,
            commands: self.commands.map(commands).transpose()?,
            sample_stride: Some(self.sample_stride),
        })
    }
}

impl Observer for Recorder<'_> {
    fn wants_steps(&self) -> bool {
        self.timeline.is_some()
    }

    fn step(&mut self, at: Time, plan: &StepPlan, time: Nanos) {
        if let Some(timeline) = &mut self.timeline {
            timeline.step(at, plan, time);
        }
    }

    fn session(&mut self, record: SessionRecord) {
        if let Some(timeline) = &mut self.timeline {
            timeline.session(&record);
        }
        let ideal = self.ideal(record.session);
        if let (Status::Completed, Some(finished)) = (record.status, record.finished) {
            self.timed.push(Timed {
                latency: finished.since(record.arrival),
                ideal,
            });
        }
        self.sessions.push(&record, ideal);
    }

    fn turn(&mut self, record: &TurnRecord) {
        if let Some(timeline) = &mut self.timeline {
            timeline.turn(record);
        }
        self.turns.push(record);
    }

    fn tool_failed(&mut self, at: Time, failure: &ToolFailure) {
        self.failures.push((at, failure.clone()));
    }

    fn command_ended(&mut self, at: Time, record: &CommandRecord) {
        if let Some(commands) = &mut self.commands {
            commands.push(at, record);
        }
    }

    fn sample(&mut self, sample: &Sample) {
        if let Some(timeline) = &mut self.timeline {
            timeline.sample(sample);
        }
        let keep = self.samples_seen.is_multiple_of(self.sample_stride);
        self.samples_seen += 1;
        if !keep {
            return;
        }
        if self.samples.len() == SAMPLE_ROWS {
            self.samples.keep_every_other();
            self.sample_stride *= 2;
            // Row `SAMPLE_ROWS` is even, so it belongs to the coarser grid too.
        }
        self.samples.push(sample);
    }

    fn info(&mut self, at: Time, info: &Info) {
        if let Some(timeline) = &mut self.timeline {
            timeline.info(at, info);
        }
        if let (Info::Decided(decision), Some(log)) = (info, &mut self.decisions) {
            log.push(at, decision);
        }
    }

    fn progress(&mut self, at: Time, completed: u64) -> Outcome {
        self.progress.completed(completed);
        if at > self.last_seen {
            self.last_seen = at;
            self.calls_at_last = 0;
        }
        self.calls_at_last += 1;
        if self.interrupt.is_set() || self.stalled().is_some() {
            Outcome::Stop
        } else {
            Outcome::Continue
        }
    }
}
