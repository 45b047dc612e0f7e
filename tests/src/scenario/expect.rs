//! What a scenario says must come out, checked against the run and not against the golden text.
//!
//! Every line is compared as a whole, so a preemption or a pin too many fails too:
//! ```text
//! steps N | preemptions N | evicted N | recomputed N | scheduled N | windows N | unfinished N
//! chunks s0 2048 1024          prefill chunks, all starts
//! starts s0/0 0ms 420ms        when the turn started, restarts included
//! hits s0/1 112                what each of those starts found
//! ready s0/1 20ms              when the turn's tools were over
//! first s0/0 40ms              its first token
//! finish s0 650ms | never      when the session was complete
//! admit s0 0ms | never
//! admitted s2 s0 s1            in this order
//! rejected s3                  all of them; `rejected none`
//! preempt 180ms s0, 200ms s1   all of them; `preempt none`
//! pin 10ms s0 10, ...          with the number of blocks; `pin none`
//! unpin 220ms s0 Resumed, ...  with the reason; `unpin none`
//! copies 10ms s0 out 3, ...    between GPU and host memory, when asked for; `copies none`
//! paused 5000ms s0, ...        all of them; `paused none`; the same with `unpaused`
//! step 10ms s0 prefill 2048 @0, s1 decode @100
//! no-step 30ms                 nothing starts then
//! window 250ms W=21 cpu=20 kv=4 over=yes    that update; fields may be left out
//! no-window 250ms
//! ```

use scheduler::Info;
use units::{SessionId, Time};

use super::{Scenario, ms, render};
use crate::machine::Record;

fn list(record: &Record, show: impl Fn(Time, &Info) -> Option<String>, separator: &str) -> String {
    let all: Vec<String> = record
        .infos
        .iter()
        .filter_map(|(at, i)| show(*at, i))
        .collect();
    if all.is_empty() {
        String::from("none")
    } else {
        all.join(separator)
    }
}

fn at(time: Time) -> String {
    ms(time.as_nanos())
}

/// `s3/1` as session and turn.
fn turn_of(word: &str) -> Option<(SessionId, u32)> {
    let (session, turn) = word.strip_prefix('s')?.split_once('/')?;
    Some((SessionId(session.parse().ok()?), turn.parse().ok()?))
}

pub(super) fn broken(scenario: &Scenario, record: &Record) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, text) in &scenario.expects {
        let (kind, wanted) = text.split_once(' ').unwrap_or((text, ""));
        let wanted = wanted.trim();
        let mut words = wanted.split_whitespace();
        let subject = words.next().unwrap_or("");
        let rest = wanted[subject.len()..].trim();
        let (wanted, got) = match total(kind, record) {
            Some(got) => (wanted, Some(got)),
            None => match whole(kind, record) {
                Some(got) => (wanted, Some(got)),
                None => (rest, about(kind, subject, rest, record)),
            },
        };
        match got {
            None => wrong.push(format!(
                "{} line {line}: cannot read `{text}`",
                scenario.name
            )),
            Some(got) if got == wanted => {}
            Some(got) => wrong.push(format!(
                "{} line {line}: expected {text}\n    but it is {got}",
                scenario.name
            )),
        }
    }
    wrong
}

fn total(kind: &str, record: &Record) -> Option<String> {
    let c = record.summary.counters;
    let windows = record
        .infos
        .iter()
        .filter(|(_, i)| matches!(i, Info::Window(_)))
        .count();
    let n = match kind {
        "steps" => c.steps,
        "preemptions" => c.preemptions,
        "evicted" => c.evicted,
        "recomputed" => c.recomputed,
        "scheduled" => c.scheduled,
        "unfinished" => record.summary.unfinished,
        "windows" => windows as u64,
        _ => return None,
    };
    Some(n.to_string())
}

fn whole(kind: &str, record: &Record) -> Option<String> {
    Some(match kind {
        "admitted" => list(
            record,
            |_, i| match i {
                Info::Admitted { session } => Some(session.to_string()),
                _ => None,
            },
            " ",
        ),
        "rejected" => list(
            record,
            |_, i| match i {
                Info::Rejected { session, .. } => Some(session.to_string()),
                _ => None,
            },
            " ",
        ),
        "preempt" => list(
            record,
            |t, i| match i {
                Info::Preempted { session, .. } => Some(format!("{} {session}", at(t))),
                _ => None,
            },
            ", ",
        ),
        "pin" => list(
            record,
            |t, i| match i {
                Info::Pinned { session, blocks } => Some(format!("{} {session} {blocks}", at(t))),
                _ => None,
            },
            ", ",
        ),
        "copies" => list(
            record,
            |t, i| match i {
                Info::CopyStarted {
                    session,
                    direction,
                    blocks,
                    ..
                } => Some(format!(
                    "{} {session} {} {blocks}",
                    at(t),
                    render::way(*direction)
                )),
                _ => None,
            },
            ", ",
        ),
        "paused" => list(
            record,
            |t, i| match i {
                Info::Paused { session } => Some(format!("{} {session}", at(t))),
                _ => None,
            },
            ", ",
        ),
        "unpaused" => list(
            record,
            |t, i| match i {
                Info::Unpaused { session } => Some(format!("{} {session}", at(t))),
                _ => None,
            },
            ", ",
        ),
        "unpin" => list(
            record,
            |t, i| match i {
                Info::Unpinned { session, why } => Some(format!("{} {session} {why:?}", at(t))),
                _ => None,
            },
            ", ",
        ),
        _ => return None,
    })
}

fn about(kind: &str, subject: &str, rest: &str, record: &Record) -> Option<String> {
    let turn = turn_of(subject);
    let session = subject
        .strip_prefix('s')
        .and_then(|id| id.parse().ok())
        .map(SessionId);
    let of_turn = |s: SessionId, t: u32| Some((s, t)) == turn;
    Some(match kind {
        "chunks" => {
            let chunks: Vec<String> = record
                .chunks(session?.0)
                .iter()
                .map(ToString::to_string)
                .collect();
            chunks.join(" ")
        }
        "starts" | "hits" => {
            turn?;
            let show = |t: Time, i: &Info| match i {
                Info::TurnStarted {
                    session, turn, hit, ..
                } if of_turn(*session, *turn) => Some(if kind == "starts" {
                    at(t)
                } else {
                    hit.to_string()
                }),
                _ => None,
            };
            list(record, show, " ")
        }
        "first" => {
            turn?;
            let show = |t: Time, i: &Info| match i {
                Info::FirstToken { session, turn } if of_turn(*session, *turn) => Some(at(t)),
                _ => None,
            };
            list(record, show, " ")
        }
        "ready" => {
            turn?;
            let found = record.turns.iter().find(|t| of_turn(t.session, t.turn));
            found.map_or(String::from("never"), |t| at(t.ready))
        }
        "finish" | "admit" => {
            let session = session?;
            let found = record.sessions.iter().find(|s| s.session == session)?;
            let when = if kind == "finish" {
                found.finished
            } else {
                found.admitted
            };
            when.map_or(String::from("never"), at)
        }
        "step" => {
            let step = record.steps.iter().find(|(t, _, _)| at(*t) == subject);
            let chunks = step.map(|(_, _, c)| c.iter().map(render::chunk).collect::<Vec<_>>());
            chunks.map_or(String::from("no step"), |c| c.join(", "))
        }
        "no-step" => {
            let found = record.steps.iter().any(|(t, _, _)| at(*t) == subject);
            String::from(if found { "a step" } else { "" })
        }
        "window" | "no-window" => {
            let found = record.infos.iter().find_map(|(t, i)| match i {
                Info::Window(w) if at(*t) == subject => Some(w),
                _ => None,
            });
            let Some(w) = found else {
                return Some(String::from(if kind == "window" {
                    "no update"
                } else {
                    ""
                }));
            };
            if kind == "no-window" {
                return Some(String::from("an update"));
            }
            let fields: Option<Vec<String>> = rest
                .split_whitespace()
                .map(|field| {
                    let key = field.split_once('=')?.0;
                    let value = match key {
                        "W" => w.size.to_string(),
                        "cpu" => w.cpu_cap.to_string(),
                        "kv" => w.kv_cap.to_string(),
                        "u" => format!("{:.3}", w.kv_pressure),
                        "r" => format!("{:.3}", w.cpu_backlog),
                        "q" => format!("{:.3}", w.tool_wait_s),
                        "over" => String::from(if w.overloaded { "yes" } else { "no" }),
                        _ => return None,
                    };
                    Some(format!("{key}={value}"))
                })
                .collect();
            fields?.join(" ")
        }
        _ => return None,
    })
}
