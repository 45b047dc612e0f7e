//! The scheduler object: its state, its entry points, and one planning round.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashMap;
use units::{BlockId, Blocks, GroupId, Nanos, SessionId, Time, Tokens};

use crate::config::Config;
use crate::counters::Counters;
use crate::error::{ConfigError, SchedulerError};
use crate::event::{Arrival, Event, Then, TurnRequest};
use crate::foresight::Doors;
use crate::info::{Info, TurnUsage, Unpin};
use crate::lineage::Lineage;
use crate::plan::StepPlan;
use crate::policy::{Backlog, Candidate, Policy, Trigger};
use crate::pool::Pool;
use crate::session::{Session, Sessions, State};
use crate::telemetry::{Ema, PrefillCost, Telemetry};
use crate::waiting::Waiting;

/// The serving loop of one engine under one policy.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) doors: Doors,
    pub(crate) cost: Box<dyn PrefillCost>,

    pub(crate) pool: Pool,
    pub(crate) sessions: Sessions,
    pub(crate) groups: FxHashMap<GroupId, u64>,
    pub(crate) members: crate::members::Members,
    next_lineage: u64,

    pub(crate) backlog: Backlog,
    pub(crate) waiting: Waiting,
    /// Waiting passes so far.
    pub(crate) passes: u64,
    pub(crate) running: Vec<u32>,
    pub(crate) ending: crate::step_end::Ending,
    pub(crate) pinned: BTreeSet<SessionId>,
    pub(crate) in_flight: usize,
    pub(crate) circling: crate::livelock::Circling,
    pub(crate) owed: Blocks,
    /// Of these, those of waiting turns.
    pub(crate) owed_waiting: Blocks,
    /// Tokens in KV of the turns that run.
    pub(crate) running_context: Tokens,
    /// Blocks in host memory, or on their way there.
    pub(crate) host_used: Blocks,
    /// Of these, those on their way.
    pub(crate) copying_out: Blocks,
    /// Of these, those of preempted turns: free when they are copied.
    pub(crate) swapping: Blocks,
    /// Turns that wait outside the turn window, in order of arrival.
    outside: VecDeque<u32>,
    /// Chunks of this round that a liftable quantum cut.
    pub(crate) capped: Vec<u32>,
    pub(crate) stale: crate::pins::StaleBlocks,

    pub(crate) tools_in_flight: u64,
    pub(crate) tool_wait: Ema,
    pub(crate) outputs_sum: u64,
    pub(crate) outputs_count: u64,

    pub(crate) sequence: u64,
    /// Some running turn's rank must be asked again.
    pub(crate) ranks_stale: bool,
    /// Earliest instant at which a running turn's rank runs out.
    pub(crate) ranks_until: Time,
    pub(crate) tick: Option<Time>,

    /// Content that allocations took and nobody has been told of yet.
    pub(crate) lost: Vec<crate::pool::Lost>,
    pub(crate) plan: StepPlan,
    /// Room for what an order is told of a step.
    pub(crate) seen: Vec<(crate::policy::TurnView, Tokens)>,
    pub(crate) repeats: crate::repeat::Repeats,
    in_step: bool,
    /// The round changed state although it may have planned nothing.
    pub(crate) changed: bool,
    pub(crate) counters: Counters,
    pub(crate) stream: Vec<(Time, Info)>,
}

impl Scheduler {
    /// A scheduler with nothing to do.
    ///
    /// # Errors
    /// [`ConfigError`] for a limit that cannot be.
    pub fn new(
        config: Config,
        policy: Policy,
        cost: Box<dyn PrefillCost>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            pool: Pool::new(config.usable_blocks),
            config,
            doors: Doors::of(&policy),
            policy,
            cost,
            sessions: Sessions::default(),
            groups: FxHashMap::default(),
            members: crate::members::Members::default(),
            next_lineage: 0,
            backlog: Backlog::default(),
            waiting: Waiting::default(),
            passes: 0,
            running: Vec::new(),
            ending: crate::step_end::Ending::default(),
            pinned: BTreeSet::new(),
            in_flight: 0,
            circling: crate::livelock::Circling::default(),
            owed: Blocks::ZERO,
            owed_waiting: Blocks::ZERO,
            running_context: Tokens::ZERO,
            host_used: Blocks::ZERO,
            copying_out: Blocks::ZERO,
            swapping: Blocks::ZERO,
            outside: VecDeque::new(),
            capped: Vec::new(),
            stale: crate::pins::StaleBlocks::default(),
            tools_in_flight: 0,
            tool_wait: Ema::default(),
            outputs_sum: 0,
            outputs_count: 0,
            sequence: 0,
            ranks_stale: false,
            ranks_until: Time::NEVER,
            tick: None,
            lost: Vec::new(),
            plan: StepPlan::default(),
            seen: Vec::new(),
            repeats: crate::repeat::Repeats::default(),
            in_step: false,
            changed: false,
            counters: Counters::default(),
            stream: Vec::new(),
        })
    }

    /// The limits it was given.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the policy is an oracle: a world that replays a recording attaches a
    /// [`crate::Foresight`] to every turn then, and never otherwise.
    pub fn needs_foresight(&self) -> bool {
        self.policy.needs_foresight()
    }

    /// Totals so far.
    pub fn counters(&self) -> Counters {
        Counters {
            evicted: self.pool.evicted(),
            ..self.counters
        }
    }

    /// Blocks of a session's turn or pin, shallow to deep; empty when it holds none.
    pub fn block_table(&self, session: SessionId) -> &[BlockId] {
        self.sessions
            .find(session)
            .map_or(&[], |slot| &self.sessions[slot].blocks)
    }

    /// Sessions admitted or queued and not complete.
    pub fn open_sessions(&self) -> usize {
        self.in_flight + self.backlog.len()
    }

    /// Hands over what happened since the last call, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, (Time, Info)> {
        self.stream.drain(..)
    }

    /// When the world must send [`Event::Timer`], if nothing comes first.
    pub fn next_timer(&self) -> Option<Time> {
        // Pins end at steps; with nothing running there is no step, so somebody must wake us.
        let blocked_by_pins = self.running.is_empty() && !self.waiting.is_empty();
        let expiry = self.stale.next_expiry.filter(|_| blocked_by_pins);
        match (self.tick, expiry) {
            (Some(tick), Some(expiry)) => Some(tick.min(expiry)),
            (tick, expiry) => tick.or(expiry),
        }
    }

    /// The state of the machine at `now`, as policies see it.
    #[expect(clippy::cast_precision_loss, reason = "token sums are far below 2^53")]
    pub fn telemetry(&mut self, now: Time) -> Telemetry {
        Telemetry {
            usable: self.pool.usable(),
            free: self.pool.free(),
            pinned: self.pool.pin_only(),
            stale: self.stale_blocks(now),
            owed: self.owed,
            owed_waiting: self.owed_waiting,
            in_flight: self.in_flight,
            waiting: self.waiting.len(),
            running: self.running.len(),
            backlog: self.backlog.len(),
            tools_in_flight: self.tools_in_flight,
            tool_cores: self.config.tool_cores,
            tool_wait_s: self.tool_wait.get().unwrap_or(0.0),
            running_context: self.running_context,
            offload: self.config.offload,
            host_used: self.host_used,
            copying_out: self.copying_out,
            capacity: self.config.block_size.capacity(self.pool.usable()),
            prompt: Tokens(self.counters.prompt),
            hit: Tokens(self.counters.hit),
            mean_output: if self.outputs_count == 0 {
                0.0
            } else {
                self.outputs_sum as f64 / self.outputs_count as f64
            },
        }
    }

    /// Takes in what happened at `now`. During a step too: its effect on scheduling comes with the
    /// next plan.
    ///
    /// # Errors
    /// [`SchedulerError`] when the event cannot have happened or a policy decides what it may not.
    pub fn handle(&mut self, now: Time, event: Event) -> Result<(), SchedulerError> {
        debug_assert!(self.no_repeats_open(), "the repetitions were not ended");
        // Between a plan and the end of its step: the next plan is another one.
        self.changed = true;
        match event {
            Event::SessionArrived(arrival) => self.arrived(now, &arrival)?,
            Event::TurnReady { session, turn } => self.turn_ready(now, session, turn)?,
            Event::ToolFinished {
                session,
                queue_delay,
            } => self.tool_finished(now, session, queue_delay)?,
            Event::SessionOver { session } => {
                let slot = self.expect(now, session, "session over", State::Yielded)?;
                self.tool_phase_over(now, slot);
                self.drop_copy_out(slot);
                self.drop_host_copy(slot);
                self.drop_pin(now, slot, Unpin::SessionOver);
                self.finish_session(now, slot);
                self.run_admission(now, Trigger::SessionEnd)?;
            }
            Event::CopyDone { session, copy } => self.copy_done(now, session, copy)?,
            Event::Timer => self.timer(now)?,
        }
        self.arm_tick(now);
        Ok(())
    }

    /// The next step, or `None` when there is nothing to compute. The world executes the plan and
    /// then calls [`Scheduler::step_done`]; until then it must not plan again.
    ///
    /// # Errors
    /// [`SchedulerError::Stuck`] when turns wait that nothing can ever start.
    ///
    /// # Panics
    /// If called between a plan and its `step_done`: a bug of the world.
    pub fn plan(&mut self, now: Time) -> Result<Option<&StepPlan>, SchedulerError> {
        assert!(!self.in_step, "planned a step while one executes");
        // An empty round costs no time and is repeated as long as it changed something: a turn that
        // preempted itself may start again now.
        loop {
            self.plan.chunks.clear();
            self.changed = false;
            self.expire_pins(now);
            self.move_ranks(now);
            self.refresh_waiting_ranks(now);
            self.order_running(now);
            let mut budget = self.config.token_budget;
            let preempted = self.running_pass(now, &mut budget)?;
            if !preempted {
                self.waiting_pass(now, &mut budget);
            }
            self.lift_quanta(now, budget);
            if !self.plan.chunks.is_empty() {
                break;
            }
            if self.end_late(now)? {
                // Nothing was left to run beside them: the engine looks again.
                continue;
            }
            if !self.changed {
                // Blocks may be pinned by a policy that lets nobody have them until their time is up.
                let can_wait = !self.running.is_empty() || !self.pinned.is_empty();
                return if self.waiting.is_empty() || can_wait {
                    Ok(None)
                } else {
                    let (_, first, _) = self.waiting.after(None).expect("not empty");
                    Err(SchedulerError::Stuck {
                        at: now,
                        waiting: self.waiting.len(),
                        first,
                    })
                };
            }
        }
        self.tell_planned();
        self.end_late(now)?;
        self.counters.steps += 1;
        if cfg!(debug_assertions) && self.counters.steps.is_multiple_of(1024) {
            self.check(now)?;
        }
        self.in_step = true;
        Ok(Some(&self.plan))
    }

    /// The step that was planned last, for a world that reads it beside the block tables. Of meaning
    /// between [`Scheduler::plan`] and [`Scheduler::step_done`].
    pub fn planned(&self) -> &StepPlan {
        &self.plan
    }

    pub(crate) fn assert_in_step(&self) {
        assert!(self.in_step, "a step ended that was not planned");
        debug_assert!(self.no_repeats_open(), "the repetitions were not ended");
    }

    pub(crate) fn leave_step(&mut self) {
        self.assert_in_step();
        self.in_step = false;
    }

    pub(crate) fn emit(&mut self, now: Time, info: Info) {
        self.stream.push((now, info));
    }

    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn fresh_lineage(&mut self) -> u64 {
        self.next_lineage += 1;
        self.next_lineage
    }

    pub(crate) fn expect(
        &self,
        at: Time,
        session: SessionId,
        event: &'static str,
        state: State,
    ) -> Result<u32, SchedulerError> {
        let impossible = |state| {
            Err(SchedulerError::ImpossibleEvent {
                at,
                event,
                session,
                state,
            })
        };
        match self.sessions.find(session) {
            None => impossible("not in flight"),
            Some(slot) if self.sessions[slot].state == state => Ok(slot),
            Some(slot) => impossible(self.sessions[slot].state.name()),
        }
    }

    fn arrived(&mut self, now: Time, arrival: &Arrival) -> Result<(), SchedulerError> {
        let id = arrival.session;
        if self.sessions.find(id).is_some() {
            return Err(SchedulerError::ImpossibleEvent {
                at: now,
                event: "session arrived",
                session: id,
                state: "already here",
            });
        }
        let size = self.config.block_size;
        let needs = size.to_hold(arrival.peak);
        if needs > self.pool.usable() {
            let usable = self.pool.usable();
            self.emit(
                now,
                Info::Rejected {
                    session: id,
                    needs,
                    usable,
                },
            );
            if arrival.last_of_load {
                // Those that queue must hear of it all the same.
                self.policy.admission.load_over();
                self.run_admission(now, Trigger::Arrival)?;
            }
            return Ok(());
        }
        let mut groups = Vec::with_capacity(arrival.shared.len());
        for &(group, tokens) in &arrival.shared {
            let lineage = if let Some(&known) = self.groups.get(&group) {
                known
            } else {
                let fresh = self.fresh_lineage();
                self.groups.insert(group, fresh);
                fresh
            };
            groups.push((lineage, size.filled_by(tokens)));
        }
        let own = self.fresh_lineage();
        let demand = size.to_hold(arrival.turn.prompt);
        let lineage = Lineage::first(own, &groups);
        let slot = self
            .sessions
            .insert(Session::new(id, now, lineage, &arrival.turn));
        self.members
            .enter(self.sessions[slot].lineage.groups(), slot);
        self.emit(
            now,
            Info::Arrived {
                session: id,
                demand,
            },
        );
        let candidate = Candidate {
            session: id,
            arrival: now,
            prompt: arrival.turn.prompt,
            demand,
            foresight: Doors::through(self.doors.admission, arrival.turn.foresight),
        };
        self.backlog.insert(candidate);
        self.policy.admission.arrived(now, &candidate);
        if arrival.last_of_load {
            self.policy.admission.load_over();
        }
        self.run_admission(now, Trigger::Arrival)
    }

    fn turn_ready(
        &mut self,
        now: Time,
        session: SessionId,
        turn: TurnRequest,
    ) -> Result<(), SchedulerError> {
        let slot = self.expect(now, session, "turn ready", State::Yielded)?;
        self.tool_phase_over(now, slot);
        let own = self.fresh_lineage();
        let kept = self.config.block_size.filled_by(turn.reused);
        let s = &mut self.sessions[slot];
        s.lineage.branch(kept, own);
        s.turn += 1;
        s.prompt = turn.prompt;
        s.reused = turn.reused;
        s.output = turn.output;
        s.then = turn.then;
        s.flagged_last = turn.flagged_last;
        s.foresight = turn.foresight;
        s.generated = Tokens::ZERO;
        s.seen = s.seen.min(turn.reused);
        s.usage = TurnUsage::default();
        s.started = false;
        s.kept_warm = s.pin.is_some() || s.host.is_some();
        self.drop_copy_out(slot);
        self.stale.forget();
        if self.sessions[slot].paused {
            self.sessions[slot].state = State::Held;
        } else {
            self.enqueue(now, slot);
        }
        Ok(())
    }

    /// Tells the estimators how long the tools took, from yield to now.
    fn tool_phase_over(&mut self, now: Time, slot: u32) {
        let s = &self.sessions[slot];
        let (tool, wall) = (s.tool, now.since(s.yielded_at));
        self.tools_in_flight -= u64::from(s.calls_left);
        self.sessions[slot].calls_left = 0;
        self.policy.retention.tool_phase(tool, wall);
    }

    fn tool_finished(
        &mut self,
        now: Time,
        session: SessionId,
        queue_delay: Nanos,
    ) -> Result<(), SchedulerError> {
        let slot = self.expect(now, session, "tool finished", State::Yielded)?;
        let left = &mut self.sessions[slot].calls_left;
        if *left == 0 {
            return Err(SchedulerError::ImpossibleEvent {
                at: now,
                event: "tool finished",
                session,
                state: "without a tool in flight",
            });
        }
        *left -= 1;
        self.tools_in_flight -= 1;
        self.tool_wait.observe(queue_delay.as_secs());
        Ok(())
    }

    /// Puts a turn into the waiting order: ready now, or again after a preemption.
    pub(crate) fn enqueue(&mut self, now: Time, slot: u32) {
        let sequence = self.next_sequence();
        let s = &mut self.sessions[slot];
        if s.preempted_seq.is_none() {
            s.ready = now;
            s.ready_seq = sequence;
            s.last_scheduled = None;
            let full = |window| self.waiting.len() + self.running.len() >= window;
            if self.policy.order.turn_window().is_some_and(full) {
                s.state = State::Outside;
                self.outside.push_back(slot);
                return;
            }
        }
        self.enter_window(now, slot);
    }

    /// Enters a turn into the waiting order.
    fn enter_window(&mut self, now: Time, slot: u32) {
        let s = &mut self.sessions[slot];
        s.state = State::Waiting;
        let again = s.preempted_seq.is_some();
        self.match_prefix(slot);
        self.count_owed(slot);
        if !again && self.policy.order.wants_feedback() {
            let view = self.sessions[slot].view(self.config.block_size, self.doors);
            self.policy.order.turn_ready(&view);
        }
        self.rank_waiting(now, slot);
    }

    /// Lets turns in from outside the turn window while it has room.
    pub(crate) fn fill_window(&mut self, now: Time) {
        let Some(window) = self.policy.order.turn_window() else {
            return;
        };
        while self.waiting.len() + self.running.len() < window
            && let Some(slot) = self.outside.pop_front()
        {
            self.enter_window(now, slot);
        }
    }

    /// Completes a session that holds nothing any more.
    pub(crate) fn finish_session(&mut self, now: Time, slot: u32) {
        let session = self.sessions.remove(slot);
        self.members.leave(session.lineage.groups(), slot);
        debug_assert!(
            session.blocks.is_empty(),
            "a complete session holds no block"
        );
        self.in_flight -= 1;
        self.policy.admission.ended(session.id);
        self.policy.order.session_ended(session.id);
        self.policy.retention.session_ended(session.turn + 1);
        self.emit(
            now,
            Info::SessionEnded {
                session: session.id,
            },
        );
    }

    /// Adds what follows a turn's end to the tool counters.
    pub(crate) fn begin_yield(&mut self, now: Time, slot: u32) {
        let s = &mut self.sessions[slot];
        if let Then::Yield { tool, calls } = s.then {
            s.yielded_at = now;
            s.tool = tool;
            s.calls_left = calls;
            self.tools_in_flight += u64::from(calls);
        }
    }
}
