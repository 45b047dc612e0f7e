//! A run as a timeline: what happened, when, one line each.

use std::fmt::Write as _;

use scheduler::{Direction, Info, Phase, Then};

use super::{Part, ms};
use crate::machine::Record;

pub(super) fn chunk(c: &(units::SessionId, u64, u64, Phase)) -> String {
    let (session, context, tokens, phase) = c;
    match phase {
        Phase::Prefill => format!("{session} prefill {tokens} @{context}"),
        Phase::Decode => format!("{session} decode @{context}"),
    }
}

pub(super) fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::ToHost => "out",
        Direction::ToGpu => "back",
    }
}

fn fact(info: &Info) -> (Part, String) {
    match info {
        Info::Arrived { session, demand } => (
            Part::Turns,
            format!("{session} arrives, its prompt needs {demand} blocks"),
        ),
        Info::Rejected {
            session,
            needs,
            usable,
        } => (
            Part::Turns,
            format!("{session} rejected: needs {needs} of {usable} blocks"),
        ),
        Info::Admitted { session } => (Part::Turns, format!("{session} admitted")),
        Info::TurnStarted {
            session,
            turn,
            hit,
            first_start,
        } => {
            let again = if *first_start { "" } else { " again" };
            (
                Part::Turns,
                format!("{session} starts turn {turn}{again}, hit {hit}"),
            )
        }
        Info::FirstToken { session, turn } => {
            (Part::Turns, format!("{session} first token of turn {turn}"))
        }
        Info::TurnEnded {
            session,
            turn,
            then,
            usage,
        } => {
            let then = match then {
                Then::End => String::from("no more"),
                Then::Yield { calls, .. } => format!("{calls} tools"),
            };
            let again = match usage.recomputed.get() {
                0 => String::new(),
                n => format!(", {n} of them again"),
            };
            let text = format!(
                "{session} ends turn {turn}: {} tokens computed{again}; then {then}",
                usage.scheduled
            );
            (Part::Turns, text)
        }
        Info::SessionEnded { session } => (Part::Turns, format!("{session} complete")),
        Info::Preempted { session, by, freed } => (
            Part::Turns,
            format!("{session} preempted for {by}, frees {freed} blocks"),
        ),
        Info::Pinned { session, blocks } => (Part::Pins, format!("{session} pins {blocks} blocks")),
        Info::Unpinned { session, why } => (Part::Pins, format!("{session} unpinned: {why:?}")),
        Info::CopyStarted {
            session,
            direction,
            blocks,
            ..
        } => {
            let way = way(*direction);
            (
                Part::Pins,
                format!("{session} copies {blocks} blocks {way}"),
            )
        }
        Info::Decided(d) => (Part::Turns, format!("{:?}: {}", d.kind, d.reason.name())),
        Info::Paused { session } => (Part::Turns, format!("{session} paused")),
        Info::Unpaused { session } => (Part::Turns, format!("{session} may go on")),
        Info::Window(w) => {
            let flag = if w.overloaded { ", overloaded" } else { "" };
            let text = format!(
                "window {} (cpu cap {}, kv cap {}); u {:.3}, r {:.3}, q {:.3}s{flag}",
                w.size, w.cpu_cap, w.kv_cap, w.kv_pressure, w.cpu_backlog, w.tool_wait_s
            );
            (Part::Window, text)
        }
    }
}

/// Equal work: the same turns decode, one token further.
fn same_decodes(a: &Record, i: usize, j: usize) -> bool {
    let of = |k: usize| a.steps[k].2.iter();
    of(i).len() == of(j).len()
        && of(i)
            .zip(of(j))
            .all(|(x, y)| x.0 == y.0 && x.3 == Phase::Decode && y.3 == Phase::Decode)
}

pub(super) fn timeline(show: &[Part], record: &Record) -> String {
    let mut text = String::new();
    let mut line = |ns: u64, what: &str| {
        writeln!(text, "{:<9} {what}", ms(ns)).expect("memory");
    };
    let mut steps = 0;
    let mut facts = record.infos.iter().peekable();
    loop {
        // Facts of an instant come before the step that starts then.
        while let Some((at, info)) = facts.peek() {
            if record.steps.get(steps).is_some_and(|s| s.0 < *at) {
                break;
            }
            let (part, what) = fact(info);
            if show.contains(&part) {
                line(at.as_nanos(), &what);
            }
            facts.next();
        }
        let Some(step) = record.steps.get(steps) else {
            break;
        };
        let mut last = steps;
        while last + 1 < record.steps.len()
            && same_decodes(record, steps, last + 1)
            && facts
                .peek()
                .is_none_or(|(at, _)| *at > record.steps[last + 1].0)
        {
            last += 1;
        }
        let chunks: Vec<String> = step.2.iter().map(chunk).collect();
        let mut what = format!("  step: {}", chunks.join(", "));
        if last > steps {
            what = format!("{what}; and {} like it to {}", last - steps, {
                ms(record.steps[last].0.as_nanos())
            });
        }
        if show.contains(&Part::Steps) {
            line(step.0.as_nanos(), &what);
        }
        steps = last + 1;
    }
    text
}
