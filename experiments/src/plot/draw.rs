//! Drawing: title, legend, and the panels, each with its mesh, lines, intervals and markers.

use std::ops::Range;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::legend::Legend;
use super::scale::Span;
use super::style::{Marker, Style};
use super::{Figure, Mark, Panel, Point, Series};

/// Of every text in a figure.
pub(super) const FONT: &str = "Noto Sans, Helvetica, Arial, sans-serif";

/// Width of a figure of one column, of two, and so on.
const WIDTHS: [u32; 4] = [640, 1000, 1320, 1560];

/// Height of a panel.
const PANEL_HEIGHT: u32 = 330;

/// Half the width of the cap of an interval, pixels.
const CAP: i32 = 4;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'b, SVGBackend<'a>, Cartesian2d<Span, Span>>;

pub(super) fn refused(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the figure: {error}")
}

/// The figure as SVG text.
///
/// # Errors
/// If there is no panel, or the drawing library refuses, which it has no reason to.
pub fn svg(figure: &Figure) -> anyhow::Result<String> {
    if figure.panels.is_empty() {
        anyhow::bail!("there is nothing to draw");
    }
    let columns = figure.columns.clamp(1, figure.panels.len());
    let width = WIDTHS[(columns - 1).min(WIDTHS.len() - 1)];
    let legend = Legend::of(figure, width);
    let rows = figure.panels.len().div_ceil(columns);
    let height = legend.height() + PANEL_HEIGHT * u32::try_from(rows)?;
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        root.fill(&WHITE).map_err(refused)?;
        let (head, body) = root.split_vertically(legend.height());
        legend.draw(&head)?;
        let areas = body.split_evenly((rows, columns));
        for (panel, area) in figure.panels.iter().zip(&areas) {
            draw(panel, area)?;
        }
        root.present().map_err(refused)?;
    }
    Ok(text)
}

/// All values along an axis, the ends of intervals included.
fn values(panel: &Panel, pick: fn(&Point) -> [f64; 2]) -> impl Iterator<Item = f64> + '_ {
    let points = panel.series.iter().flat_map(|s| &s.points);
    points.flat_map(pick)
}

/// An interval may take the axis to twice what the values need, not further: one wild interval must
/// not flatten everything else.
fn reach(panel: &Panel) -> (f64, f64) {
    let (low, high) = panel.y.range(values(panel, |p| [p.y, p.y]));
    let ends = values(panel, |p| {
        let half = p.half.unwrap_or(0.0);
        [p.y - half, p.y + half]
    });
    let (all_low, all_high) = panel.y.range(ends);
    let room = high - low;
    (
        // An interval across zero does not turn an axis of times negative.
        if low < 0.0 {
            all_low.max(low - room)
        } else {
            low
        },
        all_high.min(high + room),
    )
}

fn draw(panel: &Panel, area: &Area<'_>) -> anyhow::Result<()> {
    let (x0, x1) = panel.x.range(values(panel, |p| [p.x, p.x]));
    let (y0, y1) = reach(panel);
    let mut builder = ChartBuilder::on(area);
    builder
        .margin(12)
        .margin_right(24)
        .x_label_area_size(46)
        .y_label_area_size(66);
    if !panel.title.is_empty() {
        builder.caption(&panel.title, (FONT, 17));
    }
    let mut chart = builder
        .build_cartesian_2d(panel.x.span((x0, x1)), panel.y.span((y0, y1)))
        .map_err(refused)?;
    chart
        .configure_mesh()
        .x_desc(&panel.x.label)
        .y_desc(&panel.y.label)
        .x_labels(panel.x.ticks())
        .y_labels(panel.y.ticks())
        .axis_desc_style((FONT, 14))
        .label_style((FONT, 13))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(&|x| panel.x.tick(*x))
        .y_label_formatter(&|y| panel.y.tick(*y))
        .draw()
        .map_err(refused)?;
    let plot = Plot {
        chart: &chart,
        panel,
        y: y0..y1,
    };
    let bars = panel.series.iter().filter(|s| s.mark == Mark::Bars).count();
    let curves = panel.series.iter().filter(|s| s.mark == Mark::Curve);
    for series in curves {
        plot.band(series)?;
    }
    let mut bar = 0;
    for series in &panel.series {
        match series.mark {
            Mark::Bars => {
                plot.bars(series, bar, bars)?;
                bar += 1;
            }
            Mark::Line => {
                plot.intervals(series)?;
                plot.line(&plot.pixels(series), series.style)?;
                for at in plot.pixels(series) {
                    marker(&plot.area(), series.style, at)?;
                }
            }
            Mark::Curve => plot.line(&plot.pixels(series), series.style)?,
            Mark::Steps => plot.line(&steps(&plot.pixels(series)), series.style)?,
            Mark::Dots => {
                for at in plot.pixels(series) {
                    dot(&plot.area(), series.style, at)?;
                }
            }
        }
    }
    Ok(())
}

/// Corners of a line that holds each value until the next.
fn steps(points: &[(i32, i32)]) -> Vec<(i32, i32)> {
    let mut corners: Vec<(i32, i32)> = Vec::with_capacity(2 * points.len());
    for &(x, y) in points {
        if let Some(&(_, before)) = corners.last() {
            corners.push((x, before));
        }
        corners.push((x, y));
    }
    corners
}

/// A panel's plot, in pixels of its own.
struct Plot<'c, 'a, 'b> {
    chart: &'c Chart<'a, 'b>,
    panel: &'c Panel,
    /// Ends of the vertical axis, as places.
    y: Range<f64>,
}

impl<'a> Plot<'_, 'a, '_> {
    fn area(&self) -> Area<'a> {
        self.chart.plotting_area().strip_coord_spec()
    }

    /// The pixel of a value, within the plot; `None` if it cannot be shown.
    fn pixel(&self, x: f64, y: f64) -> Option<(i32, i32)> {
        let place = (self.panel.x.place(x)?, self.panel.y.place(y)?);
        Some(self.of_place(place.0, place.1))
    }

    fn of_place(&self, x: f64, y: f64) -> (i32, i32) {
        let y = y.clamp(self.y.start, self.y.end);
        let (px, py) = self.chart.backend_coord(&(x, y));
        let (left, top) = self.area().get_base_pixel();
        (px - left, py - top)
    }

    fn pixels(&self, series: &Series) -> Vec<(i32, i32)> {
        let points = series.points.iter();
        points.filter_map(|p| self.pixel(p.x, p.y)).collect()
    }

    fn line(&self, corners: &[(i32, i32)], style: Style) -> anyhow::Result<()> {
        line(&self.area(), corners, style)
    }

    /// Ends of a point's interval, in pixels: x, top, bottom. An end that the axis cannot show lies on
    /// its edge.
    fn interval(&self, point: &Point) -> Option<(i32, i32, i32)> {
        let half = point.half?;
        let (x, _) = self.pixel(point.x, point.y)?;
        let end = |value: f64| {
            let place = self.panel.y.place(value).unwrap_or(self.y.start);
            self.of_place(0.0, place).1
        };
        Some((x, end(point.y + half), end(point.y - half)))
    }

    fn intervals(&self, series: &Series) -> anyhow::Result<()> {
        for (x, top, bottom) in series.points.iter().filter_map(|p| self.interval(p)) {
            self.whisker(series.style, x, top, bottom)?;
        }
        Ok(())
    }

    fn whisker(&self, style: Style, x: i32, top: i32, bottom: i32) -> anyhow::Result<()> {
        let thin = rgb(style).stroke_width(1);
        for ends in [
            [(x, top), (x, bottom)],
            [(x - CAP, top), (x + CAP, top)],
            [(x - CAP, bottom), (x + CAP, bottom)],
        ] {
            let stroke = PathElement::new(ends, thin);
            self.area().draw(&stroke).map_err(refused)?;
        }
        Ok(())
    }

    fn band(&self, series: &Series) -> anyhow::Result<()> {
        let ends: Vec<_> = series
            .points
            .iter()
            .filter_map(|p| self.interval(p))
            .collect();
        if ends.len() < 2 {
            return Ok(());
        }
        let there = ends.iter().map(|&(x, top, _)| (x, top));
        let back = ends.iter().rev().map(|&(x, _, bottom)| (x, bottom));
        let outline: Vec<(i32, i32)> = there.chain(back).collect();
        let area = Polygon::new(outline, rgb(series.style).mix(0.15));
        self.area().draw(&area).map_err(refused)
    }

    /// Bars of the `nth` of `of` series, side by side around each point's place.
    #[expect(clippy::cast_precision_loss, reason = "a handful of series")]
    fn bars(&self, series: &Series, nth: usize, of: usize) -> anyhow::Result<()> {
        let width = 0.8 / of.max(1) as f64;
        let shift = (nth as f64 - (of as f64 - 1.0) / 2.0) * width;
        let foot = self.panel.y.place(0.0).unwrap_or(self.y.start);
        for point in &series.points {
            let Some(top) = self.panel.y.place(point.y) else {
                continue;
            };
            let middle = point.x + shift;
            let from = self.of_place(middle - width * 0.46, foot);
            let to = self.of_place(middle + width * 0.46, top);
            let colour = rgb(series.style);
            let corners = [(from.0, to.1), (to.0, from.1)];
            let bar = Rectangle::new(corners, colour.mix(0.85).filled());
            self.area().draw(&bar).map_err(refused)?;
            let placed = Point {
                x: middle,
                ..*point
            };
            if let Some((x, top, bottom)) = self.interval(&placed) {
                let black = Style {
                    colour: (0, 0, 0),
                    ..series.style
                };
                self.whisker(black, x, top, bottom)?;
            }
        }
        Ok(())
    }
}

pub(super) fn rgb(style: Style) -> RGBColor {
    let (red, green, blue) = style.colour;
    RGBColor(red, green, blue)
}

/// A line through these pixels.
pub(super) fn line(area: &Area<'_>, corners: &[(i32, i32)], style: Style) -> anyhow::Result<()> {
    if corners.len() < 2 {
        return Ok(());
    }
    let stroke = rgb(style).stroke_width(2);
    let (dash, gap) = style.dash;
    let corners = corners.to_vec();
    if gap == 0 {
        area.draw(&PathElement::new(corners, stroke))
    } else {
        area.draw(&DashedPathElement::new(corners, dash, gap, stroke))
    }
    .map_err(refused)
}

/// One of many points.
pub(super) fn dot(area: &Area<'_>, style: Style, at: (i32, i32)) -> anyhow::Result<()> {
    area.draw(&Circle::new(at, 3, rgb(style).mix(0.5).filled()))
        .map_err(refused)
}

/// A marker around this pixel.
pub(super) fn marker(area: &Area<'_>, style: Style, at: (i32, i32)) -> anyhow::Result<()> {
    let (x, y) = at;
    let colour = rgb(style);
    let (filled, stroke) = (colour.filled(), colour.stroke_width(2));
    match style.marker {
        Marker::None => Ok(()),
        Marker::Disc => area.draw(&Circle::new(at, 4, filled)),
        Marker::Ring => area
            .draw(&Circle::new(at, 4, WHITE.filled()))
            .and_then(|()| area.draw(&Circle::new(at, 4, stroke))),
        Marker::Square => area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], filled)),
        Marker::Frame => area
            .draw(&Rectangle::new(
                [(x - 4, y - 4), (x + 4, y + 4)],
                WHITE.filled(),
            ))
            .and_then(|()| area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], stroke))),
        Marker::Triangle => area.draw(&Polygon::new(
            vec![(x, y - 6), (x + 5, y + 4), (x - 5, y + 4)],
            filled,
        )),
        Marker::Diamond => area.draw(&Polygon::new(
            vec![(x, y - 6), (x + 5, y), (x, y + 6), (x - 5, y)],
            filled,
        )),
        Marker::Cross => area
            .draw(&PathElement::new([(x - 4, y - 4), (x + 4, y + 4)], stroke))
            .and_then(|()| area.draw(&PathElement::new([(x - 4, y + 4), (x + 4, y - 4)], stroke))),
    }
    .map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::super::scale::Axis;
    use super::super::{Figure, style};
    use super::*;

    fn figure(mark: Mark) -> Figure {
        let series = |name: &str, number, y: f64| Series {
            name: name.to_owned(),
            style: style::of(name, number),
            mark,
            points: vec![
                Point {
                    x: 0.0,
                    y,
                    half: Some(y / 2.0),
                },
                Point {
                    x: 1.0,
                    y: 2.0 * y,
                    half: Some(100.0 * y),
                },
            ],
        };
        Figure {
            title: "Title".to_owned(),
            caption: vec!["What was run".to_owned()],
            columns: 2,
            panels: vec![
                Panel {
                    title: "A".to_owned(),
                    x: Axis::linear("rate, sessions/s"),
                    y: Axis::log("mean latency, s"),
                    series: vec![series("mars", 0, 30.0), series("fcfs", 1, 90.0)],
                };
                3
            ],
        }
    }

    #[test]
    fn every_series_title_and_axis_is_named_once_per_place() {
        for mark in [Mark::Line, Mark::Curve, Mark::Steps, Mark::Bars, Mark::Dots] {
            let text = svg(&figure(mark)).unwrap();
            assert_eq!(text.matches("mean latency, s").count(), 3, "{mark:?}");
            // One legend for all panels.
            assert_eq!(text.matches("mars").count(), 1, "{mark:?}");
            assert_eq!(text.matches("What was run").count(), 1, "{mark:?}");
        }
        let none = Figure {
            panels: Vec::new(),
            ..figure(Mark::Line)
        };
        assert!(svg(&none).is_err());
    }

    #[test]
    fn a_wild_interval_does_not_flatten_the_rest() {
        let panel = Panel {
            y: Axis::linear("y"),
            ..figure(Mark::Line).panels.swap_remove(0)
        };
        // The largest value is 180: with room 190.8, and at most as much again.
        let (low, high) = reach(&panel);
        assert!(
            low.abs() < 1e-9 && (high - 381.6).abs() < 1e-9,
            "{low}, {high}"
        );
    }

    #[test]
    fn steps_hold_until_the_next_value() {
        assert_eq!(steps(&[(0, 5), (10, 3)]), [(0, 5), (10, 5), (10, 3)]);
    }
}
