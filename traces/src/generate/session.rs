//! Generating one session.
//!
//! Every quantity of a session has a random stream of its own, named by the workload's seed, the
//! quantity and the session's index. So a session is the same alone or among a million, and a change
//! to one quantity's distribution leaves the others' draws where they were.

use std::sync::Arc;

use rand_core::Rng;
use rand_pcg::Pcg64;
use units::{Nanos, Tokens};

use super::draw::{Draw, of_session};
use super::spec::{Build, CALLS_LIMIT, Class, Pause, Spec, TURNS_LIMIT, Tool};
use crate::model::{Known, Session, ToolCall, Turn};
use crate::rng::stream;
use crate::validate::SPAN_LIMIT;

impl Spec {
    /// Session `index` of the workload under `seed`. Depends on nothing else.
    pub fn session(&self, seed: u64, index: u64) -> Session {
        let class = &self.classes[self.class_of(seed, index)];
        Session {
            id: format!("{}/{index}", self.name).into(),
            model: None,
            arrival: None,
            shared: class.shared.iter().cloned().collect(),
            parent: None,
            turns: class.turns(seed, index),
        }
    }

    /// The first `count` sessions, one after the other.
    pub fn sessions(&self, seed: u64, count: u64) -> impl Iterator<Item = Session> + '_ {
        (0..count).map(move |index| self.session(seed, index))
    }

    /// Which of [`Spec::classes`] a session belongs to.
    pub fn class_of(&self, seed: u64, index: u64) -> usize {
        let share = uniform(&mut stream(seed, "generate class", index));
        pick(share, self.classes.iter().map(|class| class.weight))
    }
}

/// A quantity's stream in one session, with the score that its values share.
struct Source {
    rng: Pcg64,
    of_session: f64,
}

impl Source {
    fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut rng = stream(seed, purpose, index);
        let of_session = of_session(&mut rng);
        Self { rng, of_session }
    }

    fn value(&mut self, draw: &Draw) -> f64 {
        draw.value(self.of_session, &mut self.rng)
    }

    /// The value as a count from `least` to `most`.
    fn count(&mut self, draw: &Draw, least: u64, most: u64) -> u64 {
        whole(self.value(draw), least, most)
    }
}

impl Class {
    fn turns(&self, seed: u64, index: u64) -> Vec<Turn> {
        let source = |purpose| Source::new(seed, purpose, index);
        let turns = source("generate turns").count(&self.turns, 1, TURNS_LIMIT);
        let mut outputs = source("generate output");
        let mut observations = source("generate observation");
        let mut pauses = source("generate pause");
        let mut tools = Tools::new(seed, index);

        let shared = self.shared.as_ref().map_or(0, |s| s.tokens.0);
        let most = self.context_limit - 1;
        let first =
            source("generate first prompt").count(&self.first_prompt, shared.clamp(1, most), most);
        let mut list: Vec<Turn> = Vec::with_capacity(usize::try_from(turns).unwrap_or(0));
        let (mut prompt, mut reused) = (first, 0);
        for _ in 0..turns {
            // Before the end is known, so that a later end moves no draw.
            let output = outputs.count(&self.output, 1, u64::MAX);
            let first = self.first_observation.as_ref();
            let observed = first.filter(|_| list.is_empty());
            let observed = observed.unwrap_or(&self.observation);
            let observation = observations.count(observed, 0, self.context_limit);
            let pause = self.pause.as_ref().and_then(|p| p.draw(&mut pauses));
            let calls = tools.draw(self);
            if prompt > most {
                break;
            }
            let output = output.min(self.context_limit - prompt);
            list.push(Turn {
                prompt: Tokens(prompt),
                reused: Tokens(reused),
                output: Known::drawn(Tokens(output)),
                cached: None,
                llm: None,
                tools: if pause.is_some() { Vec::new() } else { calls },
                think: pause,
            });
            reused = prompt + output;
            prompt = reused + observation;
        }
        self.end(&mut list);
        if let Some(build) = &self.build {
            let first = list.iter_mut().find_map(|turn| turn.tools.first_mut());
            if let Some(first) = first {
                *first = build.draw(&mut source("generate build"));
            }
        }
        list
    }

    /// Nobody answers the last turn; whether its tools run is the description's choice.
    fn end(&self, turns: &mut [Turn]) {
        if let Some(last) = turns.last_mut() {
            last.think = None;
            if !self.tools_after_last {
                last.tools.clear();
            }
        }
    }
}

/// The streams of a session's tool calls.
struct Tools {
    counts: Source,
    kinds: Pcg64,
    walls: Source,
    cores: Source,
}

impl Tools {
    fn new(seed: u64, index: u64) -> Self {
        Self {
            counts: Source::new(seed, "generate tool count", index),
            kinds: stream(seed, "generate tool kind", index),
            walls: Source::new(seed, "generate tool wall", index),
            cores: Source::new(seed, "generate tool cores", index),
        }
    }

    fn draw(&mut self, class: &Class) -> Vec<ToolCall> {
        let count = self.counts.count(&class.tools_per_turn, 0, CALLS_LIMIT);
        (0..count).map(|_| self.call(&class.tools)).collect()
    }

    fn call(&mut self, tools: &[Tool]) -> ToolCall {
        let kind = pick(uniform(&mut self.kinds), tools.iter().map(|t| t.weight));
        let tool = &tools[kind];
        let wall = span(self.walls.value(&tool.wall_s)).min(tool.timeout);
        let most = f64::from(tool.parallelism);
        let cores = self.cores.value(&tool.cores).clamp(0.0, most);
        let cpu = span(wall.as_secs() * cores);
        tool_call(&tool.name, wall, cpu, tool.parallelism)
    }
}

impl Build {
    fn draw(&self, source: &mut Source) -> ToolCall {
        let cpu = source.value(&self.cpu_s);
        let wall = span(cpu * self.wall_per_cpu);
        tool_call(&self.name, wall, span(cpu), self.parallelism)
    }
}

fn tool_call(name: &Arc<str>, wall: Nanos, cpu: Nanos, parallelism: u32) -> ToolCall {
    // Rounding may not push CPU time above what the wall time has room for.
    let most = Nanos::new(wall.as_nanos().saturating_mul(parallelism.into()));
    ToolCall {
        name: Arc::clone(name),
        wall: Some(Known::drawn(wall)),
        cpu: Some(Known::drawn(cpu.min(most))),
        parallelism,
        command: None,
    }
}

impl Pause {
    /// The pause after this turn, if it has one.
    fn draw(&self, source: &mut Source) -> Option<Nanos> {
        let share = uniform(&mut source.rng);
        let pause = span(source.value(&self.seconds));
        (share < self.share).then_some(pause)
    }
}

/// Evenly in `[0, 1)`, by the 53 high bits of one number.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Which of several weights a share of their sum falls on. The sum is positive, as checked on reading.
fn pick(share: f64, weights: impl Iterator<Item = f64> + Clone) -> usize {
    let mut left = share * weights.clone().sum::<f64>();
    let mut last = 0;
    for (i, weight) in weights.enumerate() {
        if weight > 0.0 {
            last = i;
            if left < weight {
                return i;
            }
        }
        left -= weight;
    }
    last
}

/// The nearest whole number, from `least` to `most`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and negative values end at `least`"
)]
fn whole(value: f64, least: u64, most: u64) -> u64 {
    (value.round() as u64).clamp(least, most)
}

/// Seconds in whole microseconds; nothing below 0, nothing above the model's limit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates; a negative time counts as none"
)]
fn span(seconds: f64) -> Nanos {
    let micros = (seconds * 1e6).round() as u64;
    Nanos::new(micros.saturating_mul(1000)).min(SPAN_LIMIT)
}
