//! The lower prices of the closed forms, and why they hold.
//!
//! With `T` the token budget, `N = min(turns, T)`, `H` the host's time per step, `R` its time per turn,
//! and 1/2 ns taken off every step because it is rounded once to the nearest nanosecond:
//!
//! ```text
//! decode only   D(B)            = d0 + E(B) + H - 1/2 ns,  plus d1 * B, d2 * KV, R * B
//! with prefill  at least P      = p0 + H - 1/2 ns,         plus p1 * (new + B), p2 * pairs, d2 * KV,
//!                                                               R * (B + chunks)
//! ```
//!
//! A mixed step takes `max(d0 + e, p0 + p1 * (new + B))` in place of its second part, so the second
//! line is a floor for it. Pairs and context enter every kind of step by the same sums, so `p2` per pair
//! and `d2` per token of context are theirs in full.
//!
//! **One chunk** (`step`). A prefill chunk's step costs at least `P + R + p1 * its tokens`. A decode's
//! costs the least of: decode only, where `E` and `d1 * B` grow with `B`, so `D(1) + d1 + R`; and mixed,
//! where `B` and `new` are 1 at least: `max(d0 + e, p0 + 2 p1) + H - 1/2 ns + 2 R`.
//!
//! **All chunks** (`shares`). Give a prefill token `p1 + x` and a decode `a`, for some `x` in
//! `0..=P / T`. Decode only: `a <= d1 + min over B <= N of D(B) / B`. Prefill only: `x * new <= P`.
//! Mixed: `P >= x * new + (a - p1) * B` must hold for all `B <= N - 1` and `new <= T - B`; its worst case
//! in `new` is `T - B`, and then it is linear in `B`, so it is enough that it holds at `B = 0` (it does)
//! and at `M = N - 1`: `a <= p1 + (P - (T - M) x) / M`. Hence for every `x`
//!
//! ```text
//! a(x) = min(d1 + min_B D(B) / B, p1 + (P - (T - M) x) / M)
//! ```
//!
//! is valid. Three are offered: the cheapest prefill (`x = 0`), the dearest (`x = P / T`), and the knee
//! where the two terms of `a` meet. A turn's `R` is a decode's in full; a chunk has at most `T` tokens,
//! so a prefill token gets `R / T`. Quotients are rounded down.

use super::Experts;
use crate::cost::{Coefficients, Floor, Floors, Host, StepLimits};

/// Half picoseconds per picosecond, and per nanosecond.
const PER_PS: u128 = 2;
const PER_NS: u128 = 2_000;

pub(super) fn floors(
    c: &Coefficients,
    host: Host,
    experts: &Experts,
    limits: StepLimits,
) -> Option<Floors> {
    let ps = |value: u64| PER_PS * u128::from(value);
    let per_step = PER_NS * u128::from(host.per_step.as_nanos());
    let per_turn = PER_NS * u128::from(host.per_running.as_nanos());
    let rounding = PER_NS / 2;
    // A step that rounds to nothing would break every price.
    let prefill = (ps(c.p0) + per_step).checked_sub(rounding)?;
    let decode = |turns: u64| (ps(c.d0) + ps(experts.read(turns)) + per_step).checked_sub(rounding);

    let mixed = (ps(c.d0) + ps(c.e)).max(ps(c.p0) + 2 * ps(c.p1)) + per_step - rounding;
    let alone = decode(1)? + ps(c.d1) + per_turn;
    let most = limits.turns.min(limits.tokens).max(1);
    let mixable = most > 1;
    let step = Floor {
        per_prefill: prefill + per_turn,
        per_token: ps(c.p1),
        per_half_pair: u128::from(c.p2),
        per_decode: if mixable {
            alone.min(mixed + 2 * per_turn)
        } else {
            alone
        },
        per_context: ps(c.d2),
    };

    let mut among_decodes = u128::MAX;
    for turns in 1..=most {
        among_decodes = among_decodes.min(ps(c.d1) + decode(turns)? / u128::from(turns));
    }
    let tokens = u128::from(limits.tokens.max(1));
    let others = u128::from(most - 1);
    let share = |x: u128| {
        let among_prefill = if mixable {
            ps(c.p1) + (prefill - (tokens - others) * x) / others
        } else {
            u128::MAX
        };
        Floor {
            per_prefill: 0,
            per_token: ps(c.p1) + x + per_turn / tokens,
            per_half_pair: u128::from(c.p2),
            per_decode: among_decodes.min(among_prefill) + per_turn,
            per_context: ps(c.d2),
        }
    };
    let dearest = prefill / tokens;
    let knee =
        prefill.saturating_sub(others * among_decodes.saturating_sub(ps(c.p1))) / (tokens - others);
    let mut shares = vec![share(0), share(knee.min(dearest)), share(dearest)];
    shares.dedup();
    Some(Floors { step, shares })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;
    use crate::cost::{BatchShape, ClosedForm, StepCost};
    use units::{Nanos, Tokens};

    /// Coefficients from nothing to some milliseconds, so that every term can be the one that binds.
    fn coefficients() -> impl Strategy<Value = Coefficients> {
        let fixed = prop_oneof![Just(0_u64), 0..2_000_u64, 0..10_000_000_000_u64];
        let each = prop_oneof![Just(0_u64), 0..100_000_000_u64];
        let fixed3 = (fixed.clone(), fixed.clone(), fixed);
        let each4 = (each.clone(), 0..3_000_u64, each, 0..100_000_u64);
        (fixed3, each4, 0.0..=1.0).prop_map(|((p0, d0, e), (p1, p2, d1, d2), active_share)| {
            Coefficients {
                p0,
                p1,
                p2,
                d0,
                e,
                d1,
                d2,
                active_share,
            }
        })
    }

    /// Chunks `(prefix, new)` of prefill and contexts of decodes.
    type Batch = (Vec<(u64, u64)>, Vec<u64>);

    fn batch() -> impl Strategy<Value = Batch> {
        (
            prop::collection::vec((0..50_000_u64, 1..40_u64), 0..5),
            prop::collection::vec(2..50_000_u64, 0..12),
        )
    }

    fn prefill_price(floor: &Floor, prefix: u64, new: u64) -> u128 {
        floor.per_prefill
            + u128::from(new) * floor.per_token
            + u128::from(new * (2 * prefix + new)) * floor.per_half_pair
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 20_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        /// No step is cheaper than any of its chunks by the `step` list, nor than all of them by any of
        /// the others. The limits are the batch's own, or wider.
        #[test]
        fn no_step_is_below_its_prices(
            c in coefficients(),
            (chunks, decodes) in batch(),
            (host_ns, turn_ns) in (0..3_u64, 0..3_u64),
            (more_turns, more_tokens) in (0..4_u64, 0..50_u64),
        ) {
            let host = Host {
                per_step: Nanos::new(host_ns * host_ns * 1_000),
                per_running: Nanos::new(turn_ns * 700),
                overlapped: false,
            };
            let cost = ClosedForm::new(c, host).expect("coefficients");
            let mut shape = BatchShape::default();
            for &(prefix, new) in &chunks {
                shape.add_prefill(Tokens(prefix), Tokens(new));
            }
            for &context in &decodes {
                shape.add_decode(Tokens(context));
            }
            let limits = StepLimits {
                turns: shape.turns().max(1) + more_turns,
                tokens: (shape.prefill_tokens + shape.decodes).max(1) + more_tokens,
            };
            let Some(floors) = cost.floors(limits) else {
                return Ok(());
            };
            let took = PER_NS * u128::from(cost.step(&shape).as_nanos());
            let prices = |floor: &Floor| -> Vec<u128> {
                let prefill = chunks.iter().map(|&(p, n)| prefill_price(floor, p, n));
                let decode = decodes.iter().map(|&context| {
                    floor.per_decode + u128::from(context) * floor.per_context
                });
                prefill.chain(decode).collect()
            };
            for price in prices(&floors.step) {
                prop_assert!(price <= took, "{} above {}: {:?}", price, took, floors.step);
            }
            for list in &floors.shares {
                let sum: u128 = prices(list).iter().sum();
                prop_assert!(sum <= took, "{} above {}: {:?}", sum, took, list);
            }
        }
    }

    #[test]
    fn the_prices_of_round_costs() {
        // 10 ms and 1 ms per step, 4 turns, 10 tokens; in half picoseconds, a step less 1000.
        let c = Coefficients {
            p0: 10_000_000_000,
            p1: 0,
            p2: 0,
            d0: 1_000_000_000,
            e: 0,
            d1: 0,
            d2: 0,
            active_share: 1.0,
        };
        let limits = StepLimits {
            turns: 4,
            tokens: 10,
        };
        let cost = ClosedForm::new(c, Host::NONE).expect("coefficients");
        let floors = cost.floors(limits).expect("steps that take time");
        assert_eq!(floors.step.per_prefill, 20_000_000_000 - 1_000);
        assert_eq!(floors.step.per_decode, 2_000_000_000 - 1_000);
        // A fourth of a decode step is less than a third of one with prefill, up to the knee: then a
        // prefill token costs (10 - 3 / 4) / 7 ms, more than a tenth of 10: so a tenth it is.
        let pairs: Vec<(u128, u128)> = floors
            .shares
            .iter()
            .map(|list| (list.per_token, list.per_decode))
            .collect();
        assert_eq!(pairs, [(0, 499_999_750), (1_999_999_900, 499_999_750)]);
        // Nothing can be said of steps that may round to no time at all.
        let nothing =
            ClosedForm::new(Coefficients { d0: 0, ..c }, Host::NONE).expect("coefficients");
        assert_eq!(nothing.floors(limits), None);
    }
}
