//! `commands.parquet`: one row per command that a tool call ran, in the order in which they ended.
//!
//! Why: the recorded times say what a call took elsewhere; these are what it took here.

use std::path::Path;

use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
use serde::Serialize;
use sim::world::CommandRecord;
use units::{Nanos, Time};

use super::columns::{table, write};

table! {
    /// `exit_code` is null for a command that was killed, ran out of time or never began; `cpu_s` counts the
    /// children that it waited for, and is null without a process.
    CommandColumns {
        session: u32,
        turn: u32,
        call: u32,
        tool: String,
        ended_s: f64,
        elapsed_s: f64,
        queue_s: f64,
        cpu_s: Option<f64>,
        exit_code: Option<i32>,
        output_bytes: u64,
        output_dropped_bytes: u64,
    }
}

/// What the commands of a run came to, for its manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CommandTotals {
    /// Commands that were started, or should have been.
    pub run: usize,
    /// Of these, ended with another status than 0.
    pub non_zero_exits: usize,
    /// Killed, out of time, or never begun: their sessions failed.
    pub failed: usize,
    /// From the turn's end to their own, summed.
    pub elapsed_s: f64,
    /// Of that, waits for a worker.
    pub queue_s: f64,
    /// CPU time, summed.
    pub cpu_s: f64,
    /// Output, bytes.
    pub output_bytes: u64,
    /// Commands that wrote more than was kept.
    pub output_cut: usize,
}

impl CommandColumns {
    /// Appends a command.
    pub fn push(&mut self, at: Time, r: &CommandRecord) {
        self.session.push(r.session.0);
        self.turn.push(r.turn);
        self.call.push(r.call);
        self.tool.push(r.tool.to_string());
        self.ended_s.push(at.as_secs());
        self.elapsed_s.push(r.elapsed.as_secs());
        self.queue_s.push(r.queue_delay.as_secs());
        self.cpu_s.push(r.end.cpu.map(Nanos::as_secs));
        self.exit_code.push(r.end.exit);
        self.output_bytes.push(r.end.output_bytes);
        self.output_dropped_bytes.push(r.end.output_dropped);
    }

    /// What they came to.
    pub fn totals(&self) -> CommandTotals {
        let exits = |is: fn(&Option<i32>) -> bool| self.exit_code.iter().filter(|e| is(e)).count();
        CommandTotals {
            run: self.exit_code.len(),
            non_zero_exits: exits(|exit| exit.is_some_and(|status| status != 0)),
            failed: exits(Option::is_none),
            elapsed_s: self.elapsed_s.iter().sum(),
            queue_s: self.queue_s.iter().sum(),
            cpu_s: self.cpu_s.iter().flatten().sum(),
            output_bytes: self.output_bytes.iter().sum(),
            output_cut: self.output_dropped_bytes.iter().filter(|n| **n > 0).count(),
        }
    }

    /// Writes them. Returns the number of rows.
    ///
    /// # Errors
    /// What the system or polars says.
    pub fn write(self, path: &Path) -> anyhow::Result<usize> {
        write(self.frame()?, path)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use replay::CommandEnd;
    use units::SessionId;

    use super::*;

    #[test]
    fn totals_are_those_summed_by_hand() {
        let mut columns = CommandColumns::default();
        for (exit, cpu_ms, dropped) in [
            (Some(0), Some(10), 0),
            (Some(2), Some(30), 7),
            (None, None, 0),
        ] {
            let record = CommandRecord {
                session: SessionId(1),
                turn: 2,
                call: 0,
                tool: Arc::from("Bash"),
                elapsed: Nanos::from_millis(250),
                queue_delay: Nanos::from_millis(50),
                end: CommandEnd {
                    exit,
                    cpu: cpu_ms.map(Nanos::from_millis),
                    output_bytes: 100,
                    output_dropped: dropped,
                },
            };
            columns.push(Time::ZERO, &record);
        }
        let totals = columns.totals();
        assert_eq!(
            (totals.run, totals.non_zero_exits, totals.failed),
            (3, 1, 1)
        );
        assert_eq!((totals.output_bytes, totals.output_cut), (300, 1));
        for (sum, want) in [
            (totals.elapsed_s, 0.75),
            (totals.queue_s, 0.15),
            (totals.cpu_s, 0.04),
        ] {
            assert!((sum - want).abs() < 1e-12, "{sum} is not {want}");
        }
    }
}
