//! `orrery trace merge`: one trace of several.

use std::fmt::Write as _;
use std::path::Path;

use traces::Header;
use traces::ops::merge::{Arrivals, Part, Rules, merge};

use super::args::{MergeArgs, MergeArrivals, OnBad};
use super::input::Input;
use super::output::TraceFile;
use crate::failure::Failure;
use crate::output::note;

/// Merges the traces in the order they are named.
///
/// # Errors
/// Bad input: a trace that cannot be used, or two that cannot be told apart.
pub(super) fn command(args: &MergeArgs) -> Result<(), Failure> {
    let mut parts = Vec::new();
    let mut headers = Vec::new();
    for name in &args.traces {
        let input = Input::open(name)?;
        headers.push(input.header.clone());
        let mut sessions = Vec::new();
        input.each(OnBad::Fail, |session| {
            sessions.push(session);
            Ok(())
        })?;
        parts.push(Part {
            label: label(name),
            sessions,
        });
    }
    let rules = Rules {
        arrivals: match args.arrivals {
            MergeArrivals::Kept => Arrivals::Kept,
            MergeArrivals::OneAfterAnother => Arrivals::OneAfterAnother,
        },
        own_groups: args.own_groups,
    };
    let labels: Vec<String> = parts.iter().map(|part| part.label.clone()).collect();
    let merged = merge(parts, rules).map_err(Failure::bad_input)?;
    let mut output = TraceFile::create(args.out.out.as_deref(), &header(&labels, &headers))?;
    for session in &merged.sessions {
        output.write(session)?;
    }
    let sessions = output.finish()?;
    let mut line = format!("{sessions} sessions of {} traces", labels.len());
    if merged.renamed > 0 {
        let _ = write!(
            line,
            "; {} had an id that another trace has too and got their trace's label",
            merged.renamed
        );
    }
    note(args.out.quiet, &line);
    Ok(())
}

/// The file's name without folder and endings.
fn label(name: &str) -> String {
    let file = Path::new(name).file_name();
    let file = file.map_or_else(|| name.to_owned(), |f| f.to_string_lossy().into_owned());
    let mut label = file.as_str();
    for ending in [".zst", ".jsonl", ".json"] {
        label = label.strip_suffix(ending).unwrap_or(label);
    }
    match label {
        "-" => "stdin".to_owned(),
        "" => file,
        label => label.to_owned(),
    }
}

/// What the parts say, each under its label; a licence only where all agree.
fn header(labels: &[String], headers: &[Header]) -> Header {
    let join = |field: &dyn Fn(&Header) -> Option<String>| {
        let parts = labels.iter().zip(headers);
        let said: Vec<String> = parts
            .filter_map(|(label, header)| field(header).map(|text| format!("{label}: {text}")))
            .collect();
        (!said.is_empty()).then(|| said.join("; "))
    };
    let first = headers.first().and_then(|h| h.license.clone());
    let agree = headers.iter().all(|h| h.license == first);
    Header {
        source: join(&|h| h.source.clone()),
        license: if agree {
            first
        } else {
            join(&|h| h.license.clone())
        },
        note: join(&|h| h.note.clone()),
        commands: headers.iter().any(|h| h.commands),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_names_without_folder_and_endings() {
        let names = [
            "a/b/monday.jsonl.zst",
            "tuesday.jsonl",
            "-",
            "bundled",
            ".zst",
        ];
        assert_eq!(
            names.map(label),
            ["monday", "tuesday", "stdin", "bundled", ".zst"]
        );
    }
}
