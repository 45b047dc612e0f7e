//! Recorded against simulated times, a point per request, one panel per figure.
//!
//! On the diagonal the simulation is right; the dashed lines are 10 % off. Axes are logarithmic where times
//! span orders of magnitude, otherwise linear.

use anyhow::anyhow;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use sim::fidelity::{Errors, Timing};

use super::Validated;
use crate::failure::Failure;

const SIZE: (u32, u32) = (1200, 460);
const FONT: &str = "Helvetica, Arial, sans-serif";
const BLUE: RGBColor = RGBColor(0, 114, 178);

struct Panel {
    title: String,
    unit: &'static str,
    points: Vec<(f64, f64)>,
}

/// The figure as SVG text.
///
/// # Errors
/// If the drawing library refuses.
pub(super) fn scatter(validated: &Validated) -> Result<String, Failure> {
    draw(validated).map_err(Failure::bad_input)
}

fn draw(validated: &Validated) -> anyhow::Result<String> {
    let c = &validated.comparison;
    let mut panels = vec![panel(validated, "TTFT", &c.ttft, |t| Some(t.ttft))];
    if let Some(tpot) = &c.tpot {
        panels.push(panel(validated, "TPOT", tpot, |t| t.tpot));
    }
    panels.push(panel(validated, "latency", &c.latency, |t| Some(t.latency)));
    let hardware = &validated.machine.hardware;
    let setting = format!(
        "{} on {}, {} requests, cost model: {} ({}), grade {}",
        hardware.model.name,
        hardware.gpu.name,
        validated.pairs.len(),
        hardware.cost.name(),
        hardware.basis.as_str(),
        c.grade().as_str()
    );
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(refused)?;
        let root = root
            .margin(8, 0, 0, 0)
            .titled(&setting, (FONT, 15))
            .map_err(refused)?;
        for (panel, area) in panels.iter().zip(root.split_evenly((1, panels.len()))) {
            one(panel, &area)?;
        }
        root.present().map_err(refused)?;
    }
    Ok(text)
}

fn panel(
    validated: &Validated,
    name: &str,
    errors: &Errors,
    figure: fn(&Timing) -> Option<f64>,
) -> Panel {
    let small = errors.real_mean < 0.5;
    let (unit, scale) = if small { ("ms", 1e3) } else { ("s", 1.0) };
    let both = |(real, sim): &(Timing, Timing)| Some((figure(real)? * scale, figure(sim)? * scale));
    Panel {
        title: format!(
            "{name}: mean {:+.1} %, per request {:.1} %",
            100.0 * errors.mean,
            100.0 * errors.per_request
        ),
        unit,
        points: validated.pairs.iter().filter_map(both).collect(),
    }
}

fn one(
    panel: &Panel,
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> anyhow::Result<()> {
    let all = || panel.points.iter().flat_map(|p| [p.0, p.1]);
    let low = all().fold(f64::INFINITY, f64::min) / 1.15;
    let high = all().fold(0.0, f64::max) * 1.15;
    if !(low > 0.0 && high > low) {
        return Err(anyhow!("nothing to draw"));
    }
    let mut builder = ChartBuilder::on(area);
    builder
        .margin(14)
        .margin_right(24)
        .caption(&panel.title, (FONT, 16))
        .x_label_area_size(46)
        .y_label_area_size(64);
    if high / low > 30.0 {
        let chart = builder.build_cartesian_2d((low..high).log_scale(), (low..high).log_scale());
        fill(panel, chart.map_err(refused)?, low, high)
    } else {
        let chart = builder.build_cartesian_2d(low..high, low..high);
        fill(panel, chart.map_err(refused)?, low, high)
    }
}

/// Axes, points and lines, whatever the scale.
fn fill<A>(
    panel: &Panel,
    mut chart: ChartContext<'_, SVGBackend<'_>, Cartesian2d<A, A>>,
    low: f64,
    high: f64,
) -> anyhow::Result<()>
where
    A: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(format!("recorded ({})", panel.unit))
        .y_desc(format!("simulated ({})", panel.unit))
        .x_labels(6)
        .y_labels(6)
        .axis_desc_style((FONT, 14))
        .label_style((FONT, 12))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(&|x| tick(*x))
        .y_label_formatter(&|y| tick(*y))
        .draw()
        .map_err(refused)?;
    let dots = panel.points.iter();
    chart
        .draw_series(dots.map(|&p| Circle::new(p, 3, BLUE.mix(0.5).filled())))
        .map_err(refused)?;
    chart
        .draw_series(LineSeries::new(
            [(low, low), (high, high)],
            BLACK.stroke_width(1),
        ))
        .map_err(refused)?;
    for ends in [
        [(low * 1.1, low), (high, high / 1.1)],
        [(low, low * 1.1), (high / 1.1, high)],
    ] {
        chart
            .draw_series(DashedLineSeries::new(
                ends,
                5,
                4,
                BLACK.mix(0.5).stroke_width(1),
            ))
            .map_err(refused)?;
    }
    Ok(())
}

/// Three digits, without trailing noise.
fn tick(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{}", (value * 100.0).round() / 100.0)
    } else {
        format!("{}", (value * 1e4).round() / 1e4)
    }
}

fn refused(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the figure: {error}")
}
