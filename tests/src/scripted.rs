//! A policy whose every decision is read off a tape, so that a test can try them all.
//!
//! What: a permutation of the sessions at every plan (who goes first, and in reverse who gives way), a
//! chunk size, who enters when asked, what is pinned at a yield and which pin goes first.
//! Why: a law about all schedules needs schedules that no preset makes.
//! Limits: after the tape the policy is plain (everybody enters, the lowest id goes first), so that
//! every run ends.

use scheduler::policy::{
    Admission, Backlog, Candidate, Choice, Claim, InFlight, Keep, Order, PinView, Policy, Quantum,
    Rank, Retention, Trigger, TurnView, Yielding,
};
use scheduler::{Reason, Telemetry, Window};
use units::{Nanos, SessionId, Time, Tokens};

/// A tape and how far it was read.
#[derive(Clone, Debug)]
struct Tape {
    digits: Vec<u32>,
    at: usize,
}

impl Tape {
    fn next(&mut self) -> Option<u32> {
        let digit = self.digits.get(self.at).copied();
        self.at += 1;
        digit
    }
}

/// Decisions, each list in the order in which they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// At each plan, a permutation of the sessions by its number.
    pub orders: Vec<u32>,
    /// At each plan, the most tokens of a prefill chunk; 0 for no limit.
    pub chunks: Vec<u32>,
    /// At each call, how many sessions of the backlog enter, from its front.
    pub entries: Vec<u32>,
    /// At each yield, whether to pin (odd) or to release (even).
    pub pins: Vec<u32>,
    /// At each plan, a permutation for the worth of pins.
    pub worths: Vec<u32>,
}

impl Script {
    /// The policy that reads it.
    pub fn policy(&self, sessions: usize) -> Policy {
        let tape = |digits: &[u32]| Tape {
            digits: digits.to_vec(),
            at: 0,
        };
        Policy {
            name: "scripted".to_owned(),
            admission: Box::new(Entries(tape(&self.entries))),
            order: Box::new(Orders {
                arrangements: tape(&self.orders),
                sizes: tape(&self.chunks),
                places: (0..sessions).collect(),
                chunk: 0,
            }),
            retention: Box::new(Pins {
                kept: tape(&self.pins),
                worths: self.worths.clone(),
                sessions,
            }),
        }
    }
}

/// The `number`-th arrangement of 0, 1, .. n - 1; numbers are taken modulo n!.
pub fn permutation(n: usize, number: u32) -> Vec<usize> {
    let mut left: Vec<usize> = (0..n).collect();
    let mut number = number as usize;
    let mut places = Vec::with_capacity(n);
    for size in (1..=n).rev() {
        places.push(left.remove(number % size));
        number /= size;
    }
    places
}

#[derive(Debug)]
struct Entries(Tape);

impl Admission for Entries {
    fn admit(
        &mut self,
        _now: Time,
        _why: Trigger,
        _telemetry: &Telemetry,
        backlog: &Backlog,
        _in_flight: &dyn InFlight,
        admit: &mut Vec<Choice>,
    ) -> Option<Window> {
        let most = self.0.next().map_or(usize::MAX, |n| n as usize);
        let enters = |c: &Candidate| Choice::new(c.session, Reason::Unstated);
        admit.extend(backlog.by_arrival().take(most).map(enters));
        None
    }

    fn tick(&self) -> Option<Nanos> {
        Some(Nanos::from_millis(7))
    }
}

#[derive(Debug)]
struct Orders {
    arrangements: Tape,
    sizes: Tape,
    places: Vec<usize>,
    chunk: u32,
}

impl Orders {
    fn place(&self, session: SessionId) -> i64 {
        let place = self.places.get(session.0 as usize).copied();
        i64::try_from(place.unwrap_or(0)).expect("a few sessions")
    }
}

impl Order for Orders {
    fn waiting(&self, now: Time, turn: &TurnView) -> Rank {
        Rank {
            key: [self.place(turn.session), 0, 0],
            // Every plan reads a new permutation.
            until: now + Nanos::new(1),
        }
    }

    fn running(&self, now: Time, turn: &TurnView) -> Rank {
        self.waiting(now, turn)
    }

    fn quantum(&self, _now: Time, _turn: &TurnView) -> Quantum {
        match self.chunk {
            0 => Quantum::Unlimited,
            most => Quantum::Fixed(Tokens(u64::from(most))),
        }
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        [self.place(turn.session), 0, 0]
    }

    fn wants_feedback(&self) -> bool {
        true
    }

    fn before_step(&mut self, _moved: &mut Vec<SessionId>) {
        self.places = permutation(self.places.len(), self.arrangements.next().unwrap_or(0));
        self.chunk = self.sizes.next().unwrap_or(0);
    }
}

#[derive(Debug)]
struct Pins {
    kept: Tape,
    worths: Vec<u32>,
    sessions: usize,
}

impl Retention for Pins {
    fn on_yield(&mut self, _now: Time, _yielding: &Yielding, _telemetry: &Telemetry) -> Keep {
        match self.kept.next() {
            Some(odd) if odd % 2 == 1 => Keep::Pin { until: None },
            _ => Keep::Release,
        }
    }

    fn yields_to(&self, _claim: Claim) -> bool {
        true
    }

    #[expect(clippy::cast_precision_loss, reason = "a few sessions")]
    fn value(&self, now: Time, pin: &PinView) -> f64 {
        // A number that changes from step to step and is the same however often it is asked for.
        let at = now.as_nanos() / 1_000_000;
        let number = usize::try_from(at % self.worths.len().max(1) as u64).unwrap_or(0);
        let places = permutation(self.sessions, self.worths.get(number).copied().unwrap_or(0));
        places
            .get(pin.session.0 as usize)
            .map_or(0.0, |&p| p as f64)
    }
}
