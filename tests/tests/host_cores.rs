//! Tools and the engine on the same cores: timelines computed by hand.

use std::num::NonZeroU32;

use sim::world::{Offered, Setup, ToolMode};
use workspace_tests::machine::{Record, TEN_MS, machine, offered, preset, run, turn, with_tool};

/// A step is 10 ms of GPU and 1 ms of host.
fn on(cores: u32, threads: Option<u32>) -> Setup {
    let count = |n| NonZeroU32::new(n).expect("not zero");
    let cores = count(cores);
    let mut setup = machine(&TEN_MS, 1.0, 1.0);
    setup.tools = match threads.map(count) {
        Some(threads) => ToolMode::WithEngine { cores, threads },
        None => ToolMode::Shared(cores),
    };
    setup
}

fn run_on(setup: &Setup, load: &[Offered]) -> Record {
    run(setup, &preset("fcfs", &[]), load).expect("goes through")
}

/// A turn of one token, a tool of so many ms on a core, and another turn.
fn with_a_tool(ms: f64) -> Offered {
    let first = with_tool(turn(16, 0, 1), "t", ms / 1e3, ms / 1e3);
    offered(0.0, vec![first, turn(32, 17, 1)])
}

fn decodes(tokens: u64) -> Offered {
    offered(0.0, vec![turn(16, 0, tokens)])
}

#[test]
fn engine_and_tool_take_turns_on_one_core() {
    // Step 1, 0-11, has the core to itself. Then the tool of 30 ms computes beside a thread of the engine,
    // half as fast, and the host's 1 ms takes 2: steps 11-23, 23-35, 35-47, 47-59. By 59 the tool got 24; no
    // step runs, so the other 6 take until 65. Its second turn is computed in 65-76.
    let load = [with_a_tool(30.0), decodes(5)];
    let shared = run_on(&on(1, Some(1)), &load);
    assert_eq!(shared.finish_ms(), [Some(76.0), Some(59.0)]);
    let elapsed = shared.summary.tool_elapsed - shared.summary.tool_alone;
    assert_eq!(elapsed.as_nanos(), 24_000_000);
    // On cores of their own: steps of 11, the tool 11-41, its second turn in the step 44-55.
    let disjoint = run_on(&on(1, None), &load);
    assert_eq!(disjoint.finish_ms(), [Some(55.0), Some(55.0)]);
}

#[test]
fn three_threads_on_two_cores_get_two_thirds_each() {
    // Two tools of 20 ms from 11 on, and the engine: 20 / (2/3) = 30 ms, until 41. The host's 1 ms takes 1.5
    // in the steps 11-22.5, 22.5-34 and 34-45.5: the last began among three threads, and keeps its length
    // when the tools end. Both second turns are computed in 45.5-56.5.
    let load = [with_a_tool(20.0), with_a_tool(20.0), decodes(4)];
    let record = run_on(&on(2, Some(1)), &load);
    assert_eq!(record.finish_ms(), [Some(56.5), Some(56.5), Some(45.5)]);
}

#[test]
fn an_engine_of_many_threads_crowds_itself() {
    // Four threads on two cores: 1 ms of host takes 2, tools or not.
    let record = run_on(&on(2, Some(4)), &[decodes(3)]);
    assert_eq!(record.finish_ms(), [Some(36.0)]);
}

#[test]
fn with_cores_to_spare_nothing_changes() {
    let load = [with_a_tool(20.0), with_a_tool(20.0), decodes(4)];
    let (shared, disjoint) = (run_on(&on(3, Some(1)), &load), run_on(&on(2, None), &load));
    assert_eq!(shared.finish_ms(), disjoint.finish_ms());
    assert_eq!(shared.infos, disjoint.infos);
}
