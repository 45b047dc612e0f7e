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

use super::{Experts, Host};
use crate::cost::{Coefficients, Floor, Floors, StepLimits};

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
