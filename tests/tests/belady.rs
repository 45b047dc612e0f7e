//! Belady's retention is optimal where that is a theorem, and is seen to fail where it is none.
//!
//! The retention decision problem: a pool with room for some contexts, a given sequence of sessions
//! that come back for theirs. A session that finds its context has a hit; one that does not recomputes
//! it, for which room must be made by dropping contexts of others, and at any time any may be dropped.
//! Which to drop so that the least is recomputed?
//!
//! With contexts of one size this is paging, and dropping the one used farthest in the future is
//! optimal (Belady 1966). Argument: take an optimal way and the first place where it drops x, and the
//! rule y, which is used later than x. Drop y there instead and go on as before, with x in y's stead,
//! until the optimal way drops y (drop x) or brings x back (x is here: bring y back, if anything). That
//! costs no more, since x comes before y; so no first place is left. Dropping early never helps.
//!
//! Sessions enter the problem when their turns take as long on a miss as on a hit: else what is dropped
//! changes who comes when, and the sequence is not given.

use std::collections::BTreeMap;

use policies::PolicySpec;
use policies::retention::Belady;
use scheduler::policy::{Keep, PinView, Retention};
use scheduler::{Info, ToolClass};
use sim::world::Offered;
use units::{Blocks, Nanos, SessionId, Time, Tokens};
use workspace_tests::machine::{TEN_MS, machine, offered, preset, run, turn, with_pool, with_tool};

/// Sizes of the contexts, the pool's room, and who comes, in order.
struct Problem<'a> {
    sizes: &'a [u64],
    room: u64,
    coming: &'a [usize],
}

impl Problem<'_> {
    fn size(&self, held: u32) -> u64 {
        let here = |&(i, _): &(usize, &u64)| held >> i & 1 == 1;
        self.sizes
            .iter()
            .enumerate()
            .filter(here)
            .map(|(_, size)| size)
            .sum()
    }

    /// Least blocks recomputed from `at` on with `held` in the pool, over every choice of what to drop.
    fn least(&self, at: usize, held: u32, known: &mut BTreeMap<(usize, u32), u64>) -> u64 {
        let Some(&comes) = self.coming.get(at) else {
            return 0;
        };
        if let Some(&least) = known.get(&(at, held)) {
            return least;
        }
        let bit = 1 << comes;
        let price = if held & bit == 0 {
            self.sizes[comes]
        } else {
            0
        };
        // Every set of the others that may stay, the full one included.
        let others = held & !bit;
        let mut kept = others;
        let mut least = u64::MAX;
        loop {
            if self.size(kept | bit) <= self.room {
                least = least.min(price + self.least(at + 1, kept | bit, known));
            }
            if kept == 0 {
                break;
            }
            kept = (kept - 1) & others;
        }
        known.insert((at, held), least);
        least
    }

    fn optimum(&self) -> u64 {
        self.least(0, 0, &mut BTreeMap::new())
    }

    /// Blocks recomputed when the part says, on a shortage alone, which context goes.
    fn under(&self, part: &dyn Retention) -> u64 {
        let mut held = 0_u32;
        let mut recomputed = 0;
        for (at, &comes) in self.coming.iter().enumerate() {
            let bit = 1 << comes;
            if held & bit == 0 {
                recomputed += self.sizes[comes];
            }
            while self.size(held | bit) > self.room {
                let now = Time::from_nanos(1_000 * at as u64);
                let pins = (0..self.sizes.len()).filter(|&i| i != comes && held >> i & 1 == 1);
                let least = pins
                    .map(|i| (part.value(now, &self.pin(i, at)), i))
                    .min_by(|a, b| a.0.total_cmp(&b.0))
                    .expect("the one that comes fits alone");
                held &= !(1 << least.1);
            }
            held |= bit;
        }
        recomputed
    }

    fn pin(&self, session: usize, at: usize) -> PinView {
        let next = (at + 1..self.coming.len()).find(|&later| self.coming[later] == session);
        let next = next.map_or(Time::NEVER, |at| Time::from_nanos(1_000 * at as u64));
        PinView {
            session: SessionId(u32::try_from(session).expect("a few")),
            tool: ToolClass(0),
            since: Time::ZERO,
            context: Tokens::ZERO,
            blocks: Blocks(self.sizes[session]),
            reload: Nanos::ZERO,
            next_turn_waits: false,
            keep: Keep::Pin { until: None },
            next_use: Some(next),
        }
    }
}

/// All sequences of `length` over `sessions`.
fn sequences(sessions: usize, length: u32) -> impl Iterator<Item = Vec<usize>> {
    (0..sessions.pow(length)).map(move |number| {
        (0..length)
            .map(|k| number / sessions.pow(k) % sessions)
            .collect()
    })
}

#[test]
fn with_contexts_of_one_size_no_choice_recomputes_less() {
    let mut instances = 0;
    for (sessions, length) in [(2, 8), (3, 8), (4, 7)] {
        for coming in sequences(sessions, length) {
            for room in 1..sessions as u64 {
                let problem = Problem {
                    sizes: &[1; 4][..sessions],
                    room,
                    coming: &coming,
                };
                assert_eq!(
                    problem.under(&Belady),
                    problem.optimum(),
                    "{coming:?} in {room}"
                );
                instances += 1;
            }
        }
    }
    assert_eq!(instances, 256 + 2 * 6_561 + 3 * 16_384);
}

#[test]
fn with_contexts_of_two_sizes_it_is_a_rule_of_thumb() {
    // Room for 3: 0 (2 blocks), 1 (1 block), then 2 (1 block) needs one, then 1 and 0 come back. The
    // farther one is 0: dropped, 2 blocks again. Dropping 1 costs 1 block, and 2 goes for it then.
    let problem = Problem {
        sizes: &[2, 1, 1],
        room: 3,
        coming: &[0, 1, 2, 1, 0],
    };
    assert_eq!(problem.under(&Belady), 4 + 2);
    assert_eq!(problem.optimum(), 4 + 1);
    // How often, and never the other way round.
    let (mut worse, mut instances) = (0, 0);
    for coming in sequences(3, 7) {
        let problem = Problem {
            sizes: &[2, 1, 1],
            room: 3,
            coming: &coming,
        };
        let (rule, optimum) = (problem.under(&Belady), problem.optimum());
        assert!(rule >= optimum, "{coming:?}");
        worse += u32::from(rule > optimum);
        instances += 1;
    }
    assert_eq!(instances, 2_187);
    assert!(worse > 0);
}

/// Sessions that come back at whole seconds, as `coming` says, each for the same 31 tokens. A turn is one
/// step of 10 ms, whether it recomputes all of them or the last 15.
fn load(coming: &[usize]) -> Vec<Offered> {
    let mut order = Vec::new();
    for &comes in coming {
        if !order.contains(&comes) {
            order.push(comes);
        }
    }
    let session = |&who: &usize| {
        let slots: Vec<usize> = (0..coming.len()).filter(|&at| coming[at] == who).collect();
        #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
        let seconds = |slots: usize| slots as f64;
        let turns = slots.iter().enumerate().map(|(k, &slot)| {
            let one = turn(31, if k == 0 { 0 } else { 31 }, 1);
            match slots.get(k + 1) {
                Some(&next) => with_tool(one, "tool", seconds(next - slot) - 0.01, 0.0),
                None => one,
            }
        });
        offered(seconds(slots[0]), turns.collect())
    };
    order.iter().map(session).collect()
}

/// Contexts that had to be computed from nothing.
fn misses(policy: &PolicySpec, room: u64, coming: &[usize]) -> u64 {
    // A context takes two blocks.
    let setup = with_pool(machine(&TEN_MS, 1.0, 0.0), 2 * room);
    let record = run(&setup, policy, &load(coming)).expect("a run");
    let cold = |info: &Info| matches!(info, Info::TurnStarted { hit, .. } if *hit == Tokens::ZERO);
    record.infos.iter().filter(|(_, info)| cold(info)).count() as u64
}

#[test]
fn the_mechanism_with_belady_recomputes_no_more_than_the_optimum() {
    let belady = preset("fcfs", &[("retention.kind", "belady")]);
    let least_recently_used = preset("fcfs", &[]);
    let (mut runs, mut worse) = (0, 0);
    for (sessions, length) in [(3_usize, 6), (4, 5)] {
        for coming in sequences(sessions, length) {
            for room in 1..sessions as u64 {
                let problem = Problem {
                    sizes: &[1; 4][..sessions],
                    room,
                    coming: &coming,
                };
                let optimum = problem.optimum();
                assert_eq!(
                    misses(&belady, room, &coming),
                    optimum,
                    "{coming:?} in {room}"
                );
                let lru = misses(&least_recently_used, room, &coming);
                assert!(lru >= optimum, "{coming:?} in {room}");
                worse += u32::from(lru > optimum);
                runs += 1;
            }
        }
    }
    assert_eq!(runs, 2 * 729 + 3 * 1_024);
    assert!(worse > 0, "the instances tell nothing apart");
}
