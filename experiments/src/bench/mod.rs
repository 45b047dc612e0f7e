//! `orrery engine bench`: how long steps take, and how fast they could be.

pub mod args;
mod device;
mod numbers;

use std::fmt::Write as _;

use anyhow::Context as _;
use engine::ExecutorError;
use engine::measure::{Step, Work, decode, median, offload, prefill};
use serde::Serialize;

use crate::cli::Format;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use args::{DeviceKind, EngineBenchArgs};
use device::Subject;

/// One cell.
#[derive(Debug, Serialize)]
struct Row {
    /// `decode`, `prefill`, `to_host`, `to_device`.
    what: &'static str,
    /// Rows that decode.
    batch: Option<u64>,
    /// Tokens in KV of a row, or of the prompt, or of what is copied.
    tokens: u64,
    /// Of the median step, of the whole prompt, of the copy.
    ms: Option<f64>,
    tokens_per_s: Option<f64>,
    gb_per_s: Option<f64>,
    floor_ms: Option<f64>,
    /// Floor over time.
    share: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    device: String,
    bandwidth_gb_per_s: f64,
    tflops: f64,
    evidence: String,
    rows: Vec<Row>,
}

/// What was asked for.
struct Plan {
    batches: Vec<u64>,
    contexts: Vec<u64>,
    prompts: Vec<u64>,
    chunk: u64,
    repeats: usize,
}

impl Plan {
    fn new(args: &EngineBenchArgs) -> Result<Self, Failure> {
        let gpu = args.device == DeviceKind::Cuda;
        let pick = |flag: &str, told: &Option<String>, large: &str, small: &str| {
            let default = if gpu { large } else { small };
            numbers::list(flag, told.as_deref().unwrap_or(default))
        };
        Ok(Self {
            batches: pick("--batches", &args.batches, "1,8,32,128", "1,8,32")?,
            contexts: pick("--contexts", &args.contexts, "512,2048,16384,65536", "512,2048")?,
            prompts: pick("--prompts", &args.prompts, "512,2048,8192,32768", "512,2048")?,
            chunk: numbers::whole("--chunk", &args.chunk)?,
            repeats: usize::try_from(numbers::whole("--repeats", &args.repeats)?).unwrap_or(1),
        })
    }
}

/// `orrery engine bench`
///
/// # Errors
/// Bad input: a model, device or number that cannot be used. A device that fails. Ctrl-C.
pub fn command(args: &EngineBenchArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let plan = Plan::new(args)?;
    let mut subject = device::open(args)?;
    let mut steps = Vec::new();
    let rows = measure(&mut subject, &plan, &mut steps, interrupt)?;
    if let Some(file) = &args.steps {
        std::fs::write(file, log(&steps))
            .with_context(|| format!("cannot write `{}`", file.display()))
            .map_err(Failure::bad_input)?;
    }
    let report = Report {
        model: args.model.clone(),
        device: subject.device,
        bandwidth_gb_per_s: subject.machine.bytes_per_s / 1e9,
        tflops: subject.machine.flops / 1e12,
        evidence: subject.evidence,
        rows,
    };
    output::data(&match args.format {
        Format::Json => format!(
            "{}\n",
            serde_json::to_string_pretty(&report).map_err(Failure::bad_input)?
        ),
        Format::Csv => csv(&report).map_err(Failure::bad_input)?,
        Format::Table => table(&report),
    })
}

fn failed(error: ExecutorError) -> Failure {
    Failure {
        exit: crate::failure::Exit::Partial,
        error: error.into(),
    }
}

fn measure(
    subject: &mut Subject,
    plan: &Plan,
    steps: &mut Vec<Step>,
    interrupt: &Interrupt,
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for &batch in &plan.batches {
        for &context in &plan.contexts {
            interrupt.check()?;
            let found = decode(&mut *subject.executor, subject.pool, batch, context, plan.repeats);
            let found = found.map_err(failed)?;
            rows.push(decode_row(subject, batch, context, found.as_deref()));
            steps.extend(found.into_iter().flatten());
        }
    }
    for &prompt in &plan.prompts {
        interrupt.check()?;
        let found = prefill(&mut *subject.executor, subject.pool, prompt, plan.chunk);
        let found = found.map_err(failed)?;
        rows.push(prefill_row(subject, prompt, found.as_deref()));
        steps.extend(found.into_iter().flatten());
    }
    interrupt.check()?;
    rows.extend(offload_rows(subject)?);
    Ok(rows)
}

#[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
fn decode_row(subject: &Subject, batch: u64, context: u64, steps: Option<&[Step]>) -> Row {
    let ms = steps.and_then(|s| median(s.iter().map(|s| s.ms).collect()));
    let total = batch * context;
    let work = Work::of(&subject.config, batch, batch, total as f64, total);
    let floor = work.floor_ms(&subject.machine);
    Row {
        what: "decode",
        batch: Some(batch),
        tokens: context,
        ms,
        tokens_per_s: ms.map(|ms| 1e3 * batch as f64 / ms),
        gb_per_s: None,
        floor_ms: Some(floor),
        share: ms.map(|ms| floor / ms),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
fn prefill_row(subject: &Subject, prompt: u64, steps: Option<&[Step]>) -> Row {
    let ms = steps.map(|s| s.iter().map(|s| s.ms).sum::<f64>());
    // Every chunk reads the weights, and the KV before it, again.
    let floor = steps.map(|steps| {
        let mut before = 0;
        let mut floor = 0.0;
        for step in steps {
            before += step.prefill_tokens;
            let pairs = step.prefill_work as f64 / 2.0;
            let work = Work::of(&subject.config, step.prefill_tokens, 1, pairs, before);
            floor += work.floor_ms(&subject.machine);
        }
        floor
    });
    Row {
        what: "prefill",
        batch: None,
        tokens: prompt,
        ms,
        tokens_per_s: ms.map(|ms| 1e3 * prompt as f64 / ms),
        gb_per_s: None,
        floor_ms: floor,
        share: floor.zip(ms).map(|(floor, ms)| floor / ms),
    }
}

/// Copies of as many blocks as 256 MiB hold, or the pool.
#[expect(clippy::cast_precision_loss, reason = "bytes of a copy")]
fn offload_rows(subject: &mut Subject) -> Result<[Row; 2], Failure> {
    let each = subject.executor.block_bytes().get();
    let blocks = ((256 << 20) / each).clamp(1, subject.pool.blocks);
    let count = u32::try_from(blocks).expect("256 MiB hold fewer");
    let times = offload(&mut *subject.executor, count).map_err(failed)?;
    let row = |what, ms: f64| Row {
        what,
        batch: None,
        tokens: blocks * subject.pool.block_size,
        ms: Some(ms),
        tokens_per_s: None,
        gb_per_s: Some((blocks * each) as f64 / ms / 1e6),
        floor_ms: None,
        share: None,
    };
    Ok([row("to_host", times[0]), row("to_device", times[1])])
}

/// The steps as `orrery calibrate` reads them.
fn log(steps: &[Step]) -> String {
    let mut text = String::from("decodes,decode_context,prefill_tokens,prefill_work,ms\n");
    for s in steps {
        let _ = writeln!(
            text,
            "{},{},{},{},{}",
            s.decodes, s.decode_context, s.prefill_tokens, s.prefill_work, s.ms
        );
    }
    text
}

fn table(report: &Report) -> String {
    let mut table = output::table(&[
        "what", "batch", "tokens", "ms", "tokens/s", "GB/s", "floor ms", "share",
    ]);
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "n/a".into(), |v| format!("{v:.digits$}"))
    };
    for row in &report.rows {
        table.add_row([
            row.what.to_owned(),
            row.batch.map_or_else(String::new, |b| b.to_string()),
            row.tokens.to_string(),
            row.ms.map_or_else(|| "does not fit".into(), |ms| format!("{ms:.3}")),
            number(row.tokens_per_s, 0),
            number(row.gb_per_s, 2),
            number(row.floor_ms, 3),
            number(row.share, 3),
        ]);
    }
    format!(
        "{} on {}; floors at {:.1} GB/s and {:.2} TFLOP/s ({})\n\n{}\n",
        report.model,
        report.device,
        report.bandwidth_gb_per_s,
        report.tflops,
        report.evidence,
        table.trim_fmt()
    )
}

fn csv(report: &Report) -> Result<String, anyhow::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in &report.rows {
        writer.serialize(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_the_columns_that_calibrate_wants() {
        let step = Step {
            decodes: 2,
            decode_context: 300,
            prefill_tokens: 0,
            prefill_work: 0,
            ms: 5.5,
        };
        assert_eq!(
            log(&[step]),
            "decodes,decode_context,prefill_tokens,prefill_work,ms\n2,300,0,0,5.5\n"
        );
    }
}
