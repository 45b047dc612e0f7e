//! What an import read, guessed and left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::anyhow;
use serde::Serialize;
use serde_json::json;
use traces::fill::Filled;
use traces::import::ImportReport;

use super::find::Files;
use crate::failure::{Exit, Failure};
use crate::output::note;

/// So many of a kind are listed for people.
const LISTED: usize = 5;

/// Counts over one import.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Files looked at.
    pub(super) files: u64,
    /// By format: files and sessions.
    formats: BTreeMap<&'static str, Format>,
    pub(super) not_recognised: Vec<String>,
    pub(super) already_traces: u64,
    pub(super) parts: u64,
    /// Files that could not be read, with the reason.
    pub(super) unreadable: Vec<String>,
    report: ImportReport,
    /// Sessions that repeat another one's opening and were left out.
    pub(super) repeats: u64,
    /// Sessions whose id was taken.
    pub(super) renamed: u64,
    pub(super) filled: Filled,
    /// Sessions in the trace.
    pub(super) written: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Format {
    files: u64,
    sessions: u64,
}

impl Summary {
    /// Before anything is read.
    pub(super) fn of(files: &Files) -> Self {
        let shown = files.not_recognised.iter().map(|file| file.shown.clone());
        Self {
            files: files.count,
            not_recognised: shown.collect(),
            already_traces: files.already_traces,
            parts: files.parts,
            unreadable: files.unreadable.clone(),
            ..Self::default()
        }
    }

    /// Adds one recording.
    pub(super) fn count(&mut self, format: &'static str, report: &ImportReport) {
        let of_format = self.formats.entry(format).or_default();
        of_format.files += 1;
        of_format.sessions += report.sessions;
        self.report.absorb(report.clone());
    }

    /// What the header says where the user does not: formats and counts, and no path.
    pub(super) fn source(&self) -> String {
        let formats = self.formats.iter();
        let parts: Vec<String> = formats
            .map(|(name, format)| {
                let s = if format.files == 1 { "" } else { "s" };
                format!("{} {name} recording{s}", format.files)
            })
            .collect();
        parts.join(", ")
    }

    /// Why there is no session at all.
    pub(super) fn why_nothing(&self) -> String {
        format!(
            "{} files, {} not recognised, {} unreadable, {} sessions dropped, {} repeats",
            self.files,
            self.not_recognised.len(),
            self.unreadable.len(),
            self.report.dropped,
            self.repeats
        )
    }

    /// Tells people.
    pub(super) fn print(&self, quiet: bool) {
        note(quiet, self.text().trim_end());
    }

    fn text(&self) -> String {
        let report = &self.report;
        let mut text = format!(
            "imported {} sessions ({} sub-agents), {} turns, {} tool calls from {} files\n",
            report.sessions,
            report.children,
            report.turns,
            report.tools,
            self.formats
                .values()
                .map(|format| format.files)
                .sum::<u64>()
        );
        for (name, format) in &self.formats {
            let _ = writeln!(
                text,
                "  {name}: {} files, {} sessions",
                format.files, format.sessions
            );
        }
        let counts = [
            ("estimated: prompt counts", report.estimated_prompts),
            ("estimated: output counts", report.estimated_outputs),
            (
                "unknown: what the server had cached, model calls",
                report.unknown_cached,
            ),
            ("unknown: tool times", report.unknown_walls),
            ("unknown: tool CPU times", report.unknown_cpu),
            ("drawn: tool times", self.filled.walls),
            ("drawn: tool CPU times", self.filled.cpus),
            (
                "turns that continue less than the whole turn before",
                report.broken_prefixes,
            ),
            ("sessions renamed, as their id was taken", self.renamed),
            (
                "sessions left out, as they repeat another's opening",
                self.repeats,
            ),
            ("files that are parts of a recording", self.parts),
            (
                "files that are traces already, left alone",
                self.already_traces,
            ),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            let _ = writeln!(text, "  {what}: {count}");
        }
        for (skip, count) in &report.skipped {
            let _ = writeln!(text, "  skipped: {skip}: {count}");
        }
        list(
            &mut text,
            "files not recognised",
            &self.not_recognised,
            self.not_recognised.len(),
        );
        list(
            &mut text,
            "files that cannot be read",
            &self.unreadable,
            self.unreadable.len(),
        );
        let dropped = usize::try_from(report.dropped).unwrap_or(usize::MAX);
        list(
            &mut text,
            "sessions dropped",
            &report.dropped_because,
            dropped,
        );
        let silent =
            report.unknown_walls > self.filled.walls || report.unknown_cpu > self.filled.cpus;
        if silent && self.written > 0 {
            text.push_str(
                "hint: a run needs all tool times and CPU times; `--fill SEED` or `orrery trace fill` \
                 draws the unknown ones and marks them\n",
            );
        }
        text
    }

    /// The report for programs; the keys are a stable interface.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub(super) fn json(&self) -> Result<String, Failure> {
        let report = &self.report;
        let skipped: BTreeMap<String, u64> = report
            .skipped
            .iter()
            .map(|(skip, count)| (skip.to_string(), *count))
            .collect();
        let value = json!({
            "files": {
                "found": self.files,
                "formats": self.formats,
                "parts_of_recordings": self.parts,
                "already_traces": self.already_traces,
                "not_recognised": self.not_recognised.len(),
                "unreadable": self.unreadable,
            },
            "sessions": report.sessions,
            "sub_agents": report.children,
            "turns": report.turns,
            "tool_calls": report.tools,
            "estimated_prompts": report.estimated_prompts,
            "estimated_outputs": report.estimated_outputs,
            "unknown_cached": report.unknown_cached,
            "unknown_tool_times": report.unknown_walls,
            "unknown_tool_cpu_times": report.unknown_cpu,
            "broken_prefixes": report.broken_prefixes,
            "skipped": skipped,
            "dropped_sessions": report.dropped,
            "dropped_because": report.dropped_because,
            "renamed_sessions": self.renamed,
            "repeated_openings_left_out": self.repeats,
            "drawn_tool_times": self.filled.walls,
            "drawn_tool_cpu_times": self.filled.cpus,
            "written_sessions": self.written,
        });
        let text = serde_json::to_string_pretty(&value).map_err(Failure::bad_input)?;
        Ok(format!("{text}\n"))
    }

    /// Whether all that should have been read was.
    ///
    /// # Errors
    /// Exit 1 if some files could not be read.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.unreadable.is_empty() {
            return Ok(());
        }
        Err(Failure {
            exit: Exit::Partial,
            error: anyhow!(
                "{} of {} files could not be read; the trace has the sessions of the others",
                self.unreadable.len(),
                self.files
            ),
        })
    }
}

/// A count with the first of what it counts.
fn list(text: &mut String, what: &str, items: &[String], count: usize) {
    if count == 0 {
        return;
    }
    let _ = writeln!(text, "  {what}: {count}");
    for item in items.iter().take(LISTED) {
        // A reason may have several lines.
        let _ = writeln!(text, "    {}", item.lines().next().unwrap_or_default());
    }
    if count > LISTED.min(items.len()) {
        let _ = writeln!(text, "    and {} more", count - LISTED.min(items.len()));
    }
}
