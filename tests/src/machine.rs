//! Small machines with round costs, sessions in a line, and a recorder that keeps everything.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use policies::PolicySpec;
use scheduler::policy::Policy;
use scheduler::{Config, Info, Phase, StepPlan};
use sim::cost::{ClosedForm, Coefficients, Host, InMillis};
use sim::world::{
    Observer, Offered, Outcome, Sample, SessionRecord, Setup, SimError, Summary, ToolMode,
    TurnRecord, simulate,
};
use traces::model::{Known, Session, SharedPrefix, ToolCall, Turn};
use units::{Blocks, Nanos, SessionId, Time, Tokens};

/// Every step takes 10 ms, whatever is in it.
pub const TEN_MS: InMillis = InMillis {
    p0: 10.0,
    p1: 0.0,
    p2: 0.0,
    d0: 10.0,
    e: 0.0,
    d1: 0.0,
    d2: 0.0,
};

/// A machine with these costs and the reference's default limits.
pub fn machine(cost: &InMillis, active_share: f64, host_ms: f64) -> Setup {
    let host = Host {
        per_step: Nanos::from_secs(host_ms / 1e3).expect("a span"),
        per_running: Nanos::ZERO,
        overlapped: false,
    };
    let coefficients = Coefficients::from_ms(cost, active_share).expect("coefficients");
    Setup {
        engine: Config::default(),
        cost: Arc::new(ClosedForm::new(coefficients, host).expect("a cost model")),
        tools: ToolMode::Shared(NonZeroU32::new(8).expect("not zero")),
        horizon: None,
        sample_every: None,
    }
}

/// The same with a pool of `usable` blocks.
pub fn with_pool(mut setup: Setup, usable: u64) -> Setup {
    setup.engine.usable_blocks = Blocks(usable);
    setup
}

/// A turn without tools.
pub fn turn(prompt: u64, reused: u64, output: u64) -> Turn {
    Turn {
        prompt: Tokens(prompt),
        reused: Tokens(reused),
        output: Known::recorded(Tokens(output)),
        cached: None,
        llm: None,
        tools: Vec::new(),
        think: None,
    }
}

/// The turn with one tool call of `wall` seconds alone, `cpu` of them on a core.
pub fn with_tool(mut turn: Turn, name: &str, wall: f64, cpu: f64) -> Turn {
    let span = |s| Known::recorded(Nanos::from_secs(s).expect("a span"));
    turn.tools.push(ToolCall {
        name: Arc::from(name),
        wall: Some(span(wall)),
        cpu: Some(span(cpu)),
        parallelism: 1,
        command: None,
    });
    turn
}

/// A session of these turns, arriving at `arrival` seconds.
pub fn offered(arrival: f64, turns: Vec<Turn>) -> Offered {
    Offered {
        arrival: Time::ZERO + Nanos::from_secs(arrival).expect("a span"),
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

/// The session with a further opening that its group shares, up to so many leading tokens.
pub fn in_group(mut offered: Offered, group: &str, tokens: u64) -> Offered {
    let session = Arc::make_mut(&mut offered.session);
    session.shared.push(SharedPrefix {
        group: Arc::from(group),
        tokens: Tokens(tokens),
    });
    offered
}

/// A chunk as `(session, context, tokens, phase)`.
pub type ChunkRecord = (SessionId, u64, u64, Phase);

/// Everything that a run tells.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Sessions, as they ended.
    pub sessions: Vec<SessionRecord>,
    /// Turns, as they ended.
    pub turns: Vec<TurnRecord>,
    /// Samples over time.
    pub samples: Vec<Sample>,
    /// The information stream.
    pub infos: Vec<(Time, Info)>,
    /// Per step: start, time, and its chunks.
    pub steps: Vec<(Time, Nanos, Vec<ChunkRecord>)>,
    /// Totals.
    pub summary: Summary,
    /// Times the run asked whether to go on.
    pub asked: u32,
    /// Whether to look at no step.
    pub blind: bool,
}

/// A run that asked this often is stopped: it turns in a circle. About a million events.
const PATIENCE: u32 = 250;

impl Observer for Record {
    fn wants_steps(&self) -> bool {
        !self.blind
    }

    fn session(&mut self, record: SessionRecord) {
        self.sessions.push(record);
    }

    fn turn(&mut self, record: &TurnRecord) {
        self.turns.push(*record);
    }

    fn sample(&mut self, sample: &Sample) {
        self.samples.push(*sample);
    }

    fn step(&mut self, at: Time, plan: &StepPlan, time: Nanos) {
        if self.blind {
            return;
        }
        let chunks = plan
            .chunks
            .iter()
            .map(|c| (c.session, c.context.get(), c.tokens.get(), c.phase))
            .collect();
        self.steps.push((at, time, chunks));
    }

    fn info(&mut self, at: Time, info: &Info) {
        self.infos.push((at, info.clone()));
    }

    fn progress(&mut self, _at: Time, _completed: u64) -> Outcome {
        self.asked += 1;
        if self.asked > PATIENCE {
            Outcome::Stop
        } else {
            Outcome::Continue
        }
    }
}

impl Record {
    /// Completion of each session in ms, by id; `None` for those that did not complete.
    pub fn finish_ms(&self) -> Vec<Option<f64>> {
        let mut by_id: BTreeMap<SessionId, Option<f64>> = BTreeMap::new();
        for s in &self.sessions {
            by_id.insert(s.session, s.finished.map(|t| t.as_secs() * 1e3));
        }
        by_id.into_values().collect()
    }

    /// Prefill chunk sizes of each session, in order.
    pub fn chunks(&self, session: u32) -> Vec<u64> {
        self.steps
            .iter()
            .flat_map(|(_, _, chunks)| chunks)
            .filter(|(id, _, _, phase)| id.0 == session && *phase == Phase::Prefill)
            .map(|&(_, _, tokens, _)| tokens)
            .collect()
    }
}

/// Runs the sessions under the policy and keeps everything.
///
/// # Errors
/// Those of [`simulate`].
pub fn run(setup: &Setup, policy: &PolicySpec, load: &[Offered]) -> Result<Record, SimError> {
    let policy = policy.build().expect("a policy that can be built");
    run_policy(setup, policy, load)
}

/// The preset with overrides such as `("admission.kind", "open")`.
pub fn preset(name: &str, overrides: &[(&str, &str)]) -> PolicySpec {
    let overrides: Vec<(String, String)> = overrides
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    PolicySpec::preset_with(name, &overrides).expect("a preset")
}

/// Runs the sessions under a policy that is no preset and keeps everything.
///
/// # Errors
/// As [`simulate`].
pub fn run_policy(setup: &Setup, policy: Policy, load: &[Offered]) -> Result<Record, SimError> {
    let mut record = Record::default();
    record.summary = simulate(setup, policy, load.iter().cloned(), &mut record)?;
    Ok(record)
}
