//! Session files of inference-lab; see the importer of that name.

use std::io::Write;

use serde::Serialize;

use super::gap::Gap;
use super::report::{ExportReport, Lost};
use super::{Export, Exporter, put_line};
use crate::error::TraceError;
use crate::import::inference_lab::USER;
use crate::model::Session;
use crate::seconds::to_seconds;

/// This exporter, for [`super::EXPORTERS`].
pub(super) const EXPORTER: Exporter = Exporter {
    name: "inference-lab",
    holds: "token counts, reuse to the token, gaps between turns with the name of a tool",
    start: |output| {
        Box::new(InferenceLab {
            output,
            report: ExportReport::default(),
        })
    },
};

struct InferenceLab<'a> {
    output: &'a mut dyn Write,
    report: ExportReport,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    steps: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    input: u64,
    new: u64,
    output: u64,
    gap: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
}

impl Export for InferenceLab<'_> {
    fn put(&mut self, session: &Session) -> Result<(), TraceError> {
        self.report.begin(session)?;
        self.report.lose_surroundings(session);
        self.report.lose_call_times(session);
        let openings = u64::from(!session.shared.is_empty());
        self.report.lose(Lost::Opening, openings);
        let arrival = u64::from(session.arrival.is_some());
        self.report.lose(Lost::Arrival, arrival);
        let mut steps = Vec::with_capacity(session.turns.len());
        let (mut gap, mut kind) = (0.0, None);
        for (at, turn) in session.turns.iter().enumerate() {
            steps.push(Step {
                input: turn.prompt.get(),
                new: (turn.prompt - turn.reused).get(),
                output: turn.output.value.get(),
                gap,
                kind,
            });
            if at + 1 < session.turns.len() {
                let after = Gap::after(session, at, EXPORTER.name, &mut self.report)?;
                gap = to_seconds(after.span);
                kind = self.kind(&after);
            }
        }
        put_line(
            self.output,
            &Line {
                id: &session.id,
                steps,
            },
        )
    }

    fn finish(self: Box<Self>) -> Result<ExportReport, TraceError> {
        self.output
            .flush()
            .map_err(|source| TraceError::Write { source })?;
        Ok(self.report)
    }
}

impl InferenceLab<'_> {
    /// The word for what passed before a step.
    fn kind<'s>(&mut self, gap: &Gap<'s>) -> Option<&'s str> {
        if gap.human {
            self.report.lose(Lost::Cause, u64::from(gap.tools));
            return Some(USER);
        }
        if !gap.tools {
            return None;
        }
        let name = gap.tool.filter(|name| *name != USER);
        self.report.lose(Lost::ToolName, u64::from(name.is_none()));
        Some(name.unwrap_or("tool"))
    }
}
