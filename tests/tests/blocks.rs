//! The scheduler driven directly by random legal events: no block is ever lost or held twice.

use policies::PolicySpec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use scheduler::{
    Arrival, Counters, Event, Info, PrefillCost, Scheduler, StepOutcome, Then, ToolClass,
    TurnRequest,
};
use units::{GroupId, Nanos, SessionId, Time, Tokens};
use workspace_tests::account;
use workspace_tests::loads::{case, fixed};
use workspace_tests::mixes::any_policy;
use workspace_tests::naive::Case;

#[derive(Clone, Debug)]
enum Op {
    Arrive {
        prompt: u64,
        output: u64,
        tools: u32,
        shared: u64,
    },
    /// The step ends; the model stops some turns early.
    StepDone {
        stop: bool,
        which: Index,
    },
    /// One tool call of some session ends.
    ToolEnds(Index),
    /// All tools of some session are over: its next turn, or its end.
    Next {
        who: Index,
        over: bool,
        keep_percent: u64,
        fresh: u64,
        output: u64,
        tools: u32,
    },
    Timer,
    Wait(u64),
    Plan,
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<Index>;
    prop_oneof![
        3 => (1_u64..60, 1_u64..20, 0_u32..3, 0_u64..40)
            .prop_map(|(prompt, output, tools, shared)| Op::Arrive { prompt, output, tools, shared }),
        8 => (prop::bool::weighted(0.1), index()).prop_map(|(stop, which)| Op::StepDone { stop, which }),
        2 => index().prop_map(Op::ToolEnds),
        4 => (index(), prop::bool::weighted(0.2), 0_u64..130, 0_u64..30, 1_u64..12, 0_u32..3).prop_map(
            |(who, over, keep_percent, fresh, output, tools)| Op::Next {
                who, over, keep_percent, fresh, output, tools,
            }
        ),
        2 => Just(Op::Timer),
        2 => (1_u64..60).prop_map(Op::Wait),
        8 => Just(Op::Plan),
    ]
}

#[derive(Debug)]
struct Flat;

impl PrefillCost for Flat {
    fn reload(&self, context: Tokens) -> Nanos {
        Nanos::from_millis(context.get())
    }
}

/// What the world knows of a session.
#[derive(Clone, Debug)]
struct Known {
    id: SessionId,
    prompt: u64,
    generated: u64,
    calls_left: u32,
    yielded: bool,
}

fn request(prompt: u64, reused: u64, output: u64, tools: u32) -> TurnRequest {
    TurnRequest {
        prompt: Tokens(prompt),
        reused: Tokens(reused),
        output: Tokens(output),
        then: if tools == 0 {
            Then::End
        } else {
            Then::Yield {
                tool: ToolClass(tools),
                calls: tools - 1,
            }
        },
        flagged_last: tools == 0,
        foresight: None,
    }
}

struct Drive {
    scheduler: Scheduler,
    now: Time,
    known: Vec<Known>,
    next_id: u32,
    /// Sessions of the step that executes.
    step: Option<Vec<SessionId>>,
    most: u64,
}

impl Drive {
    fn listen(&mut self) {
        for (_, info) in self.scheduler.drain() {
            let of = |id: SessionId| move |k: &Known| k.id == id;
            match info {
                Info::Rejected { session, .. } | Info::SessionEnded { session } => {
                    self.known.retain(|k| k.id != session);
                }
                Info::TurnEnded {
                    session,
                    then: Then::Yield { calls, .. },
                    usage,
                    ..
                } => {
                    let at = self.known.iter().position(of(session)).expect("it runs");
                    self.known[at].yielded = true;
                    self.known[at].calls_left = calls;
                    self.known[at].generated = usage.generated.get();
                }
                _ => {}
            }
        }
    }

    fn yielded(&self, pick: Index) -> Option<usize> {
        let at: Vec<usize> = (0..self.known.len())
            .filter(|&i| self.known[i].yielded)
            .collect();
        (!at.is_empty()).then(|| at[pick.index(at.len())])
    }

    fn arrival(&mut self, prompt: u64, output: u64, tools: u32, shared: u64) -> Event {
        let id = SessionId(self.next_id);
        self.next_id += 1;
        self.known.push(Known {
            id,
            prompt,
            generated: 0,
            calls_left: 0,
            yielded: false,
        });
        // The declared limit is the pool: later turns stay below it.
        let first = prompt + output - 1;
        let peak = if tools == 0 {
            first
        } else {
            first.max(self.most)
        };
        Event::SessionArrived(Arrival {
            session: id,
            shared: (shared > 0)
                .then_some((GroupId(0), Tokens(shared)))
                .into_iter()
                .collect(),
            peak: Tokens(peak),
            turn: request(prompt, 0, output, tools),
            last_of_load: false,
        })
    }

    fn go(&mut self, op: &Op) -> Result<(), scheduler::SchedulerError> {
        match op {
            Op::Arrive {
                prompt,
                output,
                tools,
                shared,
            } => {
                let event = self.arrival((*prompt).max(*shared), *output, *tools, *shared);
                self.scheduler.handle(self.now, event)
            }
            Op::StepDone { stop, which } => {
                let Some(step) = self.step.take() else {
                    return Ok(());
                };
                let stopped = [step[which.index(step.len())]];
                let stopped = if *stop { &stopped[..] } else { &[] };
                self.now += Nanos::from_millis(10);
                self.scheduler.step_done(self.now, StepOutcome { stopped })
            }
            Op::ToolEnds(pick) => {
                let Some(at) = self
                    .yielded(*pick)
                    .filter(|&at| self.known[at].calls_left > 0)
                else {
                    return Ok(());
                };
                self.known[at].calls_left -= 1;
                let session = self.known[at].id;
                let queue_delay = Nanos::from_millis(7);
                self.scheduler.handle(
                    self.now,
                    Event::ToolFinished {
                        session,
                        queue_delay,
                    },
                )
            }
            Op::Next {
                who,
                over,
                keep_percent,
                fresh,
                output,
                tools,
            } => {
                let Some(at) = self.yielded(*who) else {
                    return Ok(());
                };
                let session = self.known[at].id;
                let left = self.known[at].prompt + self.known[at].generated;
                let reused = left * (*keep_percent).min(100) / 100;
                let output = (*output).min(self.most);
                let prompt = (reused + fresh).clamp(1, self.most + 1 - output);
                let event = if *over {
                    Event::SessionOver { session }
                } else {
                    self.known[at].yielded = false;
                    self.known[at].prompt = prompt;
                    let turn = request(prompt, reused.min(prompt), output, *tools);
                    Event::TurnReady { session, turn }
                };
                self.scheduler.handle(self.now, event)
            }
            Op::Timer => {
                if let Some(at) = self.scheduler.next_timer() {
                    self.now = self.now.max(at);
                }
                self.scheduler.handle(self.now, Event::Timer)
            }
            Op::Wait(ms) => {
                self.now += Nanos::from_millis(*ms);
                Ok(())
            }
            Op::Plan => {
                if self.step.is_none() {
                    let plan = self.scheduler.plan(self.now)?;
                    self.step = plan.map(|p| p.chunks.iter().map(|c| c.session).collect());
                }
                Ok(())
            }
        }
    }
}

/// Does it all and checks after every call; what was counted.
fn drive(case: &Case, policy: &PolicySpec, ops: &[Op]) -> Result<Counters, TestCaseError> {
    let engine = account::setup(case).engine;
    let most = engine.block_size.capacity(engine.usable_blocks).get();
    let policy = policy.build().expect("a policy");
    let mut drive = Drive {
        scheduler: Scheduler::new(engine, policy, Box::new(Flat)).expect("limits"),
        now: Time::ZERO,
        known: Vec::new(),
        next_id: 0,
        step: None,
        most,
    };
    for op in ops {
        let told = |e: scheduler::SchedulerError| TestCaseError::fail(format!("{op:?}: {e}"));
        drive.go(op).map_err(told)?;
        drive.listen();
        drive.scheduler.check(drive.now).map_err(told)?;
        prop_assert_eq!(drive.scheduler.open_sessions(), drive.known.len());
        let t = drive.scheduler.telemetry(drive.now);
        prop_assert!(t.free + t.pinned <= t.usable);
        prop_assert!(t.stale <= t.pinned, "stale pins hold what pins hold");
    }
    Ok(drive.scheduler.counters())
}

proptest! {
    #![proptest_config(fixed(6000, 3))]

    /// Used and free blocks are all blocks, nobody holds one twice, counters are what a count finds:
    /// after every call, whatever the order of calls.
    #[test]
    fn blocks_are_conserved(
        case in case(true),
        policy in any_policy(),
        ops in prop::collection::vec(op(), 0..160),
    ) {
        drive(&case, &policy, &ops)?;
    }
}

/// The random calls do what they are there for.
#[test]
fn the_random_calls_reach_shortage() {
    let mut runner = TestRunner::new(fixed(1, 3));
    let (mut preempted, mut evicted, mut hit) = (0, 0, 0);
    for _ in 0..500 {
        let ops = prop::collection::vec(op(), 100..160);
        let tree = (case(true), any_policy(), ops).new_tree(&mut runner);
        let (case, policy, ops) = tree.expect("a case").current();
        let counted = drive(&case, &policy, &ops).expect("the law above");
        preempted += u32::from(counted.preemptions > 0);
        evicted += u32::from(counted.evicted > 0);
        hit += u32::from(counted.hit > 0);
    }
    assert!(
        preempted > 50 && evicted > 50 && hit > 50,
        "{preempted} {evicted} {hit}"
    );
}
