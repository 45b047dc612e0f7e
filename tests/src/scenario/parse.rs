//! The scenario language, line by line.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use policies::PolicySpec;
use scheduler::{HeadOfLine, Offload};
use sim::cost::InMillis;
use sim::tool_cpu::Hold;
use sim::world::{Offered, Setup, ToolMode};
use traces::model::Turn;
use units::{BlockSize, Blocks, Bytes, Nanos, Time, Tokens};

use super::{Part, Scenario};
use crate::machine::{TEN_MS, in_group, machine, offered, turn, with_tool};

/// One line, with what is needed to complain about it.
struct Line<'a> {
    file: &'a str,
    number: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn bad(&self, what: &str) -> ! {
        panic!(
            "{} line {}: {what}: `{}`",
            self.file, self.number, self.text
        )
    }

    fn word(&self, at: usize) -> &'a str {
        self.text
            .split_whitespace()
            .nth(at)
            .unwrap_or_else(|| self.bad("a word is missing"))
    }

    /// The `key=value` pairs from word `from` on; every key must be among `known`.
    fn pairs(&self, from: usize, known: &[&str]) -> Vec<(&'a str, &'a str)> {
        let pair = |word: &'a str| {
            let (key, value) = word
                .split_once('=')
                .unwrap_or_else(|| self.bad("not key=value"));
            if !known.contains(&key) {
                self.bad(&format!("unknown key {key}"));
            }
            (key, value)
        };
        self.text.split_whitespace().skip(from).map(pair).collect()
    }

    fn number<T: std::str::FromStr>(&self, value: &str) -> T {
        value.parse().unwrap_or_else(|_| self.bad("not a number"))
    }

    fn seconds(&self, value: &str) -> f64 {
        if let Some(ms) = value.strip_suffix("ms") {
            return self.number::<f64>(ms) / 1e3;
        }
        match value.strip_suffix('s') {
            Some(s) => self.number(s),
            None => self.bad("a time needs ms or s"),
        }
    }
}

/// A session being read.
struct Draft {
    at: f64,
    times: u32,
    every: f64,
    group: Option<(String, u64)>,
    turns: Vec<Turn>,
}

pub(super) fn parse(name: &str, text: &str) -> Scenario {
    let mut setup = machine(&TEN_MS, 1.0, 0.0);
    let mut policy = String::from("fcfs");
    let mut overrides: Vec<(String, String)> = Vec::new();
    let mut drafts: Vec<Draft> = Vec::new();
    let mut expects = Vec::new();
    let mut show = vec![Part::Turns, Part::Steps, Part::Pins, Part::Window];
    let mut comments = 0;
    for (index, raw) in text.lines().enumerate() {
        let (code, comment) = raw.split_once('#').unwrap_or((raw, ""));
        comments += usize::from(!comment.trim().is_empty());
        let line = Line {
            file: name,
            number: index + 1,
            text: code.trim(),
        };
        if line.text.is_empty() {
            continue;
        }
        match line.word(0) {
            "policy" => line.word(1).clone_into(&mut policy),
            "set" => {
                let value: Vec<&str> = line.text.split_whitespace().skip(2).collect();
                overrides.push((line.word(1).to_owned(), value.join(" ")));
            }
            "machine" => set_machine(&line, &mut setup),
            "cost" => set_cost(&line, &mut setup),
            "session" => drafts.push(session(&line)),
            "turn" | "tool" | "think" => {
                let draft = drafts
                    .last_mut()
                    .unwrap_or_else(|| line.bad("before any session"));
                go_on(&line, draft);
            }
            "expect" => {
                let rest = line.text.trim_start_matches("expect").trim().to_owned();
                expects.push((line.number, rest));
            }
            "show" => {
                let words = line.text.split_whitespace().skip(1);
                show = words.map(|w| part(&line, w)).collect();
            }
            _ => line.bad("unknown word"),
        }
    }
    let mut load: Vec<Offered> = drafts.iter().flat_map(sessions).collect();
    load.sort_by_key(|o| o.arrival);
    let policy =
        PolicySpec::preset_with(&policy, &overrides).unwrap_or_else(|e| panic!("{name}: {e}"));
    Scenario {
        name: name.to_owned(),
        setup,
        policy,
        load,
        expects,
        show,
        comments,
    }
}

fn fifo(workers: u32, hold: Hold) -> ToolMode {
    ToolMode::Fifo(NonZeroU32::new(workers).expect("not zero"), hold)
}

fn part(line: &Line<'_>, word: &str) -> Part {
    match word {
        "turns" => Part::Turns,
        "steps" => Part::Steps,
        "pins" => Part::Pins,
        "window" => Part::Window,
        _ => line.bad("nothing to show by that name"),
    }
}

fn set_machine(line: &Line<'_>, setup: &mut Setup) {
    let known = &[
        "blocks",
        "block",
        "budget",
        "max_running",
        "head_of_line",
        "cores",
        "tools",
        "caching",
        "horizon",
        "host",
        "copy_out",
        "copy_back",
    ];
    for (key, value) in line.pairs(1, known) {
        let engine = &mut setup.engine;
        let tier = || engine.offload.unwrap_or(IDLE_HOST);
        match key {
            "blocks" => engine.usable_blocks = Blocks(line.number(value)),
            "block" => engine.block_size = BlockSize::new(line.number(value)).expect("not zero"),
            "budget" => engine.token_budget = Tokens(line.number(value)),
            "max_running" => engine.max_running = line.number(value),
            "head_of_line" => {
                engine.head_of_line = match value {
                    "stop" => HeadOfLine::Stop,
                    "skip" => HeadOfLine::Skip,
                    _ => line.bad("stop or skip"),
                };
            }
            "cores" => {
                engine.tool_cores = line.number(value);
                let cores = NonZeroU32::new(engine.tool_cores).expect("not zero");
                setup.tools = ToolMode::Shared(cores);
            }
            "host" => {
                engine.offload = Some(Offload {
                    host_blocks: Blocks(line.number(value)),
                    ..tier()
                });
            }
            "copy_out" => {
                engine.offload = Some(Offload {
                    to_host_per_s: per_block(line, value),
                    ..tier()
                });
            }
            "copy_back" => {
                engine.offload = Some(Offload {
                    to_gpu_per_s: per_block(line, value),
                    ..tier()
                });
            }
            "tools" => match value {
                "unlimited" => setup.tools = ToolMode::Unlimited,
                "fifo" => setup.tools = fifo(engine.tool_cores, Hold::Cpu),
                "fifo-calls" => setup.tools = fifo(engine.tool_cores, Hold::Call),
                _ => line.bad("`unlimited`, `fifo` or `fifo-calls` (after cores); else give cores"),
            },
            "horizon" => {
                let end = Nanos::from_secs(line.seconds(value)).expect("a span");
                setup.horizon = Some(Time::ZERO + end);
            }
            _ => {
                engine.prefix_caching = match value {
                    "on" => true,
                    "off" => false,
                    _ => line.bad("on or off"),
                };
            }
        }
    }
}

/// A host tier that is there as soon as one of its keys is; a block is a million bytes.
const IDLE_HOST: Offload = Offload {
    host_blocks: Blocks(0),
    block_bytes: Bytes(1_000_000),
    to_host_per_s: NonZeroU64::MAX,
    to_gpu_per_s: NonZeroU64::MAX,
};

/// Bytes per second of a link that takes this long for a block.
fn per_block(line: &Line<'_>, value: &str) -> NonZeroU64 {
    let per_block = Nanos::from_secs(line.seconds(value)).expect("a span");
    let per_s = IDLE_HOST.block_bytes.get() * 1_000_000_000 / per_block.as_nanos().max(1);
    NonZeroU64::new(per_s).unwrap_or_else(|| line.bad("too slow"))
}

fn set_cost(line: &Line<'_>, setup: &mut Setup) {
    let mut cost = InMillis::default();
    let (mut share, mut host) = (1.0, 0.0);
    let known = &["p0", "p1", "p2", "d0", "e", "d1", "d2", "share", "host"];
    for (key, value) in line.pairs(1, known) {
        let value: f64 = line.number(value);
        match key {
            "p0" => cost.p0 = value,
            "p1" => cost.p1 = value,
            "p2" => cost.p2 = value,
            "d0" => cost.d0 = value,
            "e" => cost.e = value,
            "d1" => cost.d1 = value,
            "d2" => cost.d2 = value,
            "share" => share = value,
            _ => host = value,
        }
    }
    setup.cost = machine(&cost, share, host).cost;
}

fn session(line: &Line<'_>) -> Draft {
    let mut draft = Draft {
        at: 0.0,
        times: 1,
        every: 0.0,
        group: None,
        turns: Vec::new(),
    };
    let (mut group, mut shared) = (None, 0);
    for (key, value) in line.pairs(1, &["at", "times", "every", "group", "shared"]) {
        match key {
            "at" => draft.at = line.seconds(value),
            "times" => draft.times = line.number(value),
            "every" => draft.every = line.seconds(value),
            "group" => group = Some(value.to_owned()),
            _ => shared = line.number(value),
        }
    }
    draft.group = group.map(|name| (name, shared));
    draft
}

fn go_on(line: &Line<'_>, draft: &mut Draft) {
    if line.word(0) == "turn" {
        let (mut prompt, mut reused, mut output) = (0, 0, 0);
        for (key, value) in line.pairs(1, &["prompt", "reused", "output"]) {
            match key {
                "prompt" => prompt = line.number(value),
                "reused" => reused = line.number(value),
                _ => output = line.number(value),
            }
        }
        let most = draft
            .turns
            .last()
            .map_or(0, |t| t.prompt.get() + t.output.value.get());
        if prompt == 0 || output == 0 || reused > most.min(prompt) {
            line.bad("no such turn");
        }
        draft.turns.push(turn(prompt, reused, output));
        return;
    }
    let Some(last) = draft.turns.pop() else {
        line.bad("before any turn");
    };
    if line.word(0) == "think" {
        let pause = Nanos::from_secs(line.seconds(line.word(1))).expect("a span");
        draft.turns.push(Turn {
            think: Some(pause),
            ..last
        });
        return;
    }
    let (mut wall, mut cpu, mut threads) = (0.0, 0.0, 1);
    for (key, value) in line.pairs(2, &["wall", "cpu", "threads"]) {
        match key {
            "wall" => wall = line.seconds(value),
            "cpu" => cpu = line.seconds(value),
            _ => threads = line.number(value),
        }
    }
    let mut last = with_tool(last, line.word(1), wall, cpu);
    last.tools.last_mut().expect("just added").parallelism = threads;
    draft.turns.push(last);
}

fn sessions(draft: &Draft) -> Vec<Offered> {
    (0..draft.times)
        .map(|i| {
            let one = offered(draft.at + f64::from(i) * draft.every, draft.turns.clone());
            let mut one = match &draft.group {
                Some((group, shared)) => in_group(one, group, *shared),
                None => one,
            };
            Arc::make_mut(&mut one.session).id = Arc::from("scenario");
            one
        })
        .collect()
}
