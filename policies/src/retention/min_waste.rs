//! InferCept's min-waste: keep KV until keeping has cost more than recomputing would.
//!
//! Rule: with C the session's context, Co the context of the turns that run and T the time to
//! recompute C, keeping for `t` wastes `t * C` token-seconds and recomputing in chunks wastes
//! `T * C / 2 + T * Co`. The interception's length is estimated as the time since the call, so a
//! session is kept until the two are equal, at `T * (C / 2 + Co) / C`, and released then. Co and with
//! it the break-even move while the tool runs: asked again at every `interval_s`.
//! Kept contexts give way to a running turn that is short of blocks, before anyone is preempted, and
//! to a waiting one when nothing runs; the longest remaining first. The paper leaves this open; with
//! pins that only a lone turn may take (as in Continuum) running turns preempt one another, and the
//! policy is several times slower than without any pins.
//! Form `break-even` is that of the MARS evaluation's code: `T * (C + Co) / (2 C)`, fixed at the yield.
//! Source: InferCept, arXiv 2402.01869. Chunked prefill is always on here, so whole and chunked
//! recomputation take the same T and the chunked waste is the smaller one. With `swap`, copying out
//! and back wastes `2 * T_swap * Co`; where that is less than recomputing, the context goes to host
//! memory at that break-even instead. The host link's budget is the link itself: copies queue on it.

use scheduler::policy::{Claim, Fate, Keep, PinView, Preempted, Retention, Yielding};
use scheduler::{Direction, Reason, Telemetry};
use serde::{Deserialize, Serialize};
use units::{Blocks, Nanos, Time, Tokens};

use super::fixed_ttl::less_the_longer_it_lives;

/// Settings of [`MinWaste`]; defaults are in `presets/infercept.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinWasteSettings {
    /// Which break-even.
    pub form: WasteForm,
    /// Time between looks at the pins; `min-waste` only.
    pub interval_s: f64,
    /// Seconds per token of recomputation; 0 asks the cost model. The released code has 2e-4.
    pub reload_s_per_token: f64,
    /// Whether a context may be swapped to host memory where that wastes less; `min-waste` only.
    pub swap: bool,
}

/// Which break-even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WasteForm {
    /// The paper's wastes, asked again while the tool runs.
    MinWaste,
    /// The released code's, fixed at the yield.
    BreakEven,
}

/// Min-waste.
#[derive(Clone, Debug)]
pub struct MinWaste {
    form: WasteForm,
    interval: Nanos,
    reload_s_per_token: f64,
    swap: bool,
}

/// What one look is about.
#[derive(Clone, Copy, Debug)]
struct Stake {
    since: Time,
    context: Tokens,
    blocks: Blocks,
    reload: Nanos,
}

impl MinWaste {
    /// # Errors
    /// A message that names the setting, its value and what it may be.
    pub fn new(set: &MinWasteSettings) -> Result<Self, String> {
        let interval = Nanos::from_secs(set.interval_s)
            .ok()
            .filter(|&i| i > Nanos::ZERO)
            .ok_or_else(|| format!("interval_s is {}, wanted more than 0", set.interval_s))?;
        if !(set.reload_s_per_token.is_finite() && set.reload_s_per_token >= 0.0) {
            return Err(format!(
                "reload_s_per_token is {}, wanted 0 (the cost model) or more",
                set.reload_s_per_token
            ));
        }
        Ok(Self {
            form: set.form,
            interval,
            reload_s_per_token: set.reload_s_per_token,
            swap: set.swap,
        })
    }

    /// How long keeping `context` wastes as much as a swap would that holds up `batch` tokens and waits
    /// for `queue` blocks on the link first. `None` without the setting or without room.
    #[expect(clippy::cast_precision_loss, reason = "real-valued by definition")]
    fn swap_break_even_s(
        &self,
        context: Tokens,
        blocks: Blocks,
        (batch, queue): (Tokens, Blocks),
        t: &Telemetry,
    ) -> Option<f64> {
        let tier = t
            .offload
            .filter(|_| self.swap && self.form == WasteForm::MinWaste)?;
        if t.host_used + blocks > tier.host_blocks {
            return None;
        }
        let out = tier.copy_time(Direction::ToHost, queue + blocks).as_secs();
        let back = tier.copy_time(Direction::ToGpu, blocks).as_secs();
        Some((out + back) * batch.get() as f64 / context.get() as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "real-valued by definition")]
    fn reload_s(&self, context: Tokens, reload: Nanos) -> f64 {
        if self.reload_s_per_token > 0.0 {
            self.reload_s_per_token * context.get() as f64
        } else {
            reload.as_secs()
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "real-valued by definition")]
    fn keep(&self, elapsed: Nanos, stake: &Stake, t: &Telemetry) -> Keep {
        let Stake {
            since,
            context,
            blocks,
            reload,
        } = *stake;
        let (own, others) = (context.get() as f64, t.running_context.get() as f64);
        let reload_s = self.reload_s(context, reload);
        let seconds = match self.form {
            WasteForm::MinWaste => reload_s * (own / 2.0 + others) / own,
            WasteForm::BreakEven => reload_s * (own + others) / (2.0 * own),
        };
        let step = (t.running_context, Blocks::ZERO);
        let swap_s = self.swap_break_even_s(context, blocks, step, t);
        if let Some(swap_s) = swap_s.filter(|&s| s < seconds) {
            // Swapping wastes less than recomputing: keep until keeping has wasted as much.
            return if elapsed.as_secs() >= swap_s {
                Keep::Offload
            } else {
                Keep::Pin { until: None }
            };
        }
        match Nanos::from_secs(seconds) {
            Ok(Nanos::ZERO) | Err(_) => Keep::Release,
            Ok(ttl) => Keep::Pin {
                until: Some(since + ttl),
            },
        }
    }
}

impl Retention for MinWaste {
    fn on_yield(&mut self, now: Time, yielding: &Yielding, telemetry: &Telemetry) -> Keep {
        let stake = Stake {
            since: now,
            context: yielding.context,
            blocks: yielding.blocks,
            reload: yielding.reload,
        };
        self.keep(Nanos::ZERO, &stake, telemetry)
    }

    #[expect(clippy::cast_precision_loss, reason = "real-valued by definition")]
    fn on_preempt(&mut self, _now: Time, victim: &Preempted, telemetry: &Telemetry) -> Fate {
        let context = victim.context;
        let others = telemetry.running_context.saturating_sub(context);
        let step = (others, telemetry.copying_out);
        let swap_s = self.swap_break_even_s(context, victim.blocks, step, telemetry);
        let (own, others) = (context.get() as f64, others.get() as f64);
        let recompute_s = self.reload_s(context, victim.reload) * (own / 2.0 + others) / own;
        match swap_s {
            Some(swap_s) if swap_s < recompute_s => Fate::Swap,
            _ => Fate::Recompute,
        }
    }

    fn reason(&self, keep: Keep) -> Reason {
        match keep {
            Keep::Pin { .. } => Reason::BeforeBreakEven,
            Keep::Release => Reason::AtBreakEven,
            Keep::Offload => Reason::SwapWastesLess,
        }
    }

    fn reconsider(&mut self, now: Time, pin: &PinView, telemetry: &Telemetry) -> Keep {
        match self.form {
            WasteForm::MinWaste => {
                let stake = Stake {
                    since: pin.since,
                    context: pin.context,
                    blocks: pin.blocks,
                    reload: pin.reload,
                };
                self.keep(now.since(pin.since), &stake, telemetry)
            }
            WasteForm::BreakEven => pin.keep,
        }
    }

    fn tick(&self) -> Option<Nanos> {
        (self.form == WasteForm::MinWaste).then_some(self.interval)
    }

    fn yields_to(&self, claim: Claim) -> bool {
        // A paused context goes before a running one: recomputing it delays nobody in the batch.
        !matches!(claim, Claim::Waiting)
    }

    fn value(&self, now: Time, pin: &PinView) -> f64 {
        less_the_longer_it_lives(now, pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::SessionId;

    /// C = 1000, Co = 3000: released code with 2e-4 s per token: 1e-4 * 4000 = 0.4 s. The paper's
    /// with T = 0.2 s: 0.2 * (500 + 3000) / 1000 = 0.7 s.
    #[test]
    fn the_two_break_evens_are_the_hand_computed_ones() {
        let mut telemetry = crate::retention::tests::idle();
        telemetry.running_context = Tokens(3000);
        let yielding = Yielding {
            session: SessionId(0),
            tool: scheduler::ToolClass(0),
            context: Tokens(1000),
            blocks: Blocks(63),
            reload: Nanos::from_millis(200),
            next_use: None,
        };
        for (form, constant, want_ms) in [
            (WasteForm::BreakEven, 2e-4, 400),
            (WasteForm::MinWaste, 0.0, 700),
        ] {
            let mut policy = MinWaste::new(&MinWasteSettings {
                form,
                interval_s: 0.2,
                reload_s_per_token: constant,
                swap: false,
            })
            .unwrap();
            let keep = policy.on_yield(Time::ZERO, &yielding, &telemetry);
            let until = Some(Time::ZERO + Nanos::from_millis(want_ms));
            assert_eq!(keep, Keep::Pin { until }, "{form:?}");
        }
    }

    /// C = 1000 in 62 full blocks, T = 0.2 s, Co = 2000: recomputing wastes 0.2 * (500 + 2000) / 1000 = 0.5 s of
    /// keeping. A block takes 1 ms each way: a swap wastes (62 + 62) ms * 2000 / 1000 = 0.248 s. Behind 200 blocks on the
    /// link (262 + 62) ms * 2 = 0.648 s.
    #[test]
    fn a_victim_is_swapped_where_that_wastes_less() {
        let per_s = std::num::NonZeroU64::new(1_000_000).unwrap();
        let telemetry = Telemetry {
            running_context: Tokens(3000),
            offload: Some(scheduler::Offload {
                host_blocks: Blocks(300),
                block_bytes: units::Bytes(1000),
                to_host_per_s: per_s,
                to_gpu_per_s: per_s,
            }),
            ..crate::retention::tests::idle()
        };
        let victim = Preempted {
            session: SessionId(0),
            context: Tokens(1000),
            blocks: Blocks(62),
            reload: Nanos::from_millis(200),
        };
        let fate = |swap, copying: u64, used: u64| {
            let mut policy = MinWaste::new(&MinWasteSettings {
                form: WasteForm::MinWaste,
                interval_s: 0.2,
                reload_s_per_token: 0.0,
                swap,
            })
            .unwrap();
            let seen = Telemetry {
                copying_out: Blocks(copying),
                host_used: Blocks(used),
                ..telemetry
            };
            policy.on_preempt(Time::ZERO, &victim, &seen)
        };
        assert_eq!(fate(true, 0, 0), Fate::Swap);
        assert_eq!(fate(true, 200, 200), Fate::Recompute, "the link is busy");
        assert_eq!(fate(true, 0, 239), Fate::Recompute, "the host is full");
        assert_eq!(fate(false, 0, 0), Fate::Recompute, "no swap is wanted");
    }
}
