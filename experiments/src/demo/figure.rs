//! One SVG: panels side by side, a line per policy.
//!
//! Policies differ in colour, line style and marker, so the figure survives a black-and-white print.
//! Limits: axes start at zero and are linear; one value per point, no intervals.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A plot of several series over one axis.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// What the axis shows, with its unit.
    pub(super) x: &'static str,
    /// What the axis shows, with its unit.
    pub(super) y: &'static str,
    pub(super) series: Vec<Series>,
}

/// A line with markers.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Colours of Okabe and Ito, which the colour-blind tell apart.
pub(crate) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Dash and gap in pixels; no gap is a solid line.
pub(crate) const DASHES: [(u32, u32); 4] = [(1, 0), (9, 5), (3, 4), (15, 5)];

const SIZE: (u32, u32) = (1000, 440);
/// Of every text in a figure.
pub(crate) const FONT: &str = "Helvetica, Arial, sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'b, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// The figure as SVG text, headed by what was run.
///
/// # Errors
/// If the drawing library refuses, which it has no reason to.
pub(super) fn svg(setting: &str, panels: &[Panel]) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(refused)?;
        // What was run belongs into the figure, which travels without its text.
        let root = root
            .margin(8, 0, 0, 0)
            .titled(setting, (FONT, 14))
            .map_err(refused)?;
        let areas = root.split_evenly((1, panels.len()));
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

fn draw(panel: &Panel, area: &Area<'_>) -> anyhow::Result<()> {
    let all = || panel.series.iter().flat_map(|s| &s.points);
    let reach = |pick: fn(&(f64, f64)) -> f64| {
        let most = all().map(pick).fold(0.0, f64::max);
        // Room above the highest point; an empty axis still needs a length.
        if most > 0.0 { most * 1.08 } else { 1.0 }
    };
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(26)
        .caption(panel.title, (FONT, 18))
        .x_label_area_size(48)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..reach(|p| p.0), 0.0..reach(|p| p.1))
        .map_err(refused)?;
    chart
        .configure_mesh()
        .x_desc(panel.x)
        .y_desc(panel.y)
        .x_labels(6)
        .y_labels(7)
        .axis_desc_style((FONT, 15))
        .label_style((FONT, 13))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(&|x| tick(*x))
        .y_label_formatter(&|y| tick(*y))
        .draw()
        .map_err(refused)?;
    for (i, series) in panel.series.iter().enumerate() {
        line(&mut chart, i, &series.points)?;
        markers(&mut chart, i, &series.points)?;
    }
    legend(&mut chart, panel)
}

/// A number on an axis, without the noise of binary fractions.
fn tick(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    rounded.to_string()
}

fn line(chart: &mut Chart<'_, '_>, i: usize, points: &[(f64, f64)]) -> anyhow::Result<()> {
    let style = COLOURS[i % COLOURS.len()].stroke_width(2);
    let (dash, gap) = DASHES[i % DASHES.len()];
    let points = points.iter().copied();
    if gap == 0 {
        chart
            .draw_series(LineSeries::new(points, style))
            .map_err(refused)?;
    } else {
        chart
            .draw_series(DashedLineSeries::new(points, dash, gap, style))
            .map_err(refused)?;
    }
    Ok(())
}

fn markers(chart: &mut Chart<'_, '_>, i: usize, points: &[(f64, f64)]) -> anyhow::Result<()> {
    let colour = COLOURS[i % COLOURS.len()];
    let points = points.iter().copied();
    match i % 4 {
        0 => chart.draw_series(points.map(|p| Circle::new(p, 5, colour.filled()))),
        1 => chart.draw_series(points.map(|p| TriangleMarker::new(p, 7, colour.filled()))),
        2 => chart.draw_series(points.map(|p| Cross::new(p, 5, colour.stroke_width(2)))),
        _ => chart.draw_series(points.map(|p| Circle::new(p, 5, colour.stroke_width(2)))),
    }
    .map_err(refused)?;
    Ok(())
}

/// Line, marker and name of each series, in the corner of the plot with the fewest points in it.
fn legend(chart: &mut Chart<'_, '_>, panel: &Panel) -> anyhow::Result<()> {
    let plot = chart.plotting_area().strip_coord_spec();
    let (width, height) = plot.dim_in_pixel();
    let (width, height) = (signed(width), signed(height));
    let longest = panel.series.iter().map(|s| s.name.chars().count()).max();
    // A letter of 14 px is about 8 px wide.
    let box_width = 70 + 8 * i32::try_from(longest.unwrap_or(0)).unwrap_or(0);
    let box_height = 12 + 20 * i32::try_from(panel.series.len()).unwrap_or(0);
    let corners = [
        (10, 8),
        (width - box_width - 10, 8),
        (width - box_width - 10, height - box_height - 8),
        (10, height - box_height - 8),
    ];
    let (left, top) = plot.get_base_pixel();
    let crowd = |&(x, y): &(i32, i32)| {
        let covered = |p: &&(f64, f64)| {
            let (px, py) = chart.backend_coord(p);
            let (px, py) = (px - left, py - top);
            (x - 12..=x + box_width + 12).contains(&px)
                && (y - 12..=y + box_height + 12).contains(&py)
        };
        panel
            .series
            .iter()
            .flat_map(|s| &s.points)
            .filter(covered)
            .count()
    };
    let (x, y) = corners.into_iter().min_by_key(crowd).unwrap_or((10, 8));
    let frame = Rectangle::new(
        [(x, y), (x + box_width, y + box_height)],
        WHITE.mix(0.9).filled(),
    );
    plot.draw(&frame).map_err(refused)?;
    for (i, series) in panel.series.iter().enumerate() {
        let middle = y + 16 + 20 * signed(u32::try_from(i).unwrap_or(0));
        sample(&plot, i, x + 8, middle)?;
        let anchor = Pos::new(HPos::Left, VPos::Center);
        let font = (FONT, 14).into_text_style(&plot).pos(anchor);
        let name = Text::new(series.name.clone(), (x + 58, middle), font);
        plot.draw(&name).map_err(refused)?;
    }
    Ok(())
}

fn signed(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}

/// A piece of the line with its marker, as in the plot.
fn sample(plot: &Area<'_>, i: usize, x: i32, y: i32) -> anyhow::Result<()> {
    let colour = COLOURS[i % COLOURS.len()];
    let (dash, gap) = DASHES[i % DASHES.len()];
    let ends = [(x, y), (x + 42, y)];
    let style = colour.stroke_width(2);
    if gap == 0 {
        plot.draw(&PathElement::new(ends, style)).map_err(refused)?;
    } else {
        let line = plotters::element::DashedPathElement::new(ends, dash, gap, style);
        plot.draw(&line).map_err(refused)?;
    }
    let centre = (x + 21, y);
    match i % 4 {
        0 => plot.draw(&Circle::new(centre, 5, colour.filled())),
        1 => plot.draw(&TriangleMarker::new(centre, 7, colour.filled())),
        2 => plot.draw(&Cross::new(centre, 5, colour.stroke_width(2))),
        _ => plot.draw(&Circle::new(centre, 5, colour.stroke_width(2))),
    }
    .map_err(refused)
}
