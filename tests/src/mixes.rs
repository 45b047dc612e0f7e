//! Random policies: every part of every kind with every other, in sizes that fit tiny loads.
//!
//! Limits: three queues prefer the larger KV as a victim. Where a turn starts as soon as its first chunk
//! fits, they preempt the larger of two prefills for ever on tiny pools (reference section 4.2 names that
//! livelock); the mechanism ends it, but late, so those mixes are apart: [`policy_that_circles`].

use policies::PolicySpec;
use proptest::prelude::*;

use crate::machine::preset;

type Settings = Vec<(&'static str, String)>;

fn settings(pairs: &[(&'static str, &str)]) -> Settings {
    pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect()
}

fn admission() -> impl Strategy<Value = Settings> {
    let window = |kind: &'static str, init: u64| {
        let mut set = settings(&[
            ("admission.kind", kind),
            ("admission.window_min", "1"),
            ("admission.window_max", "3"),
            ("admission.interval_s", "0.02"),
        ]);
        set.push(("admission.window_init", init.to_string()));
        set
    };
    let mars = (1_u64..4, any::<bool>()).prop_map(move |(init, released)| {
        let mut set = window("mars-window", init);
        set.extend(settings(&[
            ("admission.long_prompt", "30"),
            ("admission.gate_min_s", "0.02"),
            ("admission.gate_max_s", "0.2"),
            ("admission.wait_high_s", "0.05"),
            ("admission.wait_low_s", "0.01"),
            ("admission.cpu_high", "1.5"),
        ]));
        if released {
            set.extend(settings(&[
                ("admission.runs", "at-arrivals"),
                ("admission.tail", "load-over"),
                ("admission.write_back", "true"),
                ("admission.use_tool_wait", "false"),
                ("admission.count_owed", "false"),
            ]));
        }
        set
    });
    let thunder = settings(&[
        ("admission.kind", "thunder-agent"),
        ("admission.interval_s", "0.05"),
        ("admission.buffer_tokens", "4"),
        ("admission.force_resume_s", "0.4"),
    ]);
    let first = prop::sample::select(vec!["smallest", "oldest"]);
    let budget = first
        .prop_map(|first| settings(&[("admission.kind", "kv-budget"), ("admission.first", first)]));
    prop_oneof![
        2 => Just(settings(&[("admission.kind", "open")])),
        1 => budget,
        2 => mars,
        1 => (1_u64..4).prop_map(move |init| window("concur", init)),
        1 => Just(thunder),
    ]
}

/// Queues under which turns may take each other's blocks in a circle.
fn circling() -> impl Strategy<Value = Settings> {
    let plas = settings(&[
        ("order.kind", "plas"),
        ("order.service", "[24, 60, 100]"),
        ("order.quanta", "[32, 16, 8, 4]"),
    ]);
    let shrink = prop::sample::select(vec!["never", "then-retry-whole", "and-stay"]);
    let levels = (any::<bool>(), shrink).prop_map(|(preview, shrink)| {
        let mut set = settings(&[
            (
                "order.kind",
                if preview {
                    "mars-preview-mlfq"
                } else {
                    "mars-mlfq"
                },
            ),
            ("order.footprint", "[8, 16, 40]"),
            ("order.quanta", "[32, 16, 8, 4]"),
            ("order.aging_s", "0.07"),
            ("order.start", "first-chunk"),
            ("order.shrink", shrink),
        ]);
        if !preview {
            set.push(("order.service", "[24, 60, 100]".to_owned()));
        }
        set
    });
    prop_oneof![2 => Just(plas), 1 => levels]
}

fn order() -> impl Strategy<Value = Settings> {
    let shrink = || prop::sample::select(vec!["never", "then-retry-whole", "and-stay"]);
    let levels = settings(&[
        ("order.footprint", "[8, 16, 40]"),
        ("order.quanta", "[32, 16, 8, 4]"),
        ("order.aging_s", "0.07"),
        ("order.start", "whole-prompt-and-mean-output"),
    ]);
    let preview = levels.clone();
    let mars = (shrink(), any::<bool>()).prop_map(move |(shrink, lift)| {
        let mut set = settings(&[("order.kind", "mars-mlfq"), ("order.shrink", shrink)]);
        set.extend(levels.clone());
        set.push(("order.service", "[24, 60, 100]".to_owned()));
        set.push(("order.lift", lift.to_string()));
        set
    });
    let preview = (shrink(), 1_usize..5).prop_map(move |(shrink, turns)| {
        let mut set = settings(&[
            ("order.kind", "mars-preview-mlfq"),
            ("order.shrink", shrink),
        ]);
        set.extend(preview.clone());
        set.push(("order.turn_window", turns.to_string()));
        set
    });
    let start = prop::sample::select(vec!["first-chunk", "whole-prompt-and-mean-output"]);
    let program = (any::<[bool; 2]>(), shrink(), start).prop_map(|(flags, shrink, start)| {
        let mut set = settings(&[
            ("order.kind", "program-arrival"),
            ("order.shrink", shrink),
            ("order.start", start),
        ]);
        set.push(("order.pinned_first", flags[0].to_string()));
        set.push(("order.spare_last", flags[1].to_string()));
        set
    });
    prop_oneof![
        Just(settings(&[("order.kind", "turn-arrival")])),
        Just(settings(&[("order.kind", "request-arrival")])),
        mars,
        preview,
        program,
    ]
}

fn retention() -> impl Strategy<Value = Settings> {
    let record = settings(&[
        ("retention.bound_s", "0.06"),
        ("retention.tool_min", "3"),
        ("retention.prior_mu", "-3.5"),
        ("retention.prior_sigma", "0.5"),
    ]);
    let recorded = prop::sample::select(vec!["soft-pins", "adaptive-ttl"]);
    let recorded = recorded.prop_map(move |kind| {
        let mut set = settings(&[("retention.kind", kind)]);
        set.extend(record.clone());
        set
    });
    let fixed = settings(&[
        ("retention.kind", "fixed-ttl"),
        ("retention.ttl_s", "0.06"),
        ("retention.max_mean_s", "0.04"),
    ]);
    let dynamic = settings(&[
        ("retention.kind", "dynamic-ttl"),
        ("retention.default_s", "0.05"),
        ("retention.record_min", "1"),
        ("retention.record_window", "4"),
        ("retention.delay_window", "3"),
        ("retention.reload_s_per_token", "0.002"),
    ]);
    let form = prop::sample::select(vec!["min-waste", "break-even"]);
    let waste = (form, any::<bool>(), any::<bool>()).prop_map(|(form, swap, dear)| {
        let mut set = settings(&[
            ("retention.kind", "min-waste"),
            ("retention.form", form),
            ("retention.interval_s", "0.03"),
        ]);
        set.push(("retention.swap", swap.to_string()));
        let reload = if dear { "0.002" } else { "0.0" };
        set.push(("retention.reload_s_per_token", reload.to_owned()));
        set
    });
    prop_oneof![
        1 => Just(settings(&[("retention.kind", "none")])),
        2 => recorded,
        1 => Just(fixed),
        1 => Just(dynamic),
        2 => waste,
    ]
}

/// Every mix of admission, order and retention.
pub fn any_policy() -> impl Strategy<Value = PolicySpec> {
    mix(prop_oneof![4 => order(), 1 => circling()])
}

/// Every mix under which all sessions complete soon.
pub fn policy_that_ends() -> impl Strategy<Value = PolicySpec> {
    mix(order())
}

/// Mixes under which turns may go in a circle until the mechanism ends it.
pub fn policy_that_circles() -> impl Strategy<Value = PolicySpec> {
    mix(circling())
}

fn mix(order: impl Strategy<Value = Settings>) -> impl Strategy<Value = PolicySpec> {
    (admission(), order, retention()).prop_map(|parts| {
        let mut set = settings(&[("name", "\"mix\"")]);
        set.extend(parts.0.into_iter().chain(parts.1).chain(parts.2));
        let set: Vec<(&str, &str)> = set.iter().map(|(k, v)| (*k, v.as_str())).collect();
        preset("mars", &set)
    })
}
