//! The wall-clock driver: a real executor, real tools, real time. Laws that hold however slow the machine.

#![allow(
    clippy::disallowed_methods,
    reason = "real processes need real time, files and threads"
)]

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use engine::drive::{Commands, Drive, DriveError, Driven, MeasuredLink, MeasuredPrefill, drive};
use engine::model::{Storage, preset, random};
use engine::reference::Candle;
use engine::tools::{Limits as ToolLimits, Mode, Settings};
use engine::{Batch, Copy, Executor, ExecutorError, Sampled};
use replay::{Limits, Observer, Offered, Outcome, SessionRecord, Status, ToolFailure, TurnRecord};
use scheduler::policy::{
    Admission, Backlog, Choice, InFlight, Keep as Kept, Order, Policy, Rank, Retention, Trigger,
    TurnView, Yielding,
};
use scheduler::{Config, Offload, Reason, StepPlan, Telemetry, Window};
use traces::model::{Known, Session, ToolCall, Turn};
use units::{Blocks, Bytes, Nanos, SessionId, Time, Tokens};

const BLOCKS: Blocks = Blocks(64);

/// First come, first served, nothing kept: the least that is a policy.
#[derive(Debug)]
struct Plain;

impl Admission for Plain {
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

fn rank(sequence: u64) -> Rank {
    Rank {
        key: [i64::try_from(sequence).expect("few turns"), 0, 0],
        until: Time::NEVER,
    }
}

impl Order for Plain {
    fn waiting(&self, _now: Time, turn: &TurnView) -> Rank {
        rank(turn.ready_seq)
    }

    fn running(&self, _now: Time, turn: &TurnView) -> Rank {
        rank(turn.start_seq)
    }

    fn victim(&self, turn: &TurnView) -> [i64; 3] {
        rank(turn.start_seq).key
    }
}

impl Retention for Plain {
    fn on_yield(&mut self, _now: Time, _yielding: &Yielding, _telemetry: &Telemetry) -> Kept {
        Kept::Release
    }
}

/// Sends every context to host memory at a yield.
#[derive(Debug)]
struct Away;

impl Retention for Away {
    fn on_yield(&mut self, _now: Time, _yielding: &Yielding, _telemetry: &Telemetry) -> Kept {
        Kept::Offload
    }
}

fn offloading() -> Policy {
    Policy {
        retention: Box::new(Away),
        ..fcfs()
    }
}

fn fcfs() -> Policy {
    Policy {
        name: "plain".to_owned(),
        admission: Box::new(Plain),
        order: Box::new(Plain),
        retention: Box::new(Plain),
    }
}

fn engine() -> Config {
    Config {
        usable_blocks: BLOCKS,
        token_budget: Tokens(64),
        ..Config::default()
    }
}

fn executor() -> Candle {
    let weights = random(&preset("tiny").expect("a preset"), 1, Storage::F32);
    Candle::new(&weights, BLOCKS, engine().block_size).expect("an executor")
}

fn settings(timeout: Option<Nanos>) -> Settings {
    Settings {
        mode: Mode::FreeForAll,
        cores: Vec::new(),
        limits: ToolLimits {
            timeout,
            ..ToolLimits::default()
        },
        runner: PathBuf::from(env!("CARGO_BIN_EXE_tool-runner")),
        sandboxes: None,
    }
}

fn setup(timeout: Option<Nanos>) -> Drive {
    Drive {
        engine: engine(),
        context_length: Tokens(4096),
        seed: 1,
        tools: settings(timeout),
        commands: Commands::Burn,
        limits: Limits {
            horizon: None,
            sample_every: Some(Nanos::from_millis(20)),
        },
        poison: true,
    }
}

fn tool(wall_ms: u64, cpu_ms: u64) -> ToolCall {
    ToolCall {
        name: Arc::from("bash"),
        wall: Some(Known::recorded(Nanos::from_millis(wall_ms))),
        cpu: Some(Known::recorded(Nanos::from_millis(cpu_ms))),
        parallelism: 1,
        command: None,
    }
}

fn turn(prompt: u64, reused: u64, output: u64, tools: Vec<ToolCall>) -> Turn {
    Turn {
        prompt: Tokens(prompt),
        reused: Tokens(reused),
        output: Known::recorded(Tokens(output)),
        cached: None,
        llm: None,
        tools,
        think: None,
    }
}

fn offered(at_ms: u64, turns: Vec<Turn>) -> Offered {
    Offered {
        arrival: Time::ZERO + Nanos::from_millis(at_ms),
        session: Arc::new(Session {
            id: Arc::from("s"),
            model: None,
            arrival: None,
            shared: Vec::new(),
            parent: None,
            turns,
        }),
    }
}

#[derive(Debug, Default)]
struct Keep {
    sessions: Vec<SessionRecord>,
    turns: Vec<TurnRecord>,
    steps: Vec<(Time, Nanos)>,
    failures: Vec<ToolFailure>,
    samples: u64,
    /// Stop once the clock is here.
    until: Option<Time>,
}

impl Observer for Keep {
    fn session(&mut self, record: SessionRecord) {
        self.sessions.push(record);
    }
    fn turn(&mut self, record: &TurnRecord) {
        self.turns.push(*record);
    }
    fn step(&mut self, at: Time, _plan: &StepPlan, time: Nanos) {
        self.steps.push((at, time));
    }
    fn sample(&mut self, _sample: &replay::Sample) {
        self.samples += 1;
    }
    fn tool_failed(&mut self, _at: Time, failure: &ToolFailure) {
        self.failures.push(failure.clone());
    }
    fn progress(&mut self, at: Time, _completed: u64) -> Outcome {
        if self.until.is_some_and(|until| at >= until) {
            Outcome::Stop
        } else {
            Outcome::Continue
        }
    }
}

fn run(
    setup: &Drive,
    executor: &mut dyn Executor,
    load: Vec<Offered>,
    mut keep: Keep,
) -> (Driven, Keep) {
    let prefill = MeasuredPrefill::measure(executor, &setup.engine, Tokens(128)).expect("measured");
    let load = load.into_iter();
    let driven = drive(setup, fcfs(), Box::new(prefill), executor, load, &mut keep);
    (driven.expect("it begins"), keep)
}

#[test]
fn sessions_take_at_least_what_their_tools_and_pauses_take() {
    let mut paused = turn(60, 45, 3, vec![tool(80, 40)]);
    paused.think = Some(Nanos::from_millis(50));
    let session = |at| {
        let first = turn(40, 0, 5, vec![tool(60, 0), tool(120, 20)]);
        offered(at, vec![first, paused.clone(), turn(70, 63, 4, Vec::new())])
    };
    let load = vec![session(0), session(30), session(60)];
    let (driven, keep) = run(&setup(None), &mut executor(), load, Keep::default());
    assert!(driven.error.is_none(), "{:?}", driven.error);
    assert_eq!((driven.summary.offered, driven.summary.completed), (3, 3));
    assert_eq!(driven.summary.tool_calls, 9);
    assert_eq!(driven.summary.tool_alone, Nanos::from_millis(3 * 260));
    assert!(driven.summary.tool_elapsed >= Nanos::from_millis(3 * 260));
    assert_eq!(keep.turns.len(), 9);
    for record in &keep.sessions {
        assert_eq!((record.status, record.turns), (Status::Completed, 3));
        assert_eq!(record.output, Tokens(12));
        let latency = record.finished.expect("completed").since(record.arrival);
        // The longest tool of the first turn, the second turn's tool, its pause.
        assert!(latency >= Nanos::from_millis(120 + 80 + 50), "{latency}");
        let p = record.phases;
        let parts =
            p.admission + p.queue + p.prefill + p.decode + p.tool_run + p.tool_wait + p.think;
        assert_eq!(parts, latency);
        assert!(p.think >= Nanos::from_millis(50));
        assert_eq!(p.tool_run, Nanos::from_millis(120 + 80));
    }
    // Steps follow one another, and none is free.
    assert!(keep.steps.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0));
    assert!(keep.steps.iter().all(|(_, time)| *time > Nanos::ZERO));
    let stepped: Nanos = keep.steps.iter().map(|(_, time)| *time).sum();
    assert!(driven.work.executor <= stepped);
    assert_eq!(driven.work.steps, keep.steps.len() as u64);
    assert_eq!(driven.work.sampled, 36);
    assert_eq!(
        driven.summary.makespan,
        keep.sessions
            .iter()
            .filter_map(|s| s.finished)
            .max()
            .expect("one")
            .since(Time::ZERO)
    );
    assert!(keep.samples >= driven.summary.makespan.as_nanos() / 20_000_000);
}

#[test]
fn a_tool_that_runs_out_of_time_ends_its_session_and_no_other() {
    let slow = offered(
        0,
        vec![
            turn(40, 0, 2, vec![tool(60_000, 0)]),
            turn(50, 42, 2, Vec::new()),
        ],
    );
    let quick = offered(
        0,
        vec![
            turn(40, 0, 2, vec![tool(20, 0)]),
            turn(50, 42, 2, Vec::new()),
        ],
    );
    let setup = setup(Some(Nanos::from_millis(2_000)));
    let (driven, keep) = run(&setup, &mut executor(), vec![slow, quick], Keep::default());
    assert!(driven.error.is_none(), "{:?}", driven.error);
    assert_eq!((driven.summary.completed, driven.summary.failed), (1, 1));
    let [failure] = &keep.failures[..] else {
        panic!("{:?}", keep.failures);
    };
    assert_eq!(
        (failure.session, failure.turn, &*failure.tool),
        (SessionId(0), 0, "bash")
    );
    assert!(
        failure
            .why
            .starts_with("it ran past its time limit and was killed after 2."),
        "{}",
        failure.why
    );
    let status = |id| {
        keep.sessions
            .iter()
            .find(|s| s.session == SessionId(id))
            .map(|s| s.status)
    };
    assert_eq!(status(0), Some(Status::Failed));
    assert_eq!(status(1), Some(Status::Completed));
}

#[test]
fn a_runner_that_is_not_there_fails_sessions_and_says_so() {
    let mut setup = setup(None);
    setup.tools.runner = PathBuf::from("/nowhere/tool-runner");
    let load = vec![
        offered(0, vec![turn(40, 0, 2, vec![tool(20, 0)])]),
        offered(0, vec![turn(30, 0, 2, Vec::new())]),
    ];
    let (driven, keep) = run(&setup, &mut executor(), load, Keep::default());
    assert_eq!((driven.summary.completed, driven.summary.failed), (1, 1));
    assert!(
        keep.failures[0]
            .why
            .starts_with("it could not be started: "),
        "{:?}",
        keep.failures
    );
}

#[test]
fn a_run_that_is_stopped_leaves_no_tool_behind_and_reports_what_is_open() {
    let load = vec![offered(0, vec![turn(40, 0, 2, vec![tool(60_000, 0)])])];
    let keep = Keep {
        until: Some(Time::ZERO + Nanos::from_millis(700)),
        ..Keep::default()
    };
    let began = std::time::Instant::now();
    let (driven, keep) = run(&setup(None), &mut executor(), load, keep);
    assert!(driven.error.is_none());
    assert_eq!(
        (driven.summary.completed, driven.summary.unfinished),
        (0, 1)
    );
    assert_eq!(keep.sessions[0].status, Status::Unfinished);
    assert!(driven.asleep >= Nanos::from_millis(100));
    // Not the minute that the tool would have taken.
    assert!(began.elapsed() < std::time::Duration::from_secs(30));
}

#[test]
fn the_horizon_ends_a_run_whose_tools_do_not() {
    let load = vec![offered(0, vec![turn(40, 0, 2, vec![tool(60_000, 0)])])];
    let mut setup = setup(None);
    setup.limits.horizon = Some(Time::ZERO + Nanos::from_millis(500));
    let (driven, _) = run(&setup, &mut executor(), load, Keep::default());
    assert_eq!(driven.summary.unfinished, 1);
    assert!(driven.summary.makespan >= Nanos::from_millis(500));
}

/// The reference on a device that breaks after some steps, or is slow.
struct Device {
    inner: Candle,
    left: u32,
    delay: std::time::Duration,
}

impl Executor for Device {
    fn name(&self) -> &'static str {
        "device"
    }
    fn step(&mut self, batch: &Batch, tokens: &[u32]) -> Result<Sampled, ExecutorError> {
        if self.left == 0 {
            return Err(ExecutorError::Device {
                device: "it".to_owned(),
                doing: "a step".to_owned(),
                what: "broken".to_owned(),
            });
        }
        self.left -= 1;
        std::thread::sleep(self.delay);
        self.inner.step(batch, tokens)
    }
    fn logits(&mut self) -> Result<Vec<f32>, ExecutorError> {
        self.inner.logits()
    }
    fn begin_copy(&mut self, copy: &Copy) -> Result<(), ExecutorError> {
        self.inner.begin_copy(copy)
    }
    fn ended_copies(&mut self) -> Result<Vec<u64>, ExecutorError> {
        self.inner.ended_copies()
    }
    fn forget(&mut self, session: SessionId) {
        self.inner.forget(session);
    }
    fn poison(&mut self, blocks: &[u32]) -> Result<(), ExecutorError> {
        self.inner.poison(blocks)
    }
    fn block_bytes(&self) -> Bytes {
        self.inner.block_bytes()
    }
    fn vocabulary(&self) -> u32 {
        self.inner.vocabulary()
    }
}

/// Measuring takes five steps; the rest is the run's: one session ends in two steps, the next
/// breaks in its first.
#[test]
fn a_device_that_breaks_ends_the_run_with_what_it_has() {
    let setup = setup(None);
    // Contexts of 32 (twice), 64 and 128 tokens, in steps of 64.
    let measured = 1 + 1 + 1 + 2;
    let mut executor = Device {
        inner: executor(),
        left: measured + 2,
        delay: std::time::Duration::ZERO,
    };
    let one = |at| offered(at, vec![turn(40, 0, 2, Vec::new())]);
    let (driven, keep) = run(
        &setup,
        &mut executor,
        vec![one(0), one(500)],
        Keep::default(),
    );
    assert!(
        matches!(driven.error, Some(DriveError::Executor(_))),
        "{:?}",
        driven.error
    );
    assert_eq!(
        (driven.summary.completed, driven.summary.unfinished),
        (1, 1)
    );
    assert_eq!(keep.sessions.len(), 2);
}

/// Steps of 0.7 s. The first has session 0's only token and a part of session 1's prompt; session 0's tool
/// then ends while the second step runs. It is known when that step is over, but it ended when it did, and
/// the third step has the turn after it.
#[test]
fn a_tool_that_ends_during_a_step_ended_at_its_own_time() {
    let setup = setup(None);
    let prefill = MeasuredPrefill::measure(&mut executor(), &setup.engine, Tokens(64));
    let prefill = Box::new(prefill.expect("measured"));
    let mut executor = Device {
        inner: executor(),
        left: u32::MAX,
        delay: std::time::Duration::from_millis(700),
    };
    let load = vec![
        offered(
            0,
            vec![
                turn(40, 0, 1, vec![tool(30, 0)]),
                turn(50, 41, 1, Vec::new()),
            ],
        ),
        offered(0, vec![turn(60, 0, 3, Vec::new())]),
    ];
    let mut keep = Keep::default();
    let load = load.into_iter();
    let driven = drive(&setup, fcfs(), prefill, &mut executor, load, &mut keep);
    let driven = driven.expect("it begins");
    assert_eq!(driven.summary.completed, 2);
    let of = |session, turn| {
        let mut found = keep.turns.iter();
        let found = found.find(|t| (t.session, t.turn) == (SessionId(session), turn));
        *found.expect("it ended")
    };
    let (second, third) = (keep.steps[1], keep.steps[2]);
    let (ended, next) = (of(0, 0).ended, of(0, 1));
    assert!(next.ready >= ended + Nanos::from_millis(30));
    assert!(
        next.ready < second.0 + second.1,
        "{:?} in {second:?}",
        next.ready
    );
    assert_eq!(next.started, third.0);
}

/// 60 tokens and all that is generated but the last, which nobody reads.
#[test]
fn a_session_longer_than_the_model_is_refused_by_name() {
    let mut setup = setup(None);
    setup.context_length = Tokens(64);
    let load = vec![offered(0, vec![turn(60, 0, 8, Vec::new())])];
    let (driven, _) = run(&setup, &mut executor(), load, Keep::default());
    let error = driven.error.expect("refused").to_string();
    assert!(
        error.starts_with(
            "session `s` grows to 67 tokens, and the model takes contexts of up to 64"
        ),
        "{error}"
    );
}

/// A first context of 63 tokens in KV is three full blocks of 16. They go to host memory while the tool
/// runs, another session takes the whole pool, and they come back before the next turn.
#[test]
fn contexts_go_to_host_memory_and_come_back() {
    let mut setup = setup(None);
    setup.engine.usable_blocks = Blocks(6);
    let mut executor = {
        let weights = random(&preset("tiny").expect("a preset"), 1, Storage::F32);
        Candle::new(&weights, Blocks(6), setup.engine.block_size).expect("an executor")
    };
    let link = MeasuredLink::measure(&mut executor, Blocks(6)).expect("measured");
    setup.engine.offload = Some(Offload {
        host_blocks: Blocks(100),
        block_bytes: executor.block_bytes(),
        to_host_per_s: link.to_host_per_s,
        to_gpu_per_s: link.to_device_per_s,
    });
    let first = vec![
        turn(60, 0, 4, vec![tool(900, 0)]),
        turn(70, 64, 2, Vec::new()),
    ];
    let load = vec![
        offered(0, first),
        offered(300, vec![turn(90, 0, 3, Vec::new())]),
    ];
    let prefill = MeasuredPrefill::measure(&mut executor, &setup.engine, Tokens(64));
    let prefill = Box::new(prefill.expect("measured"));
    let mut keep = Keep::default();
    let driven = drive(
        &setup,
        offloading(),
        prefill,
        &mut executor,
        load.into_iter(),
        &mut keep,
    )
    .expect("it begins");
    assert!(driven.error.is_none(), "{:?}", driven.error);
    assert_eq!(driven.summary.completed, 2);
    let counters = driven.summary.counters;
    assert_eq!((counters.copied_out, counters.copied_in), (3, 3));
    assert_eq!(driven.work.copied, 6);
    let back = keep
        .turns
        .iter()
        .find(|t| t.turn == 1)
        .expect("a second turn");
    assert_eq!(back.hit, Tokens(48));
}

#[test]
fn a_link_has_a_bandwidth_each_way() {
    let link = MeasuredLink::measure(&mut executor(), BLOCKS).expect("measured");
    // A megabyte a second is slower than any memory.
    assert!(link.to_host_per_s.get() > 1_000_000 && link.to_device_per_s.get() > 1_000_000);
}

#[test]
fn parallel_tools_are_threads_of_one_process() {
    let mut call = tool(50, 80);
    call.parallelism = NonZeroU32::new(2).expect("not zero").get();
    let load = vec![offered(0, vec![turn(40, 0, 2, vec![call])])];
    let (driven, keep) = run(&setup(None), &mut executor(), load, Keep::default());
    assert_eq!(driven.summary.completed, 1);
    // 80 ms on two threads are 40, then 10 of waiting.
    assert!(keep.sessions[0].phases.tool_run == Nanos::from_millis(50));
}
