//! Azure's LLM inference traces; see the importer of that name.
//!
//! A request a line, by time. The turns of a session become requests of their own at the times they
//! were recorded at, so these have to be known: arrival, and for every turn but the last the time of the
//! call and of what followed. Arrivals count from 1970-01-01.

use std::io::Write;

use units::Nanos;

use super::gap::Gap;
use super::report::{ExportReport, Lost};
use super::{Export, Exporter};
use crate::error::{Place, TraceError};
use crate::import::azure_llm::COLUMNS;
use crate::model::Session;

/// This exporter, for [`super::EXPORTERS`].
pub(super) const EXPORTER: Exporter = Exporter {
    name: "azure-llm",
    holds: "token counts and when each call came",
    start: |output| {
        Box::new(Azure {
            output,
            rows: Vec::new(),
            report: ExportReport::default(),
        })
    },
};

struct Azure<'a> {
    output: &'a mut dyn Write,
    /// Nanoseconds, prompt, output.
    rows: Vec<(u64, u64, u64)>,
    report: ExportReport,
}

impl Azure<'_> {
    fn unknown(session: &Session, field: String) -> TraceError {
        TraceError::Unknown {
            session: session.id.to_string(),
            field,
            format: EXPORTER.name,
        }
    }
}

impl Export for Azure<'_> {
    fn put(&mut self, session: &Session) -> Result<(), TraceError> {
        self.report.begin(session)?;
        self.report.lose_surroundings(session);
        self.report.lose_call_times(session);
        self.report.lose(Lost::Name, 1);
        let openings = u64::from(!session.shared.is_empty());
        self.report.lose(Lost::Opening, openings);
        let Some(mut at) = session.arrival else {
            return Err(Self::unknown(session, "arrival_s".to_owned()));
        };
        for (nth, turn) in session.turns.iter().enumerate() {
            self.report.lose(Lost::Order, u64::from(nth > 0));
            self.report.lose(Lost::Reuse, turn.reused.get());
            self.rows
                .push((at.as_nanos(), turn.prompt.get(), turn.output.value.get()));
            if nth + 1 < session.turns.len() {
                let gap = Gap::after(session, nth, EXPORTER.name, &mut self.report)?;
                let Some(llm) = turn.llm else {
                    return Err(Self::unknown(session, format!("turns[{nth}].llm_s")));
                };
                self.report.lose(Lost::ToolName, turn.tools.len() as u64);
                let span = u128::from(llm.as_nanos()) + u128::from(gap.span.as_nanos());
                let next = u128::from(at.as_nanos()) + span;
                let next = u64::try_from(next).ok().filter(|ns| *ns < END_NS);
                let late = || TraceError::Value {
                    place: Place::Session(self.report.sessions),
                    field: format!("turns[{}]", nth + 1),
                    value: format!("at {at} and {span} ns"),
                    wanted: "a time before the year 2500".to_owned(),
                };
                at = Nanos::new(next.ok_or_else(late)?);
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<ExportReport, TraceError> {
        // Those of one instant keep their order.
        self.rows.sort_by_key(|row| row.0);
        let failed = |source| TraceError::Write { source };
        writeln!(self.output, "{}", COLUMNS.join(",")).map_err(failed)?;
        let mut cut = 0;
        for (at, prompt, output) in &self.rows {
            cut += u64::from(at % 100 > 0);
            let time = timestamp(*at);
            writeln!(self.output, "{time},{prompt},{output}").map_err(failed)?;
        }
        self.report.lose(Lost::Digits, cut);
        self.output.flush().map_err(failed)?;
        Ok(self.report)
    }
}

/// The year 2500, as far as the importer reads.
const END_NS: u64 = 16_725_225_600 * 1_000_000_000;

/// `1970-01-01 00:00:00.0000000`, seven digits.
fn timestamp(ns: u64) -> String {
    let (seconds, part) = (ns / 1_000_000_000, ns % 1_000_000_000 / 100);
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year: u64 = 1970;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{:02}.{part:07}",
        days + 1,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, want) in [
            (0, "1970-01-01 00:00:00.0000000"),
            (951_782_400, "2000-02-29 00:00:00.0000000"),
            (951_868_800, "2000-03-01 00:00:00.0000000"),
            (1_700_158_623, "2023-11-16 18:17:03.0000000"),
            (4_107_542_399, "2100-02-28 23:59:59.0000000"),
            (4_107_542_400, "2100-03-01 00:00:00.0000000"),
            (16_725_225_599, "2499-12-31 23:59:59.0000000"),
        ] {
            assert_eq!(timestamp(seconds * 1_000_000_000), want);
        }
        assert_eq!(timestamp(979_960_099), "1970-01-01 00:00:00.9799600");
    }
}
