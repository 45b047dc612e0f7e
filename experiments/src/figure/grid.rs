//! The shape of most figures: a panel per metric and group, a line per series, a point per value of
//! the horizontal axis, each a mean over seeds.

use super::drawing::{Drawing, Row};
use super::recipe::{Grid, Metric};
use super::results::{Results, number, text};
use crate::estimate::Estimate;
use crate::plot::scale::Axis;
use crate::plot::{Mark, Panel, Point, Series, style};

/// The panels of these results. `order` gives the values of a column as the sweep orders them, if it
/// does: names have no order of their own.
pub(super) fn draw(
    grid: &Grid,
    results: &Results,
    order: &impl Fn(&str) -> Vec<String>,
) -> Drawing {
    let groups = grid
        .panels
        .map_or_else(|| vec![String::new()], |column| results.distinct(column));
    let lines = ordered(results.distinct(grid.series), &order(grid.series));
    let places = Places::of(results, &grid.x, &order(grid.x.column));
    let mut drawing = Drawing::default();
    for metric in grid.metrics {
        for group in &groups {
            drawing.absorb(panel(grid, results, metric, group, &lines, &places));
        }
    }
    drawing
}

fn panel(
    grid: &Grid,
    results: &Results,
    metric: &Metric,
    group: &str,
    lines: &[String],
    places: &Places,
) -> Drawing {
    let title = match (grid.panels.is_some(), grid.metrics.len()) {
        (true, _) => group.to_owned(),
        (false, _) => metric.label.split(',').next().unwrap_or("").to_owned(),
    };
    let mut panel = Panel {
        title: title.clone(),
        x: places.axis.clone(),
        y: axis(metric),
        series: Vec::new(),
    };
    let mut rows = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let mut points = Vec::new();
        for (place, shown) in &places.values {
            let values: Vec<f64> = results
                .runs
                .rows
                .iter()
                .filter(|row| {
                    grid.panels.is_none_or(|column| text(row, column) == group)
                        && text(row, grid.series) == *line
                        && text(row, grid.x.column) == *shown
                })
                .filter_map(|row| number(row, metric.column))
                .collect();
            let value = Estimate::of(&values);
            rows.push(Row {
                panel: title.clone(),
                metric: metric.label.to_owned(),
                series: line.clone(),
                x_name: grid.x.label.to_owned(),
                x: shown.clone(),
                value,
            });
            points.extend(value.mean.map(|y| Point {
                x: *place,
                y,
                half: value.half(),
            }));
        }
        panel.series.push(Series {
            name: line.clone(),
            style: style::of(line, i),
            mark: if grid.bars { Mark::Bars } else { Mark::Line },
            points,
        });
    }
    Drawing {
        panels: vec![panel],
        rows,
    }
}

/// The names as `order` has them; what it does not have comes last.
fn ordered(mut names: Vec<String>, order: &[String]) -> Vec<String> {
    names.sort_by_key(|name| order.iter().position(|o| o == name).unwrap_or(order.len()));
    names
}

/// The axis of a metric.
pub(super) fn axis(metric: &Metric) -> Axis {
    if metric.log {
        Axis::log(metric.label)
    } else {
        Axis::linear(metric.label)
    }
}

/// A workload that is a file, without its ending.
fn shown(name: &str) -> String {
    name.trim_end_matches(".toml").to_owned()
}

/// Values of the horizontal axis: numbers by size, or names in their order.
struct Places {
    axis: Axis,
    /// Where it is drawn, and the text of the cell.
    values: Vec<(f64, String)>,
}

impl Places {
    #[expect(clippy::cast_precision_loss, reason = "a handful of categories")]
    fn of(results: &Results, x: &Metric, order: &[String]) -> Self {
        let texts = ordered(results.distinct(x.column), order);
        let numbers: Option<Vec<f64>> = texts.iter().map(|text| text.parse().ok()).collect();
        match numbers {
            Some(numbers) => {
                let mut values: Vec<(f64, String)> = numbers.into_iter().zip(texts).collect();
                values.sort_by(|a, b| a.0.total_cmp(&b.0));
                Self {
                    axis: axis(x),
                    values,
                }
            }
            None => Self {
                axis: Axis::names(x.label, texts.iter().map(|name| shown(name)).collect()),
                values: (0..texts.len()).map(|i| i as f64).zip(texts).collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::sweep::table::Runs;

    const GRID: Grid = Grid {
        metrics: &[Metric::new("latency_s.mean", "mean latency, s")],
        panels: Some("workload"),
        x: Metric::new("rate_per_s", "sessions/s"),
        series: "policy",
        bars: false,
    };

    #[test]
    fn points_are_means_over_seeds_by_group_line_and_place() {
        let row = |workload: &str, policy: &str, rate: f64, latency: serde_json::Value| {
            BTreeMap::from([
                ("workload".to_owned(), json!(workload)),
                ("policy".to_owned(), json!(policy)),
                ("rate_per_s".to_owned(), json!(rate)),
                ("latency_s.mean".to_owned(), latency),
            ])
        };
        let results = Results {
            runs: Runs {
                columns: Vec::new(),
                rows: vec![
                    row("a", "mars", 0.2, json!(10.0)),
                    row("a", "mars", 0.2, json!(14.0)),
                    row("a", "mars", 0.1, json!(5.0)),
                    row("a", "fcfs", 0.1, json!(null)),
                    row("b", "mars", 0.1, json!(7.0)),
                ],
            },
            folder: std::path::PathBuf::new(),
            failed: Vec::new(),
        };
        let order = |column: &str| match column {
            "policy" => vec!["fcfs".to_owned(), "mars".to_owned()],
            _ => Vec::new(),
        };
        let drawing = draw(&GRID, &results, &order);
        let shown: Vec<String> = drawing
            .rows
            .iter()
            .map(|r| {
                format!(
                    "{} {} {} {:?} {}",
                    r.panel, r.series, r.x, r.value.mean, r.value.n
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "a fcfs 0.1 None 0",
                "a fcfs 0.2 None 0",
                "a mars 0.1 Some(5.0) 1",
                "a mars 0.2 Some(12.0) 2",
                "b fcfs 0.1 None 0",
                "b fcfs 0.2 None 0",
                "b mars 0.1 Some(7.0) 1",
                "b mars 0.2 None 0",
            ]
        );
        // A point without a value is not drawn at zero.
        let drawn: Vec<usize> = drawing.panels[0]
            .series
            .iter()
            .map(|s| s.points.len())
            .collect();
        assert_eq!(drawn, [0, 2]);
    }
}
