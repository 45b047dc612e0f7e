//! Same input, same bytes: the whole event stream of a medium load, as a digest that must hold in
//! debug and release, and twice in one process.
//!
//! A digest that changes means that some decision changed. If it should have, write the new one here
//! and raise whatever version names the semantics of stored runs.

use std::fmt::Write as _;

use scheduler::Info;
use sim::cost::InMillis;
use sim::world::{Offered, Setup};
use workspace_tests::machine::{
    in_group, machine, offered, preset, run, turn, with_pool, with_tool,
};

/// FNV-1a over 64 bits: no crate whose version could change it.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Knuth's 64-bit congruential generator, upper bits: for a load that no library can change.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Agents as they come: a few thousand tokens, some turns, tools of some seconds, one shared opening.
fn load() -> Vec<Offered> {
    let mut draws = Draws(7);
    let mut at_ms = 0;
    (0..80)
        .map(|i| {
            at_ms += draws.below(1500);
            let mut turns = Vec::new();
            let mut context = 0;
            for _ in 0..=draws.below(6) {
                let reused = if draws.below(8) == 0 {
                    context / 2
                } else {
                    context
                };
                let prompt = reused + 100 + draws.below(4000);
                let output = 1 + draws.below(150);
                let wall_ms = draws.below(4000);
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let seconds = |ms: u64| ms as f64 / 1e3;
                let plain = turn(prompt, reused, output);
                turns.push(with_tool(
                    plain,
                    "bash",
                    seconds(wall_ms),
                    seconds(wall_ms / 2),
                ));
                context = prompt + output;
            }
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let one = offered(at_ms as f64 / 1e3, turns);
            if i % 3 == 0 {
                in_group(one, "system", 90)
            } else {
                one
            }
        })
        .collect()
}

fn setup() -> Setup {
    let cost = InMillis {
        p0: 8.2,
        p1: 0.010_78,
        p2: 1.199e-6,
        d0: 4.1,
        e: 6.3,
        d1: 0.011,
        d2: 3.22e-5,
    };
    with_pool(machine(&cost, 0.0625, 0.5), 2500)
}

/// Every fact and every step, as text.
fn story(policy: &str, overrides: &[(&str, &str)]) -> (String, u64) {
    let record = run(&setup(), &preset(policy, overrides), &load()).expect("a run");
    let mut text = String::new();
    for (at, info) in &record.infos {
        // Decisions and numbers, not the reasons that are given for them.
        match info {
            Info::Window(w) => writeln!(
                text,
                "{} window {} {} {} {} {} {}",
                at.as_nanos(),
                w.size,
                w.cpu_cap,
                w.kv_cap,
                w.kv_pressure,
                w.cpu_backlog,
                w.tool_wait_s
            ),
            other => writeln!(text, "{} {other:?}", at.as_nanos()),
        }
        .expect("memory");
    }
    for step in &record.steps {
        writeln!(text, "{step:?}").expect("memory");
    }
    let totals = &record.summary.counters;
    writeln!(
        text,
        "{} {} {} {}",
        record.summary.makespan.as_nanos(),
        totals.evicted,
        totals.recomputed,
        totals.hit
    )
    .expect("memory");
    (text, record.summary.counters.preemptions)
}

#[test]
fn the_event_stream_is_the_same_everywhere() {
    let (fcfs, preemptions) = story("fcfs", &[]);
    assert!(
        preemptions > 10,
        "the load is not tight: {preemptions} preemptions"
    );
    let (mars, _) = story("mars", &[]);
    let (ttl, _) = story(
        "mars",
        &[
            ("retention.kind", "adaptive-ttl"),
            ("admission.kind", "open"),
        ],
    );
    let got = [&fcfs, &mars, &ttl].map(|text| format!("{:016x}", digest(text)));
    assert_eq!(
        got,
        GOLDEN,
        "{} {} {} bytes",
        fcfs.len(),
        mars.len(),
        ttl.len()
    );
}

#[test]
fn twice_in_one_process_is_the_same() {
    assert_eq!(story("mars", &[]), story("mars", &[]));
}

/// fcfs; mars; mars with timed pins and everybody let in.
const GOLDEN: [&str; 3] = ["6c55b6068431ddfd", "3a9ffb324119b7fa", "aadfa28a4789a397"];
