//! One scheduler, two worlds: an executor that computes every step under the simulator's clock decides
//! what the simulator decides, to the last fact, step, copy and record.

use engine::drive::{DriveError, Live, Surroundings, Work};
use engine::model::{Storage, Weights, preset as shape, random};
use engine::reference::Candle;
use policies::{PRESETS, PolicySpec};
use proptest::prelude::*;
use replay::{Call, CallEnd, CallId, CopyOrder, Machine, Offered};
use scheduler::{Foresight, Planning, Scheduler};
use sim::world::{Setup, SimError, Simulated, simulate};
use traces::Session;
use units::{BlockSize, Nanos, SessionId, Time, Tokens};
use workspace_tests::loads::{fixed, full_case};
use workspace_tests::machine::{
    Record, TEN_MS, in_group, machine, offered, preset, turn, with_pool, with_tool,
};
use workspace_tests::mixes::any_policy;

/// The simulator's machine as what is around an executor.
struct Virtual<'a>(Simulated<'a>);

impl Machine for Virtual<'_> {
    type Error = SimError;

    fn accept(&self, session: &Session) -> Result<(), SimError> {
        self.0.accept(session)
    }
    fn foresee(&self, session: &Session) -> Vec<Foresight> {
        self.0.foresee(session)
    }
    fn step(&mut self, now: Time, scheduler: &Scheduler) -> Result<Nanos, SimError> {
        self.0.step(now, scheduler)
    }
    fn step_ended(&mut self, now: Time) {
        self.0.step_ended(now);
    }
    fn idle(&mut self, now: Time) {
        self.0.idle(now);
    }
    fn start_call(&mut self, now: Time, call: Call<'_>) -> Result<(), SimError> {
        self.0.start_call(now, call)
    }
    fn next_cpu(&self) -> Option<Time> {
        self.0.next_cpu()
    }
    fn advance_cpu(&mut self, now: Time) {
        self.0.advance_cpu(now);
    }
    fn next_call(&self) -> Option<(Time, CallId)> {
        self.0.next_call()
    }
    fn end_call(&mut self) -> CallEnd {
        self.0.end_call()
    }
    fn start_copy(
        &mut self,
        at: Time,
        order: CopyOrder,
        scheduler: &Scheduler,
    ) -> Result<(), SimError> {
        self.0.start_copy(at, order, scheduler)
    }
    fn next_copy(&self) -> Option<(Time, SessionId, u64)> {
        self.0.next_copy()
    }
    fn end_copy(&mut self) {
        self.0.end_copy();
    }
}

impl Surroundings for Virtual<'_> {}

fn weights() -> Weights {
    random(&shape("tiny").expect("a shape"), 1, Storage::F32)
}

/// The load on a real executor under the virtual clock.
fn computed(
    weights: &Weights,
    setup: &Setup,
    policy: &PolicySpec,
    load: &[Offered],
) -> Result<(Record, Work), DriveError<SimError>> {
    let machine = Simulated::new(setup).map_err(DriveError::Surroundings)?;
    let policy = policy.build().expect("a policy that can be built");
    let scheduler = machine.scheduler(policy);
    let scheduler = scheduler.map_err(DriveError::Surroundings)?;
    let limits = machine.limits();
    let (blocks, size) = (setup.engine.usable_blocks, setup.engine.block_size);
    let mut executor = Candle::new(weights, blocks, size).expect("an executor");
    // A step that reads a block which nobody wrote for it ends the run.
    let live = Live::new(&mut executor, Virtual(machine), Tokens(1 << 20), 7);
    let mut live = live.poisoned();
    let mut record = Record::default();
    let ended = replay::run(
        &mut live,
        scheduler,
        limits,
        load.iter().cloned(),
        &mut record,
    );
    let work = live.work();
    record.summary = ended.whole()?;
    Ok((record, work))
}

/// The first place where the two worlds part; else the executor's work.
fn compare(
    weights: &Weights,
    setup: &Setup,
    policy: &PolicySpec,
    load: &[Offered],
) -> Result<Work, String> {
    let mut setup = setup.clone();
    setup.engine.log_decisions = true;
    let mut simulated = Record::default();
    let built = policy.build().expect("a policy that can be built");
    let summary = simulate(&setup, built, load.iter().cloned(), &mut simulated);
    let (summary, (real, work)) = match (summary, computed(weights, &setup, policy, load)) {
        (Ok(summary), Ok(computed)) => (summary, computed),
        (Err(a), Err(DriveError::Surroundings(b))) if a == b => return Ok(Work::default()),
        (a, b) => return Err(format!("{:?}, {:?}", a.err(), b.err())),
    };
    let at = |a: usize, b: usize| format!("{a} and {b} of them");
    let facts = simulated
        .infos
        .iter()
        .zip(&real.infos)
        .find(|(a, b)| a != b);
    if let Some((a, b)) = facts {
        return Err(format!("fact: {a:?} simulated, {b:?} computed"));
    }
    if simulated.infos.len() != real.infos.len() {
        return Err(at(simulated.infos.len(), real.infos.len()));
    }
    if simulated.steps != real.steps {
        return Err("steps differ".to_owned());
    }
    let records = |r: &Record| format!("{:?} {:?} {:?}", r.turns, r.sessions, r.samples);
    if records(&simulated) != records(&real) {
        return Err("records differ".to_owned());
    }
    // How many steps needed no plan says how it was computed, not what came of it.
    let summary = sim::world::Summary {
        repeated_steps: 0,
        ..summary
    };
    if summary != real.summary {
        return Err(format!(
            "{summary:?} simulated, {:?} computed",
            real.summary
        ));
    }
    if work.steps != summary.counters.steps || work.tokens != summary.counters.scheduled {
        return Err(format!("{work:?} of {:?}", summary.counters));
    }
    Ok(work)
}

/// Six sessions of three turns that do not fit the pool together; they share an opening.
fn crowd() -> Vec<Offered> {
    let session = |i: u32| {
        let turns = vec![
            with_tool(turn(60, 0, 12), "bash", 0.3, 0.1),
            with_tool(turn(90, 71, 15), "edit", 0.2, 0.1),
            turn(120, 104, 9),
        ];
        in_group(offered(f64::from(i) * 0.05, turns), "system", 32)
    };
    (0..6).map(session).collect()
}

#[test]
fn every_preset_decides_alike_in_both_worlds() {
    let weights = weights();
    let mut setup = with_pool(machine(&TEN_MS, 1.0, 0.0), 24);
    setup.engine.block_size = BlockSize::new(16).expect("not zero");
    setup.sample_every = Some(Nanos::from_millis(70));
    for (name, _) in PRESETS {
        let work = compare(&weights, &setup, &preset(name, &[]), &crowd());
        let work = work.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(work.sampled, 6 * (12 + 15 + 9), "{name}");
        assert!(work.tokens > work.sampled, "{name}");
    }
}

proptest! {
    #![proptest_config(fixed(150, 61))]

    /// On tiny pools with host memory, tools on few cores, shared openings and pauses; planned between steps
    /// or ahead.
    #[test]
    fn random_loads_and_policies_are_decided_alike(
        (mut setup, load) in full_case(),
        policy in any_policy(),
        ahead in any::<bool>(),
    ) {
        if ahead {
            setup.engine.planning = Planning::Ahead;
        }
        let compared = compare(&weights(), &setup, &policy, &load);
        prop_assert!(compared.is_ok(), "{}: {}", policy.name, compared.unwrap_err());
    }
}
