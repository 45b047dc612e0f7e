//! Reading a request log.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use sim::fidelity::Request;
use units::{Nanos, Tokens};

use crate::failure::Failure;

/// What a line must hold; more is ignored.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    request_id: Option<String>,
    input_toks: u64,
    output_toks: u64,
    queued_ts: f64,
    first_token_ts: f64,
    last_token_ts: f64,
}

/// Most tokens of one request: far beyond any model.
const TOKENS_LIMIT: u64 = 1 << 32;

/// The requests of a log in its order; instants count from the first queued one.
///
/// # Errors
/// Bad input: no file, no JSON, or values that no request has, with line and field.
pub fn requests(file: &Path) -> Result<Vec<Request>, Failure> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))
        .map_err(Failure::bad_input)?;
    parse(&file.display().to_string(), &text).map_err(Failure::bad_input)
}

fn parse(name: &str, text: &str) -> Result<Vec<Request>, anyhow::Error> {
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = at + 1;
        let line: Line =
            serde_json::from_str(line).with_context(|| format!("`{name}` line {number}"))?;
        check(&line).with_context(|| format!("`{name}` line {number}"))?;
        lines.push((number, line));
    }
    if lines.is_empty() {
        return Err(anyhow!("`{name}` holds no request"));
    }
    let start = lines
        .iter()
        .map(|(_, l)| l.queued_ts)
        .fold(f64::INFINITY, f64::min);
    let since = |number: usize, at: f64| {
        Nanos::from_secs(at - start)
            .with_context(|| format!("`{name}` line {number}: instants span too long a time"))
    };
    let request = |(number, line): (usize, Line)| {
        Ok(Request {
            id: line.request_id.unwrap_or_else(|| format!("line-{number}")),
            queued: since(number, line.queued_ts)?,
            input: Tokens(line.input_toks),
            output: Tokens(line.output_toks),
            shared: Vec::new(),
            first_token: since(number, line.first_token_ts)?,
            last_token: since(number, line.last_token_ts)?,
        })
    };
    lines.into_iter().map(request).collect()
}

fn check(line: &Line) -> Result<(), anyhow::Error> {
    for (field, value) in [
        ("input_toks", line.input_toks),
        ("output_toks", line.output_toks),
    ] {
        if value == 0 || value > TOKENS_LIMIT {
            return Err(anyhow!("`{field}` is {value} (wanted: 1 to 2^32)"));
        }
    }
    let instants = [
        ("queued_ts", line.queued_ts),
        ("first_token_ts", line.first_token_ts),
        ("last_token_ts", line.last_token_ts),
    ];
    for (field, value) in instants {
        if !value.is_finite() {
            return Err(anyhow!("`{field}` is {value} (wanted: seconds)"));
        }
    }
    if line.first_token_ts <= line.queued_ts {
        return Err(anyhow!(
            "`first_token_ts` {} is not after `queued_ts` {}",
            line.first_token_ts,
            line.queued_ts
        ));
    }
    // One token is first and last.
    if line.last_token_ts < line.first_token_ts
        || (line.output_toks > 1 && line.last_token_ts <= line.first_token_ts)
    {
        return Err(anyhow!(
            "`last_token_ts` {} is not after `first_token_ts` {}",
            line.last_token_ts,
            line.first_token_ts
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"request_id":"a","input_toks":10,"output_toks":3,"queued_ts":5.0,"first_token_ts":5.5,"last_token_ts":6.0,"more":1}"#;

    #[test]
    fn instants_count_from_the_first() {
        let later = LINE
            .replace("5.0,", "7.0,")
            .replace("5.5", "7.25")
            .replace("6.0", "8.0");
        let requests = parse("log", &format!("{later}\n\n{LINE}\n")).expect("two requests");
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].queued, Nanos::from_millis(2_000));
        assert_eq!(requests[1].last_token, Nanos::from_millis(1_000));
    }

    #[test]
    fn what_no_request_has_is_refused_with_its_line() {
        for (bad, told) in [
            (LINE.replace("10,", "0,"), "`input_toks` is 0"),
            (
                LINE.replace("5.5", "4.5"),
                "`first_token_ts` 4.5 is not after",
            ),
            (
                LINE.replace("6.0", "5.5"),
                "`last_token_ts` 5.5 is not after",
            ),
            (
                LINE.replace("\"output_toks\":3,", ""),
                "missing field `output_toks`",
            ),
        ] {
            let error = format!(
                "{:#}",
                parse("log", &format!("{LINE}\n{bad}")).expect_err("bad")
            );
            assert!(error.starts_with("`log` line 2: "), "{error}");
            assert!(error.contains(told), "{error}");
        }
        assert!(parse("log", "\n").is_err());
    }
}
