//! Random tiny loads: legal by construction, small enough that memory is always short.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use scheduler::Offload;
use sim::world::{Offered, Setup, ToolMode};
use traces::model::{Known, ToolCall};
use units::{Blocks, Bytes, Nanos, Time};

use crate::account;
use crate::naive::{Case, CaseSession, CaseTurn};

/// The same draws on every machine and every day.
pub fn fixed(cases: u32, seed: u64) -> Config {
    Config {
        cases,
        failure_persistence: None,
        max_global_rejects: 1_000_000,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    }
}

/// How a turn goes on from the one before, in numbers that become legal later.
#[derive(Clone, Debug)]
struct Draft {
    fresh: usize,
    keep_percent: usize,
    output: usize,
    tool_ms: Option<u64>,
}

fn draft(block: usize) -> impl Strategy<Value = Draft> {
    let keep = prop_oneof![4 => Just(100_usize), 1 => 0..100_usize];
    let tool = prop_oneof![
        1 => Just(None),
        4 => prop::sample::select(vec![0_u64, 5, 10, 15, 30, 70, 200]).prop_map(Some),
    ];
    (1..block * 4, keep, 1..block + 6, tool).prop_map(|(fresh, keep_percent, output, tool_ms)| {
        Draft {
            fresh,
            keep_percent,
            output,
            tool_ms,
        }
    })
}

/// A path in the tree of openings: up to three steps to the left or right, and how far the last goes.
type Path = (Vec<usize>, usize);

/// The groups of a path. Where a group gives way to the next is a matter of the groups alone, so that
/// a group stands in one place of the tree; 1 to `block + 2` tokens a step, mostly within a block.
fn openings(block: usize, (steps, last): &Path) -> Vec<(usize, usize)> {
    let mut openings: Vec<(usize, usize)> = Vec::new();
    let (mut group, mut end) = (0, 0);
    for (depth, step) in steps.iter().enumerate() {
        group = 2 * group + 1 + step;
        end += if depth + 1 == steps.len() {
            *last
        } else {
            1 + (5 * group + 3 * steps[depth + 1]) % (block + 2)
        };
        openings.push((group, end));
    }
    openings
}

fn session(block: usize, groups: bool) -> impl Strategy<Value = (u64, Path, Vec<Draft>)> {
    let arrival = prop::sample::select(vec![0_u64, 0, 5, 10, 13, 20, 40, 90]);
    let path = if groups {
        let steps = prop::collection::vec(0..2_usize, 0..4);
        (steps, 1..block * 3).boxed()
    } else {
        Just((Vec::new(), 0)).boxed()
    };
    (arrival, path, prop::collection::vec(draft(block), 1..4))
}

fn build(gap: u64, openings: Vec<(usize, usize)>, drafts: Vec<Draft>) -> CaseSession {
    let mut turns: Vec<CaseTurn> = Vec::new();
    for draft in drafts {
        let left = turns.last().map_or(0, |t| t.prompt + t.output);
        let reused = left * draft.keep_percent / 100;
        // A first prompt is as long as the opening it shares, at least.
        let shared = openings.last().map_or(0, |opening| opening.1);
        let least = if turns.is_empty() { shared } else { 0 };
        turns.push(CaseTurn {
            prompt: (reused + draft.fresh).max(least),
            reused,
            output: draft.output,
            tool_ms: draft.tool_ms,
        });
    }
    CaseSession {
        arrival_ms: gap,
        openings,
        turns,
    }
}

/// Up to four sessions of up to three turns on 4 to 12 blocks.
pub fn case(groups: bool) -> impl Strategy<Value = Case> {
    let block = prop::sample::select(vec![4_usize, 16]);
    block.prop_flat_map(move |block| {
        let pool = 4..13_usize;
        let budget = prop::sample::select(vec![5_usize, 16, 33, 256]);
        let sessions = prop::collection::vec(session(block, groups), 1..5);
        (pool, budget, 1..5_usize, any::<bool>(), sessions).prop_map(
            move |(pool, budget, max_running, skip, drafts)| {
                let mut arrival = 0;
                let sessions = drafts.into_iter().map(|(gap, path, drafts)| {
                    arrival += gap;
                    build(arrival, openings(block, &path), drafts)
                });
                Case {
                    block,
                    pool,
                    budget,
                    max_running,
                    skip,
                    sessions: sessions.collect(),
                }
            },
        )
    })
}

/// The same, where all sessions share an opening of two blocks and every later turn cuts its context
/// back, often below that opening.
pub fn case_of_resets() -> impl Strategy<Value = Case> {
    case(true).prop_map(|mut case| {
        let opening = 2 * case.block;
        for session in &mut case.sessions {
            session.openings = vec![(0, opening)];
            for (k, turn) in session.turns.iter_mut().enumerate() {
                let least = if k == 0 { opening } else { 1 };
                turn.reused %= opening;
                turn.prompt = turn.prompt.max(turn.reused + 1).max(least);
            }
        }
        case
    })
}

/// No host memory, or up to 9 blocks of it behind a link that takes 1 to 20 ms a block.
fn host_tier() -> impl Strategy<Value = Option<Offload>> {
    let link = prop::sample::select(vec![1_u64, 3, 20]);
    let tier = (0..10_u64, link.clone(), link).prop_map(|(blocks, out_ms, back_ms)| {
        let per_s = |ms: u64| NonZeroU64::new(1_000_000 / ms).expect("not zero");
        Offload {
            host_blocks: Blocks(blocks),
            block_bytes: Bytes(1000),
            to_host_per_s: per_s(out_ms),
            to_gpu_per_s: per_s(back_ms),
        }
    });
    prop::option::of(tier)
}

/// Machines of all kinds with tiny pools, tools on one core included, and their loads.
pub fn full_case() -> impl Strategy<Value = (Setup, Vec<Offered>)> {
    let tools = prop::sample::select(vec![0_u32, 1, 2, 8]);
    (
        any::<bool>().prop_flat_map(case),
        tools,
        any::<bool>(),
        0..100_usize,
        0..3_u64,
        host_tier(),
    )
        .prop_map(|(case, cores, caching, cpu_percent, think, offload)| {
            let mut setup = account::setup(&case);
            setup.engine.prefix_caching = caching;
            setup.engine.offload = offload;
            // Alone, one after the other, these loads take less than 10 s.
            setup.horizon = Some(Time::ZERO + Nanos::from_millis(100_000));
            setup.engine.tool_cores = cores.max(1);
            setup.tools = match NonZeroU32::new(cores) {
                Some(cores) => ToolMode::Shared(cores),
                None => ToolMode::Unlimited,
            };
            let mut load = account::load(&case);
            for one in &mut load {
                let session = Arc::make_mut(&mut one.session);
                for (k, turn) in session.turns.iter_mut().enumerate() {
                    for tool in &mut turn.tools {
                        let wall = tool.wall.expect("built with one").value.as_nanos();
                        let cpu = wall / 100 * cpu_percent as u64;
                        tool.cpu = Some(Known::recorded(Nanos::new(cpu)));
                    }
                    // Now and then a second tool beside the first, or a pause after them.
                    if let Some(tool) = turn.tools.first().cloned()
                        && k as u64 == think
                    {
                        turn.tools.push(ToolCall {
                            parallelism: 2,
                            ..tool
                        });
                        turn.think = Some(Nanos::from_millis(20 * think));
                    }
                }
            }
            (setup, load)
        })
}
