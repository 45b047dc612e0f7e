//! A schedule never changes tokens: for any executor, against the session alone.
//!
//! A real scheduler is driven with a random load on a pool that is far too small: chunked prompts,
//! batches, preemptions, shared openings, reused contexts, pins, and copies to host memory and back.
//! Every token must be the one that the same executor gives when the session is alone, unbatched and
//! nothing is reused. Every block is poisoned when a session gets it and before anything is written to
//! it, so that a read of what was not written shows as not-a-number.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Batch, Copy, Executor, Row, Transcripts, Way};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use scheduler::{
    Arrival, Config, Direction, Event, Info, Offload, Phase, PrefillCost, Scheduler, StepOutcome,
    Then, ToolClass, TurnRequest, Unpin,
};
use units::{BlockSize, Blocks, Bytes, GroupId, Nanos, SessionId, Time, Tokens};

use super::policy::random_policy;

/// Makes an executor with KV for so many blocks, always of the same weights.
pub type Make<'a> = dyn FnMut(Blocks, BlockSize) -> Box<dyn Executor> + 'a;

/// What the schedules did, so that a test can see that they did it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Tokens that were compared.
    pub tokens: u64,
    /// Steps with a prefill chunk and a decode, or with several turns.
    pub mixed: u64,
    /// Prefill chunks that did not end their prompt.
    pub chunked: u64,
    /// Turns that started with blocks that were computed before.
    pub hits: u64,
    /// Of these, first turns: the blocks are another session's.
    pub shared: u64,
    /// Turns that took over the blocks that were pinned for them.
    pub resumed: u64,
    /// Turns that lost their blocks while they ran.
    pub preempted: u64,
    /// Copies to host memory.
    pub copied_out: u64,
    /// Copies back.
    pub copied_in: u64,
}

impl Seen {
    /// Panics unless the loads did all that they are for.
    pub fn everything(self) {
        let Self {
            tokens,
            mixed,
            chunked,
            hits,
            shared,
            resumed,
            preempted,
            copied_out,
            copied_in,
        } = self;
        let all = [
            tokens, mixed, chunked, hits, shared, resumed, preempted, copied_out, copied_in,
        ];
        assert!(all.iter().all(|n| *n >= 10), "{self:?}");
    }
}

/// One session of a load.
#[derive(Clone, Debug)]
struct Session {
    at: Time,
    shared: Vec<(GroupId, Tokens)>,
    turns: Vec<TurnRequest>,
    /// After each turn.
    tools: Vec<Nanos>,
}

/// A load and an engine for it.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    config: Config,
    sessions: Vec<Session>,
    /// Longest context in blocks.
    longest: Blocks,
}

struct Draw(Pcg64Mcg);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    fn from(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }
}

fn case(seed: u64) -> Case {
    let mut draw = Draw(Pcg64Mcg::new(u128::from(seed) << 1 | 1));
    let size = [1, 4, 8, 16][usize::try_from(draw.below(4)).expect("small")];
    let size = BlockSize::new(size).expect("not zero");
    // Two openings that part after some tokens.
    let (stem, branch) = (draw.from(4, 20), draw.from(21, 40));
    let n = draw.from(2, 6);
    let sessions: Vec<Session> = (0..n).map(|_| session(&mut draw, stem, branch)).collect();
    let peak = |s: &Session| {
        let ends = s.turns.iter().map(|t| t.prompt + t.output);
        ends.max().expect("a turn")
    };
    let longest = sessions.iter().map(|s| size.to_hold(peak(s))).max();
    let longest = longest.expect("a session");
    let offload = (draw.below(3) > 0).then(|| Offload {
        host_blocks: longest + longest,
        block_bytes: Bytes(1),
        to_host_per_s: 1.try_into().expect("not zero"),
        to_gpu_per_s: 1.try_into().expect("not zero"),
    });
    let config = Config {
        block_size: size,
        usable_blocks: longest + Blocks(draw.below(longest.get() + 4)),
        token_budget: Tokens(draw.from(3, 64)),
        max_running: usize::try_from(draw.from(1, 6)).expect("small"),
        prefix_caching: draw.below(5) > 0,
        offload,
        ..Config::default()
    };
    Case {
        seed,
        config,
        sessions,
        longest,
    }
}

fn session(draw: &mut Draw, stem: u64, branch: u64) -> Session {
    let shared = match draw.below(4) {
        0 => vec![],
        1 => vec![(GroupId(0), Tokens(stem))],
        which => {
            let group = GroupId(u32::try_from(which).expect("small"));
            vec![(GroupId(0), Tokens(stem)), (group, Tokens(branch))]
        }
    };
    let opening = shared.last().map_or(0, |(_, end)| end.get());
    let n = draw.from(1, 4);
    let mut turns: Vec<TurnRequest> = Vec::new();
    for i in 0..n {
        let before = turns.last().map(|t| t.prompt.get() + t.output.get());
        let (prompt, reused) = match before {
            None => (opening + draw.from(1, 30), 0),
            Some(context) => {
                // Mostly all of it; now and then the agent cut its context back.
                let kept = if draw.below(4) == 0 {
                    draw.below(context)
                } else {
                    context
                };
                (kept + draw.from(1, 20), kept)
            }
        };
        let last = i + 1 == n;
        turns.push(TurnRequest {
            prompt: Tokens(prompt),
            reused: Tokens(reused),
            output: Tokens(draw.from(1, 8)),
            then: if last {
                Then::End
            } else {
                Then::Yield {
                    tool: ToolClass(0),
                    calls: 1,
                }
            },
            flagged_last: last,
            foresight: None,
        });
    }
    Session {
        at: Time::from_nanos(draw.below(60) * 1_000_000),
        shared,
        tools: (0..n).map(|_| Nanos::from_millis(draw.below(80))).collect(),
        turns,
    }
}

/// Runs so many random loads on executors that `make` makes; every token must be the same as alone.
pub fn change_no_token(make: &mut Make<'_>, cases: u64) -> Seen {
    let mut seen = Seen::default();
    for seed in 0..cases {
        let case = case(seed);
        let size = case.config.block_size;
        let mut executor = make(case.config.usable_blocks, size);
        let found = World::new(&case, executor.as_mut()).run(&mut seen);
        let mut executor = make(case.longest, size);
        for (i, session) in case.sessions.iter().enumerate() {
            let id = SessionId(u32::try_from(i).expect("few"));
            for (turn, wanted) in alone(executor.as_mut(), size, id, session, seed) {
                let found = &found[&(id, turn)];
                assert_eq!(found, &wanted, "case {seed}, {id}, turn {turn}: {case:?}");
                seen.tokens += wanted.len() as u64;
            }
        }
    }
    seen
}

fn arrival(id: SessionId, session: &Session) -> Arrival {
    let peaks = session.turns.iter().map(|t| t.prompt + t.output);
    Arrival {
        session: id,
        shared: session.shared.clone(),
        peak: peaks.max().expect("a turn"),
        turn: session.turns[0],
        last_of_load: false,
    }
}

/// What the turns of a session generate when it is alone: each from nothing, whole prompt at once, then
/// token by token, in blocks 0, 1, 2 and so on. No scheduler has a part in it.
fn alone(
    executor: &mut dyn Executor,
    size: BlockSize,
    id: SessionId,
    session: &Session,
    seed: u64,
) -> Vec<(u32, Vec<u32>)> {
    let mut book = Transcripts::new(executor.vocabulary(), seed);
    let mut ids = Vec::new();
    let mut texts = Vec::new();
    for (number, turn) in (0..).zip(&session.turns) {
        if number == 0 {
            book.arrived(&arrival(id, session));
        } else {
            book.next_turn(id, turn);
        }
        let end = turn.prompt + turn.output;
        let table: Vec<u32> = (0..).take(index(size.to_hold(end).get())).collect();
        executor.poison(&table).expect("poisoned");
        let mut text = Vec::new();
        let mut from = 0;
        while (text.len() as u64) < turn.output.get() {
            let to = book.context(id).len() as u64;
            let batch = Batch {
                rows: vec![Row {
                    session: id,
                    query: Tokens(to - from),
                    context: Tokens(to),
                    samples: true,
                }],
                positions: (from..to).collect(),
                // Blocks lie one behind the other.
                slots: (from..to).collect(),
                starts: vec![0, to - from],
                block_tables: vec![table.clone()],
                sample_at: vec![to - from - 1],
            };
            book.inputs(&batch, &mut ids);
            let sampled = executor.step(&batch, &ids).expect("a step").tokens;
            let [(of, token)] = sampled[..] else {
                panic!("one token of one row, not {sampled:?}");
            };
            assert_eq!(of, id);
            book.generated(id, token);
            text.push(token);
            from = to;
        }
        texts.push((number, text));
    }
    texts
}

#[derive(Debug)]
struct Flat;

impl PrefillCost for Flat {
    fn reload(&self, context: Tokens) -> Nanos {
        Nanos::from_millis(context.get())
    }
}

/// What is to happen, by time and then in the order in which it was planned.
type Agenda = BTreeMap<(Time, u64), Happens>;

#[derive(Clone, Copy, Debug)]
enum Happens {
    Arrival(SessionId),
    ToolEnds(SessionId),
    CopyEnds(SessionId, u64),
}

/// The least world: a virtual clock around a scheduler and an executor.
struct World<'a> {
    case: &'a Case,
    executor: &'a mut dyn Executor,
    scheduler: Scheduler,
    book: Transcripts,
    draw: Draw,
    now: Time,
    agenda: Agenda,
    planned: u64,
    /// Number of each session's turn.
    turns: BTreeMap<SessionId, u32>,
    /// Blocks of each running turn that hold its context or are poisoned and free to be written.
    ready: BTreeMap<SessionId, Vec<u32>>,
    copies: BTreeMap<u64, (SessionId, Way)>,
    texts: BTreeMap<(SessionId, u32), Vec<u32>>,
}

impl<'a> World<'a> {
    fn new(case: &'a Case, executor: &'a mut dyn Executor) -> Self {
        let policy = random_policy(case.seed);
        let scheduler = Scheduler::new(case.config.clone(), policy, Box::new(Flat));
        // Ids rise with arrivals.
        let mut times: Vec<Time> = case.sessions.iter().map(|s| s.at).collect();
        times.sort_unstable();
        let agenda = (0..).zip(times).map(|(i, at)| {
            let id = SessionId(u32::try_from(i).expect("few"));
            ((at, i), Happens::Arrival(id))
        });
        Self {
            book: Transcripts::new(executor.vocabulary(), case.seed),
            draw: Draw(Pcg64Mcg::new(u128::from(case.seed) << 64 | 1)),
            agenda: agenda.collect(),
            planned: case.sessions.len() as u64,
            scheduler: scheduler.expect("the limits can be"),
            case,
            executor,
            now: Time::ZERO,
            turns: BTreeMap::new(),
            ready: BTreeMap::new(),
            copies: BTreeMap::new(),
            texts: BTreeMap::new(),
        }
    }

    fn run(mut self, seen: &mut Seen) -> BTreeMap<(SessionId, u32), Vec<u32>> {
        for _ in 0..20_000 {
            self.deliver();
            self.listen(seen);
            let stepped = self.step(seen);
            self.scheduler.check(self.now).expect("no invariant broke");
            for id in self.executor.ended_copies().expect("copies") {
                let (session, _) = self.copies[&id];
                let at = self.now + Nanos::from_millis(self.draw.below(40));
                self.plan_for(at, Happens::CopyEnds(session, id));
            }
            if stepped {
                continue;
            }
            let next = self.agenda.keys().next().map(|(at, _)| *at);
            let timer = self.scheduler.next_timer();
            match next.into_iter().chain(timer).min() {
                Some(at) => self.now = self.now.max(at),
                None if self.copies.is_empty() => {
                    assert_eq!(
                        self.scheduler.open_sessions(),
                        0,
                        "nothing happens any more"
                    );
                    return self.texts;
                }
                // A device that copies by itself needs a moment.
                None => std::thread::yield_now(),
            }
        }
        panic!("case {} does not end: {:?}", self.case.seed, self.case);
    }

    fn plan_for(&mut self, at: Time, what: Happens) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), what);
    }

    /// Everything that is due.
    fn deliver(&mut self) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let event = match entry.remove() {
                Happens::Arrival(id) => {
                    let arrival = arrival(id, self.session(id));
                    self.book.arrived(&arrival);
                    self.turns.insert(id, 0);
                    Event::SessionArrived(arrival)
                }
                Happens::ToolEnds(session) => {
                    let number = self.turns.get_mut(&session).expect("it arrived");
                    *number += 1;
                    let number = index(u64::from(*number));
                    let turn = self.session(session).turns[number];
                    self.book.next_turn(session, &turn);
                    let queue_delay = Nanos::ZERO;
                    let ended = Event::ToolFinished {
                        session,
                        queue_delay,
                    };
                    self.scheduler.handle(self.now, ended).expect("legal");
                    Event::TurnReady { session, turn }
                }
                Happens::CopyEnds(session, copy) => {
                    let (_, way) = self.copies.remove(&copy).expect("it began");
                    if way == Way::ToDevice {
                        self.executor.forget(session);
                    }
                    Event::CopyDone { session, copy }
                }
            };
            self.scheduler.handle(self.now, event).expect("legal");
        }
        if self.scheduler.next_timer().is_some_and(|at| at <= self.now) {
            self.scheduler
                .handle(self.now, Event::Timer)
                .expect("legal");
        }
    }

    fn session(&self, id: SessionId) -> &'a Session {
        &self.case.sessions[id.0 as usize]
    }

    /// Acts on what the scheduler tells.
    fn listen(&mut self, seen: &mut Seen) {
        let size = self.case.config.block_size;
        let told: Vec<Info> = self.scheduler.drain().map(|(_, info)| info).collect();
        for info in told {
            match info {
                Info::Rejected { session, .. } => panic!("{session} fits"),
                Info::TurnStarted {
                    session,
                    hit,
                    turn,
                    first_start,
                } => {
                    let found = hit > Tokens::ZERO;
                    seen.hits += u64::from(found);
                    seen.shared += u64::from(found && turn == 0 && first_start);
                    let mut blocks = self.table(session);
                    blocks.truncate(index(size.filled_by(hit).get()));
                    self.ready.insert(session, blocks);
                }
                Info::TurnEnded { session, then, .. } => {
                    self.ready.remove(&session);
                    if let Then::Yield { .. } = then {
                        let turn = index(u64::from(self.turns[&session]));
                        let at = self.now + self.session(session).tools[turn];
                        self.plan_for(at, Happens::ToolEnds(session));
                    }
                }
                Info::Unpinned {
                    why: Unpin::Resumed,
                    ..
                } => seen.resumed += 1,
                Info::Preempted { session, .. } => {
                    seen.preempted += 1;
                    self.ready.remove(&session);
                }
                Info::SessionEnded { session } => {
                    self.executor.forget(session);
                    self.book.ended(session);
                }
                Info::CopyStarted {
                    session,
                    copy,
                    direction,
                    blocks,
                } => self.copy(session, copy, direction, blocks, seen),
                _ => {}
            }
        }
    }

    fn table(&self, session: SessionId) -> Vec<u32> {
        let table = self.scheduler.block_table(session);
        table.iter().map(|block| block.0).collect()
    }

    fn copy(
        &mut self,
        session: SessionId,
        id: u64,
        direction: Direction,
        blocks: Blocks,
        seen: &mut Seen,
    ) {
        let table = self.table(session);
        let n = index(blocks.get());
        let (way, first) = match direction {
            // The context from its start.
            Direction::ToHost => (Way::ToHost, 0),
            // What is missing behind the blocks that were hit.
            Direction::ToGpu => (Way::ToDevice, table.len() - n),
        };
        let blocks = table[first..first + n].to_vec();
        match way {
            Way::ToHost => seen.copied_out += 1,
            Way::ToDevice => {
                seen.copied_in += 1;
                self.executor.poison(&blocks).expect("poisoned");
            }
        }
        self.copies.insert(id, (session, way));
        let copy = Copy {
            id,
            session,
            way,
            first: u32::try_from(first).expect("a block table"),
            blocks,
        };
        self.executor.begin_copy(&copy).expect("it can be copied");
    }

    /// Plans and executes one step, if there is anything to compute.
    fn step(&mut self, seen: &mut Seen) -> bool {
        let plan = self.scheduler.plan(self.now).expect("a plan").cloned();
        self.listen(seen);
        let Some(plan) = plan else {
            return false;
        };
        let batch = Batch::new(&plan, &self.scheduler).expect("blocks for every chunk");
        for (row, table) in batch.rows.iter().zip(&batch.block_tables) {
            let ready = self.ready.get_mut(&row.session).expect("it started");
            assert_eq!(
                ready[..],
                table[..ready.len()],
                "a running turn keeps its blocks"
            );
            self.executor
                .poison(&table[ready.len()..])
                .expect("poisoned");
            ready.clone_from(table);
        }
        let slots: BTreeSet<u64> = batch.slots.iter().copied().collect();
        assert_eq!(slots.len(), batch.slots.len(), "two tokens for one slot");
        let prefills = plan.chunks.iter().filter(|c| c.phase == Phase::Prefill);
        seen.chunked += prefills.filter(|c| !c.samples).count() as u64;
        seen.mixed += u64::from(plan.chunks.len() > 1);

        let case = self.case.seed;
        let mut ids = Vec::new();
        self.book.inputs(&batch, &mut ids);
        let sampled = self.executor.step(&batch, &ids).expect("a step").tokens;
        let logits = self.executor.logits().expect("logits");
        assert_eq!(
            logits.len(),
            sampled.len() * self.executor.vocabulary() as usize
        );
        assert!(
            logits.iter().all(|x| x.is_finite()),
            "case {case}: a step read what was not written: {batch:?}"
        );
        let rows = batch.rows.iter().filter(|row| row.samples);
        assert!(rows.map(|row| row.session).eq(sampled.iter().map(|s| s.0)));
        for (session, token) in sampled {
            self.book.generated(session, token);
            let turn = self.turns[&session];
            self.texts.entry((session, turn)).or_default().push(token);
        }
        self.now += Nanos::from_millis(10);
        let outcome = StepOutcome::default();
        self.scheduler.step_done(self.now, outcome).expect("a step");
        self.listen(seen);
        true
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("in memory")
}
