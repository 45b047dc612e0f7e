//! Turns from the calls of one conversation, by the rules that several sources share.
//!
//! Why: what a prompt has in common with the turn before follows from the same evidence wherever a
//! provider states its counts; only how a source writes them down differs.
//!
//! `reused` is the previous prompt and output, with these exceptions:
//! - After a cut (compaction, another branch, another model), or where the prompt *shrinks*, what
//!   the server had cached is the evidence; without it, nothing is reused.
//! - Where it grows by less than a recorded output, something of that output was dropped: only the
//!   previous prompt is reused. If that was seen after a call with thinking, the server never feeds
//!   thinking back, and every call that follows thinking reuses the previous prompt only.

use units::{Nanos, Tokens};

use crate::model::{Evidence, Known, ToolCall, Turn};

/// One model call and the tools that it asked for. Instants are from any origin.
#[derive(Debug)]
pub(super) struct Call {
    /// When it was sent, if known.
    pub(super) submitted: Option<Nanos>,
    /// When its answer was complete.
    pub(super) ended: Nanos,
    /// Its time as the recording states it; else it is the difference of the two above.
    pub(super) llm: Option<Nanos>,
    /// Whether a person's message led to it.
    pub(super) prompted: bool,
    /// What became of the conversation just before.
    pub(super) context: Context,
    pub(super) prompt: Tokens,
    pub(super) cached: Option<Tokens>,
    pub(super) output: Known<Tokens>,
    /// Whether the answer has thinking in it.
    pub(super) thinks: bool,
    pub(super) tools: Vec<Used>,
}

/// What became of a conversation between two calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Context {
    /// It went on.
    #[default]
    Continued,
    /// Something of it was cut or exchanged: what the server had cached tells how much is left.
    Cut,
    /// The call has another conversation in its prompt; cached tokens are not those of the call before.
    Replaced,
}

/// One tool call.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) name: String,
    pub(super) wall: Option<Known<Nanos>>,
    /// When its result came.
    pub(super) ended: Option<Nanos>,
}

impl Used {
    /// A tool call whose result is not there yet; one without a name is `unknown`.
    pub(super) fn new(name: Option<String>) -> Self {
        Self {
            name: name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "unknown".into()),
            wall: None,
            ended: None,
        }
    }

    /// Its result came at `now`; it was started at `started`. Where a clock stepped back between the
    /// two, its length stays unknown.
    pub(super) fn end(&mut self, started: Nanos, now: Nanos) {
        self.ended = Some(now);
        self.wall = (now >= started).then(|| Known::recorded(now - started));
    }
}

/// An output as a provider counts it: an answer of no tokens still has a last one.
pub(super) fn output(recorded: Tokens) -> Known<Tokens> {
    if recorded == Tokens::ZERO {
        Known::estimated(Tokens(1))
    } else {
        Known::recorded(recorded)
    }
}

/// The turns of a conversation.
pub(super) fn turns(calls: &[Call]) -> Vec<Turn> {
    let drops = drops_thinking(calls);
    let mut turns: Vec<Turn> = Vec::with_capacity(calls.len());
    for (i, call) in calls.iter().enumerate() {
        let mut turn = call.turn();
        if let Some(next) = calls.get(i + 1).filter(|next| next.prompted) {
            let pause = next
                .submitted
                .map_or(Nanos::ZERO, |s| s.saturating_sub(call.quiet()));
            turn.think = (pause > Nanos::ZERO).then_some(pause);
        }
        if let Some(previous) = turns.last() {
            turn.reused = reused(previous, &turn, call.context, drops && calls[i - 1].thinks);
        }
        turns.push(turn);
    }
    turns
}

/// Whether the server was seen to leave thinking out of the next prompt.
fn drops_thinking(calls: &[Call]) -> bool {
    calls.windows(2).any(|pair| {
        let [before, after] = pair else { return false };
        let grown = after.prompt.0.checked_sub(before.prompt.0);
        let recorded = before.output.evidence == Evidence::Recorded;
        after.context == Context::Continued
            && before.thinks
            && recorded
            && grown.is_some_and(|grown| grown < before.output.value.0)
    })
}

fn reused(previous: &Turn, turn: &Turn, context: Context, dropped: bool) -> Tokens {
    let most = turn.reusable_after(previous);
    if context == Context::Replaced {
        return Tokens::ZERO;
    }
    if context == Context::Cut || turn.prompt < previous.prompt {
        return turn.cached.unwrap_or(Tokens::ZERO).min(most);
    }
    let cut = previous.output.evidence == Evidence::Recorded
        && turn.prompt < previous.prompt + previous.output.value;
    if dropped || cut {
        previous.prompt
    } else {
        most
    }
}

impl Call {
    /// When the call and all its tools are over.
    fn quiet(&self) -> Nanos {
        let ends = self.tools.iter().filter_map(|tool| tool.ended);
        ends.fold(self.ended, Nanos::max)
    }

    fn turn(&self) -> Turn {
        let between = self.submitted.filter(|at| *at <= self.ended);
        Turn {
            prompt: self.prompt,
            reused: Tokens::ZERO,
            output: self.output,
            cached: self.cached,
            llm: self.llm.or(between.map(|at| self.ended - at)),
            tools: self.tools.iter().map(Used::call).collect(),
            think: None,
        }
    }
}

impl Used {
    fn call(&self) -> ToolCall {
        ToolCall {
            name: self.name.as_str().into(),
            wall: self.wall,
            cpu: None,
            parallelism: 1,
            command: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(prompt: u64, output: u64, thinks: bool) -> Call {
        Call {
            submitted: None,
            ended: Nanos::ZERO,
            llm: None,
            prompted: false,
            context: Context::Continued,
            prompt: Tokens(prompt),
            cached: Some(Tokens(7)),
            output: Known::recorded(Tokens(output)),
            thinks,
            tools: Vec::new(),
        }
    }

    fn reused(calls: &[Call]) -> Vec<u64> {
        turns(calls).iter().map(|turn| turn.reused.0).collect()
    }

    #[test]
    fn what_is_reused_follows_from_the_counts() {
        // Grows; shrinks; grows by less than the output.
        let calls = [
            call(10, 5, false),
            call(20, 5, false),
            call(15, 5, false),
            call(18, 5, false),
        ];
        assert_eq!(reused(&calls), [0, 15, 7, 15]);
        // Thinking that was dropped once is dropped always; without thinking all is kept.
        let calls = [
            call(10, 5, true),
            call(12, 5, true),
            call(30, 5, false),
            call(40, 5, false),
        ];
        assert_eq!(reused(&calls), [0, 10, 12, 35]);
        let mut cut = [call(10, 5, true), call(12, 5, true), call(30, 5, false)];
        cut[1].context = Context::Cut;
        assert_eq!(reused(&cut), [0, 7, 17]);
        cut[1].cached = None;
        assert_eq!(reused(&cut), [0, 0, 17]);
        cut[2].context = Context::Replaced;
        assert_eq!(reused(&cut), [0, 0, 0]);
    }
}
