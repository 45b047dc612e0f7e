//! `orrery` without arguments: fcfs against mars on the bundled workload, a table and a figure.
//!
//! Why these rates: sessions of the bundled workload keep the default machine busy at about 0.07
//! per second, so the list steps over the knee, where policies part.
//! Limits: one seed and an even spacing of arrivals; the curves have no confidence intervals.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;

use crate::cli::{Cli, Command, DemoArgs, Format, RunArgs};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{data, note, table};
use crate::plot::scale::Axis;
use crate::plot::{Drawn, Figure, Mark, Panel, Point, Series, style};
use crate::report::{self, RunReport};
use crate::run::{self, Plan};

/// Sessions per second: below, at and beyond the knee.
const RATES: &str = "0.02,0.04,0.06,0.07,0.08,0.1,0.15,0.2";
/// Long enough that the pool fills at the knee, short enough for a demo.
const SESSIONS: &str = "200";

/// The demo.
///
/// # Errors
/// A [`Failure`] with its exit code, as of `orrery run`.
pub fn demo(args: &DemoArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let plan = Plan {
        threads: args.work.threads()?,
        ..Plan::new(&run_args(args))?
    };
    let names: Vec<&str> = plan.policies.iter().map(|p| p.name.as_str()).collect();
    let setting = format!(
        "{SESSIONS} recorded SWE-bench sessions per run, {} on {}, {} tool cores, even arrivals, seed {}",
        plan.machine.hardware.model.name,
        plan.machine.hardware.gpu.name,
        plan.machine.tool_cores,
        plan.seeds[0],
    );
    let intro = format!(
        "demo: {} at {} rates; {setting}",
        names.join(" and "),
        plan.rates.len()
    );
    note(plan.quiet, &intro);
    let mut reports = Vec::new();
    for result in run::execute(&plan, interrupt)? {
        reports.push(result?.report);
    }
    let write = || -> anyhow::Result<(PathBuf, PathBuf)> {
        let csv = report::print(&reports, Format::Csv, plan.tolerance)?;
        let csv = write(&args.out, "goodput.csv", &csv)?;
        let figure = Figure {
            title: format!("{} over the offered load", names.join(" and ")),
            caption: vec![setting],
            columns: 2,
            panels: panels(&reports).into(),
        };
        let svg = args.out.join("goodput.svg");
        Drawn::of(&figure)?.write(&svg)?;
        Ok((svg, csv))
    };
    let (svg, csv) = write().map_err(|error| Failure {
        exit: Exit::Partial,
        error,
    })?;
    let mut text = format!("{}\n", rows(&reports).trim_fmt());
    let _ = write!(
        text,
        "\nGoodput(3): sessions per second that take at most 3 times as long as alone on the \
         machine; attainment(3) is\ntheir share of those offered. {SESSIONS} sessions per run, one \
         seed; the token counts are recorded, the tool times\ndrawn from fits (`orrery workloads \
         list`).\n\nfigure: {} (and .png)\ndata:   {}\nruns:   {}/*/ (manifest.json, Parquet)\n\nNext:\n  \
         orrery run --rate 0.06,0.08 --seed 1,2,3    other draws\n  \
         orrery policies explain mars                what it does, rule by rule\n  \
         orrery run --help                           your own policy, trace, GPU\n",
        svg.display(),
        csv.display(),
        args.out.display(),
    );
    data(&text)
}

fn run_args(args: &DemoArgs) -> RunArgs {
    // Read as from a command line, so that the demo has the defaults of `orrery run`.
    let words = ["orrery", "run", "--rate", RATES, "--sessions", SESSIONS];
    let Ok(Cli {
        command: Some(Command::Run(run)),
    }) = Cli::try_parse_from(words)
    else {
        unreachable!("the words above are flags of `orrery run`; a test runs the demo");
    };
    let mut run = *run;
    run.out.clone_from(&args.out);
    run.common.work.quiet = args.work.quiet;
    run
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(path)
}

fn rows(reports: &[RunReport]) -> comfy_table::Table {
    let shown = |value: Option<f64>, digits: usize, factor: f64| match value {
        Some(x) => format!("{:.digits$}", x * factor),
        None => "n/a".to_owned(),
    };
    let mut table = table(&[
        "sessions/s",
        "policy",
        "mean latency (s)",
        "P95 (s)",
        "goodput(3) (sessions/s)",
        "attainment(3) (%)",
        "prefix hits (%)",
        "preemptions",
    ]);
    for r in reports {
        table.add_row([
            r.rate_per_s.to_string(),
            r.policy.clone(),
            shown(r.latency_s.mean, 0, 1.0),
            shown(r.latency_s.p95, 0, 1.0),
            shown(at_three(&r.goodput_per_s), 4, 1.0),
            shown(at_three(&r.attainment), 1, 100.0),
            shown(r.prefix_hit_rate, 1, 100.0),
            r.preemptions
                .map_or_else(|| "n/a".to_owned(), |n| n.to_string()),
        ]);
    }
    for column in (0..8).filter(|c| *c != 1) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table
}

fn at_three(values: &report::ByAlpha) -> Option<f64> {
    let (_, value) = values.0.iter().find(|(alpha, _)| alpha == "3")?;
    *value
}

fn panels(reports: &[RunReport]) -> [Panel; 2] {
    let panel = |title: &str, y: &str, value: &dyn Fn(&RunReport) -> Option<f64>| {
        let mut series: Vec<Series> = Vec::new();
        for report in reports {
            let Some(y) = value(report) else { continue };
            let point = Point::new(report.rate_per_s, y);
            match series.iter_mut().find(|s| s.name == report.policy) {
                Some(known) => known.points.push(point),
                None => series.push(Series {
                    name: report.policy.clone(),
                    style: style::of(&report.policy, series.len()),
                    mark: Mark::Line,
                    points: vec![point],
                }),
            }
        }
        Panel {
            title: title.to_owned(),
            x: Axis::linear("offered load (sessions/s)"),
            y: Axis::linear(y),
            series,
        }
    };
    [
        panel(
            "Sessions in time (at most 3 x alone)",
            "goodput(3) (sessions/s)",
            &|r| at_three(&r.goodput_per_s),
        ),
        panel("Mean session latency", "mean latency (s)", &|r| {
            r.latency_s.mean
        }),
    ]
}
