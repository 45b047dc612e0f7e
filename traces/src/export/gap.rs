//! What passes between two calls of a session, as one span.

use units::Nanos;

use super::report::{ExportReport, Lost};
use crate::error::TraceError;
use crate::model::{Evidence, Session};

/// The time between the end of one call and the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap<'a> {
    /// How long.
    pub(super) span: Nanos,
    /// The tools' name, if they ran and have one name.
    pub(super) tool: Option<&'a str>,
    /// Whether any tool ran.
    pub(super) tools: bool,
    /// Whether a human paused.
    pub(super) human: bool,
}

impl<'a> Gap<'a> {
    /// What follows turn `at`. Counts what one span cannot say.
    ///
    /// # Errors
    /// [`TraceError::Unknown`] for a tool whose time is not known.
    pub(super) fn after(
        session: &'a Session,
        at: usize,
        format: &'static str,
        report: &mut ExportReport,
    ) -> Result<Self, TraceError> {
        let turn = &session.turns[at];
        let mut longest = Nanos::ZERO;
        for (nth, tool) in turn.tools.iter().enumerate() {
            let Some(wall) = tool.wall else {
                return Err(TraceError::Unknown {
                    session: session.id.to_string(),
                    field: format!("turns[{at}].tools[{nth}].wall_s"),
                    format,
                });
            };
            longest = longest.max(wall.value);
            let cpu = tool.cpu.is_some() || tool.parallelism > 1;
            report.lose(Lost::ToolCpu, u64::from(cpu));
            report.lose(
                Lost::Evidence,
                u64::from(wall.evidence != Evidence::Recorded),
            );
        }
        report.lose(Lost::SideBySide, turn.tools.len().saturating_sub(1) as u64);
        let first = turn.tools.first().map(|tool| &*tool.name);
        let tool = first.filter(|name| turn.tools.iter().all(|tool| *tool.name == **name));
        Ok(Self {
            // Below 2^64 ns: both keep to the span limit.
            span: longest + turn.think.unwrap_or(Nanos::ZERO),
            tool,
            tools: !turn.tools.is_empty(),
            human: turn.think.is_some(),
        })
    }
}
