//! What a trace contains: counts, token volumes, reuse, tool times, and where the numbers come from.
//!
//! What: [`Stats`] is fed session by session and keeps the numbers of each quantity ([`Sample`]).
//! [`oddities`] names what is lawful and still suspicious in one session.
//! Why: a table, a figure and a generator's targets must not disagree on what "observation" or "idle
//! share" means.
//! Limits: exact and therefore 8 bytes a number; nothing is weighted by arrival or by load.
//!
//! # Definitions
//! - *Prompt volume* of a session: the prompt tokens of all its calls, each counted as often as sent.
//! - *New* tokens of a turn: its prompt less what it reuses of the turn before.
//! - *Observation*: what tools and people added to the context between two calls, the prompt less the
//!   previous prompt and output. Where that is negative the context *shrank*; such a turn and one to
//!   which nothing was added have no observation.
//! - *Prefix reuse*: reused over all prompt tokens; the most an unbounded cache of the session itself
//!   can hit.
//! - *Tool time* of a turn: until its last tool returns. Per tool: each call on its own.
//! - *Idle share* of a session: its tool time over its tool time plus its model calls' time, so the
//!   share in which it holds KV and runs no step. Human pauses are left out. Only for sessions with
//!   every one of those times.

mod oddity;
mod sample;

pub use oddity::{LONG_TOOL, Oddity, PLACEHOLDER, oddities};
pub use sample::{Sample, Sorted};

use std::collections::BTreeMap;
use std::sync::Arc;

use units::Tokens;

use crate::model::{Evidence, Session, ToolCall, Turn};

/// Idle shares are kept in billionths.
pub const SHARE_UNIT: u64 = 1_000_000_000;

/// How many numbers of a kind come from where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidences {
    /// The recording says so.
    pub recorded: u64,
    /// Computed from the recording.
    pub estimated: u64,
    /// Drawn from a fitted distribution.
    pub drawn: u64,
    /// Nobody knows.
    pub unknown: u64,
}

impl Evidences {
    /// Counts one number; `None` is one that nobody knows.
    pub const fn note(&mut self, evidence: Option<Evidence>) {
        match evidence {
            Some(Evidence::Recorded) => self.recorded += 1,
            Some(Evidence::Estimated) => self.estimated += 1,
            Some(Evidence::Drawn) => self.drawn += 1,
            None => self.unknown += 1,
        }
    }

    /// Adds the counts of `other`.
    pub const fn absorb(&mut self, other: Self) {
        self.recorded += other.recorded;
        self.estimated += other.estimated;
        self.drawn += other.drawn;
        self.unknown += other.unknown;
    }
}

/// The calls of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tool {
    /// Times alone that are known, nanoseconds.
    pub wall: Sample,
    /// CPU times that are known, nanoseconds.
    pub cpu: Sample,
    /// Calls by where their time alone comes from.
    pub wall_from: Evidences,
    /// Calls by where their CPU time comes from.
    pub cpu_from: Evidences,
    /// Time alone of the calls whose CPU time is known too: what the mean number of busy cores
    /// divides by; nanoseconds.
    pub wall_of_cpu: u128,
}

impl Tool {
    /// Calls, whether their times are known or not.
    pub const fn calls(&self) -> u64 {
        let from = &self.wall_from;
        from.recorded + from.estimated + from.drawn + from.unknown
    }

    /// CPU time over time alone, of the calls that know both; `None` without any.
    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    pub fn cores(&self) -> Option<f64> {
        (self.wall_of_cpu > 0).then(|| self.cpu.sum() as f64 / self.wall_of_cpu as f64)
    }

    fn add(&mut self, call: &ToolCall) {
        self.wall_from.note(call.wall.map(|wall| wall.evidence));
        self.cpu_from.note(call.cpu.map(|cpu| cpu.evidence));
        if let Some(wall) = call.wall {
            self.wall.push(wall.value.as_nanos());
        }
        if let (Some(cpu), Some(wall)) = (call.cpu, call.wall) {
            self.cpu.push(cpu.value.as_nanos());
            self.wall_of_cpu += u128::from(wall.value.as_nanos());
        }
    }
}

/// Everything about the sessions that were [added](Stats::add).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that another one started.
    pub children: u64,
    /// Arrival of each session that has one, nanoseconds from the start of the recording.
    pub arrival: Sample,
    /// Sessions whose opening is shared with others.
    pub with_shared: u64,
    /// Sessions by recorded model; the empty name for those that do not say.
    pub models: BTreeMap<Arc<str>, u64>,
    /// Turns of each session.
    pub turns: Sample,
    /// Prompt volume of each session, tokens.
    pub volume: Sample,
    /// First prompt of each session, tokens.
    pub first_prompt: Sample,
    /// Largest KV of each session, tokens.
    pub peak: Sample,
    /// Output of each session, tokens.
    pub generated: Sample,
    /// Idle share of each session that has one, in [`SHARE_UNIT`]s.
    pub idle_share: Sample,
    /// Tool time over those sessions.
    pub idle_tools: u128,
    /// Model time over those sessions.
    pub idle_llm: u128,
    /// Prompt of each turn, tokens.
    pub prompt: Sample,
    /// New tokens of each turn.
    pub new: Sample,
    /// Output of each turn, tokens.
    pub output: Sample,
    /// Observation before each turn that has one, tokens.
    pub observation: Sample,
    /// Turns whose context is shorter than what came before.
    pub shrunk: u64,
    /// Recorded time of each model call that has one, nanoseconds.
    pub llm: Sample,
    /// Each human pause, nanoseconds.
    pub think: Sample,
    /// Prompt tokens that the recorded server took from its cache, and the prompts of those turns.
    pub cached: Ratio,
    /// Calls by tool.
    pub tools: BTreeMap<Arc<str>, Tool>,
    /// Tool calls that carry a command.
    pub commands: u64,
    /// Outputs by where they come from.
    pub output_from: Evidences,
}

/// A part and its whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratio {
    /// The part.
    pub part: u128,
    /// The whole.
    pub whole: u128,
}

impl Ratio {
    /// Part over whole; `None` of nothing.
    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    pub fn share(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }
}

impl Stats {
    /// Adds one session, which keeps the laws of the model.
    pub fn add(&mut self, session: &Session) {
        self.children += u64::from(session.parent.is_some());
        if let Some(arrival) = session.arrival {
            self.arrival.push(arrival.as_nanos());
        }
        self.with_shared += u64::from(!session.shared.is_empty());
        let model = session.model.clone().unwrap_or_else(|| Arc::from(""));
        *self.models.entry(model).or_default() += 1;
        self.turns.push(session.turns.len() as u64);
        self.volume.push(session.prompt_tokens().get());
        let first = session.turns.first();
        self.first_prompt
            .push(first.map_or(0, |turn| turn.prompt.get()));
        self.peak.push(session.peak_tokens().get());
        self.generated.push(session.output_tokens().get());
        let mut previous: Option<&Turn> = None;
        for turn in &session.turns {
            self.turn(turn, previous);
            previous = Some(turn);
        }
        self.commands += session.commands();
        self.idle(session);
    }

    /// Sessions added.
    pub const fn sessions(&self) -> usize {
        self.turns.len()
    }

    /// Sessions per second as recorded: gaps over the time from the first to the last arrival. `None`
    /// without two arrivals and time between them.
    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    pub fn arrival_rate_per_s(&self) -> Option<f64> {
        let sorted = self.arrival.sorted();
        let (first, last) = (sorted.values().first()?, sorted.values().last()?);
        let span = (last - first) as f64 / 1e9;
        (span > 0.0).then(|| (self.arrival.len() - 1) as f64 / span)
    }

    /// Reused over all prompt tokens; `None` without a turn.
    pub fn prefix_reuse(&self) -> Option<f64> {
        let whole = self.prompt.sum();
        let part = whole.saturating_sub(self.new.sum());
        Ratio { part, whole }.share()
    }

    /// Tool time over tool plus model time, all sessions that have an idle share taken together.
    pub fn pooled_idle(&self) -> Option<f64> {
        let (part, whole) = (self.idle_tools, self.idle_tools + self.idle_llm);
        Ratio { part, whole }.share()
    }

    /// All tools taken together.
    pub fn all_tools(&self) -> Tool {
        let mut all = Tool::default();
        for tool in self.tools.values() {
            all.wall.absorb(&tool.wall);
            all.cpu.absorb(&tool.cpu);
            all.wall_from.absorb(tool.wall_from);
            all.cpu_from.absorb(tool.cpu_from);
            all.wall_of_cpu += tool.wall_of_cpu;
        }
        all
    }

    fn turn(&mut self, turn: &Turn, previous: Option<&Turn>) {
        self.prompt.push(turn.prompt.get());
        self.new.push(turn.prompt.saturating_sub(turn.reused).get());
        self.output.push(turn.output.value.get());
        self.output_from.note(Some(turn.output.evidence));
        if let Some(previous) = previous {
            let before = previous.prompt + previous.output.value;
            match turn.prompt.saturating_sub(before) {
                Tokens::ZERO => self.shrunk += u64::from(turn.prompt < before),
                added => self.observation.push(added.get()),
            }
        }
        if let Some(llm) = turn.llm {
            self.llm.push(llm.as_nanos());
        }
        if let Some(think) = turn.think {
            self.think.push(think.as_nanos());
        }
        if let Some(cached) = turn.cached {
            self.cached.part += u128::from(cached.get());
            self.cached.whole += u128::from(turn.prompt.get());
        }
        for call in &turn.tools {
            // Not `entry`: it would take a count of the name for every call.
            match self.tools.get_mut(&call.name) {
                Some(tool) => tool.add(call),
                None => self
                    .tools
                    .entry(Arc::clone(&call.name))
                    .or_default()
                    .add(call),
            }
        }
    }

    fn idle(&mut self, session: &Session) {
        let mut tools = 0_u128;
        let mut llm = 0_u128;
        for turn in &session.turns {
            let (Some(tool), Some(call)) = (turn.tool_time(), turn.llm) else {
                return;
            };
            tools += u128::from(tool.as_nanos());
            llm += u128::from(call.as_nanos());
        }
        if tools + llm == 0 {
            return;
        }
        let share = tools * u128::from(SHARE_UNIT) / (tools + llm);
        self.idle_share
            .push(u64::try_from(share).unwrap_or(SHARE_UNIT));
        self.idle_tools += tools;
        self.idle_llm += llm;
    }
}
