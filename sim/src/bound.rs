//! How fast nothing can be: a lower bound on the mean latency of a load, under every policy.
//!
//! What: [`bound`], the larger of two means. [`least_latency`] is what one session takes at least,
//! whoever else is there. [`srpt_flow`] is the mean flow time of a single server that has to do every
//! session's least GPU work.
//! Why: a plot of policies needs a line that none can cross. `T_ideal` (`isolated`, the session alone
//! under `fcfs`: [`crate::world::alone`]) is nearly such a line, but not quite: company may have warmed
//! a group's opening, which alone is cold.
//! Limits: a load run to its end; sessions that never fit the pool are turned away and do not count.
//! KV capacity, tools in the way of each other and all waiting for the right batch are ignored, so the
//! bound is loose where those matter. The recorded lengths and tool times are taken as given.
//!
//! # The least of a session
//!
//! One turn of a session is outstanding at a time, and a step holds at most one chunk of it.
//!
//! - *Prefill.* A turn computes every prompt token that no cache can have. A hit covers full blocks
//!   only, never the prompt's last token, and only what was computed under the same lineage: the shared
//!   opening in a first turn, the reused prefix later, without the last sampled token of the turn
//!   before, whose KV nobody computes. Everything else is prefill, in chunks of at most the budget.
//! - *Decode.* Every token after the first takes a chunk that ends with its sample. If one token was
//!   missing, that is a decode that reads the whole context. If more were, the turn had been preempted,
//!   and the chunk is prefill of at least the tokens beyond the last full block: one for one and two or
//!   more, since a single missing token behind the prompt is a decode. The cheaper counts. (Recomputing
//!   may be cheaper by the closed forms: prefill reads a long context once for all its tokens.)
//! - *Tools* take at least their time alone, and so do pauses.
//!
//! Those chunks, priced by [`crate::cost::Floors::step`], and the tools do not overlap: their sum is
//! [`least_latency`].
//!
//! # The relaxed server
//!
//! Priced by one of [`crate::cost::Floors::shares`], the chunks of a step together cost at most the
//! step. Let a unit-speed server work on each session, within each step, for the price of its chunk:
//! steps do not overlap, so it can; every session gets its least work, after its arrival and before its
//! completion. That is a preemptive schedule of one machine with release times whose completions are no
//! later than the real ones. Shortest remaining processing time minimises the mean flow time over all
//! those (Schrage 1968), hence is no more than the real mean latency. Every price list gives such a
//! bound; the largest is taken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use scheduler::Config;
use traces::model::{Session, Turn};
use units::{Nanos, Time, Tokens};

use crate::cost::{Floor, Floors, StepLimits};
use crate::world::{Offered, Setup};

/// A lower bound on the mean latency of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Sessions that the means are over: those that fit the pool.
    pub sessions: u64,
    /// Mean of [`least_latency`], rounded down.
    pub alone: Nanos,
    /// Mean flow time of the relaxed server, rounded down; zero without prices from the cost model.
    pub shared: Nanos,
}

impl Bound {
    /// The bound: no policy's mean latency is below.
    pub fn mean(&self) -> Nanos {
        self.alone.max(self.shared)
    }
}

/// The bound of a load on a machine; `None` if no session fits the pool.
///
/// Takes time linear in the tokens generated and O(n log n) in the sessions.
pub fn bound(setup: &Setup, load: &[Offered]) -> Option<Bound> {
    let engine = &setup.engine;
    let floors = floors(setup);
    let fits = |offered: &&Offered| {
        engine.block_size.to_hold(offered.session.peak_tokens()) <= engine.usable_blocks
    };
    let load: Vec<&Offered> = load.iter().filter(fits).collect();
    let sessions = load.len() as u64;
    if sessions == 0 {
        return None;
    }
    let least = |offered: &&Offered| {
        let gpu = floors.as_ref().map_or(0, |floors| {
            session_price(engine, &offered.session, &floors.step)
        });
        u128::from((whole_ns(gpu.div_ceil(PER_NS)) + idle(&offered.session)).as_nanos())
    };
    let alone: u128 = load.iter().map(least).sum();
    let flows = floors.iter().flat_map(|floors| &floors.shares).map(|list| {
        let jobs = load.iter().map(|offered| {
            let work = session_price(engine, &offered.session, list) / PER_NS;
            (offered.arrival, whole_ns(work))
        });
        srpt_flow(&jobs.collect::<Vec<_>>())
    });
    let shared = flows.max().unwrap_or(0);
    let mean = |sum: u128| whole_ns(sum / u128::from(sessions));
    Some(Bound {
        sessions,
        alone: mean(alone),
        shared: mean(shared),
    })
}

/// What the session takes at least, from arrival to completion, under every policy and in any company.
///
/// On a machine that makes its prompts no warmer than its own turns do (no shared opening), and where a
/// step is never shorter for having more in it, this is `T_ideal` less half a nanosecond per step.
pub fn least_latency(setup: &Setup, session: &Session) -> Nanos {
    let gpu = floors(setup).map_or(0, |floors| {
        session_price(&setup.engine, session, &floors.step)
    });
    // A latency is a whole number of nanoseconds, so it is no less than this rounded up.
    whole_ns(gpu.div_ceil(PER_NS)) + idle(session)
}

/// Sum of the flow times (completion less release) of jobs `(release, work)` on one machine that may
/// switch jobs at any time, under shortest remaining processing time: the least there is. Nanoseconds.
///
/// # Panics
/// If the machine is busy past 2^64 ns.
pub fn srpt_flow(jobs: &[(Time, Nanos)]) -> u128 {
    let mut jobs: Vec<(u64, u64)> = jobs
        .iter()
        .map(|&(release, work)| (release.as_nanos(), work.as_nanos()))
        .collect();
    jobs.sort_unstable();
    let mut coming = jobs.into_iter().peekable();
    // Work left, release.
    let mut here: BinaryHeap<Reverse<(u64, u64)>> = BinaryHeap::new();
    let mut now = 0_u64;
    let mut flow = 0_u128;
    loop {
        while let Some((release, work)) = coming.next_if(|&(release, _)| release <= now) {
            here.push(Reverse((work, release)));
        }
        let next = coming.peek().map(|&(release, _)| release);
        let Some(Reverse((left, release))) = here.pop() else {
            match next {
                Some(release) => now = release,
                None => return flow,
            }
            continue;
        };
        let until = now.checked_add(left).expect("the clock passed 2^64 ns");
        match next {
            Some(arrival) if arrival < until => {
                here.push(Reverse((until - arrival, release)));
                now = arrival;
            }
            _ => {
                now = until;
                flow += u128::from(now - release);
            }
        }
    }
}

/// Half picoseconds per nanosecond.
const PER_NS: u128 = 2_000;

fn whole_ns(ns: u128) -> Nanos {
    Nanos::new(u64::try_from(ns).expect("a span passed 2^64 ns"))
}

pub(crate) fn floors(setup: &Setup) -> Option<Floors> {
    setup.cost.floors(StepLimits {
        turns: setup.engine.max_running as u64,
        tokens: setup.engine.token_budget.get(),
    })
}

/// Tools and pauses, each alone. A tool whose time nobody knows counts as none.
fn idle(session: &Session) -> Nanos {
    (0..session.turns.len())
        .map(|index| idle_after(session, index))
        .sum()
}

/// Tools and pause after a turn; nobody waits for the human after the last.
pub(crate) fn idle_after(session: &Session, index: usize) -> Nanos {
    let turn = &session.turns[index];
    let tools = turn.tools.iter().filter_map(|t| t.wall).map(|w| w.value);
    let think = turn.think.filter(|_| index + 1 < session.turns.len());
    tools.max().unwrap_or(Nanos::ZERO) + think.unwrap_or(Nanos::ZERO)
}

fn session_price(engine: &Config, session: &Session, floor: &Floor) -> u128 {
    (0..session.turns.len())
        .map(|index| turn_price(engine, session, index, floor))
        .sum()
}

/// Most tokens of the turn's prompt that its start can find in KV, whoever was there before.
pub(crate) fn most_hit(engine: &Config, session: &Session, index: usize) -> Tokens {
    let prompt = session.turns[index].prompt;
    let known = match index.checked_sub(1) {
        None => session.shared_tokens(),
        Some(before) => session.turns[index]
            .reused
            .min(session.turns[before].tokens_at_end()),
    };
    let size = engine.block_size;
    size.capacity(size.filled_by(known.min(prompt.saturating_sub(Tokens(1)))))
}

/// The least price of the GPU work of one turn, in half picoseconds.
pub(crate) fn turn_price(engine: &Config, session: &Session, index: usize, floor: &Floor) -> u128 {
    let Turn { prompt, output, .. } = &session.turns[index];
    let (prompt, output) = (u128::from(prompt.get()), u128::from(output.value.get()));
    let hit = u128::from(most_hit(engine, session, index).get());
    let block = u128::from(engine.block_size.tokens().get());
    let budget = u128::from(engine.token_budget.get());
    let prefill = |from: u128, to: u128| {
        let tokens = to - from;
        // Attention work as a step counts it: sum of new * (2 * prefix + new), telescoped.
        let half_pairs = to * to - from * from;
        tokens.div_ceil(budget) * floor.per_prefill
            + tokens * floor.per_token
            + half_pairs * floor.per_half_pair
    };
    let sample = |context: u128| {
        let decode = floor.per_decode + context * floor.per_context;
        let beyond = (context - 1) % block + 1;
        let again = if beyond == 1 { block + 1 } else { beyond };
        decode.min(prefill(context.saturating_sub(again), context))
    };
    prefill(hit, prompt) + (prompt + 1..prompt + output).map(sample).sum::<u128>()
}
