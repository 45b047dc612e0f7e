//! `orrery engine bench`: how long steps take, and how fast they could be.

pub mod args;
mod device;
mod numbers;

use std::fmt::Write as _;
use std::num::NonZeroU32;

use anyhow::{Context as _, anyhow};
use engine::ExecutorError;
use engine::floor::{Work, offload};
use engine::measure::{Point, Timed, measure};
use serde::Serialize;
use units::Tokens;

use crate::cli::Format;
use crate::engine::prefill::PrefillChoice;
use crate::failure::{Exit, Failure};
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
    /// Kernel of prefill attention, on a GPU.
    prefill_attention: Option<PrefillChoice>,
    rows: Vec<Row>,
}

/// What was asked for.
struct Plan {
    batches: Vec<u64>,
    contexts: Vec<u64>,
    prompts: Vec<u64>,
    chunk: u64,
    rounds: NonZeroU32,
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
            contexts: pick(
                "--contexts",
                &args.contexts,
                "512,2048,16384,65536",
                "512,2048",
            )?,
            prompts: pick(
                "--prompts",
                &args.prompts,
                "512,2048,8192,32768",
                "512,2048",
            )?,
            chunk: numbers::whole("--chunk", &args.chunk)?,
            rounds: rounds(&args.repeats)?,
        })
    }
}

fn rounds(text: &str) -> Result<NonZeroU32, Failure> {
    let n = numbers::whole("--repeats", text)?;
    Ok(u32::try_from(n)
        .ok()
        .and_then(NonZeroU32::new)
        .expect("1 to 2^24"))
}

/// `orrery engine bench`
///
/// # Errors
/// Bad input: a model, device or number that cannot be used. A device that fails. An interruption,
/// after what was timed until then is printed.
pub fn command(args: &EngineBenchArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let plan = Plan::new(args)?;
    let mut subject = device::open(args)?;
    let (cells, points) = plan.cells(&subject);
    let rounds = plan.rounds;
    let timed = measure(
        &mut *subject.executor,
        &subject.reach,
        &points,
        rounds,
        |_, _| !interrupt.is_set(),
    );
    let timed = timed.map_err(failed)?;
    let ended = interrupt.is_set();
    if let Some(file) = &args.steps {
        std::fs::write(file, log(&timed))
            .with_context(|| format!("cannot write `{}`", file.display()))
            .map_err(Failure::bad_input)?;
    }
    let steps = found(&points, &timed);
    let cells = cells.iter().filter(|cell| cell.is_whole(&steps));
    let mut rows: Vec<Row> = cells.map(|cell| cell.row(&subject, &steps)).collect();
    if !ended {
        rows.extend(offload_rows(&mut subject)?);
    }
    let report = Report {
        model: args.model.clone(),
        device: subject.device,
        bandwidth_gb_per_s: subject.machine.bytes_per_s / 1e9,
        tflops: subject.machine.flops / 1e12,
        evidence: subject.evidence,
        prefill_attention: subject.prefill,
        rows,
    };
    output::data(&match args.format {
        Format::Json => format!(
            "{}\n",
            serde_json::to_string_pretty(&report).map_err(Failure::bad_input)?
        ),
        Format::Csv => csv(&report).map_err(Failure::bad_input)?,
        Format::Table => table(&report),
    })?;
    if ended {
        return Err(Failure {
            exit: Exit::Interrupted,
            error: anyhow!(
                "interrupted: what was timed until then is printed, cells that were not are left out"
            ),
        });
    }
    Ok(())
}

/// What was timed of each point; all of them unless it was interrupted.
fn found<'a>(points: &[Point], timed: &'a [Timed]) -> Vec<Option<&'a Timed>> {
    if points.len() == timed.len() {
        return timed.iter().map(Some).collect();
    }
    let of = |point: &Point| timed.iter().find(|t| t.point == *point);
    points.iter().map(of).collect()
}

fn failed(error: ExecutorError) -> Failure {
    Failure {
        exit: Exit::Partial,
        error: error.into(),
    }
}

/// A row of the table, and which points it is made of.
struct Cell {
    /// Rows that decode; none for a prompt.
    batch: Option<u64>,
    tokens: u64,
    /// Places among the points; none where the pool does not hold them.
    points: Option<std::ops::Range<usize>>,
}

impl Plan {
    /// Cells, and the steps that they need.
    fn cells(&self, subject: &Subject) -> (Vec<Cell>, Vec<Point>) {
        let (mut cells, mut points) = (Vec::new(), Vec::new());
        let mut add = |batch, tokens, rows: u64, steps: Vec<Point>| {
            let each = subject.reach.block_size.to_hold(Tokens(tokens)).get();
            let fits = rows.saturating_mul(each) <= subject.reach.usable_blocks.get();
            let first = points.len();
            if fits {
                points.extend(steps);
            }
            cells.push(Cell {
                batch,
                tokens,
                points: fits.then_some(first..points.len()),
            });
        };
        for &batch in &self.batches {
            for &context in &self.contexts {
                let point = Point {
                    decodes: batch,
                    context: Tokens(context),
                    ..Point::default()
                };
                add(Some(batch), context, batch, vec![point]);
            }
        }
        for &prompt in &self.prompts {
            let chunks = (0..prompt).step_by(usize::try_from(self.chunk).unwrap_or(usize::MAX));
            let steps = chunks.map(|prefix| Point {
                prefix: Tokens(prefix),
                new: Tokens(self.chunk.min(prompt - prefix)),
                ..Point::default()
            });
            add(None, prompt, 1, steps.collect());
        }
        (cells, points)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
impl Cell {
    /// Whether all its steps were timed, if the pool holds them.
    fn is_whole(&self, steps: &[Option<&Timed>]) -> bool {
        let points = self.points.clone();
        points.is_none_or(|range| steps[range].iter().all(Option::is_some))
    }

    fn row(&self, subject: &Subject, steps: &[Option<&Timed>]) -> Row {
        let steps = self.points.clone().map(|range| {
            let steps = steps[range].iter().copied().flatten();
            steps.collect::<Vec<&Timed>>()
        });
        let steps = steps.as_deref();
        let ms = steps.map(|steps| steps.iter().copied().map(ms).sum::<f64>());
        let floor = steps.map(|steps| steps.iter().map(|s| floor(subject, &s.point)).sum::<f64>());
        let tokens = self.batch.unwrap_or(self.tokens);
        Row {
            what: if self.batch.is_some() {
                "decode"
            } else {
                "prefill"
            },
            batch: self.batch,
            tokens: self.tokens,
            ms,
            tokens_per_s: ms.map(|ms| 1e3 * tokens as f64 / ms),
            gb_per_s: None,
            floor_ms: floor,
            share: floor.zip(ms).map(|(floor, ms)| floor / ms),
        }
    }
}

/// The middle time of a step.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a step")]
fn ms(timed: &Timed) -> f64 {
    timed.median().as_nanos() as f64 / 1e6
}

/// Twice the pairs of tokens of a chunk, as a step log has it.
fn pairs_twice(point: &Point) -> u64 {
    point.new.get() * (2 * point.prefix.get() + point.new.get())
}

#[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
fn floor(subject: &Subject, point: &Point) -> f64 {
    let rows = point.decodes + u64::from(point.new > Tokens::ZERO);
    let tokens = point.decodes + point.new.get();
    let decoding = point.decodes * point.context.get();
    let pairs = decoding as f64 + pairs_twice(point) as f64 / 2.0;
    let context = decoding + point.prefix.get() + point.new.get();
    Work::of(&subject.config, tokens, rows, pairs, context).floor_ms(&subject.machine)
}

/// Copies of as many blocks as 256 MiB hold, or the pool.
#[expect(clippy::cast_precision_loss, reason = "bytes of a copy")]
fn offload_rows(subject: &mut Subject) -> Result<[Row; 2], Failure> {
    let each = subject.executor.block_bytes().get();
    let usable = subject.reach.usable_blocks.get();
    let blocks = ((256 << 20) / each).clamp(1, usable);
    let count = u32::try_from(blocks).expect("256 MiB hold fewer");
    let times = offload(&mut *subject.executor, count).map_err(failed)?;
    let row = |what, ms: f64| Row {
        what,
        batch: None,
        tokens: blocks * subject.reach.block_size.tokens().get(),
        ms: Some(ms),
        tokens_per_s: None,
        gb_per_s: Some((blocks * each) as f64 / ms / 1e6),
        floor_ms: None,
        share: None,
    };
    Ok([row("to_host", times[0]), row("to_device", times[1])])
}

/// The steps as `orrery calibrate` reads them, the middle time of each.
fn log(timed: &[Timed]) -> String {
    let mut text = String::from("decodes,decode_context,prefill_tokens,prefill_work,ms\n");
    for t in timed {
        let _ = writeln!(
            text,
            "{},{},{},{},{}",
            t.point.decodes,
            t.point.decodes * t.point.context.get(),
            t.point.new.get(),
            pairs_twice(&t.point),
            ms(t)
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
            row.ms
                .map_or_else(|| "does not fit".into(), |ms| format!("{ms:.3}")),
            number(row.tokens_per_s, 0),
            number(row.gb_per_s, 2),
            number(row.floor_ms, 3),
            number(row.share, 3),
        ]);
    }
    let prefill = report
        .prefill_attention
        .as_ref()
        .map_or_else(String::new, |choice| {
            format!(
                "prefill attention by {}: {}\n",
                choice.kernel, choice.reason
            )
        });
    format!(
        "{} on {}; floors at {:.1} GB/s and {:.2} TFLOP/s ({})\n{prefill}\n{}\n",
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
    use units::Nanos;

    use super::*;

    #[test]
    fn the_report_names_the_kernel_of_prefill_attention_where_there_is_a_choice() {
        let mut report = Report {
            model: "m".into(),
            device: "d".into(),
            bandwidth_gb_per_s: 1.0,
            tflops: 2.0,
            evidence: "e".into(),
            prefill_attention: None,
            rows: Vec::new(),
        };
        assert!(!table(&report).contains("prefill attention"));
        let json = serde_json::to_value(&report).expect("plain data");
        assert!(json["prefill_attention"].is_null());

        report.prefill_attention = Some(PrefillChoice {
            kernel: "wgmma",
            reason: "as told".into(),
        });
        let text = table(&report);
        assert!(
            text.contains("\nprefill attention by wgmma: as told\n"),
            "{text}"
        );
        let json = serde_json::to_value(&report).expect("plain data");
        assert_eq!(json["prefill_attention"]["kernel"], "wgmma");
        assert_eq!(json["prefill_attention"]["reason"], "as told");
    }

    #[test]
    fn what_was_not_timed_is_left_out_and_nothing_takes_its_place() {
        let point = |decodes| Point {
            decodes,
            context: Tokens(64),
            ..Point::default()
        };
        let timed = |decodes| Timed {
            point: point(decodes),
            times: vec![Nanos::new(decodes)],
            cpu: vec![Nanos::new(1)],
        };
        let points = [1, 2, 3].map(point);
        let cell = |points| Cell {
            batch: Some(1),
            tokens: 64,
            points,
        };
        let whole = |timed: &[Timed]| {
            let steps = found(&points, timed);
            let cells = [Some(0..1), Some(1..3), None].map(cell);
            cells.map(|cell| cell.is_whole(&steps))
        };
        assert_eq!(whole(&[1, 2, 3].map(timed)), [true; 3]);
        // The first and the third were timed; the second cell lacks a step. One that does not fit is said.
        let some = [1, 3].map(timed);
        assert_eq!(whole(&some), [true, false, true]);
        let steps = found(&points, &some);
        assert_eq!(steps, [Some(&some[0]), None, Some(&some[1])]);
    }

    #[test]
    fn the_log_has_the_columns_that_calibrate_wants() {
        let timed = Timed {
            point: Point {
                decodes: 2,
                context: Tokens(150),
                prefix: Tokens(30),
                new: Tokens(10),
            },
            times: [1_000_000, 5_500_000, 6_000_000].map(Nanos::new).to_vec(),
            cpu: vec![Nanos::new(1)],
        };
        assert_eq!(
            log(&[timed]),
            "decodes,decode_context,prefill_tokens,prefill_work,ms\n2,300,10,700,5.5\n"
        );
    }
}
