//! The comparison as text: a table for people, CSV, JSON, Markdown, and a page with figures.

use std::fmt::Write as _;

use serde::Serialize;

use super::compare::{Cell, Comparison, MEAN_WITHIN, Ranking, TAIL_WITHIN};
use super::result::{FIGURES, Figure, RunResult, World};
use crate::html::page::Page;
use crate::output;
use crate::plot::scale::Axis;
use crate::plot::style;
use crate::plot::{self, Mark, Panel, Point, Series};

/// Everything that is written.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was run on what: names and values.
    pub setup: Vec<(String, String)>,
    /// Policies in the order asked for.
    pub policies: Vec<String>,
    /// What came out.
    pub comparison: Comparison,
    /// Of each real run: what its steps and tools took, against what they were taken to take.
    pub checks: Vec<Check>,
    /// Whether the bar is met; `None` while runs are missing.
    pub passes: Option<bool>,
}

/// Where an error may come from: the parts of one real run against the models of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The policy.
    pub policy: String,
    /// The load.
    pub load: f64,
    /// The repeat.
    pub repeat: u32,
    /// Steps taken.
    pub steps: u64,
    /// Time of its steps by the cost model over what the executor took for them, less 1. By the model as it
    /// was fitted before the runs: what is measured between them comes later.
    pub step_cost_error: Option<f64>,
    /// CPU time of its steps over the executor's time: below 1 with one thread, other programs took its
    /// core.
    pub on_core: Option<f64>,
    /// Runs that were discarded before it, for that reason.
    pub discarded: u32,
    /// Tools' time over their time alone.
    pub tool_stretch: Option<f64>,
    /// The same in the simulation.
    pub simulated_tool_stretch: Option<f64>,
}

fn ratio(a: u64, b: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "spans of a run")]
    let share = a as f64 / b as f64;
    (b > 0).then_some(share)
}

impl Check {
    /// Of every real run, beside the simulated one.
    pub fn all(runs: &[RunResult]) -> Vec<Self> {
        let stretch = |r: &RunResult| ratio(r.tools_ns, r.tools_alone_ns);
        let real = runs.iter().filter(|r| r.which.world == World::Real);
        real.map(|r| {
            let twins = runs.iter().filter(|s| {
                let (a, b) = (&r.which, &s.which);
                #[expect(clippy::float_cmp, reason = "a load is copied, never computed")]
                let same_load = a.load == b.load;
                b.world == World::Simulated && same_load && a.policy == b.policy
            });
            let (took, alone) = twins.fold((0, 0), |(took, alone), twin| {
                (took + twin.tools_ns, alone + twin.tools_alone_ns)
            });
            Self {
                policy: r.which.policy.clone(),
                load: r.which.load,
                repeat: r.which.repeat,
                steps: r.steps,
                step_cost_error: r
                    .computing_ns
                    .and_then(|took| ratio(r.priced_ns, took))
                    .map(|x| x - 1.0),
                on_core: r.on_core(),
                discarded: r.discarded,
                tool_stretch: stretch(r),
                simulated_tool_stretch: ratio(took, alone),
            }
        })
        .collect()
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".to_owned(), |v| format!("{v:.4}"))
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".to_owned(), |v| format!("{:+.1} %", 100.0 * v))
}

const HEADER: [&str; 11] = [
    "load",
    "policy",
    "figure",
    "real",
    "lowest",
    "highest",
    "simulated",
    "lowest",
    "highest",
    "error",
    "within",
];

fn cells(cell: &Cell) -> Vec<String> {
    let within = match cell.passes() {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    vec![
        cell.load.to_string(),
        cell.policy.clone(),
        cell.figure.to_owned(),
        number(cell.real),
        number(cell.real_low),
        number(cell.real_high),
        number(cell.simulated),
        number(cell.simulated_low),
        number(cell.simulated_high),
        percent(cell.error),
        within.to_owned(),
    ]
}

const ORDER_HEADER: [&str; 6] = [
    "load",
    "real order",
    "simulated order",
    "tau",
    "pairs apart",
    "the wrong way round",
];

fn order(r: &Ranking) -> Vec<String> {
    let wrong = if r.wrong.is_empty() {
        "none".to_owned()
    } else {
        r.wrong.join(", ")
    };
    vec![
        r.load.to_string(),
        r.real.join(" < "),
        r.simulated.join(" < "),
        number(r.tau),
        r.apart.to_string(),
        wrong,
    ]
}

const CHECK_HEADER: [&str; 9] = [
    "load",
    "policy",
    "repeat",
    "steps",
    "step cost error",
    "CPU time",
    "discarded",
    "tool stretch",
    "simulated",
];

fn check(c: &Check) -> Vec<String> {
    vec![
        c.load.to_string(),
        c.policy.clone(),
        c.repeat.to_string(),
        c.steps.to_string(),
        percent(c.step_cost_error),
        number(c.on_core),
        c.discarded.to_string(),
        number(c.tool_stretch),
        number(c.simulated_tool_stretch),
    ]
}

/// What is looked for, in a sentence.
fn bar() -> String {
    format!(
        "Bar: mean latency within {:.0} %, its 95th percentile within {:.0} %, and no two policies the wrong \
         way round whose real means differ by more than either varies from repeat to repeat.",
        100.0 * MEAN_WITHIN,
        100.0 * TAIL_WITHIN
    )
}

fn verdict(report: &Report) -> &'static str {
    match report.passes {
        Some(true) => "It is met.",
        Some(false) => "It is NOT met.",
        None => "Runs are missing: no verdict.",
    }
}

/// For people, on a terminal.
pub fn table(report: &Report) -> String {
    let mut figures = output::table(&HEADER);
    for cell in &report.comparison.cells {
        figures.add_row(cells(cell));
    }
    let mut orders = output::table(&ORDER_HEADER);
    for ranking in &report.comparison.rankings {
        orders.add_row(order(ranking));
    }
    format!("{figures}\n\n{orders}\n\n{} {}\n", bar(), verdict(report))
}

/// A row a figure.
///
/// # Errors
/// What the writer says, which has no reason to.
pub fn csv(report: &Report) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for cell in &report.comparison.cells {
        writer.serialize(cell)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Everything.
///
/// # Errors
/// What the writer says, which has no reason to.
pub fn json(report: &Report) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

fn markdown_table(text: &mut String, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(text, "| {} |", header.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(header.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
}

/// The same for a repository's page.
pub fn markdown(report: &Report) -> String {
    let mut text = format!(
        "# Simulator against engine\n\n{} {}\n\n",
        bar(),
        verdict(report)
    );
    let facts = report.setup.iter().map(|(k, v)| vec![k.clone(), v.clone()]);
    markdown_table(&mut text, &["setup", ""], facts);
    let c = &report.comparison;
    text.push_str("## Order of the policies by mean latency\n\n");
    markdown_table(&mut text, &ORDER_HEADER, c.rankings.iter().map(order));
    text.push_str(
        "## Figures\n\nReal: the mean over repeats, with the lowest and the highest.\n\n",
    );
    markdown_table(&mut text, &HEADER, c.cells.iter().map(cells));
    text.push_str("## Where errors come from\n\n");
    markdown_table(&mut text, &CHECK_HEADER, report.checks.iter().map(check));
    text
}

/// The same as a page, with figures.
///
/// # Errors
/// If the drawing library refuses.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let owned = |header: &[&str]| header.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut page = Page::default();
    page.heading(1, "Simulator against engine");
    let said = format!("{} {}", bar(), verdict(report));
    if report.passes == Some(true) {
        page.paragraph(&said);
    } else {
        page.warning(&said);
    }
    page.facts(&report.setup);
    let c = &report.comparison;
    page.heading(2, "Order of the policies by mean latency");
    let rows: Vec<_> = c.rankings.iter().map(order).collect();
    page.table(&owned(&ORDER_HEADER), &rows, 3);
    page.heading(2, "Figures");
    page.figure(
        &figure(report)?,
        "real and simulated figures over load, a panel a figure",
    );
    let rows: Vec<_> = c.cells.iter().map(cells).collect();
    page.folded("All numbers", |page| page.table(&owned(&HEADER), &rows, 3));
    page.heading(2, "Where errors come from");
    page.paragraph(
        "Steps of each real run: their price by the cost model that the simulator is given, and the CPU time they \
         got, both over what they took; and tools' time over their time alone, in both worlds.",
    );
    let rows: Vec<_> = report.checks.iter().map(check).collect();
    page.table(&owned(&CHECK_HEADER), &rows, 2);
    Ok(page.document("Simulator against engine"))
}

/// A panel a figure: real runs as points with the range of their repeats, the simulator as a line.
fn figure(report: &Report) -> anyhow::Result<String> {
    let panels = FIGURES
        .iter()
        .map(|&figure| panel(report, figure))
        .collect();
    plot::svg(&plot::Figure {
        title: "Simulator against engine".to_owned(),
        caption: vec![
            "Lines with markers: the real engine, with the range over repeats. Dotted: simulated."
                .to_owned(),
        ],
        columns: 3,
        panels,
    })
}

fn panel(report: &Report, figure: Figure) -> Panel {
    let mut series = Vec::new();
    for (number, policy) in report.policies.iter().enumerate() {
        let of = report.comparison.cells.iter();
        let cells: Vec<&Cell> = of
            .filter(|c| c.policy == *policy && c.figure == figure.name())
            .collect();
        let real = cells.iter().filter_map(|c| {
            Some(Point {
                x: c.load,
                y: c.real?,
                half: c.spread().map(|wide| wide / 2.0),
            })
        });
        let simulated = cells
            .iter()
            .filter_map(|c| Some(Point::new(c.load, c.simulated?)));
        let look = style::of(policy, number);
        series.push(Series {
            name: format!("{policy}, simulated"),
            style: style::Style {
                dash: (2, 4),
                marker: style::Marker::None,
                ..look
            },
            mark: Mark::Curve,
            points: simulated.collect(),
        });
        series.push(Series {
            name: policy.clone(),
            style: look,
            mark: Mark::Line,
            points: real.collect(),
        });
    }
    Panel {
        title: figure.name().to_owned(),
        x: Axis::linear("load"),
        y: Axis::linear(figure.name()),
        series,
    }
}

#[cfg(test)]
mod tests {
    use super::super::result::tests::run;
    use super::*;

    fn report() -> Report {
        let mut runs = vec![
            run("fcfs", World::Real, 0, &[2.0]),
            run("fcfs", World::Real, 1, &[2.1]),
            run("fcfs", World::Simulated, 0, &[2.2]),
            run("fcfs", World::Simulated, 1, &[2.4]),
        ];
        runs[0].computing_ns = Some(100);
        runs[0].cpu_ns = Some(98);
        runs[0].priced_ns = 103;
        runs[0].tools_ns = 30;
        runs[0].tools_alone_ns = 20;
        let policies = vec!["fcfs".to_owned()];
        let comparison = Comparison::new(&runs, &[None], &policies, &[(1.0, 1.0)]);
        Report {
            setup: vec![("model".to_owned(), "random:8m".to_owned())],
            policies,
            checks: Check::all(&runs),
            passes: comparison.passes(),
            comparison,
        }
    }

    #[test]
    fn every_form_has_the_number_and_the_verdict() {
        let report = report();
        // 2.3 in the mean over 2.05 is 12.2 % too long.
        for text in [
            table(&report),
            markdown(&report),
            page(&report).expect("draws"),
        ] {
            assert!(text.contains("+12.2 %"), "{text}");
            assert!(text.contains("It is NOT met."), "{text}");
        }
        let csv = csv(&report).expect("writes");
        assert_eq!(csv.lines().count(), 1 + FIGURES.len());
        assert!(
            csv.starts_with("policy,load,rate_per_s,figure,real,"),
            "{csv}"
        );
        assert!(json(&report).expect("writes").contains("\"passes\": false"));
    }

    #[test]
    fn a_check_is_computed_by_hand() {
        let checks = report().checks;
        assert_eq!(checks.len(), 2);
        assert!((checks[0].step_cost_error.expect("steps") - 0.03).abs() < 1e-9);
        assert_eq!(
            (checks[0].on_core, checks[0].tool_stretch),
            (Some(0.98), Some(1.5))
        );
        assert_eq!(checks[1].tool_stretch, None, "no tools");
    }
}
