//! The laws of the session model, checked before anything runs.
//!
//! Why: a scheduler that meets a turn which reuses more than exists would report a cache hit that no
//! engine can have. Better to name the line. Limits exist so that sums over a trace stay in 64 bits.

use rustc_hash::FxHashSet;
use units::{Nanos, Tokens};

use crate::model::{Command, Session, SharedPrefix, ToolCall, Turn};

/// The most tokens one field may hold: 2^32 - 1, so that 2^32 of them still sum in 64 bits.
pub const TOKEN_LIMIT: Tokens = Tokens(u32::MAX as u64);

/// The longest model call, tool call or pause: 10^7 s (115 days).
pub const SPAN_LIMIT: Nanos = Nanos::new(10_000_000 * 1_000_000_000);

/// The latest arrival: 10^9 s (31 years) after the start of the recording.
pub const ARRIVAL_LIMIT: Nanos = Nanos::new(1_000_000_000 * 1_000_000_000);

/// The longest command: 128 KiB over all its texts, with a NUL byte after each. Linux takes that much as
/// one argument, and every system as all of them together.
pub const COMMAND_LIMIT: usize = 128 << 10;

/// A law of the model that a session breaks. Turns and tools are counted from 0, as in field paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlawful {
    /// A name that says nothing: of a session, a group or a tool.
    #[error("`{field}` is empty (wanted: a name)")]
    NoName {
        /// Path of the field.
        field: String,
    },
    /// A session without a model call.
    #[error("`turns` is empty (wanted: at least one turn)")]
    NoTurns,
    /// A call without a prompt.
    #[error("`turns[{turn}].prompt` is 0 (wanted: at least 1 token)")]
    NoPrompt {
        /// Which turn.
        turn: usize,
    },
    /// A call that generates nothing.
    #[error("`turns[{turn}].output` is 0 (wanted: at least 1 token)")]
    NoOutput {
        /// Which turn.
        turn: usize,
    },
    /// More tokens in one field than the format allows.
    #[error("`{field}` is {value} tokens (wanted: at most {})", TOKEN_LIMIT)]
    TooManyTokens {
        /// Path of the field.
        field: String,
        /// Its value.
        value: Tokens,
    },
    /// A time beyond what the format allows.
    #[error("`{field}` is {value} (wanted: at most {limit})")]
    TooLong {
        /// Path of the field.
        field: String,
        /// Its value.
        value: Nanos,
        /// The limit.
        limit: Nanos,
    },
    /// A first turn that continues a turn which does not exist.
    #[error("`turns[0].reused` is {value} (wanted: 0, no turn comes before it)")]
    FirstTurnReuses {
        /// The tokens claimed.
        value: Tokens,
    },
    /// A turn that continues more than there is.
    #[error(
        "`turns[{turn}].reused` is {value} (wanted: at most {limit}, the smaller of its prompt and \
         the previous prompt plus output)"
    )]
    ReusesTooMuch {
        /// Which turn.
        turn: usize,
        /// The tokens claimed.
        value: Tokens,
        /// The most there can be.
        limit: Tokens,
    },
    /// A recorded server that served more from its cache than was asked of it.
    #[error("`turns[{turn}].cached` is {value} (wanted: at most {limit}, the prompt)")]
    CachedTooMuch {
        /// Which turn.
        turn: usize,
        /// The tokens claimed.
        value: Tokens,
        /// The prompt.
        limit: Tokens,
    },
    /// A shared opening longer than the prompt that opens with it.
    #[error("`shared[{segment}].tokens` is {value} (wanted: at most {limit}, the first prompt)")]
    SharedTooMuch {
        /// Which segment.
        segment: usize,
        /// The tokens claimed.
        value: Tokens,
        /// The first prompt.
        limit: Tokens,
    },
    /// A segment of the shared opening that reaches no further than the one before it.
    #[error(
        "`shared[{segment}].tokens` is {value} (wanted: more than {limit}, where the segment before ends)"
    )]
    SharedNotRising {
        /// Which segment.
        segment: usize,
        /// Where it ends.
        value: Tokens,
        /// Where the one before it ends.
        limit: Tokens,
    },
    /// A group that covers two segments of one opening.
    #[error(
        "`shared[{segment}].group` is `{group}`, as in a segment before it (wanted: another name)"
    )]
    SharedTwice {
        /// Which segment.
        segment: usize,
        /// The name.
        group: String,
    },
    /// A tool without a thread to run on.
    #[error("`turns[{turn}].tools[{tool}].parallelism` is 0 (wanted: at least 1)")]
    NoParallelism {
        /// Which turn.
        turn: usize,
        /// Which tool call of the turn.
        tool: usize,
    },
    /// CPU time that does not fit into the time the tool takes.
    #[error(
        "`turns[{turn}].tools[{tool}].cpu_s` is {value} (wanted: at most {limit}, \
         wall time times parallelism)"
    )]
    TooMuchCpu {
        /// Which turn.
        turn: usize,
        /// Which tool call of the turn.
        tool: usize,
        /// The CPU time.
        value: Nanos,
        /// Wall time times parallelism.
        limit: Nanos,
    },
    /// A command without a program.
    #[error("`{field}` is [] (wanted: a program and its arguments)")]
    NoProgram {
        /// Path of the field.
        field: String,
    },
    /// A text that no system can hand to a program.
    #[error("`{field}` has a NUL byte at {at} (wanted: none)")]
    NulByte {
        /// Path of the field.
        field: String,
        /// Where, in bytes from 0.
        at: usize,
    },
    /// A command that the system may refuse to start.
    #[error("`{field}` is {value} bytes (wanted: at most {})", COMMAND_LIMIT)]
    LongCommand {
        /// Path of the field.
        field: String,
        /// Bytes, with one after each text.
        value: usize,
    },
    /// A session that is its own parent.
    #[error("`parent` is `{id}`, the session itself (wanted: another session's id)")]
    OwnParent {
        /// The id.
        id: String,
    },
}

impl Session {
    /// Checks every law of the model.
    ///
    /// That ids are unique within a file needs the whole file: see [`Ids`].
    ///
    /// # Errors
    /// The first broken law, in the order of the fields.
    pub fn check(&self) -> Result<(), Unlawful> {
        named(&self.id, || "id".to_owned())?;
        if let Some(arrival) = self.arrival {
            span_below("arrival_s", arrival, ARRIVAL_LIMIT)?;
        }
        if self.parent.as_ref() == Some(&self.id) {
            return Err(Unlawful::OwnParent {
                id: self.id.to_string(),
            });
        }
        let first = self.turns.first().ok_or(Unlawful::NoTurns)?;
        check_shared(&self.shared, first.prompt)?;
        let mut previous = None;
        for (i, turn) in self.turns.iter().enumerate() {
            turn.check(i, previous)?;
            previous = Some(turn);
        }
        Ok(())
    }
}

fn check_shared(shared: &[SharedPrefix], first_prompt: Tokens) -> Result<(), Unlawful> {
    let mut names = FxHashSet::default();
    for (segment, prefix) in shared.iter().enumerate() {
        named(&prefix.group, || format!("shared[{segment}].group"))?;
        if !names.insert(&prefix.group) {
            return Err(Unlawful::SharedTwice {
                segment,
                group: prefix.group.to_string(),
            });
        }
        let before = segment.checked_sub(1).map(|before| shared[before].tokens);
        if let Some(limit) = before.filter(|before| prefix.tokens <= *before) {
            return Err(Unlawful::SharedNotRising {
                segment,
                value: prefix.tokens,
                limit,
            });
        }
        if prefix.tokens > first_prompt {
            return Err(Unlawful::SharedTooMuch {
                segment,
                value: prefix.tokens,
                limit: first_prompt,
            });
        }
    }
    Ok(())
}

impl Turn {
    fn check(&self, turn: usize, previous: Option<&Self>) -> Result<(), Unlawful> {
        if self.prompt == Tokens::ZERO {
            return Err(Unlawful::NoPrompt { turn });
        }
        if self.output.value == Tokens::ZERO {
            return Err(Unlawful::NoOutput { turn });
        }
        for (name, value) in [("prompt", self.prompt), ("output", self.output.value)] {
            if value > TOKEN_LIMIT {
                let field = format!("turns[{turn}].{name}");
                return Err(Unlawful::TooManyTokens { field, value });
            }
        }
        match previous {
            None if self.reused > Tokens::ZERO => {
                return Err(Unlawful::FirstTurnReuses { value: self.reused });
            }
            None => {}
            Some(previous) => {
                let limit = self.reusable_after(previous);
                if self.reused > limit {
                    return Err(Unlawful::ReusesTooMuch {
                        turn,
                        value: self.reused,
                        limit,
                    });
                }
            }
        }
        if let Some(value) = self.cached
            && value > self.prompt
        {
            return Err(Unlawful::CachedTooMuch {
                turn,
                value,
                limit: self.prompt,
            });
        }
        for (name, span) in [("llm_s", self.llm), ("think_s", self.think)] {
            if let Some(span) = span {
                span_below(&format!("turns[{turn}].{name}"), span, SPAN_LIMIT)?;
            }
        }
        for (i, tool) in self.tools.iter().enumerate() {
            tool.check(turn, i)?;
        }
        Ok(())
    }

    /// The most leading tokens this turn can have in common with `previous` and its output.
    pub fn reusable_after(&self, previous: &Self) -> Tokens {
        // Saturating: the numbers may be those of an unchecked file.
        let kept = previous.prompt.0.saturating_add(previous.output.value.0);
        self.prompt.min(Tokens(kept))
    }
}

impl ToolCall {
    fn check(&self, turn: usize, tool: usize) -> Result<(), Unlawful> {
        named(&self.name, || format!("turns[{turn}].tools[{tool}].name"))?;
        if self.parallelism == 0 {
            return Err(Unlawful::NoParallelism { turn, tool });
        }
        for (name, time) in [("wall_s", self.wall), ("cpu_s", self.cpu)] {
            if let Some(time) = time {
                span_below(
                    &format!("turns[{turn}].tools[{tool}].{name}"),
                    time.value,
                    SPAN_LIMIT,
                )?;
            }
        }
        if let Some(command) = &self.command {
            command.check(|| format!("turns[{turn}].tools[{tool}].command"))?;
        }
        if let (Some(wall), Some(cpu)) = (self.wall, self.cpu) {
            // Exact in 64 bits or far above any CPU time: the span limit was checked above.
            let limit = wall
                .value
                .as_nanos()
                .saturating_mul(u64::from(self.parallelism));
            let (value, limit) = (cpu.value, Nanos::new(limit));
            if value > limit {
                return Err(Unlawful::TooMuchCpu {
                    turn,
                    tool,
                    value,
                    limit,
                });
            }
        }
        Ok(())
    }
}

impl Command {
    fn check(&self, field: impl Fn() -> String) -> Result<(), Unlawful> {
        let [program, ..] = &*self.argv else {
            return Err(Unlawful::NoProgram { field: field() });
        };
        named(program, || format!("{}[0]", field()))?;
        for (i, text) in self.argv.iter().enumerate() {
            if let Some(at) = text.bytes().position(|byte| byte == 0) {
                let field = format!("{}[{i}]", field());
                return Err(Unlawful::NulByte { field, at });
            }
        }
        let value = self.argv.iter().map(|text| text.len() + 1).sum();
        if value > COMMAND_LIMIT {
            let field = field();
            return Err(Unlawful::LongCommand { field, value });
        }
        Ok(())
    }
}

fn named(name: &str, field: impl FnOnce() -> String) -> Result<(), Unlawful> {
    if name.is_empty() {
        return Err(Unlawful::NoName { field: field() });
    }
    Ok(())
}

fn span_below(field: &str, value: Nanos, limit: Nanos) -> Result<(), Unlawful> {
    if value > limit {
        let field = field.to_owned();
        return Err(Unlawful::TooLong {
            field,
            value,
            limit,
        });
    }
    Ok(())
}

/// Finds an id that a file uses twice.
///
/// Costs about 20 bytes a session, so readers leave it to callers that hold the trace anyway.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    // 128 bits of a strong hash: two different ids never meet in practice.
    seen: FxHashSet<u128>,
}

impl Ids {
    /// No id seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes `id`; false if it was there before.
    pub fn insert(&mut self, id: &str) -> bool {
        let hash = blake3::hash(id.as_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&hash.as_bytes()[..16]);
        self.seen.insert(u128::from_le_bytes(half))
    }
}
