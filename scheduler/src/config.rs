//! What the mechanism is told before it starts: the engine's limits and its options.

use std::num::NonZeroU64;

use units::{BlockSize, Blocks, Bytes, Nanos, Tokens};

use crate::error::ConfigError;
use crate::offload::Direction;

/// Limits and options of one engine. Policies cannot change them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Tokens per KV block.
    pub block_size: BlockSize,
    /// KV blocks that sessions can use: the pool less the one null block.
    pub usable_blocks: Blocks,
    /// Tokens that one step may compute, decode and prefill together.
    pub token_budget: Tokens,
    /// Turns that may run at once.
    pub max_running: usize,
    /// Whether content left in free blocks may be hit.
    pub prefix_caching: bool,
    /// What the waiting pass does at a turn that does not fit.
    pub head_of_line: HeadOfLine,
    /// For how much of itself a waiting turn must find room.
    pub start_room: StartRoom,
    /// When a step is planned.
    pub planning: Planning,
    /// Cores that the tools share; the scale of the CPU backlog signal.
    pub tool_cores: u32,
    /// Host memory for KV and the link to it; `None` for an engine without.
    pub offload: Option<Offload>,
    /// Whether every decision goes into the information stream, with its reason and inputs. It takes
    /// time and changes nothing else.
    pub log_decisions: bool,
    /// Whether [`crate::Scheduler::repeatable`] ever says yes. It saves time and changes nothing else.
    pub fast_forward: bool,
}

/// Host memory for KV, and the link between it and the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// KV blocks that host memory holds.
    pub host_blocks: Blocks,
    /// Size of one block over all layers.
    pub block_bytes: Bytes,
    /// Bytes per second from the GPU to the host.
    pub to_host_per_s: NonZeroU64,
    /// Bytes per second from the host to the GPU.
    pub to_gpu_per_s: NonZeroU64,
}

impl Offload {
    /// Time that a copy of so many blocks takes on an idle link, rounded up.
    pub fn copy_time(&self, direction: Direction, blocks: Blocks) -> Nanos {
        let per_s = match direction {
            Direction::ToHost => self.to_host_per_s,
            Direction::ToGpu => self.to_gpu_per_s,
        };
        let bytes = u128::from(blocks.get()) * u128::from(self.block_bytes.get());
        let ns = (bytes * 1_000_000_000).div_ceil(u128::from(per_s.get()));
        Nanos::new(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

/// What the waiting pass does when the next turn does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HeadOfLine {
    /// Stop: nobody overtakes the head (vLLM).
    #[default]
    Stop,
    /// Skip it and try the next one.
    Skip,
}

/// For how much of itself a waiting turn must find room. Policies may ask for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StartRoom {
    /// Its first chunk.
    #[default]
    FirstChunk,
    /// Its whole context (vLLM's `scheduler_reserve_full_isl`, on by default in 0.19). Nothing is set
    /// aside: blocks are still taken chunk by chunk.
    WholeContext,
}

/// When a step is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Planning {
    /// Between two steps.
    #[default]
    Between,
    /// While the step before runs (vLLM's asynchronous scheduling, on by default in 0.19). A turn that
    /// becomes ready during a step then waits for the end of the next one, whose plan was made without it.
    /// The world sees to that: it tells the scheduler of such a turn right after that next plan.
    ///
    /// A turn that has its last token in a step ends when the next step is planned, but too late for that
    /// plan: it holds its blocks and its place in it, and computes nothing. If somebody needs blocks, it may
    /// be the victim; then it ends at once, and nobody starts in that step, as after any preemption.
    Ahead,
}

impl Default for Config {
    /// The replay settings of the reference: 2048 tokens, 128 turns, block 16, 17,000 blocks with
    /// the null block, 8 tool cores.
    fn default() -> Self {
        Self {
            block_size: BlockSize::default(),
            usable_blocks: Blocks(16_999),
            token_budget: Tokens(2048),
            max_running: 128,
            prefix_caching: true,
            head_of_line: HeadOfLine::Stop,
            start_room: StartRoom::FirstChunk,
            planning: Planning::Between,
            tool_cores: 8,
            offload: None,
            log_decisions: false,
            fast_forward: true,
        }
    }
}

impl Config {
    /// # Errors
    /// [`ConfigError`] names the field, its value and the limit it breaks.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |field, value: u64, wanted| {
            Err(ConfigError {
                field,
                value,
                wanted,
            })
        };
        if self.usable_blocks.get() == 0 || self.usable_blocks.get() >= 1 << 24 {
            return bad(
                "usable_blocks",
                self.usable_blocks.get(),
                "1 to 2^24 - 1 blocks",
            );
        }
        if self.token_budget.get() == 0 {
            return bad("token_budget", 0, "at least 1 token");
        }
        if self.max_running == 0 {
            return bad("max_running", 0, "at least 1 turn");
        }
        if self.tool_cores == 0 {
            return bad("tool_cores", 0, "at least 1 core");
        }
        Ok(())
    }
}
