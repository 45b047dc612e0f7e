//! A tool that fails gives its session up and no other: the simulator's machine, with some calls failing.

use std::collections::BTreeSet;

use proptest::prelude::*;
use replay::{
    Call, CallEnd, CallId, CopyOrder, Machine, Observer, Offered, SessionRecord, Status, Summary,
    ToolFailure,
};
use scheduler::{Foresight, Scheduler};
use sim::world::{Setup, SimError, Simulated};
use traces::Session;
use units::{Nanos, SessionId, Time};
use workspace_tests::loads::{fixed, full_case};
use workspace_tests::machine::{TEN_MS, machine, offered, preset, turn, with_tool};

/// The simulated machine; the calls with these ids fail in these turns.
struct Failing<'a> {
    machine: Simulated<'a>,
    fails: BTreeSet<(SessionId, usize, usize)>,
    doomed: BTreeSet<CallId>,
}

impl Machine for Failing<'_> {
    type Error = SimError;

    fn accept(&self, session: &Session) -> Result<(), SimError> {
        self.machine.accept(session)
    }

    fn foresee(&self, session: &Session) -> Vec<Foresight> {
        self.machine.foresee(session)
    }

    fn step(&mut self, now: Time, scheduler: &Scheduler) -> Result<Nanos, SimError> {
        self.machine.step(now, scheduler)
    }

    fn start_call(&mut self, now: Time, call: Call<'_>) -> Result<(), SimError> {
        if self
            .fails
            .contains(&(call.id.session(), call.turn, call.id.call()))
        {
            self.doomed.insert(call.id);
        }
        self.machine.start_call(now, call)
    }

    fn next_cpu(&self) -> Option<Time> {
        self.machine.next_cpu()
    }

    fn advance_cpu(&mut self, now: Time) {
        self.machine.advance_cpu(now);
    }

    fn next_call(&self) -> Option<(Time, CallId)> {
        self.machine.next_call()
    }

    fn end_call(&mut self) -> CallEnd {
        let id = self.machine.next_call().map(|(_, id)| id);
        let doomed = id.is_some_and(|id| self.doomed.remove(&id));
        CallEnd {
            failed: doomed.then(|| "it was told to".to_owned()),
            ..self.machine.end_call()
        }
    }

    fn start_copy(
        &mut self,
        at: Time,
        order: CopyOrder,
        scheduler: &Scheduler,
    ) -> Result<(), SimError> {
        self.machine.start_copy(at, order, scheduler)
    }

    fn next_copy(&self) -> Option<(Time, SessionId, u64)> {
        self.machine.next_copy()
    }

    fn end_copy(&mut self) {
        self.machine.end_copy();
    }
}

#[derive(Default)]
struct Keep {
    sessions: Vec<SessionRecord>,
    failures: Vec<(Time, ToolFailure)>,
}

impl Observer for Keep {
    fn session(&mut self, record: SessionRecord) {
        self.sessions.push(record);
    }

    fn tool_failed(&mut self, at: Time, failure: &ToolFailure) {
        self.failures.push((at, failure.clone()));
    }
}

fn run(
    setup: &Setup,
    policy: &str,
    load: &[Offered],
    fails: &[(u32, usize, usize)],
) -> Result<(Summary, Keep), SimError> {
    let machine = Simulated::new(setup)?;
    let policy = preset(policy, &[]).build().expect("a preset");
    let (scheduler, limits) = (machine.scheduler(policy)?, machine.limits());
    let mut machine = Failing {
        machine,
        fails: fails
            .iter()
            .map(|&(s, t, c)| (SessionId(s), t, c))
            .collect(),
        doomed: BTreeSet::new(),
    };
    let mut keep = Keep::default();
    let offered = load.iter().cloned();
    let ended = replay::run(&mut machine, scheduler, limits, offered, &mut keep);
    Ok((ended.whole()?, keep))
}

/// Steps of 10 ms. Turn 0 of session 0 takes one step for its prompt and first token and one more for the
/// second: 20 ms. Its tools take 50 and 70 ms, the first fails: it is given up at 90 ms, when the
/// second has ended, and its second turn never comes. Session 1 does the same and completes.
#[test]
fn a_session_is_given_up_when_the_turns_other_calls_have_ended() {
    let setup = machine(&TEN_MS, 1.0, 0.0);
    let session = |arrival| {
        let first = with_tool(turn(40, 0, 2), "bash", 0.05, 0.0);
        offered(
            arrival,
            vec![with_tool(first, "grep", 0.07, 0.0), turn(60, 42, 2)],
        )
    };
    let load = [session(0.0), session(1.0)];
    let (summary, keep) = run(&setup, "fcfs", &load, &[(0, 0, 0)]).expect("it goes on");
    assert_eq!(
        (summary.offered, summary.completed, summary.failed),
        (2, 1, 1)
    );
    assert_eq!(summary.tool_calls, 4);
    let at = |ms| Time::ZERO + Nanos::from_millis(ms);
    let told = ToolFailure {
        session: SessionId(0),
        turn: 0,
        tool: "bash".into(),
        why: "it was told to".to_owned(),
    };
    assert_eq!(keep.failures, [(at(70), told)]);
    let [lost, kept] = &keep.sessions[..] else {
        panic!("{} sessions", keep.sessions.len());
    };
    assert_eq!((lost.session, lost.status), (SessionId(0), Status::Failed));
    assert_eq!((lost.turns, lost.finished), (1, None));
    assert_eq!((kept.status, kept.turns), (Status::Completed, 2));
    assert_eq!(kept.finished, Some(at(1000 + 20 + 70 + 20)));
}

proptest! {
    #![proptest_config(fixed(300, 60))]

    /// Whatever fails, every session ends once, and those without a failure end as if nobody had failed:
    /// completed or rejected.
    #[test]
    fn no_other_session_is_lost(
        (setup, load) in full_case(),
        fails in prop::collection::vec((0..4_u32, 0..3_usize, 0..2_usize), 0..4),
        policy in prop::sample::select(vec!["fcfs", "mars", "continuum", "infercept", "autellix"]),
    ) {
        let (sound, before) = run(&setup, policy, &load, &[]).expect("runs");
        prop_assert_eq!(sound.failed, 0);
        let (summary, keep) = run(&setup, policy, &load, &fails).expect("runs");
        let ends = summary.completed + summary.rejected + summary.failed + summary.unfinished;
        prop_assert_eq!(summary.offered, ends);
        prop_assert_eq!(summary.unfinished, 0);
        prop_assert_eq!(keep.sessions.len(), load.len());
        let failed: BTreeSet<SessionId> = keep.failures.iter().map(|(_, f)| f.session).collect();
        for record in &keep.sessions {
            let was = before.sessions.iter().find(|s| s.session == record.session);
            let was = was.expect("offered in both").status;
            let expected = if failed.contains(&record.session) { Status::Failed } else { was };
            prop_assert_eq!(record.status, expected);
        }
        // A call that was made and is to fail has failed: the first turn's of a session that was let in.
        for &(session, turn, call) in &fails {
            let session = SessionId(session);
            let found = keep.sessions.iter().find(|s| s.session == session);
            let started = found.is_some_and(|s| {
                s.status != Status::Rejected && turn == 0 && s.trace.turns[0].tools.len() > call
            });
            prop_assert!(!started || failed.contains(&session));
        }
    }
}
