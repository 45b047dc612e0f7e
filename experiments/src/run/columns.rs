//! Records as columns, and columns as Parquet.
//!
//! Why columns: a turn takes about 100 bytes here, and polars takes them over without a copy.
//! Names end with their unit. Times are seconds as floats, exact to the nanosecond below 104 days;
//! where sums or differences must be exact beyond that, a `_ns` column has the integer.
//! Limits: the order of rows is fixed (sessions by arrival, turns by end, samples by time), and so
//! are the bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use polars::prelude::{
    Column, DataFrame, IntoColumn, NamedFrom, ParquetCompression, ParquetWriter, Series,
    SortMultipleOptions,
};
use sim::world::{Sample, SessionRecord, Status, TurnRecord};
use units::{Nanos, Time};

use super::workload::EvidenceCounts;

/// Declares a table: its columns with their types, the frame they make, and how many rows there are.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($column:ident: $kind:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name { $($column: Vec<$kind>),+ }

        impl $name {
            fn frame(self) -> anyhow::Result<DataFrame> {
                let columns: Vec<Column> = vec![$(
                    Series::new(stringify!($column).into(), self.$column).into_column()
                ),+];
                Ok(DataFrame::new_infer_height(columns)?)
            }
        }
    };
}

pub(super) use table;

table! {
    /// One row per session that was offered.
    SessionColumns {
        session: u32,
        trace_id: String,
        status: &'static str,
        arrival_s: f64,
        admitted_s: Option<f64>,
        finished_s: Option<f64>,
        latency_s: Option<f64>,
        t_ideal_s: Option<f64>,
        arrival_ns: u64,
        finished_ns: Option<u64>,
        t_ideal_ns: Option<u64>,
        turns: u32,
        turns_recorded: u32,
        prompt_tokens: u64,
        hit_tokens: u64,
        output_tokens: u64,
        recomputed_tokens: u64,
        preemptions: u32,
        admission_s: f64,
        queue_s: f64,
        prefill_s: f64,
        decode_s: f64,
        tool_run_s: f64,
        tool_wait_s: f64,
        think_s: f64,
        numbers_recorded: u64,
        numbers_estimated: u64,
        numbers_drawn: u64,
    }
}

table! {
    /// One row per turn that ended.
    TurnColumns {
        session: u32,
        turn: u32,
        ready_s: f64,
        started_s: f64,
        first_token_s: f64,
        ended_s: f64,
        ttft_s: f64,
        ready_ns: u64,
        first_token_ns: u64,
        ended_ns: u64,
        prompt_tokens: u64,
        hit_tokens: u64,
        output_tokens: u64,
        scheduled_tokens: u64,
        recomputed_tokens: u64,
        preemptions: u32,
    }
}

table! {
    /// One row per sampling interval. `evicted_blocks` counts from the start of the run; the
    /// `window_*` columns are null for policies without an admission window.
    SampleColumns {
        at_s: f64,
        free_blocks: u64,
        pinned_blocks: u64,
        usable_blocks: u64,
        running_turns: u64,
        waiting_turns: u64,
        backlog_sessions: u64,
        in_flight_sessions: u64,
        tools_in_flight: u64,
        tool_wait_s: f64,
        evicted_blocks: u64,
        window_sessions: Option<u64>,
        window_cpu_cap_sessions: Option<u64>,
        window_kv_cap_sessions: Option<u64>,
        window_kv_pressure: Option<f64>,
        window_cpu_backlog: Option<f64>,
        window_overloaded: Option<bool>,
    }
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Completed => "completed",
        Status::Rejected => "rejected",
        Status::Failed => "failed",
        Status::Unfinished => "unfinished",
    }
}

impl SessionColumns {
    /// Appends a session.
    pub fn push(&mut self, r: &SessionRecord, ideal: Option<Nanos>) {
        let latency = r.finished.map(|t| t.since(r.arrival));
        let [recorded, estimated, drawn] = EvidenceCounts::of(&r.trace).totals();
        self.session.push(r.session.0);
        self.trace_id.push(r.trace.id.to_string());
        self.status.push(status_name(r.status));
        self.arrival_s.push(r.arrival.as_secs());
        self.admitted_s.push(r.admitted.map(Time::as_secs));
        self.finished_s.push(r.finished.map(Time::as_secs));
        self.latency_s.push(latency.map(Nanos::as_secs));
        self.t_ideal_s.push(ideal.map(Nanos::as_secs));
        self.arrival_ns.push(r.arrival.as_nanos());
        self.finished_ns.push(r.finished.map(Time::as_nanos));
        self.t_ideal_ns.push(ideal.map(Nanos::as_nanos));
        self.turns.push(r.turns);
        let of_trace = u32::try_from(r.trace.turns.len()).unwrap_or(u32::MAX);
        self.turns_recorded.push(of_trace);
        self.prompt_tokens.push(r.prompt.get());
        self.hit_tokens.push(r.hit.get());
        self.output_tokens.push(r.output.get());
        self.recomputed_tokens.push(r.recomputed.get());
        self.preemptions.push(r.preemptions);
        self.admission_s.push(r.phases.admission.as_secs());
        self.queue_s.push(r.phases.queue.as_secs());
        self.prefill_s.push(r.phases.prefill.as_secs());
        self.decode_s.push(r.phases.decode.as_secs());
        self.tool_run_s.push(r.phases.tool_run.as_secs());
        self.tool_wait_s.push(r.phases.tool_wait.as_secs());
        self.think_s.push(r.phases.think.as_secs());
        self.numbers_recorded.push(recorded);
        self.numbers_estimated.push(estimated);
        self.numbers_drawn.push(drawn);
    }

    /// Writes them, by arrival. Returns the number of rows.
    ///
    /// # Errors
    /// What the system or polars says.
    pub fn write(self, path: &Path) -> anyhow::Result<usize> {
        // They were told in the order in which they ended.
        let frame = self
            .frame()?
            .sort(["session"], SortMultipleOptions::default())?;
        write(frame, path)
    }
}

impl TurnColumns {
    /// Appends a turn.
    pub fn push(&mut self, r: &TurnRecord) {
        self.session.push(r.session.0);
        self.turn.push(r.turn);
        self.ready_s.push(r.ready.as_secs());
        self.started_s.push(r.started.as_secs());
        self.first_token_s.push(r.first_token.as_secs());
        self.ended_s.push(r.ended.as_secs());
        self.ttft_s.push(r.first_token.since(r.ready).as_secs());
        self.ready_ns.push(r.ready.as_nanos());
        self.first_token_ns.push(r.first_token.as_nanos());
        self.ended_ns.push(r.ended.as_nanos());
        self.prompt_tokens.push(r.prompt.get());
        self.hit_tokens.push(r.hit.get());
        self.output_tokens.push(r.output.get());
        self.scheduled_tokens.push(r.scheduled.get());
        self.recomputed_tokens.push(r.recomputed.get());
        self.preemptions.push(r.preemptions);
    }

    /// Time to first token of every turn.
    pub fn first_tokens(&self) -> Vec<Nanos> {
        let times = self.first_token_ns.iter().zip(&self.ready_ns);
        times
            .map(|(first, ready)| Nanos::new(first - ready))
            .collect()
    }

    /// Writes them, by their end. Returns the number of rows.
    ///
    /// # Errors
    /// What the system or polars says.
    pub fn write(self, path: &Path) -> anyhow::Result<usize> {
        write(self.frame()?, path)
    }
}

impl SampleColumns {
    /// Rows so far.
    pub fn len(&self) -> usize {
        self.at_s.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at_s.is_empty()
    }

    /// Appends a sample.
    pub fn push(&mut self, s: &Sample) {
        self.at_s.push(s.at.as_secs());
        self.free_blocks.push(s.free);
        self.pinned_blocks.push(s.pinned);
        self.usable_blocks.push(s.usable);
        self.running_turns.push(s.running);
        self.waiting_turns.push(s.waiting);
        self.backlog_sessions.push(s.backlog);
        self.in_flight_sessions.push(s.in_flight);
        self.tools_in_flight.push(s.tools);
        self.tool_wait_s.push(s.tool_wait_s);
        self.evicted_blocks.push(s.evicted);
        let window = s.window;
        self.window_sessions.push(window.map(|w| w.size));
        self.window_cpu_cap_sessions.push(window.map(|w| w.cpu_cap));
        self.window_kv_cap_sessions.push(window.map(|w| w.kv_cap));
        self.window_kv_pressure.push(window.map(|w| w.kv_pressure));
        self.window_cpu_backlog.push(window.map(|w| w.cpu_backlog));
        self.window_overloaded.push(window.map(|w| w.overloaded));
    }

    /// Drops rows 1, 3, 5, ...
    pub fn keep_every_other(&mut self) {
        fn thin<T>(column: &mut Vec<T>) {
            let mut index = 0_usize;
            column.retain(|_| {
                index += 1;
                !index.is_multiple_of(2)
            });
        }
        thin(&mut self.at_s);
        thin(&mut self.free_blocks);
        thin(&mut self.pinned_blocks);
        thin(&mut self.usable_blocks);
        thin(&mut self.running_turns);
        thin(&mut self.waiting_turns);
        thin(&mut self.backlog_sessions);
        thin(&mut self.in_flight_sessions);
        thin(&mut self.tools_in_flight);
        thin(&mut self.tool_wait_s);
        thin(&mut self.evicted_blocks);
        thin(&mut self.window_sessions);
        thin(&mut self.window_cpu_cap_sessions);
        thin(&mut self.window_kv_cap_sessions);
        thin(&mut self.window_kv_pressure);
        thin(&mut self.window_cpu_backlog);
        thin(&mut self.window_overloaded);
    }

    /// Writes them, by time. Returns the number of rows.
    ///
    /// # Errors
    /// What the system or polars says.
    pub fn write(self, path: &Path) -> anyhow::Result<usize> {
        write(self.frame()?, path)
    }
}

/// Rows of one row group: polars' own default, fixed here so that the bytes do not change with it.
const ROW_GROUP: usize = 1 << 18;

/// Writes a table so that the same rows give the same bytes. Returns the number of rows.
///
/// # Errors
/// What the system or polars says.
pub(crate) fn write(mut frame: DataFrame, path: &Path) -> anyhow::Result<usize> {
    let cannot = || format!("cannot write `{}`", path.display());
    let rows = frame.height();
    let file = File::create(path).with_context(cannot)?;
    let mut file = BufWriter::new(Remembering { file, why: None });
    let written = ParquetWriter::new(&mut file)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(ROW_GROUP))
        .set_parallel(false)
        .finish(&mut frame);
    let flushed = file.flush();
    if let Some(why) = file.get_mut().why.take() {
        return Err(why).with_context(cannot);
    }
    written.with_context(cannot)?;
    flushed.with_context(cannot)?;
    Ok(rows)
}

/// A file that keeps what the system said when it took no more: the Parquet writer says only that
/// something was wrong with its transport.
struct Remembering {
    file: File,
    why: Option<io::Error>,
}

impl Remembering {
    fn remember<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            let copy = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            self.why.get_or_insert(copy);
        })
    }
}

impl Write for Remembering {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.file.write(bytes);
        self.remember(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.file.flush();
        self.remember(result)
    }
}
