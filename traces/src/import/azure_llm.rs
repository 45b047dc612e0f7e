//! Azure's LLM inference traces: `TIMESTAMP,ContextTokens,GeneratedTokens`, one request a line.
//!
//! What: each line is a session of one turn. Source: `AzureLLMInferenceTrace_*.csv` of
//! github.com/Azure/AzurePublicDataset (2023; the files of 2024 have a zone in the timestamps).
//! The traps, and the rules that answer them:
//! - Timestamps have a space for the `T`, up to nine digits of a second, and in 2023 no zone. They are
//!   read as UTC: only their differences matter.
//! - An answer of 0 tokens is one of 1, marked estimated: a model stops by a token.
//! - There are no sessions and no contents: nothing is known to be shared.
//!
//! Limits: the times of the calls are not in the source.

use units::{Nanos, Tokens};

use super::recording::Out;
use super::{ImportReport, Imported, Importer, Recording, Sink, clock, json};
use crate::error::{Place, TraceError, shown};
use crate::lines::{Lines, utf8};
use crate::model::{Known, Session, Turn};

/// The columns, as the first line has to name them.
pub(crate) const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// This importer, for [`super::IMPORTERS`].
pub const IMPORTER: Importer = Importer {
    name: "azure-llm",
    looks: "lines of text that open with `TIMESTAMP,ContextTokens,GeneratedTokens`",
    recognises: |head| {
        head.bytes
            .split(|&b| b == b'\n')
            .next()
            .is_some_and(is_header)
    },
    beside: &[],
    run: |mut recording, sink| import(&mut recording, sink),
};

fn is_header(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    line.trim_ascii() == COLUMNS.join(",").as_bytes()
}

fn import(recording: &mut Recording<'_>, sink: Sink<'_>) -> Result<ImportReport, TraceError> {
    let mut out = Out::new(recording, sink);
    let mut lines = Lines::new(&mut *recording.input);
    let Some((place, first)) = lines.next_line()? else {
        out.fault(TraceError::Empty)?;
        return Ok(out.finish());
    };
    if !is_header(first) {
        let first = String::from_utf8_lossy(&first[..first.len().min(200)]).into_owned();
        out.fault(TraceError::Value {
            place,
            field: "columns".to_owned(),
            value: shown(&first),
            wanted: COLUMNS.join(","),
        })?;
        return Ok(out.finish());
    }
    while let Some((place, line)) = lines.next_line()? {
        let session = request(place, line, recording.name);
        out.put(place, session)?;
    }
    Ok(out.finish())
}

fn request(place: Place, line: &[u8], name: &str) -> Result<(Imported, ImportReport), TraceError> {
    let number = if let Place::Line(number) = place {
        number
    } else {
        0
    };
    let text = utf8(place, line)?;
    let mut fields = text.split(',');
    let mut next = |column: &str| {
        fields
            .next()
            .map(str::trim)
            .ok_or_else(|| TraceError::Missing {
                place,
                field: column.to_owned(),
                wanted: format!("{} fields in the line", COLUMNS.len()),
            })
    };
    let [time, prompt, output] = COLUMNS;
    let (time, prompt, output) = (
        timestamp(place, next(time)?)?,
        tokens(place, prompt, next(prompt)?)?,
        tokens(place, output, next(output)?)?,
    );
    if let Some(more) = fields.next() {
        return Err(TraceError::Value {
            place,
            field: "line".to_owned(),
            value: format!("with a further field {}", shown(&more)),
            wanted: format!("{} fields", COLUMNS.len()),
        });
    }
    let session = Session {
        id: format!("{name}/{number}").into(),
        model: None,
        arrival: None,
        shared: Vec::new(),
        parent: None,
        turns: vec![Turn {
            prompt,
            reused: Tokens::ZERO,
            output: match output {
                Tokens::ZERO => Known::estimated(Tokens(1)),
                output => Known::recorded(output),
            },
            cached: None,
            llm: None,
            tools: Vec::new(),
            think: None,
        }],
    };
    let began = Some(time);
    Ok((Imported { session, began }, ImportReport::default()))
}

/// `2023-11-16 18:17:03.9799600`, with `+00:00` or `Z` or no zone.
fn timestamp(place: Place, text: &str) -> Result<Nanos, TraceError> {
    let zoneless = text.strip_suffix("+00:00").unwrap_or(text);
    let zoneless = zoneless.strip_suffix('Z').unwrap_or(zoneless);
    clock::utc(&format!("{}Z", zoneless.replacen(' ', "T", 1))).ok_or_else(|| TraceError::Value {
        place,
        field: COLUMNS[0].to_owned(),
        value: shown(&text),
        wanted: "a time in UTC such as 2023-11-16 18:17:03.9799600".to_owned(),
    })
}

fn tokens(place: Place, column: &str, text: &str) -> Result<Tokens, TraceError> {
    // `parse` alone would take a sign.
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let count = digits.then(|| text.parse().ok()).flatten();
    match count {
        Some(count) => json::need_tokens(place, || column.to_owned(), Some(count)),
        None => Err(TraceError::Value {
            place,
            field: column.to_owned(),
            value: shown(&text),
            wanted: "a whole number of tokens".to_owned(),
        }),
    }
}
