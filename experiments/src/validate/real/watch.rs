//! A watch on an executor: what each step took, on the clock and on the processor.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use engine::measure::cpu_time;
use engine::{Batch, Copy, Executor, ExecutorError, Sampled};
use units::{Bytes, Nanos, SessionId};

/// What the last step took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// On the clock.
    pub wall: Nanos,
    /// CPU time of this process, all threads together.
    pub cpu: Nanos,
}

/// An executor that notes what its steps take.
pub struct Watched {
    inner: Box<dyn Executor>,
    last: Rc<Cell<Took>>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched")
            .field("executor", &self.inner.name())
            .field("last", &self.last)
            .finish()
    }
}

impl Watched {
    /// Watches this executor.
    pub fn new(inner: Box<dyn Executor>) -> Self {
        Self {
            inner,
            last: Rc::default(),
        }
    }

    /// Where the last step's times are.
    pub fn last(&self) -> Rc<Cell<Took>> {
        Rc::clone(&self.last)
    }
}

impl Executor for Watched {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn step(&mut self, batch: &Batch, tokens: &[u32]) -> Result<Sampled, ExecutorError> {
        let (began, cpu) = (Instant::now(), cpu_time());
        let sampled = self.inner.step(batch, tokens)?;
        self.last.set(Took {
            wall: Nanos::new(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            cpu: cpu_time().saturating_sub(cpu),
        });
        Ok(sampled)
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
