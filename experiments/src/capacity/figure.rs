//! Attainment over the candidates, a panel per alpha, a line per policy, as SVG.
//!
//! Limits: only what was tried is drawn, so points lie dense where the search looked.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Capacities, Capacity};

/// Colours of Okabe and Ito, which the colour-blind tell apart.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
const FONT: &str = "Helvetica, Arial, sans-serif";
/// Of one panel, in pixels.
const PANEL: (u32, u32) = (440, 400);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The figure. Rates grow to the right from zero; of cores and blocks only what was tried is shown.
///
/// # Errors
/// If the drawing library refuses, which it has no reason to.
pub fn svg(found: &Capacities, from_zero: bool) -> anyhow::Result<String> {
    let mut alphas: Vec<&str> = Vec::new();
    for capacity in &found.capacities {
        if !alphas.contains(&capacity.alpha.as_str()) {
            alphas.push(&capacity.alpha);
        }
    }
    let panels = u32::try_from(alphas.len()).unwrap_or(1);
    let mut text = String::new();
    {
        let size = (PANEL.0 * panels, PANEL.1);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(refused)?;
        let areas = root.split_evenly((1, alphas.len()));
        for (alpha, area) in alphas.iter().zip(&areas) {
            let of_alpha: Vec<&Capacity> = found
                .capacities
                .iter()
                .filter(|c| c.alpha == *alpha)
                .collect();
            panel(found, alpha, &of_alpha, from_zero, area)?;
        }
        root.present().map_err(refused)?;
    }
    Ok(text)
}

fn refused(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the figure: {error}")
}

fn panel(
    found: &Capacities,
    alpha: &str,
    capacities: &[&Capacity],
    from_zero: bool,
    area: &Area<'_>,
) -> anyhow::Result<()> {
    let values = || capacities.iter().flat_map(|c| &c.points).map(|p| p.value);
    let (low, high) = values().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(x), h.max(x)));
    let low = if from_zero { 0.0 } else { low };
    let room = ((high - low) * 0.05).max(high.abs() * 1e-3);
    let start = if from_zero { 0.0 } else { low - room };
    let mut chart = ChartBuilder::on(area)
        .caption(format!("alpha {alpha}"), (FONT, 16))
        .margin(14)
        .margin_right(24)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(start..high + room, 0.0..1.04)
        .map_err(refused)?;
    chart
        .configure_mesh()
        .x_desc(found.unit)
        .y_desc(format!("attainment({alpha})"))
        .x_labels(6)
        .y_labels(6)
        .axis_desc_style((FONT, 14))
        .label_style((FONT, 12))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(&|x| ((x * 1e6).round() / 1e6).to_string())
        .draw()
        .map_err(refused)?;
    let target = [(start, found.target), (high + room, found.target)];
    chart
        .draw_series(DashedLineSeries::new(target, 6, 4, BLACK.stroke_width(1)))
        .map_err(refused)?;
    for (i, capacity) in capacities.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mean = |p: &super::Point| Some((p.value, p.attainment.mean?));
        let points: Vec<(f64, f64)> = capacity.points.iter().filter_map(mean).collect();
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        chart.draw_series(line).map_err(refused)?;
        let bars = capacity.points.iter().filter_map(|p| {
            let (low, high) = (p.attainment.low?, p.attainment.high?);
            let ends = [(p.value, low.max(0.0)), (p.value, high.min(1.0))];
            Some(PathElement::new(ends, colour.mix(0.5).stroke_width(2)))
        });
        chart.draw_series(bars).map_err(refused)?;
        // Full where the target is met, open where it is missed: no meaning by colour alone.
        for p in &capacity.points {
            let Some(mean) = p.attainment.mean else {
                continue;
            };
            let style = if p.meets {
                colour.filled()
            } else {
                colour.stroke_width(2)
            };
            let mark = Circle::new((p.value, mean), 4, style);
            chart.draw_series([mark]).map_err(refused)?;
        }
    }
    legend(&chart.plotting_area().strip_coord_spec(), capacities)
}

/// Names and capacities in the lower left corner, where attainment near 1 leaves room.
fn legend(plot: &Area<'_>, capacities: &[&Capacity]) -> anyhow::Result<()> {
    let (_, height) = plot.dim_in_pixel();
    let rows = i32::try_from(capacities.len()).unwrap_or(1);
    let top = i32::try_from(height).unwrap_or(0) - 12 - 18 * rows;
    for ((i, capacity), row) in capacities.iter().enumerate().zip(0..) {
        let colour = COLOURS[i % COLOURS.len()];
        let y = top + 18 * row + 9;
        let line = PathElement::new([(12, y), (36, y)], colour.stroke_width(2));
        plot.draw(&line).map_err(refused)?;
        let said = match capacity.capacity {
            Some(value) => format!("{}: {value}", capacity.policy),
            None => format!("{}: n/a", capacity.policy),
        };
        let anchor = Pos::new(HPos::Left, VPos::Center);
        let font = (FONT, 13).into_text_style(plot).pos(anchor);
        let name = Text::new(said, (42, y), font);
        plot.draw(&name).map_err(refused)?;
    }
    Ok(())
}
