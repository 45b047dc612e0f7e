//! The decision log as columns: `decisions.parquet`.
//!
//! One row per decision, in order. Null is "not a number of this decision". The state columns are the
//! machine just before it, as the policy was shown it.
//! Limits: a row takes about 400 bytes until the run ends; a turn makes two or three.

use std::path::Path;

use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
use scheduler::Decision;
use scheduler::policy::Trigger;
use units::{Blocks, Time, Tokens};

use super::columns::{self, table};

table! {
    /// One row per decision of a policy.
    DecisionColumns {
        at_s: f64,
        at_ns: u64,
        session: Option<u32>,
        decision: &'static str,
        reason: &'static str,
        asked_at: Option<&'static str>,
        for_session: Option<u32>,
        kv_pressure: f64,
        free_blocks: u64,
        pinned_blocks: u64,
        stale_blocks: u64,
        owed_blocks: u64,
        waiting_turns: u64,
        running_turns: u64,
        backlog_sessions: u64,
        in_flight_sessions: u64,
        tools_per_core: f64,
        tool_wait_s: Option<f64>,
        demand_blocks: Option<u64>,
        blocks: Option<u64>,
        tokens: Option<u64>,
        hit_tokens: Option<u64>,
        key_1: Option<i64>,
        key_2: Option<i64>,
        key_3: Option<i64>,
        pin_value: Option<f64>,
        until_s: Option<f64>,
        window_sessions: Option<u64>,
        window_cpu_cap_sessions: Option<u64>,
        window_kv_cap_sessions: Option<u64>,
    }
}

impl DecisionColumns {
    /// Appends a decision.
    pub fn push(&mut self, at: Time, d: &Decision) {
        let (seen, detail) = (&d.seen, &d.detail);
        let key = |i: usize| detail.key.map(|key| key[i]);
        self.at_s.push(at.as_secs());
        self.at_ns.push(at.as_nanos());
        self.session.push(d.session.map(|s| s.0));
        self.decision.push(d.kind.name());
        self.reason.push(d.reason.name());
        self.asked_at.push(detail.trigger.map(Trigger::name));
        self.for_session.push(detail.claimant.map(|s| s.0));
        self.kv_pressure.push(seen.kv_pressure());
        self.free_blocks.push(seen.free.get());
        self.pinned_blocks.push(seen.pinned.get());
        self.stale_blocks.push(seen.stale.get());
        self.owed_blocks.push(seen.owed.get());
        self.waiting_turns.push(seen.waiting as u64);
        self.running_turns.push(seen.running as u64);
        self.backlog_sessions.push(seen.backlog as u64);
        self.in_flight_sessions.push(seen.in_flight as u64);
        self.tools_per_core.push(seen.cpu_backlog());
        self.tool_wait_s.push(d.tool_wait_s);
        self.demand_blocks.push(detail.demand.map(Blocks::get));
        self.blocks.push(detail.blocks.map(Blocks::get));
        self.tokens.push(detail.tokens.map(Tokens::get));
        self.hit_tokens.push(detail.hit.map(Tokens::get));
        self.key_1.push(key(0));
        self.key_2.push(key(1));
        self.key_3.push(key(2));
        self.pin_value.push(detail.value);
        self.until_s.push(detail.until.map(Time::as_secs));
        self.window_sessions.push(detail.window.map(|w| w.size));
        self.window_cpu_cap_sessions
            .push(detail.window.map(|w| w.cpu_cap));
        self.window_kv_cap_sessions
            .push(detail.window.map(|w| w.kv_cap));
    }

    /// Writes them, in order, with the policy's name in each row. Returns the number of rows.
    ///
    /// # Errors
    /// What the system or polars says.
    pub fn write(self, policy: &str, path: &Path) -> anyhow::Result<usize> {
        let mut frame = self.frame()?;
        let name = vec![policy; frame.height()];
        frame.insert_column(2, Series::new("policy".into(), name).into_column())?;
        columns::write(frame, path)
    }
}
