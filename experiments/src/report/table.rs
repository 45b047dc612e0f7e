//! Reports as tables for people: one per rate and seed, a column per policy, and what the words mean.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table};

use super::{Cell, RunReport, flat};
use crate::output;
use crate::run::limits::Limit;

/// One table per (rate, seed), then the definitions.
pub(super) fn tables(reports: &[RunReport], tolerance: f64) -> String {
    let mut text = String::new();
    let mut rest = reports;
    while let Some(first) = rest.first() {
        let same = |r: &&RunReport| {
            r.seed == first.seed && r.rate_per_s.total_cmp(&first.rate_per_s).is_eq()
        };
        let (these, others) = rest.split_at(rest.iter().take_while(same).count());
        rest = others;
        let _ = writeln!(
            text,
            "{}, {} sessions/s, seed {}",
            first.workload, first.rate_per_s, first.seed
        );
        let _ = writeln!(text, "{}", table(these).trim_fmt());
        for report in these {
            // A limit is no run: nothing of it could be left open.
            let (Some(completed), Some(rejected), Some(unfinished)) =
                (report.completed, report.rejected, report.unfinished)
            else {
                continue;
            };
            let missing = report.offered - completed;
            let failed = missing.saturating_sub(rejected + unfinished);
            let failed = match failed {
                0 => String::new(),
                n => format!(", {n} given up because a tool failed"),
            };
            if missing > 0 {
                let _ = writeln!(
                    text,
                    "{}: {missing} of {} offered sessions did not complete ({rejected} rejected as \
                     larger than the KV pool, {unfinished} unfinished{failed}); latencies are of the others.",
                    report.policy, report.offered
                );
            }
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "Latency: arrival to completion, completed sessions. TTFT: prompt ready to first token, \
         per turn.\nPercentiles interpolate linearly between order statistics.\nGoodput(a): sessions \
         with latency <= a * T_ideal (alone on this machine, fcfs) per second of makespan; alpha 1 \
         counts\nwithin {} %. Attainment(a): that count over sessions offered.{}",
        // 0.07 * 100 prints as 7.000000000000001.
        (tolerance * 1e6).round() / 1e4,
        about_limits(reports)
    );
    text
}

/// What the rows of limits mean, if there are any.
fn about_limits(reports: &[RunReport]) -> String {
    let mut text = String::new();
    for limit in Limit::ALL {
        if reports.iter().any(|r| r.policy == limit.name()) {
            let _ = write!(text, "\n{}: {}", limit.name(), limit.meaning());
        }
    }
    text
}

fn table(reports: &[RunReport]) -> Table {
    let mut header = vec![""];
    header.extend(reports.iter().map(|r| r.policy.as_str()));
    let mut table = output::table(&header);
    let columns: Vec<Vec<(String, Cell)>> = reports.iter().map(flat).collect();
    // The first four identify the run: they are in the heading.
    for row in 4..columns[0].len() {
        let (name, _) = &columns[0][row];
        let cells = columns.iter().map(|column| shown(name, &column[row].1));
        table.add_row(std::iter::once(label(name)).chain(cells));
    }
    for column in 1..=reports.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn label(name: &str) -> String {
    let (group, part) = name.split_once('.').unwrap_or((name, ""));
    match group {
        "latency_s" => format!("latency {} (s)", statistic(part)),
        "ttft_s" => format!("TTFT {} (s)", statistic(part)),
        "goodput_per_s" => format!("goodput({part}) (sessions/s)"),
        "attainment" => format!("attainment({part}) (%)"),
        "output_tokens_per_s" => "output tokens/s".to_owned(),
        "prefix_hit_rate" => "prefix hit rate (%)".to_owned(),
        "recomputed_tokens" => "recomputed tokens".to_owned(),
        "evicted_blocks_per_s" => "KV removal (blocks/s)".to_owned(),
        "tool_stretch" => "tool stretch (x)".to_owned(),
        "makespan_s" => "makespan (s)".to_owned(),
        "sim_wall_s" => "simulation took (s)".to_owned(),
        other => other.to_owned(),
    }
}

/// `p95` as `P95`; `mean` as it is.
fn statistic(part: &str) -> String {
    match part.strip_prefix('p') {
        Some(digits) => format!("P{digits}"),
        None => part.to_owned(),
    }
}

fn shown(name: &str, cell: &Cell) -> String {
    let is_share = name.starts_with("attainment") || name == "prefix_hit_rate";
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Count(Some(count)) => count.to_string(),
        Cell::Count(None) | Cell::Number(None) => "n/a".to_owned(),
        Cell::Number(Some(x)) if is_share => format!("{:.1}", x * 100.0),
        Cell::Number(Some(x)) if name.starts_with("goodput") => format!("{x:.4}"),
        Cell::Number(Some(x)) if name.starts_with("ttft") => format!("{x:.3}"),
        Cell::Number(Some(x)) => format!("{x:.2}"),
    }
}
