//! A policy that decides by the throw of a die: what no sensible policy does must be right, too.

use scheduler::policy::{
    Admission, Backlog, Choice, Claim, Fate, InFlight, Keep, Order, PinView, Policy, Preempted,
    Quantum, Rank, Retention, Shrink, Trigger, TurnView, Yielding,
};
use scheduler::{Reason, Telemetry, Window};
use units::{Nanos, Time, Tokens};

/// Decisions are functions of the seed and of what is decided about.
pub fn random_policy(seed: u64) -> Policy {
    Policy {
        name: format!("random-{seed}"),
        admission: Box::new(Everyone),
        order: Box::new(Dice(seed)),
        retention: Box::new(Dice(seed)),
    }
}

#[derive(Debug)]
struct Everyone;

impl Admission for Everyone {
    fn admit(
        &mut self,
        _now: Time,
        _why: Trigger,
        _telemetry: &Telemetry,
        backlog: &Backlog,
        _in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window> {
        let all = backlog.by_arrival();
        admit.extend(all.map(|c| Choice::new(c.session, Reason::Unstated)));
        None
    }
}

#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn throw(&self, what: [u64; 3], sides: u64) -> u64 {
        let mixed = what.iter().fold(self.0 ^ 0x9e37_79b9_7f4a_7c15, |h, x| {
            let h = (h ^ x).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            h ^ (h >> 29)
        });
        mixed % sides
    }
}

impl Order for Dice {
    fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
        let key = i64::try_from(turn.ready_seq).expect("few turns");
        Rank {
            key: [key, 0, 0],
            until: Time::NEVER,
        }
    }

    fn running(&self, _now: Time, turn: &TurnView) -> Rank {
        let key = i64::try_from(turn.start_seq).expect("few starts");
        Rank {
            key: [key, 0, 0],
            until: Time::NEVER,
        }
    }

    fn quantum(&self, _now: Time, turn: &TurnView) -> Quantum {
        let tokens = Tokens(1 + self.throw([1, turn.ready_seq, 0], 23));
        match self.throw([2, turn.ready_seq, 0], 3) {
            0 => Quantum::Unlimited,
            1 => Quantum::Fixed(tokens),
            _ => Quantum::Liftable(tokens),
        }
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        let any = self.throw([3, turn.ready_seq, turn.generated.get()], 100);
        [i64::try_from(any).expect("small"), 0, 0]
    }

    fn shrink(&self) -> Shrink {
        match self.0 % 3 {
            0 => Shrink::Never,
            1 => Shrink::ThenRetryWhole,
            _ => Shrink::AndStay,
        }
    }
}

impl Retention for Dice {
    fn on_yield(&mut self, now: Time, yielding: &Yielding, _telemetry: &Telemetry) -> Keep {
        let context = yielding.context.get();
        match self.throw([4, u64::from(yielding.session.0), context], 5) {
            0 => Keep::Release,
            1 => Keep::Pin { until: None },
            2 => Keep::Pin {
                until: Some(now + Nanos::from_millis(context)),
            },
            _ => Keep::Offload,
        }
    }

    fn on_preempt(&mut self, _now: Time, of: &Preempted, _telemetry: &Telemetry) -> Fate {
        match self.throw([5, u64::from(of.session.0), of.context.get()], 2) {
            0 => Fate::Recompute,
            _ => Fate::Swap,
        }
    }

    fn yields_to(&self, _claim: Claim) -> bool {
        true
    }

    fn value(&self, _now: Time, pin: &PinView) -> f64 {
        let any = self.throw([6, u64::from(pin.session.0), pin.context.get()], 100);
        f64::from(u32::try_from(any).expect("small"))
    }
}
