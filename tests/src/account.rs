//! A naive case on the real scheduler, and both accounts in the same words.

use std::fmt::Write as _;

use scheduler::{Config, HeadOfLine, Info, Phase, Unpin};
use sim::world::{Offered, Setup};
use units::{BlockSize, Blocks, Tokens};

use crate::machine::{Record, TEN_MS, in_group, machine, offered, turn, with_tool};
use crate::naive::{Account, Case, CaseSession};

/// The machine of the case.
pub fn setup(case: &Case) -> Setup {
    let mut setup = machine(&TEN_MS, 1.0, 0.0);
    setup.engine = Config {
        block_size: BlockSize::new(case.block as u64).expect("not zero"),
        usable_blocks: Blocks(case.pool as u64),
        token_budget: Tokens(case.budget as u64),
        max_running: case.max_running,
        head_of_line: if case.skip {
            HeadOfLine::Skip
        } else {
            HeadOfLine::Stop
        },
        ..Config::default()
    };
    setup
}

#[allow(clippy::cast_precision_loss, reason = "tiny numbers")]
fn one(session: &CaseSession) -> Offered {
    let secs = |ms: u64| ms as f64 / 1e3;
    let turns = session.turns.iter().map(|t| {
        let plain = turn(t.prompt as u64, t.reused as u64, t.output as u64);
        match t.tool_ms {
            Some(ms) => with_tool(plain, "tool", secs(ms), 0.0),
            None => plain,
        }
    });
    let one = offered(secs(session.arrival_ms), turns.collect());
    let openings = session.openings.iter();
    openings.fold(one, |one, &(group, end)| {
        in_group(one, &format!("g{group}"), end as u64)
    })
}

/// The load of the case.
pub fn load(case: &Case) -> Vec<Offered> {
    case.sessions.iter().map(one).collect()
}

/// What a run told, in the naive model's words.
pub fn account(record: &Record) -> Account {
    let mut told = Account {
        evicted: record.summary.counters.evicted,
        ..Account::default()
    };
    for (at, info) in &record.infos {
        if let Some(fact) = fact(info) {
            told.facts.push((at.as_nanos(), fact));
        }
    }
    for (at, _, chunks) in &record.steps {
        let text: Vec<String> = chunks
            .iter()
            .map(|(session, context, tokens, phase)| {
                let kind = match phase {
                    Phase::Decode => "decode",
                    Phase::Prefill => "prefill",
                };
                format!("{session} {kind} {tokens} @{context}")
            })
            .collect();
        told.steps.push((at.as_nanos(), text.join(", ")));
    }
    told
}

fn fact(info: &Info) -> Option<String> {
    Some(match info {
        Info::Rejected { session, .. } => format!("{session} rejected"),
        Info::TurnStarted {
            session,
            turn,
            hit,
            first_start,
        } => {
            let again = if *first_start { "" } else { " again" };
            format!("{session} starts turn {turn}{again}: hit {hit}")
        }
        Info::TurnEnded {
            session,
            turn,
            usage,
            ..
        } => format!(
            "{session} ends turn {turn}: computed {}, again {}, preempted {}",
            usage.scheduled, usage.recomputed, usage.preemptions
        ),
        Info::SessionEnded { session } => format!("{session} over"),
        Info::Preempted { session, by, freed } => {
            format!("{session} preempted by {by}: {freed} blocks")
        }
        Info::Pinned { session, blocks } => format!("{session} pins {blocks}"),
        Info::Unpinned { session, why } => {
            let why = match why {
                Unpin::Resumed => "resumed",
                Unpin::Expired => "expired",
                Unpin::ReclaimedForRunning => "running",
                Unpin::ReclaimedForWaiting => "waiting",
                Unpin::Reconsidered => "reconsidered",
                Unpin::SessionOver => "over",
                Unpin::Offloaded => "offloaded",
                Unpin::HostFull => "host full",
            };
            format!("{session} unpinned: {why}")
        }
        Info::CopyStarted {
            session, blocks, ..
        } => format!("{session} copies {blocks}"),
        Info::Paused { session } => format!("{session} paused"),
        Info::Unpaused { session } => format!("{session} unpaused"),
        Info::Arrived { .. }
        | Info::Admitted { .. }
        | Info::FirstToken { .. }
        | Info::Decided(_)
        | Info::Window(_) => return None,
    })
}

/// Where two accounts part, with what led there; `None` when they agree.
pub fn difference(naive: &Account, real: &Account) -> Option<String> {
    fn first(what: &str, naive: &[(u64, String)], real: &[(u64, String)]) -> Option<String> {
        let at = (0..naive.len().max(real.len())).find(|&i| naive.get(i) != real.get(i))?;
        let show = |list: &[(u64, String)]| {
            let from = at.saturating_sub(6);
            let lines = list.iter().skip(from).take(at - from + 2);
            lines.fold(String::new(), |mut text, (ns, line)| {
                writeln!(text, "    {}ms {line}", ns / 1_000_000).expect("memory");
                text
            })
        };
        let (naive, real) = (show(naive), show(real));
        Some(format!("{what} {at}:\n  naive\n{naive}  real\n{real}"))
    }
    let facts = first("fact", &naive.facts, &real.facts);
    let steps = first("step", &naive.steps, &real.steps);
    if facts.is_some() || steps.is_some() {
        return Some(facts.into_iter().chain(steps).collect());
    }
    (naive.evicted != real.evicted)
        .then(|| format!("evicted: naive {}, real {}", naive.evicted, real.evicted))
}
