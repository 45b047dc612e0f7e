//! The executor's part: batches, tokens and copies, whatever the clock.

use std::time::Instant;

use replay::{Call, CallEnd, CallId, CopyOrder, Machine, Waited};
use scheduler::{Arrival, Direction, Foresight, Scheduler, TurnRequest};
use traces::model::Session;
use units::{Nanos, SessionId, Time, Tokens};

use super::error::DriveError;
use crate::batch::Batch;
use crate::executor::{Copy, Executor, ExecutorError, Way};
use crate::tokens::Transcripts;

/// What is around an executor: a clock, tools, and how long steps and copies take by that clock.
///
/// As a [`Machine`], its `step` is asked after the executor has computed the step.
pub trait Surroundings: Machine {
    /// The executor says that these copies are done. A clock that foretells their ends does not care.
    fn copies_ended(&mut self, copies: &[u64]) {
        let _ = copies;
    }
}

/// What an executor has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Steps.
    pub steps: u64,
    /// Tokens computed.
    pub tokens: u64,
    /// Of these, sampled from.
    pub sampled: u64,
    /// KV blocks copied to the host and back.
    pub copied: u64,
    /// Time that steps took on the executor, by the real clock.
    pub executor: Nanos,
}

/// An executor at work for the scheduler.
pub struct Live<'e, S> {
    executor: &'e mut dyn Executor,
    surroundings: S,
    transcripts: Transcripts,
    /// Longest context of the model.
    most: Tokens,
    ids: Vec<u32>,
    work: Work,
    /// Blocks are filled with not-a-number before they are first written, and logits are looked at.
    poison: bool,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Live<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("executor", &self.executor.name())
            .field("surroundings", &self.surroundings)
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

impl<'e, S: Surroundings> Live<'e, S> {
    /// The executor in these surroundings, for contexts of up to `most` tokens whose ids are drawn from
    /// `seed`.
    pub fn new(executor: &'e mut dyn Executor, surroundings: S, most: Tokens, seed: u64) -> Self {
        let transcripts = Transcripts::new(executor.vocabulary(), seed);
        Self {
            executor,
            surroundings,
            transcripts,
            most,
            ids: Vec::new(),
            work: Work::default(),
            poison: false,
        }
    }

    /// Fills every block with not-a-number before its first token is written, and takes logits that are not
    /// finite for an error: so a step that reads what it must not is found. Costs time; changes no token.
    pub fn poisoned(mut self) -> Self {
        self.poison = true;
        self
    }

    fn poison(&mut self, batch: &Batch, scheduler: &Scheduler) -> Result<(), ExecutorError> {
        let size = scheduler.config().block_size;
        let mut fresh: Vec<u32> = Vec::new();
        for (row, table) in batch.rows.iter().zip(&batch.block_tables) {
            // Blocks that hold a computed token are the context's; the others nobody has written yet.
            let held = size.to_hold(row.context - row.query).get();
            let held = usize::try_from(held).unwrap_or(usize::MAX);
            fresh.extend(table.iter().skip(held));
        }
        self.executor.poison(&fresh)
    }

    /// What the executor has done.
    pub fn work(&self) -> Work {
        self.work
    }

    /// What is around it.
    pub fn surroundings(&self) -> &S {
        &self.surroundings
    }

    /// The contexts as they are now.
    pub fn transcripts(&self) -> &Transcripts {
        &self.transcripts
    }

    fn look_for_copies(&mut self) -> Result<(), DriveError<S::Error>> {
        let ended = self.executor.ended_copies()?;
        self.surroundings.copies_ended(&ended);
        Ok(())
    }
}

impl<S: Surroundings> Machine for Live<'_, S> {
    type Error = DriveError<S::Error>;

    const LOOK_UP_EVERY: u32 = S::LOOK_UP_EVERY;

    fn accept(&self, session: &Session) -> Result<(), Self::Error> {
        let tokens = session.peak_tokens();
        if tokens > self.most {
            return Err(DriveError::ContextBeyondModel {
                session: session.id.to_string(),
                tokens: tokens.get(),
                most: self.most.get(),
            });
        }
        let accepted = self.surroundings.accept(session);
        accepted.map_err(DriveError::Surroundings)
    }

    fn foresee(&self, session: &Session) -> Vec<Foresight> {
        self.surroundings.foresee(session)
    }

    fn arrived(&mut self, arrival: &Arrival) {
        self.transcripts.arrived(arrival);
        self.surroundings.arrived(arrival);
    }

    fn turn_ready(&mut self, session: SessionId, turn: &TurnRequest) {
        self.transcripts.next_turn(session, turn);
        self.surroundings.turn_ready(session, turn);
    }

    fn session_ended(&mut self, session: SessionId) {
        self.transcripts.ended(session);
        self.executor.forget(session);
        self.surroundings.session_ended(session);
    }

    fn wait(&mut self, now: Time, until: Option<Time>) -> Result<Waited, Self::Error> {
        self.look_for_copies()?;
        let waited = self.surroundings.wait(now, until);
        waited.map_err(DriveError::Surroundings)
    }

    fn catch_up(&mut self, now: Time) -> Result<Time, Self::Error> {
        self.look_for_copies()?;
        let due = self.surroundings.catch_up(now);
        due.map_err(DriveError::Surroundings)
    }

    fn step(&mut self, now: Time, scheduler: &Scheduler) -> Result<Nanos, Self::Error> {
        let batch = Batch::new(scheduler.planned(), scheduler)?;
        self.transcripts.inputs(&batch, &mut self.ids);
        if self.poison {
            self.poison(&batch, scheduler)?;
        }
        let began = Instant::now();
        let sampled = self.executor.step(&batch, &self.ids)?;
        self.work.executor += nanos_since(began);
        if self.poison && self.executor.logits()?.iter().any(|x| !x.is_finite()) {
            return Err(DriveError::StaleRead {
                step: self.work.steps,
            });
        }
        let (wanted, got) = (batch.sample_at.len(), sampled.tokens.len());
        if wanted != got {
            return Err(DriveError::Sampled { wanted, got });
        }
        for &(session, token) in &sampled.tokens {
            self.transcripts.generated(session, token);
        }
        self.work.steps += 1;
        self.work.tokens += batch.positions.len() as u64;
        self.work.sampled += got as u64;
        let time = self.surroundings.step(now, scheduler);
        time.map_err(DriveError::Surroundings)
    }

    fn step_ended(&mut self, now: Time) {
        self.surroundings.step_ended(now);
    }

    fn idle(&mut self, now: Time) {
        self.surroundings.idle(now);
    }

    fn start_call(&mut self, now: Time, call: Call<'_>) -> Result<(), Self::Error> {
        let started = self.surroundings.start_call(now, call);
        started.map_err(DriveError::Surroundings)
    }

    fn next_cpu(&self) -> Option<Time> {
        self.surroundings.next_cpu()
    }

    fn advance_cpu(&mut self, now: Time) {
        self.surroundings.advance_cpu(now);
    }

    fn next_call(&self) -> Option<(Time, CallId)> {
        self.surroundings.next_call()
    }

    fn end_call(&mut self) -> CallEnd {
        self.surroundings.end_call()
    }

    fn start_copy(
        &mut self,
        at: Time,
        order: CopyOrder,
        scheduler: &Scheduler,
    ) -> Result<(), Self::Error> {
        let copy = copy_of(order, scheduler);
        self.work.copied += copy.blocks.len() as u64;
        self.executor.begin_copy(&copy)?;
        let started = self.surroundings.start_copy(at, order, scheduler);
        started.map_err(DriveError::Surroundings)
    }

    fn next_copy(&self) -> Option<(Time, SessionId, u64)> {
        self.surroundings.next_copy()
    }

    fn end_copy(&mut self) {
        self.surroundings.end_copy();
    }
}

/// Real time since then.
pub(super) fn nanos_since(began: Instant) -> Nanos {
    Nanos::new(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// The blocks that an ordered copy reads or fills.
fn copy_of(order: CopyOrder, scheduler: &Scheduler) -> Copy {
    let table = scheduler.block_table(order.session);
    let count = usize::try_from(order.blocks.get()).unwrap_or(usize::MAX);
    let (way, range) = match order.direction {
        Direction::ToHost => (Way::ToHost, 0..count.min(table.len())),
        Direction::ToGpu => (
            Way::ToDevice,
            table.len().saturating_sub(count)..table.len(),
        ),
    };
    Copy {
        id: order.copy,
        session: order.session,
        way,
        first: u32::try_from(range.start).expect("fewer blocks than ids"),
        blocks: table[range].iter().map(|block| block.0).collect(),
    }
}
