//! The emulation of warpgroup products finds what a GPU would do wrong without a word.
//!
//! Each mutation breaks one thing that the prefill kernel has to say right. It either stops with the rule
//! that it breaks, or its results are wrong; and the kernel as it is passes on the very same steps.

use engine::cuda::{Module, PrefillKernel};

use crate::{
    attention::{Case, TWO_ROUNDINGS, heads},
    device::{Bench, device_with},
    values::error,
};

/// How a mutation is found.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    /// It stops, and its last words hold these.
    Stops(&'static str),
    /// It ends with wrong results.
    Wrong,
    /// It is not: nothing was changed.
    Right,
}

/// What is changed, from what, to what.
const MUTATIONS: [(&str, &str, &str, Found); 18] = [
    ("nothing", "", "", Found::Right),
    (
        "the rows' swizzle",
        "(c ^ (r & 7))",
        "(c ^ (r & 3))",
        Found::Wrong,
    ),
    (
        "the descriptors' swizzle",
        "SWIZZLE_128 = 1ull << 62",
        "SWIZZLE_128 = 0",
        Found::Stops("reads beside shared memory"),
    ),
    (
        "where the swizzle's pattern begins",
        "(EIGHT_ROWS - 1));",
        "(ROW - 1));",
        Found::Wrong,
    ),
    (
        "leading offset of the values",
        "EIGHT_ROWS, KEY_PANEL, EIGHT_ROWS)",
        "EIGHT_ROWS, KEY_PANEL / 2, EIGHT_ROWS)",
        Found::Wrong,
    ),
    (
        "stride offset of the keys",
        "c % 4 * 32, 16, EIGHT_ROWS), c > 0)",
        "c % 4 * 32, 16, EIGHT_ROWS / 2), c > 0)",
        Found::Wrong,
    ),
    (
        "the step along a row",
        "matrix(k + c / 4 * KEY_PANEL + c % 4 * 32",
        "matrix(k + c / 4 * KEY_PANEL + c % 4 * 16",
        Found::Wrong,
    ),
    (
        "the mask, by one",
        "> limit[(i >> 1) & 1]) s[i]",
        "> limit[(i >> 1) & 1] + 1) s[i]",
        Found::Wrong,
    ),
    (
        "which tiles are masked, by one",
        "- 1 > earliest)",
        "- 1 > earliest + 1)",
        Found::Wrong,
    ),
    (
        "the order of the probabilities",
        "p[c][i] = pack",
        "p[c][i ^ 1] = pack",
        Found::Wrong,
    ),
    (
        "the wait for a product",
        "wgmma_wait<0>();\n        hold(acc);",
        "hold(acc);",
        Found::Stops("registers touched while their product is in flight"),
    ),
    (
        "the fence before a product",
        "hold(acc);\n        wgmma_fence();",
        "hold(acc);",
        Found::Stops("no fence between registers' last use and the product"),
    ),
    (
        "what the compiler must not move",
        "wgmma_wait<0>();\n        hold(acc);",
        "wgmma_wait<0>();",
        Found::Stops("held behind their product's end"),
    ),
    (
        "the fence between copies and products",
        "copy_wait<0>();\n        products_see_writes();",
        "copy_wait<0>();",
        Found::Stops("written without fence.proxy.async"),
    ),
    (
        "the wait for copies",
        "copy_wait<0>();",
        "copy_wait<1>();",
        Found::Stops("what a copy still writes"),
    ),
    (
        "the barrier between everybody's copies and products",
        "__syncthreads();\n        if (tile + 2",
        "if (tile + 2",
        Found::Stops("a copy to shared memory that a product in flight reads"),
    ),
    (
        "which queries are a warpgroup's",
        "+ warpgroup * 64 * ROW",
        "+ (1 - warpgroup) * 64 * ROW",
        Found::Wrong,
    ),
    (
        "a stage",
        "STAGES = 3",
        "STAGES = 2",
        Found::Stops("what a copy still writes"),
    ),
];

fn case() -> Case {
    Case {
        heads: heads(3, 1, 128),
        block_size: 16,
        // Over four tiles of keys; one ends a position before a tile does; some behind a context.
        rows: vec![(50, 250), (9, 71), (1, 1)],
    }
}

fn outcome(d: &mut Bench) -> Found {
    let case = case();
    let inputs = case.inputs(400);
    d.set_order(2);
    match case.try_on(d, &inputs, true, PrefillKernel::Wgmma) {
        Ok(found) if error(&found, &case.expected(&inputs)) < TWO_ROUNDINGS => Found::Right,
        Ok(_) => Found::Wrong,
        Err(_) => Found::Stops(""),
    }
}

#[test]
fn every_mutation_of_the_warpgroup_kernel_is_found() {
    let test = "every_mutation_of_the_warpgroup_kernel_is_found";
    let mut faults = Vec::new();
    for (what, from, to, expected) in MUTATIONS {
        let edit = |body: &str| {
            assert!(from.is_empty() || body.contains(from), "{what}: {from}");
            body.replacen(from, to, 1)
        };
        let Some(mut d) = device_with(test, Module::PrefillWgmma, edit) else {
            return;
        };
        let found = outcome(&mut d);
        let words = d.device.last_words();
        let as_expected = match expected {
            Found::Stops(rule) => found == Found::Stops("") && words.contains(rule),
            other => found == other,
        };
        if !as_expected {
            faults.push(format!("{what}: {found:?}, not {expected:?}. {words}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
