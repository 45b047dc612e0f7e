//! The description of a workload: classes of sessions, and how each of their quantities is drawn.
//!
//! Limits: quantities of a turn depend on nothing but the session (no drift from turn to turn, no
//! dependence of an observation on its tool).

use std::sync::Arc;

use units::Nanos;

use super::arrivals::ArrivalPlan;
use super::draw::Draw;
use super::target::Target;
use crate::model::SharedPrefix;

/// The most turns of a session: longer draws are cut.
pub const TURNS_LIMIT: u64 = 10_000;

/// The most tool calls of a turn: more are cut.
pub const CALLS_LIMIT: u64 = 100;

/// A workload, ready to be generated. Made by [`Spec::from_toml`] or [`super::preset`].
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its name; sessions are called `name/0`, `name/1`, ...
    pub name: Arc<str>,
    /// What it stands for.
    pub about: String,
    /// Where its numbers come from.
    pub sources: Vec<String>,
    /// Kinds of sessions; at least one.
    pub classes: Vec<Class>,
    /// How its sessions arrive, if the description says so.
    pub arrivals: Option<ArrivalPlan>,
    /// What its statistics should be.
    pub targets: Vec<Target>,
}

/// One kind of session.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name.
    pub name: Arc<str>,
    /// Its share of the sessions, in proportion to the other classes' weights.
    pub weight: f64,
    /// The opening that every first prompt of this class begins with.
    pub shared: Option<SharedPrefix>,
    /// Model calls of a session.
    pub turns: Draw,
    /// Tokens of the first prompt, the shared opening included; never fewer than that opening.
    pub first_prompt: Draw,
    /// Tokens generated per turn; at least 1.
    pub output: Draw,
    /// Tokens that a turn's tools (or a human) add to the next prompt.
    pub observation: Draw,
    /// The same after the first turn, when an agent first looks around; `None`: as after the others.
    pub first_observation: Option<Draw>,
    /// The most tokens of a prompt and its output. A session ends before a turn whose prompt would
    /// not leave room for one output token; a longer output is cut.
    pub context_limit: u64,
    /// Tool calls of a turn, side by side.
    pub tools_per_turn: Draw,
    /// Whether the last turn has tool calls, too.
    pub tools_after_last: bool,
    /// The tools; empty only if no turn has any.
    pub tools: Vec<Tool>,
    /// What takes the place of the first tool call of a session.
    pub build: Option<Build>,
    /// Pauses of a human.
    pub pause: Option<Pause>,
}

/// A kind of tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: Arc<str>,
    /// Its share of the calls, in proportion to the other tools' weights.
    pub weight: f64,
    /// Seconds it takes alone.
    pub wall_s: Draw,
    /// The agent kills it after this time.
    pub timeout: Nanos,
    /// Cores it keeps busy: CPU time is this times wall time.
    pub cores: Draw,
    /// Threads that its CPU part can use.
    pub parallelism: u32,
}

/// The environment that a session's first tool call builds (a virtual environment, say).
#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    /// Name of the tool call.
    pub name: Arc<str>,
    /// Seconds of CPU time.
    pub cpu_s: Draw,
    /// Wall time alone, as a multiple of CPU time.
    pub wall_per_cpu: f64,
    /// Threads that it can use.
    pub parallelism: u32,
}

/// A human's pauses: a turn with a pause has no tools.
#[derive(Clone, Debug, PartialEq)]
pub struct Pause {
    /// Share of the turns, the last one left out, that a human answers.
    pub share: f64,
    /// Seconds until the answer.
    pub seconds: Draw,
}
