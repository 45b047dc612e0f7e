//! A whole run in real time.

use std::sync::mpsc::channel;

use replay::{Ended, Limits, Observer, Offered, Summary};
use scheduler::policy::Policy;
use scheduler::{Config, PrefillCost, Scheduler};
use units::{Nanos, Tokens};

use super::commands::Commands;
use super::error::{DriveError, WallError};
use super::live::{Live, Work};
use super::wall::Wall;
use crate::executor::Executor;
use crate::tools::{Settings, ToolPool, ToolPoolError};

/// What a run needs beside its load.
#[derive(Debug)]
pub struct Drive {
    /// The engine's limits.
    pub engine: Config,
    /// The model's longest context.
    pub context_length: Tokens,
    /// Of the ids of prompt tokens.
    pub seed: u64,
    /// How tools run.
    pub tools: Settings,
    /// What becomes of commands that tool calls carry.
    pub commands: Commands,
    /// When to stop, and how often to sample.
    pub limits: Limits,
    /// Whether to look for reads of KV that was not written ([`Live::poisoned`]).
    pub poison: bool,
}

/// What a run came to, and how the time went.
#[derive(Debug)]
pub struct Driven {
    /// Totals, up to the error if there is one.
    pub summary: Summary,
    /// Why it ended early, if it did.
    pub error: Option<DriveError<WallError>>,
    /// What the executor did.
    pub work: Work,
    /// Time that the driver waited for tools, pauses and arrivals.
    pub asleep: Nanos,
}

/// Replays the offered sessions in real time. An error ends the run; what there is of it is told to the
/// observer and returned. All tools are gone when this returns.
///
/// # Errors
/// Limits that cannot be, or tools that cannot run at all: nothing has run then.
pub fn drive<O: Observer>(
    drive: &Drive,
    policy: Policy,
    reload: Box<dyn PrefillCost>,
    executor: &mut dyn Executor,
    offered: impl Iterator<Item = Offered>,
    observer: &mut O,
) -> Result<Driven, StartError> {
    let scheduler = Scheduler::new(drive.engine.clone(), policy, reload)?;
    let (sender, results) = channel();
    let tools = ToolPool::new(drive.tools.clone(), sender)?;
    let wall = Wall::new(tools, results).with_commands(drive.commands);
    let mut live = Live::new(executor, wall, drive.context_length, drive.seed);
    if drive.poison {
        live = live.poisoned();
    }
    let Ended { summary, error } =
        replay::run(&mut live, scheduler, drive.limits, offered, observer);
    Ok(Driven {
        summary,
        error,
        work: live.work(),
        asleep: live.surroundings().asleep(),
    })
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A limit that cannot be.
    #[error(transparent)]
    Config(#[from] scheduler::ConfigError),
    /// Tools that cannot run.
    #[error(transparent)]
    Tools(#[from] ToolPoolError),
}
