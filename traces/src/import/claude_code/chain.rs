//! One conversation of a transcript: the main one, or a sub-agent's.

use std::collections::BTreeMap;
use std::sync::Arc;

use units::{Nanos, Tokens};

use super::super::{ImportReport, Skip, json};
use super::chars::json_chars;
use super::cpu::CpuCurve;
use super::line::{Block, Content, Message, Usage};
use crate::error::{Place, TraceError};
use crate::model::{Evidence, Known, Session, SharedPrefix, ToolCall, Turn};

/// A conversation while its lines arrive.
pub(super) struct Chain {
    first_line: Place,
    /// What a sub-agent's id ends with; `None` for the main conversation.
    side: Option<String>,
    version: Option<String>,
    model: Option<String>,
    calls: Vec<Call>,
    /// Index in `calls` by `message.id`.
    by_message: BTreeMap<String, usize>,
    /// (call, tool) by the id of the tool use.
    by_use: BTreeMap<String, (usize, usize)>,
    /// The latest user line since the last call began: when the next call is submitted.
    submitted: Option<Nanos>,
    /// Whether a person wrote since the last call began.
    prompted: bool,
    /// Whether the conversation was compacted since the last call began.
    compacted: bool,
}

/// One model call: all lines with one message id.
struct Call {
    submitted: Option<Nanos>,
    ended: Nanos,
    /// Whether a person's prompt led to it.
    prompted: bool,
    /// Whether it is the first of a compacted conversation.
    compacted: bool,
    prompt: Tokens,
    cached: Option<Tokens>,
    /// Only where the recorded count is final.
    output: Option<Tokens>,
    /// Characters of text, thinking and tool inputs.
    chars: u64,
    thinks: bool,
    tools: Vec<ToolUse>,
}

struct ToolUse {
    name: String,
    started: Nanos,
    ended: Option<Nanos>,
}

impl Chain {
    pub(super) fn new(first_line: Place, side: Option<String>, version: Option<String>) -> Self {
        Self {
            first_line,
            side,
            version,
            model: None,
            calls: Vec::new(),
            by_message: BTreeMap::new(),
            by_use: BTreeMap::new(),
            submitted: None,
            prompted: false,
            compacted: false,
        }
    }

    /// The conversation goes on from a summary of itself.
    pub(super) const fn compact(&mut self) {
        self.compacted = true;
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) const fn place(&self) -> Place {
        self.first_line
    }

    /// When the first call was submitted, or else when it ended.
    pub(super) fn began(&self) -> Option<Nanos> {
        let first = self.calls.first()?;
        Some(first.submitted.unwrap_or(first.ended))
    }

    /// Takes one line that a model wrote: a block of a call.
    pub(super) fn assistant(
        &mut self,
        place: Place,
        time: Nanos,
        message: Message,
        report: &mut ImportReport,
    ) -> Result<(), TraceError> {
        if message.model.as_deref() == Some("<synthetic>") {
            report.skip(Skip::Synthetic);
            return Ok(());
        }
        let Some(usage) = &message.usage else {
            report.skip(Skip::NoUsage);
            return Ok(());
        };
        let counts = Counts::of(usage, place)?;
        let id = message.id.unwrap_or_else(|| format!("{place}"));
        let index = *self.by_message.entry(id).or_insert_with(|| {
            self.calls.push(Call {
                submitted: self.submitted.take(),
                ended: time,
                prompted: std::mem::take(&mut self.prompted),
                compacted: std::mem::take(&mut self.compacted),
                prompt: counts.prompt,
                cached: counts.cached,
                output: None,
                chars: 0,
                thinks: false,
                tools: Vec::new(),
            });
            self.calls.len() - 1
        });
        let call = &mut self.calls[index];
        call.ended = call.ended.max(time);
        (call.prompt, call.cached) = (counts.prompt, counts.cached);
        if message.stop_reason.is_some() {
            call.output = counts.output;
        }
        if self.model.is_none() {
            self.model = message.model;
        }
        match message.content {
            None => {}
            Some(Content::Text(text)) => call.chars += text.chars().count() as u64,
            Some(Content::Blocks(blocks)) => {
                for block in blocks {
                    let use_id = block.id.clone();
                    if call.add(block, time)
                        && let Some(use_id) = use_id
                    {
                        self.by_use.insert(use_id, (index, call.tools.len() - 1));
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes one line that the client sent: tool results, or a prompt.
    pub(super) fn user(
        &mut self,
        time: Nanos,
        message: Message,
        by_client: bool,
        report: &mut ImportReport,
    ) {
        self.submitted = Some(self.submitted.map_or(time, |before| before.max(time)));
        let Some(Content::Blocks(blocks)) = message.content else {
            self.prompted |= !by_client;
            return;
        };
        let mut answers = false;
        for block in blocks.iter().filter(|block| block.is("tool_result")) {
            answers = true;
            let used = block
                .tool_use_id
                .as_ref()
                .and_then(|id| self.by_use.get(id));
            match used {
                Some(&(call, tool)) => self.calls[call].tools[tool].ended = Some(time),
                None => report.skip(Skip::UnmatchedResult),
            }
        }
        self.prompted |= !answers && !by_client;
    }

    /// The finished session; `main_id` names the main one.
    pub(super) fn session(&self, main_id: &str, cpu: Option<&CpuCurve>) -> Session {
        let drops_thinking = self.drops_thinking();
        let mut turns: Vec<Turn> = Vec::with_capacity(self.calls.len());
        for (i, call) in self.calls.iter().enumerate() {
            let mut turn = call.turn(cpu);
            if let Some(next) = self.calls.get(i + 1).filter(|next| next.prompted) {
                let pause = next
                    .submitted
                    .map_or(Nanos::ZERO, |s| s.saturating_sub(call.quiet()));
                turn.think = (pause > Nanos::ZERO).then_some(pause);
            }
            if let Some(previous) = turns.last() {
                let dropped = drops_thinking && self.calls[i - 1].thinks;
                turn.reused = reused(previous, &turn, call.compacted, dropped);
            }
            turns.push(turn);
        }
        Session {
            id: match &self.side {
                None => main_id.into(),
                Some(side) => format!("{main_id}/{side}").into(),
            },
            model: self.model.as_deref().map(Arc::from),
            arrival: None,
            shared: self.shared().into_iter().collect(),
            parent: self.side.as_ref().map(|_| main_id.into()),
            turns,
        }
    }

    /// Whether the server was seen to leave thinking out of the next prompt.
    fn drops_thinking(&self) -> bool {
        self.calls.windows(2).any(|pair| {
            let [before, after] = pair else { return false };
            let grown = after.prompt.0.checked_sub(before.prompt.0);
            before.thinks && matches!((grown, before.output), (Some(g), Some(o)) if g < o.0)
        })
    }

    fn shared(&self) -> Option<SharedPrefix> {
        let tokens = self
            .calls
            .first()?
            .cached
            .filter(|cached| *cached > Tokens::ZERO)?;
        let version = self.version.as_deref().unwrap_or("unknown");
        let model = self.model.as_deref().unwrap_or("unknown");
        // A sub-agent has another system prompt and other tools than the main conversation.
        let kind = if self.side.is_some() { "side" } else { "main" };
        Some(SharedPrefix {
            group: format!("claude-code/{version}/{model}/{kind}").into(),
            tokens,
        })
    }
}

impl Call {
    /// Adds one block of the answer; true if it is a tool use.
    fn add(&mut self, block: Block, time: Nanos) -> bool {
        let count =
            |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count() as u64);
        self.thinks |= block.is("thinking") || block.is("redacted_thinking");
        self.chars += count(&block.text) + count(&block.thinking);
        if !block.is("tool_use") {
            return false;
        }
        self.chars += count(&block.name) + block.input.as_ref().map_or(0, json_chars);
        self.tools.push(ToolUse {
            name: block
                .name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "unknown".into()),
            started: time,
            ended: None,
        });
        true
    }

    /// When the call and all its tools are over.
    fn quiet(&self) -> Nanos {
        let ends = self.tools.iter().filter_map(|tool| tool.ended);
        ends.fold(self.ended, Nanos::max)
    }

    fn turn(&self, cpu: Option<&CpuCurve>) -> Turn {
        let submitted = self.submitted.filter(|at| *at <= self.ended);
        Turn {
            prompt: self.prompt,
            reused: Tokens::ZERO,
            output: match self.output {
                Some(output) if output > Tokens::ZERO => Known::recorded(output),
                _ => Known::estimated(self.estimated_output()),
            },
            cached: self.cached,
            llm: submitted.map(|at| self.ended - at),
            tools: self.tools.iter().map(|tool| tool.call(cpu)).collect(),
            think: None,
        }
    }

    /// The fitted formula of the module's head, in integers: ten-thousandths of a token.
    fn estimated_output(&self) -> Tokens {
        let uses = self.tools.len() as u64;
        Tokens(((90_600 + 469_000 * uses + 2_827 * self.chars) / 10_000).max(1))
    }
}

impl ToolUse {
    fn call(&self, cpu: Option<&CpuCurve>) -> ToolCall {
        // A result stamped before its call (clocks step back) has no length to speak of.
        let ended = self.ended.filter(|ended| *ended >= self.started);
        let wall = ended.map(|ended| ended - self.started);
        let used = cpu
            .zip(ended)
            .and_then(|(cpu, ended)| cpu.between(self.started, ended));
        // As many threads as it kept busy; the model wants cpu <= wall * parallelism.
        let threads = wall.zip(used).map_or(1, |(wall, used)| {
            let threads = used.as_nanos().div_ceil(wall.as_nanos().max(1));
            u32::try_from(threads).unwrap_or(u32::MAX).max(1)
        });
        ToolCall {
            name: self.name.as_str().into(),
            wall: wall.map(Known::recorded),
            cpu: used.map(Known::estimated),
            parallelism: threads,
            command: None,
        }
    }
}

/// Leading tokens that `turn` has in common with `previous` and its output (see the module's head).
fn reused(previous: &Turn, turn: &Turn, compacted: bool, dropped: bool) -> Tokens {
    let most = turn.reusable_after(previous);
    if compacted || turn.prompt < previous.prompt {
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

/// The token counts of one line.
struct Counts {
    prompt: Tokens,
    cached: Option<Tokens>,
    output: Option<Tokens>,
}

impl Counts {
    fn of(usage: &Usage, place: Place) -> Result<Self, TraceError> {
        let count = |value: &Option<serde_json::Value>, name: &str| {
            let field = || format!("message.usage.{name}");
            let value = value.as_ref().filter(|value| !value.is_null());
            value
                .map(|value| json::tokens(place, field, value))
                .transpose()
        };
        let missing = || TraceError::Missing {
            place,
            field: "message.usage.input_tokens".to_owned(),
            wanted: "a number of tokens".to_owned(),
        };
        let input = count(&usage.input_tokens, "input_tokens")?.ok_or_else(missing)?;
        let created = count(
            &usage.cache_creation_input_tokens,
            "cache_creation_input_tokens",
        )?;
        let cached = count(&usage.cache_read_input_tokens, "cache_read_input_tokens")?;
        // The three are disjoint. Absent ones are unknown as cache data, but part of no prompt.
        let sum = |part: Option<Tokens>| part.unwrap_or(Tokens::ZERO);
        Ok(Self {
            prompt: input + sum(created) + sum(cached),
            cached,
            output: count(&usage.output_tokens, "output_tokens")?,
        })
    }
}

impl Block {
    fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}
