//! The timeline as JSON in the Trace Event Format.
//!
//! Shape: process 1 has the GPU's steps as complete events (`X`), process 2 a nest of asynchronous
//! slices per session (`b`, `e`), process 3 the counters (`C`). Times are microseconds with three
//! decimals, exact to the nanosecond, and never go back from one event to the next.
//! Source: "Trace Event Format", Google, sections on complete, counter, metadata and nestable async
//! events; <https://perfetto.dev/docs/getting-started/other-formats>.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use sim::world::Sample;
use units::Time;

use super::{Slice, Step, Timeline, What};

const GPU: u32 = 1;
const SESSIONS: u32 = 2;
const COUNTERS: u32 = 3;

/// What to write at an instant, by index. Variants stand in the order in which they go within one
/// instant: what is inside ends first, and what is outside begins first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    End { inside: u8, slice: usize },
    Begin { depth: u8, slice: usize },
    Step(usize),
    Counters(usize),
}

impl Timeline {
    /// Writes it.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn write(&self, policy: &str, path: &Path) -> anyhow::Result<()> {
        let cannot = || format!("cannot write `{}`", path.display());
        let mut out = BufWriter::new(File::create(path).with_context(cannot)?);
        self.events(policy, &mut out).with_context(cannot)?;
        out.flush().with_context(cannot)
    }

    fn events(&self, policy: &str, out: &mut impl Write) -> io::Result<()> {
        let end = self.cut.unwrap_or(self.wanted.to);
        let from = self.wanted.from;
        // Clipping keeps what is nested nested.
        let clip = |at: Time| at.max(from).min(end);
        let mut marks: Vec<(Time, Mark)> = Vec::new();
        for (i, slice) in self.slices.iter().enumerate() {
            let (begins, ends) = (clip(slice.from), clip(slice.to));
            if begins < ends {
                let depth = slice.depth;
                marks.push((begins, Mark::Begin { depth, slice: i }));
                let inside = u8::MAX - depth;
                marks.push((ends, Mark::End { inside, slice: i }));
            }
        }
        let steps = self.steps.iter().enumerate();
        marks.extend(steps.map(|(i, step)| (clip(step.at), Mark::Step(i))));
        let samples = self.samples.iter().enumerate();
        marks.extend(samples.map(|(i, sample)| (sample.at, Mark::Counters(i))));
        marks.sort_unstable();
        let other = json!({
            "policy": policy,
            "program": concat!("orrery ", env!("CARGO_PKG_VERSION")),
            "cut_for_its_size_at_s": self.cut.map(Time::as_secs),
        });
        write!(
            out,
            "{{\"displayTimeUnit\":\"ms\",\"otherData\":{other},\"traceEvents\":["
        )?;
        let names = [(GPU, "GPU"), (SESSIONS, "sessions"), (COUNTERS, "counters")];
        for (i, (pid, name)) in names.into_iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let event = json!({"ph": "M", "pid": pid, "tid": 0, "ts": 0, "name": "process_name", "args": {"name": name}});
            write!(out, "{comma}\n{event}")?;
            let event = json!({"ph": "M", "pid": pid, "tid": 0, "ts": 0, "name": "process_sort_index", "args": {"sort_index": pid}});
            write!(out, ",\n{event}")?;
        }
        let event = json!({"ph": "M", "pid": GPU, "tid": 1, "ts": 0, "name": "thread_name", "args": {"name": "steps"}});
        write!(out, ",\n{event}")?;
        for (at, mark) in marks {
            match mark {
                Mark::Begin { slice, .. } => begin(out, at, &self.slices[slice])?,
                Mark::End { slice, .. } => {
                    let slice = &self.slices[slice];
                    write!(out, ",\n{{\"ph\":\"e\",{}}}", identity(at, slice))?;
                }
                Mark::Step(i) => step(
                    out,
                    at,
                    clip(self.steps[i].at + self.steps[i].time),
                    &self.steps[i],
                )?,
                Mark::Counters(i) => counters(out, &self.samples[i])?,
            }
        }
        out.write_all(b"\n]}\n")
    }
}

/// Microseconds, exact.
fn micros(ns: u64) -> String {
    format!("{}.{:03}", ns / 1000, ns % 1000)
}

/// What begin and end of a slice share.
fn identity(at: Time, slice: &Slice) -> String {
    format!(
        "\"cat\":\"session\",\"id\":{},\"pid\":{SESSIONS},\"tid\":1,\"ts\":{},\"name\":{}",
        slice.session,
        micros(at.as_nanos()),
        Value::from(name(slice))
    )
}

fn name(slice: &Slice) -> String {
    match &slice.what {
        What::Session { trace, .. } => format!("s{} {trace}", slice.session),
        What::Admission => "waits for admission".to_owned(),
        What::Turn { turn, .. } => format!("turn {turn}"),
        What::Tools { name } => format!("tools: {name}"),
        What::Queue => "queue".to_owned(),
        What::Prefill => "prefill".to_owned(),
        What::Decode => "decode".to_owned(),
        What::Preempted => "preempted".to_owned(),
    }
}

fn begin(out: &mut impl Write, at: Time, slice: &Slice) -> io::Result<()> {
    let args = match &slice.what {
        What::Session { status, turns, .. } => json!({"status": status, "turns": turns}),
        What::Turn {
            prompt,
            hit,
            output,
            recomputed,
            ..
        } => json!({
            "prompt_tokens": prompt, "hit_tokens": hit, "output_tokens": output,
            "recomputed_tokens": recomputed,
        }),
        _ => Value::Null,
    };
    let identity = identity(at, slice);
    if args.is_null() {
        return write!(out, ",\n{{\"ph\":\"b\",{identity}}}");
    }
    write!(out, ",\n{{\"ph\":\"b\",{identity},\"args\":{args}}}")
}

fn step(out: &mut impl Write, at: Time, ends: Time, step: &Step) -> io::Result<()> {
    let name = match (step.prefills, step.decodes) {
        (0, decodes) => format!("decode {decodes}"),
        (_, 0) => format!("prefill {}", step.prefill_tokens),
        (_, decodes) => format!("prefill {} + decode {decodes}", step.prefill_tokens),
    };
    write!(
        out,
        ",\n{{\"ph\":\"X\",\"pid\":{GPU},\"tid\":1,\"ts\":{},\"dur\":{},\"name\":\"{name}\",\"args\":\
         {{\"decodes\":{},\"prefills\":{},\"prefill_tokens\":{},\"context_tokens\":{}}}}}",
        micros(at.as_nanos()),
        micros(ends.since(at).as_nanos()),
        step.decodes,
        step.prefills,
        step.prefill_tokens,
        step.context_tokens
    )
}

fn counters(out: &mut impl Write, sample: &Sample) -> io::Result<()> {
    let ts = micros(sample.at.as_nanos());
    let mut counter = |name: &str, args: Value| {
        write!(
            out,
            ",\n{{\"ph\":\"C\",\"pid\":{COUNTERS},\"tid\":0,\"ts\":{ts},\"name\":\"{name}\",\"args\":{args}}}"
        )
    };
    let held = sample.usable - sample.free - sample.pinned;
    counter(
        "KV blocks",
        json!({"of turns": held, "pinned": sample.pinned, "free": sample.free}),
    )?;
    counter("backlog", json!({"sessions": sample.backlog}))?;
    counter(
        "turns",
        json!({"running": sample.running, "waiting": sample.waiting}),
    )?;
    counter("tools", json!({"in flight": sample.tools}))?;
    match sample.window {
        None => counter("sessions", json!({"in flight": sample.in_flight})),
        Some(window) => {
            counter("sessions", json!({"in flight": sample.in_flight}))?;
            counter("admission window", json!({"sessions": window.size}))
        }
    }
}
