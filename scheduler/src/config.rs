//! What the mechanism is told before it starts: the engine's limits and its options.

use units::{BlockSize, Blocks, Tokens};

use crate::error::ConfigError;

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
    /// Cores that the tools share; the scale of the CPU backlog signal.
    pub tool_cores: u32,
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
            tool_cores: 8,
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
