//! What policies are shown, by hand.

use scheduler::{
    Arrival, Event, PrefillCost, Scheduler, StepOutcome, Telemetry, Then, TurnRequest,
};
use units::{Blocks, Nanos, SessionId, Time, Tokens};
use workspace_tests::machine::{TEN_MS, machine, preset};

#[derive(Debug)]
struct Flat;

impl PrefillCost for Flat {
    fn reload(&self, context: Tokens) -> Nanos {
        Nanos::from_millis(context.get())
    }
}

fn arrive(scheduler: &mut Scheduler, session: u32, prompt: u64) {
    let turn = TurnRequest {
        prompt: Tokens(prompt),
        reused: Tokens::ZERO,
        output: Tokens(2),
        then: Then::End,
        flagged_last: true,
        foresight: None,
    };
    let arrival = Arrival {
        session: SessionId(session),
        turn,
        peak: Tokens(prompt + 1),
        shared: Vec::new(),
        last_of_load: false,
    };
    let event = Event::SessionArrived(arrival);
    scheduler.handle(Time::ZERO, event).expect("it may arrive");
}

fn seen(scheduler: &mut Scheduler) -> (u64, Option<f64>) {
    let telemetry: Telemetry = scheduler.telemetry(Time::ZERO);
    (telemetry.owed.get(), telemetry.mean_missing())
}

/// Blocks of 16, 64 tokens a step. s0 misses 640 tokens, 40 blocks; s1 320, 20 blocks; s2 33, 3 blocks.
/// The first step gives s0 4 blocks: it misses 36, which no waiting turn does. The mean of those that
/// wait is (20 + 3) / 2.
#[test]
fn the_mean_of_what_waiting_turns_miss_is_theirs_alone() {
    let mut engine = machine(&TEN_MS, 1.0, 0.0).engine;
    engine.token_budget = Tokens(64);
    engine.usable_blocks = Blocks(100);
    let policy = preset("fcfs", &[]).build().expect("a preset");
    let mut scheduler = Scheduler::new(engine, policy, Box::new(Flat)).expect("a machine");
    assert_eq!(seen(&mut scheduler), (0, None));
    for (session, prompt) in [(0, 640), (1, 320), (2, 33)] {
        arrive(&mut scheduler, session, prompt);
    }
    assert_eq!(seen(&mut scheduler), (63, Some(21.0)));
    let planned = scheduler.plan(Time::ZERO).expect("a plan").is_some();
    assert!(planned);
    assert_eq!(seen(&mut scheduler), (36 + 20 + 3, Some(11.5)));
    // s0 needs nine steps more; in the last one nothing is left for s1. Then s1 starts with 63 of the 64
    // (s0 decodes its second token and is done) and owes 20 - 4 blocks; s2 waits with its 3.
    let mut now = Time::ZERO;
    for _ in 0..10 {
        now += Nanos::from_millis(10);
        scheduler
            .step_done(now, StepOutcome::default())
            .expect("done");
        scheduler.plan(now).expect("a plan");
    }
    assert_eq!(seen(&mut scheduler), (16 + 3, Some(3.0)));
    scheduler.check(now).expect("the sums hold");
}
