//! Same input, same bytes: the whole event stream of a medium load, as a digest that must hold in
//! debug and release, and twice in one process.
//!
//! A digest that changes means that some decision changed. If it should have, write the new one here
//! and raise whatever version names the semantics of stored runs.

use std::fmt::Write as _;

use scheduler::Info;
use workspace_tests::machine::{preset, run};
use workspace_tests::medium::{load, setup};

/// FNV-1a over 64 bits: no crate whose version could change it.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
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
