//! Recorded against simulated times, a point per request, one panel per figure.
//!
//! On the diagonal the simulation is right; the dashed lines are 10 % off. Axes are logarithmic where times
//! span orders of magnitude, otherwise linear.

use anyhow::anyhow;
use sim::fidelity::{Errors, Timing};

use super::Validated;
use crate::plot::scale::Axis;
use crate::plot::style::{self, Marker, Style};
use crate::plot::{Figure, Mark, Panel, Point, Series};

/// What the diagonal and its neighbours look like.
const LINE: Style = Style {
    colour: (0, 0, 0),
    dash: (1, 0),
    marker: Marker::None,
};

/// A time of a request, if it has it.
type Time = fn(&Timing) -> Option<f64>;

/// The figure.
///
/// # Errors
/// If a time of all requests is zero.
pub(super) fn figure(validated: &Validated) -> anyhow::Result<Figure> {
    let c = &validated.comparison;
    let mut panels = vec![panel(validated, "TTFT", &c.ttft, |t| Some(t.ttft))?];
    if let Some(tpot) = &c.tpot {
        panels.push(panel(validated, "TPOT", tpot, |t| t.tpot)?);
    }
    panels.push(panel(validated, "latency", &c.latency, |t| {
        Some(t.latency)
    })?);
    let hardware = &validated.machine.hardware;
    Ok(Figure {
        title: "Recorded against simulated times".to_owned(),
        caption: vec![format!(
            "{} on {}, {} requests, cost model: {} ({}), grade {}",
            hardware.model.name,
            hardware.gpu.name,
            validated.pairs.len(),
            hardware.cost.name(),
            hardware.basis.as_str(),
            c.grade().as_str()
        )],
        columns: panels.len(),
        panels,
    })
}

fn panel(validated: &Validated, name: &str, errors: &Errors, time: Time) -> anyhow::Result<Panel> {
    let small = errors.real_mean < 0.5;
    let (unit, scale) = if small { ("ms", 1e3) } else { ("s", 1.0) };
    let both =
        |(real, sim): &(Timing, Timing)| Some(Point::new(time(real)? * scale, time(sim)? * scale));
    let points: Vec<Point> = validated.pairs.iter().filter_map(both).collect();
    let all = || points.iter().flat_map(|p| [p.x, p.y]);
    let low = all().fold(f64::INFINITY, f64::min) / 1.15;
    let high = all().fold(0.0, f64::max) * 1.15;
    if !(low > 0.0 && high > low) {
        return Err(anyhow!("nothing to draw"));
    }
    let axis = |label: &str| {
        let label = format!("{label} ({unit})");
        let axis = if high / low > 30.0 {
            Axis::log(label)
        } else {
            Axis::linear(label)
        };
        axis.within(low, high)
    };
    let line = |name: &str, dash, ends: [(f64, f64); 2]| Series {
        name: name.to_owned(),
        style: Style { dash, ..LINE },
        mark: Mark::Curve,
        points: ends.map(|(x, y)| Point::new(x, y)).into(),
    };
    Ok(Panel {
        title: format!(
            "{name}: mean {:+.1} %, per request {:.1} %",
            100.0 * errors.mean,
            100.0 * errors.per_request
        ),
        x: axis("recorded"),
        y: axis("simulated"),
        series: vec![
            Series {
                name: "a request".to_owned(),
                style: style::of("a request", 0),
                mark: Mark::Dots,
                points,
            },
            line("as recorded", (1, 0), [(low, low), (high, high)]),
            line("10 % off", (5, 4), [(low * 1.1, low), (high, high / 1.1)]),
            line("10 % off", (5, 4), [(low, low * 1.1), (high / 1.1, high)]),
        ],
    })
}
