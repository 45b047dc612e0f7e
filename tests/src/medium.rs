//! A medium load on a tight pool: large enough that everything happens, small enough for debug builds.

use sim::cost::InMillis;
use sim::world::{Offered, Setup};

use crate::machine::{in_group, machine, offered, turn, with_pool, with_tool};

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
pub fn load() -> Vec<Offered> {
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

/// A model on a GPU with a pool that this load overflows.
pub fn setup() -> Setup {
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
