//! The session model: what an agent did, in token counts and durations, without any text.
//!
//! A session is a list of turns. A turn is one model call, followed by tool calls that run side by
//! side, or by a human's pause, or by nothing (the end). All counts are what the serving engine
//! would see: the whole prompt of a call, and how much of it the engine has seen before.

use std::sync::Arc;

use units::{Nanos, Tokens};

/// Where a number comes from. Reports count the three apart; nothing drawn passes for recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// The recording says so.
    Recorded,
    /// Computed from other fields of the same recording by a fitted formula.
    Estimated,
    /// The recording does not say; drawn from a fitted distribution (seeded, reproducible).
    Drawn,
}

/// A number together with where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<T> {
    /// The number.
    pub value: T,
    /// Where it comes from.
    pub evidence: Evidence,
}

impl<T> Known<T> {
    /// A number the recording states.
    pub const fn recorded(value: T) -> Self {
        Self {
            value,
            evidence: Evidence::Recorded,
        }
    }

    /// A number computed from the recording.
    pub const fn estimated(value: T) -> Self {
        Self {
            value,
            evidence: Evidence::Estimated,
        }
    }

    /// A number drawn because the recording is silent.
    pub const fn drawn(value: T) -> Self {
        Self {
            value,
            evidence: Evidence::Drawn,
        }
    }
}

/// One agent task from its first prompt to its last tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The source's own name for it; unique within a file.
    pub id: Arc<str>,
    /// The model that was recorded, where known. Replay uses another; this is for statistics.
    pub model: Option<Arc<str>>,
    /// When it arrived, from the start of the recording; `None` where the source does not say.
    pub arrival: Option<Nanos>,
    /// The openings that this session's first prompt shares with others, shortest first: segment
    /// `i` covers the leading tokens from the end of segment `i - 1` up to its own
    /// [`SharedPrefix::tokens`], and what follows the last is the session's own. Empty: it shares
    /// nothing that is known.
    pub shared: Vec<SharedPrefix>,
    /// The session that started this one as a sub-agent, by [`Session::id`].
    pub parent: Option<Arc<str>>,
    /// At least one.
    pub turns: Vec<Turn>,
}

/// One segment of the openings that sessions share.
///
/// Openings form a tree: sessions that part ways after some tokens name the same groups up to
/// there. So a name stands for *all* leading tokens, those of the segments before it included, and
/// a group is named after the same segments wherever it appears. That is a promise of the source:
/// one session alone cannot show whether it is kept. Where it is not, less is shared, never more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedPrefix {
    /// Name of the group: equal names mean equal leading tokens, as far as both reach.
    pub group: Arc<str>,
    /// Leading tokens of the first prompt up to which the group reaches, counted from 0.
    pub tokens: Tokens,
}

/// One model call and what follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// All prompt tokens of the call, cached or not. At least 1.
    pub prompt: Tokens,
    /// Leading prompt tokens equal to the previous turn's prompt followed by its output.
    /// 0 in the first turn; at most `min(prompt, previous prompt + previous output)`.
    pub reused: Tokens,
    /// Tokens the model generates. At least 1.
    pub output: Known<Tokens>,
    /// Prompt tokens that the recorded server took from its cache; `None` where it does not say.
    pub cached: Option<Tokens>,
    /// Recorded time of the model call (submit to last token); `None` where the source is silent.
    pub llm: Option<Nanos>,
    /// Tool calls of this turn; they start together when the turn ends.
    pub tools: Vec<ToolCall>,
    /// A human's pause after the tools, before the next turn; `None` for no pause.
    pub think: Option<Nanos>,
}

/// One tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The tool's name as recorded (`Bash`, `Read`, `bash`).
    pub name: Arc<str>,
    /// Time it takes alone on an idle machine. `None`: unknown, not yet drawn.
    pub wall: Option<Known<Nanos>>,
    /// CPU time within it, summed over threads; at most `wall * parallelism`. `None`: unknown.
    pub cpu: Option<Known<Nanos>>,
    /// Threads that its CPU part can keep busy. At least 1.
    pub parallelism: u32,
    /// What it runs, where the trace says. A simulation takes the times and never looks here; the real
    /// engine runs it if it is told to. Behind a pointer: nearly no call has one.
    pub command: Option<Arc<Command>>,
}

/// A program and its arguments, as the system takes them: no shell reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program, looked up in `PATH` or in the folder it runs in, then its arguments. Not empty, the
    /// program has a name, and no text has a NUL byte.
    pub argv: Box<[Box<str>]>,
}

impl Session {
    /// Tokens of KV that the session holds at its largest: the last generated token has none yet.
    ///
    /// The maximum of `prompt + output - 1` over the turns; what one block pool must fit.
    pub fn peak_tokens(&self) -> Tokens {
        let peak = self.turns.iter().map(Turn::tokens_at_end).max();
        peak.unwrap_or(Tokens::ZERO)
    }

    /// Leading tokens of the first prompt that other sessions may have too.
    pub fn shared_tokens(&self) -> Tokens {
        self.shared.last().map_or(Tokens::ZERO, |last| last.tokens)
    }

    /// Prompt tokens of all calls, each counted as often as it is sent.
    pub fn prompt_tokens(&self) -> Tokens {
        self.turns.iter().map(|turn| turn.prompt).sum()
    }

    /// Prompt tokens that no earlier turn of the session left behind: the least prefill there is.
    pub fn new_tokens(&self) -> Tokens {
        let new = |turn: &Turn| turn.prompt.saturating_sub(turn.reused);
        self.turns.iter().map(new).sum()
    }

    /// Tokens generated over the session.
    pub fn output_tokens(&self) -> Tokens {
        self.turns.iter().map(|turn| turn.output.value).sum()
    }

    /// Tool calls that carry a command.
    pub fn commands(&self) -> u64 {
        let tools = self.turns.iter().flat_map(|turn| &turn.tools);
        tools.filter(|tool| tool.command.is_some()).count() as u64
    }

    /// Time the session cannot spend on a model: tools and pauses, every turn alone and in order.
    /// `None` while some tool's time is unknown.
    pub fn idle_time(&self) -> Option<Nanos> {
        let mut idle = Nanos::ZERO;
        for turn in &self.turns {
            idle += turn.tool_time()? + turn.think.unwrap_or(Nanos::ZERO);
        }
        Some(idle)
    }
}

impl Turn {
    /// Tokens of KV after the turn: `prompt + output - 1`, since the last token is never fed back.
    pub fn tokens_at_end(&self) -> Tokens {
        (self.prompt + self.output.value).saturating_sub(Tokens(1))
    }

    /// Where the prompt's length comes from.
    ///
    /// No field says so: whoever draws an output (the generator) draws the prompts with it, and all
    /// recordings state them but SWE-agent's. Its prompts are shares of a sum and only its import report
    /// says that (`estimated_prompts`): here they pass for recorded.
    pub const fn prompt_evidence(&self) -> Evidence {
        match self.output.evidence {
            Evidence::Drawn => Evidence::Drawn,
            Evidence::Recorded | Evidence::Estimated => Evidence::Recorded,
        }
    }

    /// Time until the last tool of the turn returns, on an idle machine; zero without tools, `None`
    /// while some tool's time is unknown.
    pub fn tool_time(&self) -> Option<Nanos> {
        let mut longest = Nanos::ZERO;
        for tool in &self.tools {
            longest = longest.max(tool.wall?.value);
        }
        Some(longest)
    }
}
