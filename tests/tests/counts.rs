//! What a plan costs, in questions to the policy instead of in time: the same on every machine.
//!
//! A step of 256 turns that decode, with 1000 that wait, must not ask about each of them. The numbers are
//! what each order needs by design; one that rises without a reason is a regression.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use policies::PRESETS;
use scheduler::policy::{Order, Quantum, Rank, Repeat, Shrink, StartRule, TurnView};
use units::{SessionId, Time, Tokens};
use workspace_tests::crowd::{Crowd, STEPS, Short, all_inside};
use workspace_tests::machine::preset;

/// An order that counts what it is asked about turns.
#[derive(Debug)]
struct Counted {
    inner: Box<dyn Order>,
    asked: Arc<AtomicU64>,
}

impl Counted {
    fn one(&self) -> &dyn Order {
        self.asked.fetch_add(1, Relaxed);
        &*self.inner
    }
}

impl Order for Counted {
    fn waiting(&self, now: Time, turn: &TurnView) -> Rank {
        self.one().waiting(now, turn)
    }
    fn running(&self, now: Time, turn: &TurnView) -> Rank {
        self.one().running(now, turn)
    }
    fn quantum(&self, now: Time, turn: &TurnView) -> Quantum {
        self.one().quantum(now, turn)
    }
    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        self.one().victim(turn)
    }
    fn shrink(&self) -> Shrink {
        self.inner.shrink()
    }
    fn start_rule(&self) -> StartRule {
        self.inner.start_rule()
    }
    fn turn_window(&self) -> Option<usize> {
        self.inner.turn_window()
    }
    fn needs_foresight(&self) -> bool {
        self.inner.needs_foresight()
    }
    fn repeat(&self, batch: &mut dyn Iterator<Item = TurnView>) -> Repeat {
        self.inner.repeat(batch)
    }
    fn wants_feedback(&self) -> bool {
        self.inner.wants_feedback()
    }
    fn turn_ready(&mut self, turn: &TurnView) {
        self.inner.turn_ready(turn);
    }
    fn before_step(&mut self, moved: &mut Vec<SessionId>) {
        self.inner.before_step(moved);
    }
    fn planned(&mut self, step: &[(TurnView, Tokens)]) {
        self.asked.fetch_add(step.len() as u64, Relaxed);
        self.inner.planned(step);
    }
    fn preempted(&mut self, turn: &TurnView) {
        self.inner.preempted(turn);
    }
    fn turn_ended(&mut self, turn: &TurnView) {
        self.inner.turn_ended(turn);
    }
    fn session_ended(&mut self, session: SessionId) {
        self.inner.session_ended(session);
    }
}

/// Questions per step of 256 that decode while 1000 wait.
fn questions(name: &str, short: Short) -> u64 {
    let mut policy = preset(name, all_inside(name)).build().expect("a preset");
    let asked = Arc::new(AtomicU64::new(0));
    policy.order = Box::new(Counted {
        inner: policy.order,
        asked: Arc::clone(&asked),
    });
    let mut crowd = Crowd::new(policy, 256, short);
    let mut most = 0;
    for _ in 2..STEPS {
        let before = asked.load(Relaxed);
        let plan = crowd.scheduler.plan(crowd.now).expect("a plan");
        assert_eq!(plan.expect("work").chunks.len(), 256, "{name}");
        crowd.finish_step();
        most = most.max(asked.load(Relaxed) - before);
    }
    most
}

#[test]
fn a_plan_asks_about_what_changed_and_not_about_everybody() {
    let mut wrong = Vec::new();
    for (name, _) in PRESETS {
        let got = (
            questions(name, Short::OfPlaces),
            questions(name, Short::OfBlocks),
        );
        // The released code's order is by who was served last, and PLAS is told of every decode: both once
        // per turn that runs. Short of blocks, the head's chunk is asked for once.
        let each = match *name {
            "mars-preview" => 512,
            "autellix" => 256,
            _ => 0,
        };
        if got != (each, each + 1) {
            wrong.push(format!("{name}: {got:?}, wanted {:?}", (each, each + 1)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
