//! The aggregate of the information stream that policies see: counters, no futures.

use units::{Blocks, Nanos};

/// Weight of a new observation in every exponential average here (reference section 3).
const EMA_WEIGHT: f64 = 0.2;

/// An exponential moving average; the first observation starts it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ema(Option<f64>);

impl Ema {
    /// Takes one observation in.
    pub fn observe(&mut self, value: f64) {
        self.0 = Some(match self.0 {
            None => value,
            Some(mean) => mean + EMA_WEIGHT * (value - mean),
        });
    }

    /// The average; `None` before the first observation.
    pub fn get(self) -> Option<f64> {
        self.0
    }
}

/// The state of the machine in O(1) counters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Telemetry {
    /// Blocks of the pool that sessions can use.
    pub usable: Blocks,
    /// Blocks nobody holds (their content may still be cached).
    pub free: Blocks,
    /// Blocks held by pins and by no running turn.
    pub pinned: Blocks,
    /// Of `pinned`, blocks of stale pins: there for the taking.
    pub stale: Blocks,
    /// Blocks that admitted turns, waiting or in prefill, still have to allocate.
    pub owed: Blocks,
    /// Of `owed`, those of turns that wait.
    pub owed_waiting: Blocks,
    /// Sessions admitted and not complete, tool phases included.
    pub in_flight: usize,
    /// Turns that wait for their first or next start.
    pub waiting: usize,
    /// Turns that run.
    pub running: usize,
    /// Sessions that wait for admission.
    pub backlog: usize,
    /// Tool calls in flight: queued, on a core or in I/O.
    pub tools_in_flight: u64,
    /// Cores they share.
    pub tool_cores: u32,
    /// Smoothed run-queue delay of tool calls, seconds; 0 before the first.
    pub tool_wait_s: f64,
    /// Tokens in KV of all turns that run.
    pub running_context: units::Tokens,
    /// Tokens that the pool holds.
    pub capacity: units::Tokens,
    /// Prompt tokens of the turns that started so far, each counted once.
    pub prompt: units::Tokens,
    /// Of these, tokens found in KV.
    pub hit: units::Tokens,
    /// The host tier, if there is one.
    pub offload: Option<crate::Offload>,
    /// KV blocks in host memory, or on their way there.
    pub host_used: Blocks,
    /// Of these, KV blocks on their way there.
    pub copying_out: Blocks,
    /// Mean output length of the turns that ended, tokens; 0 before the first.
    pub mean_output: f64,
}

impl Telemetry {
    /// Share of the pool that turns hold; pins are soft and do not count (reference section 3).
    #[expect(
        clippy::cast_precision_loss,
        reason = "block counts are far below 2^53"
    )]
    pub fn kv_pressure(&self) -> f64 {
        let held = self.usable.get() - self.free.get() - self.pinned.get();
        held as f64 / self.usable.get() as f64
    }

    /// Tool calls in flight per core.
    #[expect(clippy::cast_precision_loss, reason = "tool counts are far below 2^53")]
    pub fn cpu_backlog(&self) -> f64 {
        self.tools_in_flight as f64 / f64::from(self.tool_cores)
    }

    /// Mean blocks that a waiting turn still has to take from the pool before its next sample; `None`
    /// when nobody waits. What running prefills miss does not count.
    #[expect(
        clippy::cast_precision_loss,
        reason = "block counts are far below 2^53"
    )]
    pub fn mean_missing(&self) -> Option<f64> {
        (self.waiting > 0).then(|| self.owed_waiting.get() as f64 / self.waiting as f64)
    }
}

/// What the cost model can say about recomputing a context. A number of the model, not of the trace.
pub trait PrefillCost: std::fmt::Debug + Send {
    /// Time to prefill `context` tokens from nothing, in chunks of the token budget, alone.
    fn reload(&self, context: units::Tokens) -> Nanos;
}
