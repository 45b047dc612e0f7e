//! The same sessions with slower tools, longer texts or more turns.
//!
//! What each factor does, in this order:
//! 1. **turns**: a session of `n` turns gets `max(1, round(n * factor))`. Fewer: its first ones.
//!    More: its *steps* come again from the first. Step `j` is what happens between turn `j - 1` and
//!    turn `j`, then turn `j`'s output: tools, pause, tokens added, tokens dropped. The tools after
//!    the last turn stay after the last turn. A session of one turn has no step and stays as it is.
//! 2. **length**: prompts, outputs and shared openings, rounded, at least 1 token. A turn that
//!    reused all it could still does.
//! 3. **time**: tools' time alone and CPU time, and pauses, rounded to nanoseconds. Arrivals and
//!    recorded model times are measurements of another machine and stay.
//!
//! A computed number is [`Evidence::Estimated`], unless it was drawn. What was measured of a turn
//! that was stretched or repeated (`cached`, `llm`) is unknown.

use units::{Nanos, Tokens};

use crate::model::{Evidence, Known, Session, Turn};
use crate::validate::Unlawful;

/// The largest factor: beyond it nothing is left of the recording.
pub const FACTOR_LIMIT: f64 = 1000.0;

/// The most turns that a session may be stretched to.
pub const TURNS_LIMIT: usize = 1_000_000;

/// By how much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// Of tool times and pauses.
    pub time: f64,
    /// Of token counts.
    pub length: f64,
    /// Of the number of turns.
    pub turns: f64,
}

impl Default for Factors {
    fn default() -> Self {
        Self {
            time: 1.0,
            length: 1.0,
            turns: 1.0,
        }
    }
}

/// Why a session cannot be scaled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScaleError {
    /// A factor that is no factor.
    #[error("the factor of {what} is {value} (wanted: above 0, at most {FACTOR_LIMIT})")]
    Factor {
        /// `time`, `length` or `turns`.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// More turns than a session may have.
    #[error("session `{id}` would have {turns} turns (wanted: at most {TURNS_LIMIT})")]
    TooManyTurns {
        /// The session.
        id: String,
        /// The turns.
        turns: usize,
    },
    /// A stretched number past the format's limits.
    #[error("session `{id}`, scaled: {broken}")]
    Unlawful {
        /// The session.
        id: String,
        /// Which law.
        broken: Unlawful,
    },
}

impl Factors {
    /// Scales one session.
    ///
    /// # Errors
    /// [`ScaleError`] for a factor out of range, and for a session that would pass the limits of the
    /// format.
    pub fn session(&self, session: &Session) -> Result<Session, ScaleError> {
        for (what, value) in [
            ("time", self.time),
            ("length", self.length),
            ("turns", self.turns),
        ] {
            if !(value > 0.0 && value <= FACTOR_LIMIT) {
                return Err(ScaleError::Factor { what, value });
            }
        }
        let mut scaled = session.clone();
        if differs(self.turns) {
            self.stretch_turns(&mut scaled)?;
        }
        if differs(self.length) {
            self.stretch_tokens(&mut scaled);
        }
        if differs(self.time) {
            self.stretch_times(&mut scaled);
        }
        scaled.check().map_err(|broken| ScaleError::Unlawful {
            id: session.id.to_string(),
            broken,
        })?;
        Ok(scaled)
    }

    fn stretch_turns(&self, session: &mut Session) -> Result<(), ScaleError> {
        let had = session.turns.len();
        let wanted = rounded(self.turns, had as u64);
        let wanted = usize::try_from(wanted.max(1)).unwrap_or(usize::MAX);
        if wanted <= had || had < 2 {
            session.turns.truncate(wanted);
            return Ok(());
        }
        if wanted > TURNS_LIMIT {
            return Err(ScaleError::TooManyTurns {
                id: session.id.to_string(),
                turns: wanted,
            });
        }
        let source = session.turns.clone();
        let (last_tools, last_think) = {
            let last = &mut session.turns[had - 1];
            (std::mem::take(&mut last.tools), last.think.take())
        };
        for i in had..wanted {
            let step = 1 + (i - had) % (had - 1);
            let (before, after) = (&source[step - 1], &source[step]);
            let Some(last) = session.turns.last_mut() else {
                break; // there are at least two
            };
            last.tools.clone_from(&before.tools);
            for tool in &mut last.tools {
                tool.wall = tool.wall.map(computed);
                tool.cpu = tool.cpu.map(computed);
            }
            last.think = before.think;
            let reached = last.prompt + last.output.value;
            let dropped = (before.prompt + before.output.value).saturating_sub(after.reused);
            let reused = reached.saturating_sub(dropped);
            session.turns.push(Turn {
                prompt: reused + after.prompt.saturating_sub(after.reused),
                reused,
                output: computed(after.output),
                cached: None,
                llm: None,
                tools: Vec::new(),
                think: None,
            });
        }
        if let Some(last) = session.turns.last_mut() {
            last.tools = last_tools;
            last.think = last_think;
        }
        Ok(())
    }

    fn stretch_tokens(&self, session: &mut Session) {
        let scale = |tokens: Tokens| Tokens(rounded(self.length, tokens.get()).max(1));
        let mut reached = Tokens::ZERO;
        let mut had_reached = Tokens::ZERO;
        for turn in &mut session.turns {
            let most_before = had_reached.min(turn.prompt);
            had_reached = turn.prompt + turn.output.value;
            turn.prompt = scale(turn.prompt);
            let most = reached.min(turn.prompt);
            turn.reused = if turn.reused == most_before {
                most
            } else {
                Tokens(rounded(self.length, turn.reused.get())).min(most)
            };
            turn.output = computed(Known {
                value: scale(turn.output.value),
                ..turn.output
            });
            turn.cached = None;
            turn.llm = None;
            reached = turn.prompt + turn.output.value;
        }
        let first = session
            .turns
            .first()
            .map_or(Tokens::ZERO, |turn| turn.prompt);
        scale_shared(session, |tokens| {
            Tokens(rounded(self.length, tokens.get())).min(first)
        });
    }

    fn stretch_times(&self, session: &mut Session) {
        let scale = |span: Nanos| Nanos::new(rounded(self.time, span.as_nanos()));
        for turn in &mut session.turns {
            turn.think = turn.think.map(scale);
            for tool in &mut turn.tools {
                let threads = u64::from(tool.parallelism);
                let stretched = |known: Known<Nanos>| {
                    computed(Known {
                        value: scale(known.value),
                        ..known
                    })
                };
                tool.wall = tool.wall.map(stretched);
                tool.cpu = tool.cpu.map(stretched);
                // Rounding apart must not leave more CPU time than fits.
                if let (Some(wall), Some(cpu)) = (tool.wall, &mut tool.cpu) {
                    let room = wall.value.as_nanos().saturating_mul(threads);
                    cpu.value = cpu.value.min(Nanos::new(room));
                }
            }
        }
    }
}

fn scale_shared(session: &mut Session, scale: impl Fn(Tokens) -> Tokens) {
    for segment in &mut session.shared {
        segment.tokens = scale(segment.tokens);
    }
    // A segment that shrank to nothing shares no more than the one before it.
    session
        .shared
        .dedup_by(|next, before| next.tokens <= before.tokens);
}

/// Whether a factor changes anything.
fn differs(factor: f64) -> bool {
    factor.total_cmp(&1.0).is_ne()
}

/// A number that is no longer what was recorded.
fn computed<T>(known: Known<T>) -> Known<T> {
    let evidence = match known.evidence {
        Evidence::Drawn => Evidence::Drawn,
        Evidence::Recorded | Evidence::Estimated => Evidence::Estimated,
    };
    Known { evidence, ..known }
}

/// `factor * n`, to the nearest whole number, halves up.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "factors are at most 1000 and positive; too large a product saturates and is refused"
)]
fn rounded(factor: f64, n: u64) -> u64 {
    (factor * n as f64).round() as u64
}
