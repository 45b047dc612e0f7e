//! Reading a step log.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use sim::calibrate::MeasuredStep;
use sim::cost::BatchShape;

/// Columns that a step log must have; others are ignored.
const COLUMNS: [&str; 4] = [
    "decodes",
    "decode_context",
    "prefill_tokens",
    "prefill_work",
];
/// The largest value of a column.
const LIMIT: u64 = 1 << 50;

/// The steps of a log.
///
/// # Errors
/// No file, no CSV, a column missing, or a value that no step has, with line and column.
pub(super) fn steps(file: &Path) -> Result<Vec<MeasuredStep>, anyhow::Error> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))?;
    parse(&text).with_context(|| format!("`{}`", file.display()))
}

fn parse(text: &str) -> Result<Vec<MeasuredStep>, anyhow::Error> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers()?.clone();
    let place = |column: &str| {
        let found = header.iter().position(|name| name.trim() == column);
        found.ok_or_else(|| {
            let found = header.iter().collect::<Vec<_>>().join(", ");
            anyhow!("no column `{column}` (found: {found})")
        })
    };
    let mut places = [0; 4];
    for (slot, column) in places.iter_mut().zip(COLUMNS) {
        *slot = place(column)?;
    }
    let time = place("ms")?;
    let mut steps = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut values = [0; 4];
        for ((slot, &at), column) in values.iter_mut().zip(&places).zip(COLUMNS) {
            let field = record.get(at).unwrap_or_default().trim();
            let value = field.parse::<u64>().ok().filter(|v| *v <= LIMIT);
            *slot = value.ok_or_else(|| {
                anyhow!("line {line}: `{column}` is `{field}` (wanted: 0 to 2^50)")
            })?;
        }
        let field = record.get(time).unwrap_or_default().trim();
        let ms = field.parse::<f64>().ok();
        let ms = ms.filter(|ms| ms.is_finite() && *ms > 0.0 && *ms < 1e6);
        let ms = ms.ok_or_else(|| {
            anyhow!("line {line}: `ms` is `{field}` (wanted: above 0, below 1e6)")
        })?;
        let [decodes, decode_context, prefill_tokens, prefill_work] = values;
        check(line, values)?;
        let shape = BatchShape {
            decodes,
            decode_context,
            // The largest is at least the mean; closed forms do not look.
            decode_context_max: decode_context.div_ceil(decodes.max(1)),
            prefill_chunks: u64::from(prefill_tokens > 0),
            prefill_tokens,
            prefill_work,
        };
        steps.push(MeasuredStep { shape, ms });
    }
    Ok(steps)
}

/// Sums that no batch has.
fn check(line: u64, [decodes, context, new, work]: [u64; 4]) -> Result<(), anyhow::Error> {
    if decodes == 0 && new == 0 {
        return Err(anyhow!("line {line}: the step computes nothing"));
    }
    if context < decodes || (decodes == 0 && context > 0) {
        return Err(anyhow!(
            "line {line}: `decode_context` is {context} for {decodes} decodes (wanted: at least a token each)"
        ));
    }
    if work < new || (new == 0 && work > 0) {
        return Err(anyhow!(
            "line {line}: `prefill_work` is {work} for {new} new tokens (wanted: at least 1 each)"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str =
        "decodes,decode_context,prefill_tokens,prefill_work,ms,more\n2,300,0,0,5.5,x\n";

    #[test]
    fn columns_are_found_by_name() {
        let steps = parse(LOG).expect("is right");
        assert_eq!(steps.len(), 1);
        assert_eq!(
            (steps[0].shape.decodes, steps[0].shape.decode_context),
            (2, 300)
        );
    }

    #[test]
    fn what_no_step_has_is_refused_with_its_line() {
        for (bad, told) in [
            ("0,0,0,0,5.5,x", "line 3: the step computes nothing"),
            (
                "2,1,0,0,5.5,x",
                "line 3: `decode_context` is 1 for 2 decodes",
            ),
            (
                "0,0,10,5,5.5,x",
                "line 3: `prefill_work` is 5 for 10 new tokens",
            ),
            ("2,300,0,0,0,x", "line 3: `ms` is `0`"),
            ("-2,300,0,0,1,x", "line 3: `decodes` is `-2`"),
        ] {
            let error = parse(&format!("{LOG}{bad}\n")).expect_err(bad).to_string();
            assert!(error.starts_with(told), "{error}");
        }
        let error = parse("decodes,ms\n").expect_err("columns").to_string();
        assert_eq!(error, "no column `decode_context` (found: decodes, ms)");
    }
}
