//! One SVG per facet, two plots a row: latency, goodput and attainment over the rate, a line per policy.
//!
//! Lines differ in colour and dash, markers in shape, so the figure survives a black-and-white print.
//! Limits: axes are linear and start at zero; intervals are cut at the axis' ends.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::estimate::Estimate;

/// Colours of Okabe and Ito, which the colour-blind tell apart.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(120, 120, 120),
];
const FONT: &str = "Helvetica, Arial, sans-serif";
/// Of one panel, in pixels.
const PANEL: (u32, u32) = (560, 300);
/// Panels side by side.
const ACROSS: u32 = 2;
/// Of a line of the legend, in pixels.
const LEGEND_ROW: u32 = 18;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'b, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A plot over the rate.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What the axis shows, with its unit.
    pub y: String,
    /// Values are shares: the axis ends at 1.
    pub is_share: bool,
    /// A line each.
    pub series: Vec<Series>,
}

/// A line: estimates over the rate.
#[derive(Clone, Debug)]
pub struct Series {
    /// The policy.
    pub name: String,
    /// Rate, and what was measured there.
    pub points: Vec<(f64, Estimate)>,
}

/// The panels, with one legend below.
///
/// # Errors
/// If the drawing library refuses, which it has no reason to.
pub fn svg(panels: &[Panel]) -> anyhow::Result<String> {
    let names: Vec<&str> = panels.first().map_or(Vec::new(), |panel| {
        panel.series.iter().map(|s| s.name.as_str()).collect()
    });
    let down = u32::try_from(panels.len().max(1))
        .unwrap_or(1)
        .div_ceil(ACROSS);
    let (width, height) = (PANEL.0 * ACROSS, PANEL.1 * down);
    // A letter of 13 px is about 7 px wide.
    let longest = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
    let cell = 60 + 7 * u32::try_from(longest).unwrap_or(0);
    let per_row = (width / cell).max(1);
    let rows = u32::try_from(names.len()).unwrap_or(0).div_ceil(per_row);
    let mut text = String::new();
    {
        let size = (width, height + rows * LEGEND_ROW + 10);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(refused)?;
        let (plots, legend) = root.split_vertically(height);
        let areas = plots.split_evenly((down as usize, ACROSS as usize));
        for (panel, area) in panels.iter().zip(&areas) {
            draw(panel, area)?;
        }
        for (i, name) in names.iter().enumerate() {
            let at = u32::try_from(i).unwrap_or(0);
            let (x, y) = (at % per_row * cell, at / per_row * LEGEND_ROW);
            entry(&legend, i, name, (signed(x) + 12, signed(y) + 9))?;
        }
        root.present().map_err(refused)?;
    }
    Ok(text)
}

fn refused(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the figure: {error}")
}

fn signed(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}

fn draw(panel: &Panel, area: &Area<'_>) -> anyhow::Result<()> {
    let points = || panel.series.iter().flat_map(|s| &s.points);
    let right = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let right = if right > 0.0 { right * 1.06 } else { 1.0 };
    // An interval may be wide: means decide the axis, with some room for the ends.
    let means = points().filter_map(|(_, e)| e.mean).fold(0.0, f64::max);
    let ends = points().filter_map(|(_, e)| e.high).fold(means, f64::max);
    let top = match (panel.is_share, means > 0.0) {
        (true, _) => 1.04,
        (false, true) => ends.min(means * 1.5) * 1.06,
        (false, false) => 1.0,
    };
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(18)
        .x_label_area_size(40)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..right, 0.0..top)
        .map_err(refused)?;
    chart
        .configure_mesh()
        .x_desc("rate (sessions/s)")
        .y_desc(panel.y.clone())
        .x_labels(6)
        .y_labels(6)
        .axis_desc_style((FONT, 13))
        .label_style((FONT, 12))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(&|x| tick(*x))
        .y_label_formatter(&|y| tick(*y))
        .draw()
        .map_err(refused)?;
    for (i, series) in panel.series.iter().enumerate() {
        line(&mut chart, i, series, top)?;
    }
    Ok(())
}

/// A number on an axis, without the noise of binary fractions.
fn tick(value: f64) -> String {
    ((value * 1e6).round() / 1e6).to_string()
}

fn line(chart: &mut Chart<'_, '_>, i: usize, series: &Series, top: f64) -> anyhow::Result<()> {
    let colour = COLOURS[i % COLOURS.len()];
    let mean = |(x, e): &(f64, Estimate)| Some((*x, e.mean?));
    let points: Vec<(f64, f64)> = series.points.iter().filter_map(mean).collect();
    let style = colour.stroke_width(2);
    if i < COLOURS.len() {
        let line = LineSeries::new(points.iter().copied(), style);
        chart.draw_series(line).map_err(refused)?;
    } else {
        let line = DashedLineSeries::new(points.iter().copied(), 7, 4, style);
        chart.draw_series(line).map_err(refused)?;
    }
    let bars = series.points.iter().filter_map(|(x, e)| {
        let (low, high) = (e.low?.max(0.0), e.high?.min(top));
        let bar = PathElement::new([(*x, low), (*x, high)], colour.mix(0.45).stroke_width(2));
        (low < high).then_some(bar)
    });
    chart.draw_series(bars).map_err(refused)?;
    let marks = points.into_iter();
    match i % 3 {
        0 => chart.draw_series(marks.map(|p| Circle::new(p, 4, colour.filled()))),
        1 => chart.draw_series(marks.map(|p| TriangleMarker::new(p, 6, colour.filled()))),
        _ => chart.draw_series(marks.map(|p| Circle::new(p, 4, colour.stroke_width(2)))),
    }
    .map_err(refused)?;
    Ok(())
}

fn entry(legend: &Area<'_>, i: usize, name: &str, (x, y): (i32, i32)) -> anyhow::Result<()> {
    let colour = COLOURS[i % COLOURS.len()];
    let ends = [(x, y), (x + 30, y)];
    let style = colour.stroke_width(2);
    if i < COLOURS.len() {
        legend
            .draw(&PathElement::new(ends, style))
            .map_err(refused)?;
    } else {
        let line = plotters::element::DashedPathElement::new(ends, 7, 4, style);
        legend.draw(&line).map_err(refused)?;
    }
    let centre = (x + 15, y);
    match i % 3 {
        0 => legend.draw(&Circle::new(centre, 4, colour.filled())),
        1 => legend.draw(&TriangleMarker::new(centre, 6, colour.filled())),
        _ => legend.draw(&Circle::new(centre, 4, colour.stroke_width(2))),
    }
    .map_err(refused)?;
    let anchor = Pos::new(HPos::Left, VPos::Center);
    let font = (FONT, 13).into_text_style(legend).pos(anchor);
    let text = Text::new(name.to_owned(), (x + 36, y), font);
    legend.draw(&text).map_err(refused)
}
