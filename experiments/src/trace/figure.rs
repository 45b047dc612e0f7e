//! One SVG page of distributions: a panel per quantity, a line per trace.
//!
//! Each line is the cumulative share of numbers up to x, over a logarithmic axis: no bins to choose,
//! and traces of different sizes compare. Lines differ in colour and dash.
//!
//! Limits: a number below the axis (a tool that took no time) is in the share at its left end. A line
//! has at most [`POINTS`] points. A quantity that no trace has is named in the heading, not drawn.

use std::fmt::Write as _;

use anyhow::{anyhow, bail};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use traces::stats::{Sample, Sorted, Stats};

use crate::demo::figure::{COLOURS, DASHES, FONT};

/// The most points of a line; steps of 0.25 % are below a pixel.
const POINTS: usize = 400;

const WIDTH: u32 = 1200;
const PANEL_HEIGHT: u32 = 330;
const COLUMNS: usize = 3;
const LINE_HEIGHT: u32 = 24;

/// Longer names of traces are shortened in the legend.
const NAME_LENGTH: usize = 44;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A quantity over several traces.
struct Panel {
    title: &'static str,
    x: &'static str,
    /// Of each trace, with the unit to divide by; empty where the trace does not have it.
    lines: Vec<Sorted>,
    unit: f64,
}

/// The figure of these traces.
///
/// # Errors
/// If the traces have nothing to draw.
pub(super) fn svg(traces: &[(&str, Stats)]) -> anyhow::Result<String> {
    let (panels, missing): (Vec<Panel>, Vec<Panel>) =
        panels(traces).into_iter().partition(Panel::has_numbers);
    if panels.is_empty() {
        bail!("there is nothing to draw: the traces have no numbers");
    }
    let mut heading = "Cumulative share over a logarithmic axis".to_owned();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|panel| panel.title).collect();
        let _ = write!(heading, "; not recorded: {}", names.join(", "));
    }
    let legend = legend(traces);
    let rows = panels.len().div_ceil(COLUMNS);
    let lines = legend.last().map_or(0, |entry| entry.row) + 2;
    let top = LINE_HEIGHT * lines + 8;
    let size = (WIDTH, top + PANEL_HEIGHT * u32::try_from(rows)?);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(refused)?;
        let (head, body) = root.split_vertically(top);
        draw_heading(&head, &heading, &legend)?;
        let areas = body.split_evenly((rows, COLUMNS.min(panels.len())));
        for (panel, area) in panels.iter().zip(&areas) {
            draw(panel, area)?;
        }
        root.present().map_err(refused)?;
    }
    Ok(text)
}

fn refused(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the figure: {error}")
}

fn panels(traces: &[(&str, Stats)]) -> Vec<Panel> {
    let panel = |title, x, unit, pick: &dyn Fn(&Stats) -> Sample| Panel {
        title,
        x,
        lines: traces
            .iter()
            .map(|(_, stats)| pick(stats).sorted())
            .collect(),
        unit,
    };
    vec![
        panel("Input length", "prompt tokens of a session", 1.0, &|s| {
            s.volume.clone()
        }),
        panel("Turns", "turns of a session", 1.0, &|s| s.turns.clone()),
        panel("Largest context", "tokens of KV of a session", 1.0, &|s| {
            s.peak.clone()
        }),
        panel("Output", "tokens of a turn", 1.0, &|s| s.output.clone()),
        panel("Observation", "tokens added between turns", 1.0, &|s| {
            s.observation.clone()
        }),
        panel("Tool time", "seconds of a call", 1e9, &|s| {
            s.all_tools().wall
        }),
    ]
}

impl Panel {
    fn has_numbers(&self) -> bool {
        self.lines
            .iter()
            .any(|line| self.positive(line).next().is_some())
    }

    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    fn positive<'a>(&self, line: &'a Sorted) -> impl Iterator<Item = f64> + 'a {
        let unit = self.unit;
        let values = line.values().iter().filter(|v| **v > 0);
        values.map(move |&v| v as f64 / unit)
    }

    /// Whole decades around every number.
    fn decades(&self) -> (f64, f64) {
        let all = || self.lines.iter().flat_map(|line| self.positive(line));
        let low = all().fold(f64::INFINITY, f64::min).log10().floor();
        let high = all().fold(0.0, f64::max).log10().ceil();
        (low, high.max(low + 1.0))
    }

    /// Corners of the line, in decades and shares.
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    fn points(&self, line: &Sorted, (low, high): (f64, f64)) -> Vec<(f64, f64)> {
        let n = line.values().len();
        if n == 0 {
            return Vec::new();
        }
        let at = |rank: usize| {
            let value = line.values()[rank] as f64 / self.unit;
            if value > 0.0 {
                value.log10().max(low)
            } else {
                low
            }
        };
        let mut points = vec![(low, 0.0)];
        let drawn = n.min(POINTS);
        for i in 0..drawn {
            // The last of each of `drawn` equal parts.
            let rank = (i + 1) * n / drawn - 1;
            let before = points.last().map_or(0.0, |point| point.1);
            points.push((at(rank), before));
            points.push((at(rank), (rank + 1) as f64 / n as f64));
        }
        points.push((high, 1.0));
        points
    }
}

fn draw(panel: &Panel, area: &Area<'_>) -> anyhow::Result<()> {
    let (low, high) = panel.decades();
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(24)
        .caption(panel.title, (FONT, 18))
        .x_label_area_size(46)
        .y_label_area_size(58)
        // A little room above 1, so that the line is not the frame.
        .build_cartesian_2d(Decades(low, high), 0.0..1.04)
        .map_err(refused)?;
    chart
        .configure_mesh()
        .x_desc(panel.x)
        .y_desc("share")
        .y_labels(6)
        .axis_desc_style((FONT, 15))
        .label_style((FONT, 13))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(&|decade| power(*decade))
        .y_label_formatter(&|share| format!("{share:.1}"))
        .draw()
        .map_err(refused)?;
    for (i, line) in panel.lines.iter().enumerate() {
        let points = panel.points(line, (low, high));
        let style = COLOURS[i % COLOURS.len()].stroke_width(2);
        let (dash, gap) = DASHES[i % DASHES.len()];
        if gap == 0 {
            chart.draw_series(LineSeries::new(points, style))
        } else {
            chart.draw_series(DashedLineSeries::new(points, dash, gap, style))
        }
        .map_err(refused)?;
    }
    Ok(())
}

/// An axis over powers of ten, with its ends.
struct Decades(f64, f64);

impl Ranged for Decades {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a place between two pixels is one"
    )]
    fn map(&self, decade: &f64, (left, right): (i32, i32)) -> i32 {
        let share = (decade - self.0) / (self.1 - self.0);
        left + (share * f64::from(right - left)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        ticks(self.0, self.1)
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.0..self.1
    }
}

/// Where the axis has labels, in decades: every power of ten, or every second of many; with few of
/// them also their double and fivefold.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = if high - low > 2.0 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let stride = if high - low > 8.0 { 2.0 } else { 1.0 };
    let mut ticks = Vec::new();
    let mut decade = low;
    while decade <= high {
        let within = steps.iter().map(|step| decade + step.log10());
        ticks.extend(within.filter(|tick| *tick <= high));
        decade += stride;
    }
    ticks
}

/// `10^decade` as an axis shows it.
fn power(decade: f64) -> String {
    let value = 10_f64.powf(decade);
    // One digit tells all ticks; ten to the power of a logarithm is off by a little.
    let digits = |x: f64| ((x * 1e6).round() / 1e6).to_string();
    let whole = (decade + 1e-9).floor();
    match whole {
        _ if whole < 3.0 => digits(value),
        _ if whole < 6.0 => format!("{}k", digits(value / 1e3)),
        _ if whole < 9.0 => format!("{}M", digits(value / 1e6)),
        _ => format!("{}G", digits(value / 1e9)),
    }
}

/// A trace in the legend.
struct Entry {
    name: String,
    row: u32,
    x: u32,
}

/// Places of the entries: as many to a row as fit.
fn legend(traces: &[(&str, Stats)]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let (mut row, mut x) = (0, 16);
    for (name, stats) in traces {
        let letters = name.chars().count();
        // The end of a path tells more than its beginning.
        let name = if letters > NAME_LENGTH {
            let tail: String = name.chars().skip(letters - NAME_LENGTH + 3).collect();
            format!("...{tail}")
        } else {
            (*name).to_owned()
        };
        let name = format!("{name} ({} sessions)", stats.sessions());
        // A letter of 14 px is at most about 9 px wide.
        let width = 70 + 9 * u32::try_from(name.chars().count()).unwrap_or(0);
        if x > 16 && x + width > WIDTH {
            (row, x) = (row + 1, 16);
        }
        entries.push(Entry { name, row, x });
        x += width;
    }
    entries
}

fn draw_heading(area: &Area<'_>, heading: &str, legend: &[Entry]) -> anyhow::Result<()> {
    let anchor = Pos::new(HPos::Left, VPos::Center);
    let font = (FONT, 14).into_text_style(area).pos(anchor);
    let first = Text::new(heading.to_owned(), (16, 16), font.clone());
    area.draw(&first).map_err(refused)?;
    for (i, entry) in legend.iter().enumerate() {
        let y = i32::try_from(16 + LINE_HEIGHT * (entry.row + 1))?;
        let x = i32::try_from(entry.x)?;
        let style = COLOURS[i % COLOURS.len()].stroke_width(2);
        let (dash, gap) = DASHES[i % DASHES.len()];
        let ends = [(x, y), (x + 42, y)];
        if gap == 0 {
            area.draw(&PathElement::new(ends, style)).map_err(refused)?;
        } else {
            let line = plotters::element::DashedPathElement::new(ends, dash, gap, style);
            area.draw(&line).map_err(refused)?;
        }
        let name = Text::new(entry.name.clone(), (x + 50, y), font.clone());
        area.draw(&name).map_err(refused)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(values: &[u64], unit: f64) -> Panel {
        let sample: Sample = values.iter().copied().collect();
        Panel {
            title: "t",
            x: "x",
            lines: vec![sample.sorted()],
            unit,
        }
    }

    #[test]
    fn lines_are_cumulative_shares() {
        let panel = panel(&[0, 10, 100, 100], 1.0);
        let decades = panel.decades();
        assert_eq!(decades, (1.0, 2.0));
        let points = panel.points(&panel.lines[0], decades);
        let want = [
            (1.0, 0.0),
            (1.0, 0.0),
            (1.0, 0.25), // the zero, left of the axis
            (1.0, 0.25),
            (1.0, 0.5),
            (2.0, 0.5),
            (2.0, 0.75),
            (2.0, 0.75),
            (2.0, 1.0),
            (2.0, 1.0),
        ];
        assert_eq!(points, want);
    }

    #[test]
    fn long_lines_are_thinned_and_still_end_at_one() {
        let values: Vec<u64> = (1..=10_001).collect();
        let panel = panel(&values, 1e9);
        let points = panel.points(&panel.lines[0], panel.decades());
        assert_eq!(points.len(), 2 * POINTS + 2);
        assert!(
            points
                .windows(2)
                .all(|p| p[0].0 <= p[1].0 && p[0].1 <= p[1].1)
        );
        assert_eq!(points.last().map(|p| p.1), Some(1.0));
    }

    #[test]
    fn axes_are_never_empty() {
        assert_eq!(panel(&[1, 1], 1.0).decades(), (0.0, 1.0));
        assert!(!panel(&[0], 1.0).has_numbers());
        assert!(svg(&[("none", Stats::default())]).is_err());
    }

    #[test]
    fn powers_of_ten_read_as_people_write_them() {
        let shown = [-3.0, -1.0, 0.0, 2.0, 4.0, 6.0, 50_f64.log10()].map(power);
        assert_eq!(shown, ["0.001", "0.1", "1", "100", "10k", "1M", "50"]);
        let shown: Vec<String> = ticks(1.0, 3.0).into_iter().map(power).collect();
        assert_eq!(shown, ["10", "20", "50", "100", "200", "500", "1k"]);
        assert_eq!(ticks(0.0, 9.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
    }
}
