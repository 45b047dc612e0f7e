//! `orrery trace export`: our sessions in another simulator's format.

use std::io::{BufWriter, Write as _};

use anyhow::anyhow;
use traces::export::{EXPORTERS, Exporter, by_name};

use super::args::{ExportArgs, OnBad};
use super::input::Input;
use super::output::Sink;
use crate::failure::{Exit, Failure, did_you_mean, nearest};
use crate::output::note;

/// Writes the trace in the format, and says on stderr what the format cannot hold.
///
/// # Errors
/// Bad input: no such format, a trace that cannot be used, or a number that the format needs and the
/// trace does not have.
pub(super) fn command(args: &ExportArgs) -> Result<(), Failure> {
    let exporter = exporter(&args.to)?;
    let input = Input::open(&args.trace)?;
    let target = args.out.out.as_deref();
    let mut output = BufWriter::with_capacity(1 << 16, Sink::open(target)?);
    let report = {
        let mut export = (exporter.start)(&mut output);
        input.each(OnBad::Fail, |session| {
            export.put(&session).map_err(|error| {
                let what = format!(
                    "cannot export session `{}` of `{}` as {}\nhint: unknown tool times can be \
                     drawn with `orrery trace fill`",
                    session.id, args.trace, exporter.name
                );
                Failure::bad_input(anyhow::Error::new(error).context(what))
            })
        })?;
        export.finish().map_err(|error| Failure {
            exit: Exit::Partial,
            error: error.into(),
        })?
    };
    output.flush().map_err(unwritten)?;
    let sink = output
        .into_inner()
        .map_err(|error| unwritten(error.into_error()))?;
    sink.publish(target)?;
    let mut line = format!(
        "{} sessions, {} turns as {}",
        report.sessions, report.turns, exporter.name
    );
    if report.lost.is_empty() {
        line.push_str("; nothing is lost");
    } else {
        line.push_str("; the format cannot hold:");
        for (lost, count) in &report.lost {
            line.push_str("\n  ");
            line.push_str(&lost.to_string());
            line.push_str(": ");
            line.push_str(&count.to_string());
        }
    }
    note(args.out.quiet, &line);
    Ok(())
}

fn exporter(name: &str) -> Result<&'static Exporter, Failure> {
    by_name(name).ok_or_else(|| {
        let names = || EXPORTERS.iter().map(|exporter| exporter.name);
        let known: Vec<String> = EXPORTERS
            .iter()
            .map(|exporter| format!("`{}`: {}", exporter.name, exporter.holds))
            .collect();
        let hint = did_you_mean(nearest(name, names()));
        Failure::bad_input(anyhow!(
            "`--to` is `{name}` (wanted: one of)\n{}{hint}",
            known.join("\n")
        ))
    })
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure {
        exit: Exit::Partial,
        error: anyhow::Error::new(error).context("cannot write the export"),
    }
}
