//! A described trace as a table, JSON or CSV.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::describe::{Described, Spread, ToolRow};
use crate::cli::Format;
use crate::output;

/// So many tools have a row of their own in the table; JSON and CSV have all.
const TOOL_ROWS: usize = 20;

/// All traces as text for stdout.
///
/// # Errors
/// None in practice: it writes to memory.
pub(super) fn print(traces: &[Described], format: Format) -> anyhow::Result<String> {
    match format {
        Format::Table => Ok(tables(traces)),
        Format::Csv => csv(traces),
        Format::Json => {
            #[derive(Serialize)]
            struct Traces<'a> {
                traces: &'a [Described],
            }
            let mut text = serde_json::to_string_pretty(&Traces { traces })?;
            text.push('\n');
            Ok(text)
        }
    }
}

fn tables(traces: &[Described]) -> String {
    let mut text = String::new();
    for (i, trace) in traces.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        heading(&mut text, trace);
        let _ = writeln!(text, "\n{}\n", quantities(trace).trim_fmt());
        let _ = writeln!(text, "{}", tools(trace).trim_fmt());
        if trace.tools.len() > TOOL_ROWS {
            let _ = writeln!(
                text,
                "and {} other tools (--format json has all)",
                trace.tools.len() - TOOL_ROWS
            );
        }
    }
    text
}

fn heading(text: &mut String, trace: &Described) {
    let _ = writeln!(
        text,
        "{}: {} sessions ({} sub-agents), {} turns, {} tool calls",
        trace.trace, trace.sessions, trace.sub_agents, trace.turns, trace.all_tools.calls
    );
    if trace.dropped_sessions > 0 {
        let _ = writeln!(
            text,
            "  left out: {} sessions that cannot be read",
            trace.dropped_sessions
        );
    }
    let models: Vec<String> = trace
        .models
        .iter()
        .map(|model| format!("{} ({})", model.name, model.count))
        .collect();
    let lines = [
        ("source", trace.source.clone().unwrap_or_else(na)),
        ("recorded models", models.join(", ")),
        ("with an arrival", trace.with_arrival.to_string()),
        (
            "recorded arrivals (sessions/s)",
            trace
                .recorded_rate_per_s
                .map_or_else(na, |rate| format!("{rate:.3e}")),
        ),
        (
            "with a shared opening",
            trace.with_shared_opening.to_string(),
        ),
        ("prefix reuse", percent(trace.prefix_reuse)),
        (
            "cache hits of the recorded server",
            percent(trace.recorded_cache_hits),
        ),
        ("contexts that shrank", trace.shrunk_contexts.to_string()),
        ("idle share, pooled", percent(trace.pooled_idle_share)),
        ("output lengths", trace.outputs_from.words()),
        ("tool times", trace.all_tools.wall_from.words()),
        ("tool CPU times", trace.all_tools.cpu_from.words()),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "  {name}: {value}");
    }
    if trace.commands > 0 {
        let _ = writeln!(text, "  tool calls with a command: {}", trace.commands);
    }
}

fn quantities(trace: &Described) -> Table {
    let mut table = output::table(&[
        "", "n", "mean", "sd", "min", "P50", "P90", "P99", "max", "sum",
    ]);
    for quantity in &trace.quantities {
        let percent = quantity.name == "idle share";
        let unit = if percent { "%" } else { quantity.unit };
        let mut row = vec![
            format!("{} ({unit})", quantity.name),
            quantity.spread.n.to_string(),
        ];
        row.extend(quantity.spread.parts().iter().map(|(part, value)| {
            match (percent, *part) {
                // A sum of shares means nothing.
                (true, "sum") => na(),
                (true, _) => number(value.map(|share| share * 100.0)),
                (false, _) => number(*value),
            }
        }));
        table.add_row(row);
    }
    right(&mut table, 9);
    table
}

fn tools(trace: &Described) -> Table {
    let mut table = output::table(&[
        "tool",
        "calls",
        "known (%)",
        "mean (s)",
        "P50 (s)",
        "P90 (s)",
        "P99 (s)",
        "sum (s)",
        "CPU (s)",
        "cores",
    ]);
    let rows = trace.tools.iter().take(TOOL_ROWS);
    for tool in rows.chain(std::iter::once(&trace.all_tools)) {
        table.add_row(tool_row(tool));
    }
    right(&mut table, 9);
    table
}

fn tool_row(tool: &ToolRow) -> Vec<String> {
    let wall = &tool.wall_s;
    vec![
        tool.name.clone(),
        tool.calls.to_string(),
        number(tool.known().map(|share| share * 100.0)),
        seconds(wall.mean),
        seconds(wall.p50),
        seconds(wall.p90),
        seconds(wall.p99),
        number(wall.sum),
        number(tool.cpu_s.sum),
        tool.cores.map_or_else(na, |cores| format!("{cores:.2}")),
    ]
}

fn right(table: &mut Table, columns: usize) {
    for column in 1..=columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn na() -> String {
    "n/a".to_owned()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(na, |share| format!("{:.1} %", share * 100.0))
}

/// Whole from 100 up; below, as many digits as the tables of runs have.
fn number(value: Option<f64>) -> String {
    match value {
        None => na(),
        Some(x) if x.abs() >= 100.0 || x.fract().abs() < 1e-9 => format!("{x:.0}"),
        Some(x) => format!("{x:.2}"),
    }
}

/// Down to milliseconds: many tools take no longer.
fn seconds(value: Option<f64>) -> String {
    value.map_or_else(na, |x| format!("{x:.3}"))
}

/// A row per trace and quantity; times of tools as `tool NAME`, their CPU as `tool CPU NAME`.
fn csv(traces: &[Described]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let parts = Spread::NONE.parts().map(|(name, _)| name);
    writer.write_record(["trace", "quantity", "unit", "n"].into_iter().chain(parts))?;
    for trace in traces {
        for quantity in &trace.quantities {
            let name = quantity.name.to_owned();
            csv_row(&mut writer, trace, name, quantity.unit, &quantity.spread)?;
        }
        for tool in trace.tools.iter().chain(std::iter::once(&trace.all_tools)) {
            let spread = &tool.wall_s;
            csv_row(
                &mut writer,
                trace,
                format!("tool {}", tool.name),
                "s",
                spread,
            )?;
            let spread = &tool.cpu_s;
            csv_row(
                &mut writer,
                trace,
                format!("tool CPU {}", tool.name),
                "s",
                spread,
            )?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn csv_row(
    writer: &mut csv::Writer<Vec<u8>>,
    trace: &Described,
    name: String,
    unit: &str,
    spread: &Spread,
) -> anyhow::Result<()> {
    let first = [
        trace.trace.clone(),
        name,
        unit.to_owned(),
        spread.n.to_string(),
    ];
    let rest = spread
        .parts()
        .map(|(_, value)| value.map_or_else(na, |x| x.to_string()));
    writer.write_record(first.into_iter().chain(rest))?;
    Ok(())
}
