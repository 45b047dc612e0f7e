//! Drawing what a recording does not say: how long tools take and how much CPU they use.
//!
//! Why: most sources record no tool times, and a scheduler of agents is about what happens during
//! them. Every drawn value says so ([`Evidence::Drawn`]); known values are never touched.
//!
//! The rules:
//! - Wall time follows the [`fit`] of the tool's kind, cut off at the command time
//!   limit (sub-agents have none).
//! - Shell commands of one session resemble each other: the logarithms have an intra-class
//!   correlation of 0.16, a factor `exp(N(0, 0.66))` for each session. Multiplying by such a factor
//!   would widen the mixture, whose narrowest part (0.63) is already narrower than the factor, so
//!   nothing could be taken from it to make up. Instead the *normal scores* of a session's calls are
//!   correlated by `0.66^2 / 1.668^2 = 0.157` (1.668: standard deviation of the logarithms): each call's
//!   score is `sqrt(r) * session + sqrt(1 - r) * call`, and its wall time the quantile at that score.
//!   Every single call then follows the fit exactly, and calls of a session cluster as measured.
//! - CPU time is 0.55 cores times wall time (mean of 505 shell commands above 1 s; p10 0.17, p90
//!   0.91), and none for a sub-agent, which waits for a model. It is a fixed share, not a draw.
//!
//! Limits: times do not depend on the command or on its output; calls of one turn are no more alike
//! than calls of one session.

use rand_distr::{Distribution, StandardNormal};
use units::Nanos;

use crate::fit::{self, Mixture, normal_share_below};
use crate::model::{Evidence, Known, Session, ToolCall};
use crate::rng;

/// Correlation of the normal scores of shell commands in one session: `(0.66 / 1.668)^2`.
pub const SESSION_CORRELATION: f64 = (0.66 / 1.668) * (0.66 / 1.668);

/// CPU time of a tool per 100 units of wall time.
const CPU_PERCENT: u64 = 55;

/// How to fill in what is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Seed of all draws.
    pub seed: u64,
    /// The agent's time limit for a command: no drawn time is longer, but a sub-agent's.
    pub tool_limit: Nanos,
}

/// What was filled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Wall times drawn.
    pub walls: u64,
    /// CPU times set.
    pub cpus: u64,
}

impl Filled {
    /// Adds the counts of `other`.
    pub const fn absorb(&mut self, other: Self) {
        self.walls += other.walls;
        self.cpus += other.cpus;
    }
}

impl Fill {
    /// Draws with `seed` and the usual time limit of 120 s.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            tool_limit: Nanos::from_millis(120_000),
        }
    }

    /// Fills a whole workload; a session's draws belong to its index.
    pub fn sessions(&self, sessions: &mut [Session]) -> Filled {
        let mut filled = Filled::default();
        for (session, index) in sessions.iter_mut().zip(0..) {
            filled.absorb(self.session(session, index));
        }
        filled
    }

    /// Fills one session with the draws of `(seed, index)`.
    ///
    /// Every tool call takes one draw, needed or not, so a time that becomes known does not move the
    /// others.
    pub fn session(&self, session: &mut Session, index: u64) -> Filled {
        let mut rng = rng::stream(self.seed, "tool_wall", index);
        let of_session: f64 = StandardNormal.sample(&mut rng);
        let mut filled = Filled::default();
        for tool in session.turns.iter_mut().flat_map(|turn| &mut turn.tools) {
            let of_call: f64 = StandardNormal.sample(&mut rng);
            let kind = Kind::of(&tool.name);
            if tool.wall.is_none() {
                let share = normal_share_below(kind.score(of_session, of_call));
                let limit = if kind == Kind::SubAgent {
                    crate::validate::SPAN_LIMIT
                } else {
                    self.tool_limit
                };
                // A CPU time may be known without the time it fits into.
                let least = shortest(tool);
                let wall = kind.fit().quantile(share, limit).max(least);
                tool.wall = Some(Known::drawn(wall));
                filled.walls += 1;
            }
            if let (None, Some(wall)) = (tool.cpu, tool.wall) {
                tool.cpu = Some(Known {
                    value: kind.cpu_of(wall.value),
                    evidence: Evidence::Drawn,
                });
                filled.cpus += 1;
            }
        }
        filled
    }
}

/// The shortest wall time that a tool's known CPU time fits into.
fn shortest(tool: &ToolCall) -> Nanos {
    let used = tool.cpu.map_or(0, |cpu| cpu.value.as_nanos());
    Nanos::new(used.div_ceil(u64::from(tool.parallelism.max(1))))
}

/// Kinds of tools with a fit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Shell,
    Read,
    Edit,
    SubAgent,
    Other,
}

impl Kind {
    /// By the names that Claude Code, mini-swe-agent, `OpenHands`, Codex and pi give their tools.
    fn of(name: &str) -> Self {
        match name {
            "Bash" | "bash" | "execute_bash" | "run" | "terminal" | "exec_command" | "shell" => {
                Self::Shell
            }
            "Read" | "read" => Self::Read,
            "Edit" | "edit" | "MultiEdit" => Self::Edit,
            "Task" | "Agent" => Self::SubAgent,
            _ => Self::Other,
        }
    }

    const fn fit(self) -> Mixture {
        match self {
            Self::Shell => fit::SHELL,
            Self::Read => fit::READ,
            Self::Edit => fit::EDIT,
            Self::SubAgent => fit::SUB_AGENT,
            Self::Other => fit::ANY_TOOL,
        }
    }

    /// The normal score of a call. Clustering was measured on shell commands alone.
    fn score(self, of_session: f64, of_call: f64) -> f64 {
        if self == Self::Shell {
            SESSION_CORRELATION.sqrt() * of_session + (1.0 - SESSION_CORRELATION).sqrt() * of_call
        } else {
            of_call
        }
    }

    fn cpu_of(self, wall: Nanos) -> Nanos {
        if self == Self::SubAgent {
            return Nanos::ZERO;
        }
        // In whole microseconds, as the wall times; cannot pass 64 bits below the span limit.
        let nanos = wall.as_nanos().saturating_mul(CPU_PERCENT) / 100;
        Nanos::new(nanos / 1000 * 1000)
    }
}
