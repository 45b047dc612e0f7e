//! Distributions of traces as one figure: a panel per quantity, a line per trace.
//!
//! Each line is the cumulative share of numbers up to x, over a logarithmic axis: no bins to choose,
//! and traces of different sizes compare.
//!
//! Limits: a number below the axis (a tool that took no time) is in the share at its left end. A line
//! has at most [`POINTS`] points. A quantity that no trace has is named in the caption, not drawn.

use anyhow::bail;
use traces::stats::{Sample, Sorted, Stats};

use crate::plot::scale::Axis;
use crate::plot::{Figure, Mark, Panel, Point, Series, style};

/// The most points of a line; steps of 0.25 % are below a pixel.
const POINTS: usize = 400;

const COLUMNS: usize = 3;

/// Longer names of traces are shortened in the legend.
const NAME_LENGTH: usize = 44;

/// A quantity over several traces.
struct Quantity {
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
pub(super) fn figure(traces: &[(&str, Stats)]) -> anyhow::Result<Figure> {
    let (drawn, missing): (Vec<Quantity>, Vec<Quantity>) = quantities(traces)
        .into_iter()
        .partition(Quantity::has_numbers);
    if drawn.is_empty() {
        bail!("there is nothing to draw: the traces have no numbers");
    }
    let names: Vec<String> = traces.iter().map(|(name, s)| entry(name, s)).collect();
    let mut caption = vec!["Cumulative share over a logarithmic axis".to_owned()];
    if !missing.is_empty() {
        let titles: Vec<&str> = missing.iter().map(|quantity| quantity.title).collect();
        caption.push(format!("not recorded: {}", titles.join(", ")));
    }
    Ok(Figure {
        title: "What agents did".to_owned(),
        caption,
        columns: COLUMNS,
        panels: drawn
            .iter()
            .map(|quantity| quantity.panel(&names))
            .collect(),
    })
}

/// A trace in the legend. The end of a path tells more than its beginning.
fn entry(name: &str, stats: &Stats) -> String {
    let letters = name.chars().count();
    let short = if letters > NAME_LENGTH {
        let tail: String = name.chars().skip(letters - NAME_LENGTH + 3).collect();
        format!("...{tail}")
    } else {
        name.to_owned()
    };
    format!("{short} ({} sessions)", stats.sessions())
}

fn quantities(traces: &[(&str, Stats)]) -> Vec<Quantity> {
    let quantity = |title, x, unit, pick: &dyn Fn(&Stats) -> Sample| Quantity {
        title,
        x,
        lines: traces
            .iter()
            .map(|(_, stats)| pick(stats).sorted())
            .collect(),
        unit,
    };
    vec![
        quantity("Input length", "prompt tokens of a session", 1.0, &|s| {
            s.volume.clone()
        }),
        quantity("Turns", "turns of a session", 1.0, &|s| s.turns.clone()),
        quantity("Largest context", "tokens of KV of a session", 1.0, &|s| {
            s.peak.clone()
        }),
        quantity("Output", "tokens of a turn", 1.0, &|s| s.output.clone()),
        quantity("Observation", "tokens added between turns", 1.0, &|s| {
            s.observation.clone()
        }),
        quantity("Tool time", "seconds of a call", 1e9, &|s| {
            s.all_tools().wall
        }),
    ]
}

impl Quantity {
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

    /// Ends of the axis: whole decades around every number.
    fn ends(&self) -> (f64, f64) {
        let all = || self.lines.iter().flat_map(|line| self.positive(line));
        let low = all().fold(f64::INFINITY, f64::min).log10().floor();
        let high = all().fold(0.0, f64::max).log10().ceil();
        (10_f64.powf(low), 10_f64.powf(high.max(low + 1.0)))
    }

    fn panel(&self, names: &[String]) -> Panel {
        let (low, high) = self.ends();
        let lines = names.iter().zip(&self.lines).enumerate();
        let series = lines.map(|(i, (name, line))| Series {
            name: name.clone(),
            style: style::of(name, i),
            mark: Mark::Steps,
            points: self.points(line, (low, high)),
        });
        Panel {
            title: self.title.to_owned(),
            x: Axis::log(self.x).within(low, high),
            // A little room above 1, so that the line is not the frame.
            y: Axis::linear("share").within(0.0, 1.04),
            series: series.collect(),
        }
    }

    /// The share up to each value, which holds until the next; from one end of the axis to the other.
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    fn points(&self, line: &Sorted, (low, high): (f64, f64)) -> Vec<Point> {
        let n = line.values().len();
        if n == 0 {
            return Vec::new();
        }
        let drawn = n.min(POINTS);
        let mut points = vec![Point::new(low, 0.0)];
        for i in 0..drawn {
            // The last of each of `drawn` equal parts.
            let rank = (i + 1) * n / drawn - 1;
            let value = line.values()[rank] as f64 / self.unit;
            let share = (rank + 1) as f64 / n as f64;
            points.push(Point::new(value.max(low), share));
        }
        points.push(Point::new(high, 1.0));
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(values: &[u64], unit: f64) -> Quantity {
        let sample: Sample = values.iter().copied().collect();
        Quantity {
            title: "t",
            x: "x",
            lines: vec![sample.sorted()],
            unit,
        }
    }

    #[test]
    fn lines_are_cumulative_shares() {
        let quantity = quantity(&[0, 10, 100, 100], 1.0);
        let ends = quantity.ends();
        assert_eq!(ends, (10.0, 100.0));
        let points = quantity.points(&quantity.lines[0], ends);
        let want = [
            (10.0, 0.0),
            (10.0, 0.25), // the zero, left of the axis
            (10.0, 0.5),
            (100.0, 0.75),
            (100.0, 1.0),
            (100.0, 1.0),
        ];
        assert_eq!(points, want.map(|(x, y)| Point::new(x, y)));
    }

    #[test]
    fn long_lines_are_thinned_and_still_end_at_one() {
        let values: Vec<u64> = (1..=10_001).collect();
        let quantity = quantity(&values, 1e9);
        let points = quantity.points(&quantity.lines[0], quantity.ends());
        assert_eq!(points.len(), POINTS + 2);
        assert!(
            points
                .windows(2)
                .all(|p| p[0].x <= p[1].x && p[0].y <= p[1].y)
        );
        assert_eq!(points.last().map(|p| p.y), Some(1.0));
    }

    #[test]
    fn axes_are_never_empty() {
        assert_eq!(quantity(&[1, 1], 1.0).ends(), (1.0, 10.0));
        assert!(!quantity(&[0], 1.0).has_numbers());
        assert!(figure(&[("none", Stats::default())]).is_err());
    }

    #[test]
    fn long_names_keep_their_end() {
        let long = format!("{}/the-end.jsonl", "x".repeat(60));
        let shown = entry(&long, &Stats::default());
        assert!(shown.starts_with("...x") && shown.ends_with("/the-end.jsonl (0 sessions)"));
        assert_eq!(shown.chars().count(), NAME_LENGTH + " (0 sessions)".len());
    }
}
