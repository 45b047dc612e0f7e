//! Attainment over the candidates: a panel per alpha, a line per policy, and the target.
//!
//! Limits: only what was tried is drawn, so points lie dense where the search looked.

use super::{Capacities, Capacity};
use crate::plot::scale::Axis;
use crate::plot::style::{self, Marker, Style};
use crate::plot::{Figure, Mark, Panel, Point, Series};

/// Panels side by side.
const COLUMNS: usize = 3;

/// The figure. Rates grow to the right from zero; of cores and blocks only what was tried is shown.
pub(super) fn figure(found: &Capacities, from_zero: bool) -> Figure {
    let mut alphas: Vec<&str> = Vec::new();
    for capacity in &found.capacities {
        if !alphas.contains(&capacity.alpha.as_str()) {
            alphas.push(&capacity.alpha);
        }
    }
    let judged = match found.judged_by {
        "low" => "the lower end of its bar is",
        _ => "it is",
    };
    let mut caption = vec![format!(
        "{} sessions a run, {} seeds, bars: 95 % interval (Student's t); a candidate meets the target if \
         {judged} at {} or above",
        found.sessions,
        found.seeds.len(),
        found.target
    )];
    let of_alpha = |alpha: &str| -> Vec<&Capacity> {
        let capacities = found.capacities.iter();
        capacities.filter(|c| c.alpha == alpha).collect()
    };
    caption.extend(alphas.iter().map(|alpha| {
        let said: Vec<String> = of_alpha(alpha).iter().map(|c| answer(c)).collect();
        format!("alpha {alpha}, {}: {}", found.unit, said.join("; "))
    }));
    Figure {
        title: format!("Capacity by {}", found.knob),
        caption,
        columns: COLUMNS.min(alphas.len()),
        panels: alphas
            .iter()
            .map(|alpha| panel(found, alpha, &of_alpha(alpha), from_zero))
            .collect(),
    }
}

fn answer(capacity: &Capacity) -> String {
    match capacity.capacity {
        Some(value) => format!("{}: {value}", capacity.policy),
        None => format!("{}: n/a", capacity.policy),
    }
}

fn panel(found: &Capacities, alpha: &str, capacities: &[&Capacity], from_zero: bool) -> Panel {
    let values = || capacities.iter().flat_map(|c| &c.points).map(|p| p.value);
    let (low, high) = values().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(x), h.max(x)));
    let low = if from_zero { 0.0 } else { low };
    let room = ((high - low) * 0.05).max(high.abs() * 1e-3);
    let ends = (if from_zero { 0.0 } else { low - room }, high + room);
    let mut series: Vec<Series> = capacities
        .iter()
        .enumerate()
        .map(|(i, capacity)| Series {
            name: capacity.policy.clone(),
            style: style::of(&capacity.policy, i),
            mark: Mark::Line,
            points: points(capacity),
        })
        .collect();
    series.push(Series {
        name: "target".to_owned(),
        style: TARGET,
        mark: Mark::Curve,
        points: [ends.0, ends.1].map(|x| Point::new(x, found.target)).into(),
    });
    Panel {
        title: format!("alpha {alpha}"),
        x: Axis::linear(found.unit).within(ends.0, ends.1),
        y: Axis::linear(format!("attainment({alpha})")).within(0.0, 1.04),
        series,
    }
}

/// A thin line that is no policy's.
const TARGET: Style = Style {
    colour: (0, 0, 0),
    dash: (6, 4),
    marker: Marker::None,
};

fn points(capacity: &Capacity) -> Vec<Point> {
    let point = |p: &super::Point| {
        Some(Point {
            x: p.value,
            y: p.attainment.mean?,
            half: p.attainment.half(),
        })
    };
    capacity.points.iter().filter_map(point).collect()
}
