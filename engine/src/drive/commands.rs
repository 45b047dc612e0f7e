//! From a recorded tool call to what the pool runs, and from how that ended to what the loop is told.
//!
//! What: a call computes and waits as recorded, or runs the command that it carries, if that was asked for.
//! Why apart: agents see commands fail all the time and go on, so what a failure is differs between the two.
//! A process that stands in for a recorded tool has to end well, or the machine did not do its work. A
//! command may end with any status of its own; what ends its session is that it never began, was killed, or
//! ran out of time.

use std::num::NonZeroU32;

use replay::{Call, CallEnd, CommandEnd, ReplayError};
use units::{Nanos, Time};

use crate::tools::{Command, Ended, Outcome, Work};

/// What becomes of the commands that tool calls carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commands {
    /// They are not run: the calls compute and wait for their recorded times.
    #[default]
    Burn,
    /// They are run, each in its session's folder, however long they take. Foreign code: the caller vouches
    /// for it.
    Run,
}

/// A call in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) started: Time,
    /// Its time alone, as recorded; `None` for a command, whose time is what it takes here.
    recorded: Option<Nanos>,
}

/// What the pool is to do for a call that starts now.
///
/// # Errors
/// [`ReplayError::UnknownTool`]: recorded times are wanted and the recording is silent.
pub(super) fn work(
    call: &Call<'_>,
    commands: Commands,
    started: Time,
) -> Result<(Work, InFlight), ReplayError> {
    if let (Commands::Run, Some(command)) = (commands, &call.tool.command) {
        let argv = command.argv.iter().map(ToString::to_string).collect();
        let env = Vec::new();
        let in_flight = InFlight {
            started,
            recorded: None,
        };
        return Ok((Work::Command(Command { argv, env }), in_flight));
    }
    let (wall, cpu) = call.times()?;
    let threads = NonZeroU32::new(call.tool.parallelism).unwrap_or(NonZeroU32::MIN);
    let computing = Nanos::new(cpu.as_nanos().div_ceil(u64::from(threads.get())));
    let work = Work::Burn {
        cpu,
        threads,
        io: wall.saturating_sub(computing),
    };
    let in_flight = InFlight {
        started,
        recorded: Some(wall),
    };
    Ok((work, in_flight))
}

/// What the loop is told of a call that ended.
pub(super) fn end(result: &Ended, call: InFlight) -> CallEnd {
    let is_command = call.recorded.is_none();
    CallEnd {
        queue_delay: result.queue_delay,
        elapsed: result.elapsed,
        alone: call
            .recorded
            .unwrap_or_else(|| result.elapsed.saturating_sub(result.queue_delay)),
        failed: failure(result, is_command),
        command: is_command.then(|| CommandEnd {
            exit: match result.outcome {
                Outcome::Ok => Some(0),
                Outcome::Exit(status) => Some(status),
                Outcome::Killed(_) | Outcome::TimedOut | Outcome::SpawnFailed(_) => None,
            },
            cpu: result.cpu,
            output_bytes: result.output.bytes,
            output_dropped: result.output.bytes - result.output.kept.len() as u64,
        }),
    }
}

/// Why a call counts as failed, in words.
fn failure(result: &Ended, is_command: bool) -> Option<String> {
    let why = match &result.outcome {
        Outcome::Ok => return None,
        Outcome::Exit(_) if is_command => return None,
        Outcome::Exit(status) => format!("it ended with status {status}"),
        Outcome::Killed(signal) => format!("signal {signal} killed it"),
        Outcome::TimedOut => format!(
            "it ran past its time limit and was killed after {:.3} s",
            result.elapsed.as_secs()
        ),
        // It says why itself.
        Outcome::SpawnFailed(why) => return Some(format!("it could not be started: {why}")),
    };
    let said = String::from_utf8_lossy(&result.output.kept);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Some(match last {
        Some(line) => format!("{why}; it last wrote: {}", line.trim()),
        None => why,
    })
}

#[cfg(test)]
mod tests {
    use replay::CallId;
    use units::SessionId;

    use super::*;
    use crate::tools::Output;

    fn ended(outcome: Outcome) -> Ended {
        Ended {
            id: CallId(0),
            session: SessionId(0),
            queue_delay: Nanos::from_millis(30),
            elapsed: Nanos::from_millis(100),
            cpu: Some(Nanos::from_millis(20)),
            outcome,
            output: Output {
                kept: b"ab".to_vec(),
                bytes: 5,
            },
        }
    }

    #[test]
    fn a_status_ends_a_stand_in_and_not_a_command() {
        let of = |recorded| InFlight {
            started: Time::ZERO,
            recorded,
        };
        let command = end(&ended(Outcome::Exit(3)), of(None));
        let want = CommandEnd {
            exit: Some(3),
            cpu: Some(Nanos::from_millis(20)),
            output_bytes: 5,
            output_dropped: 3,
        };
        assert_eq!((&command.failed, command.command), (&None, Some(want)));
        // 100 ms, of which it waited 30 for a worker.
        assert_eq!(command.alone, Nanos::from_millis(70));
        let burn = end(&ended(Outcome::Exit(3)), of(Some(Nanos::from_millis(50))));
        let why = "it ended with status 3; it last wrote: ab";
        assert_eq!(burn.failed.as_deref(), Some(why));
        assert_eq!((burn.alone, burn.command), (Nanos::from_millis(50), None));
    }

    #[test]
    fn a_command_that_was_killed_or_never_began_has_failed() {
        let in_flight = InFlight {
            started: Time::ZERO,
            recorded: None,
        };
        for (outcome, why) in [
            (Outcome::Killed(9), "signal 9 killed it; it last wrote: ab"),
            (
                Outcome::TimedOut,
                "it ran past its time limit and was killed after 0.100 s; it last wrote: ab",
            ),
            (
                Outcome::SpawnFailed("no such file".to_owned()),
                "it could not be started: no such file",
            ),
        ] {
            let end = end(&ended(outcome), in_flight);
            assert_eq!(end.failed.as_deref(), Some(why));
            assert_eq!(end.command.and_then(|command| command.exit), None);
        }
    }
}
