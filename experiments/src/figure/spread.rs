//! Figures of whole distributions: percentiles of one quantity, shares of sessions, latency by size.

use super::drawing::{Drawing, Row};
use super::results::{Results, text};
use crate::estimate::Estimate;
use crate::plot::scale::Axis;
use crate::plot::{Mark, Panel, Point, Series, style};
use crate::sweep::table::Row as Run;

/// A value per place, of one run.
type Curve = Vec<(f64, f64)>;

/// What a family of curves shows.
pub(super) struct Curves<'a> {
    /// Column whose values make panels.
    pub panels: &'a str,
    /// Column whose values make lines.
    pub series: &'a str,
    /// Order of the lines.
    pub order: &'a [&'a str],
    pub x: Axis,
    pub y: Axis,
    pub mark: Mark,
}

/// A panel per group and a line per series: at every place the mean over runs. All runs of a line have
/// the same places, or fewer.
pub(super) fn curves(
    results: &Results,
    what: &Curves<'_>,
    of_run: impl Fn(&Run) -> anyhow::Result<Curve>,
) -> anyhow::Result<Drawing> {
    let mut lines = results.distinct(what.series);
    let rank = |name: &String| what.order.iter().position(|o| o == name);
    lines.sort_by_key(|name| rank(name).unwrap_or(what.order.len()));
    let mut drawing = Drawing::default();
    for group in results.distinct(what.panels) {
        let mut panel = Panel {
            title: group.clone(),
            x: what.x.clone(),
            y: what.y.clone(),
            series: Vec::new(),
        };
        for (i, line) in lines.iter().enumerate() {
            let runs =
                results.runs.rows.iter().filter(|row| {
                    text(row, what.panels) == group && text(row, what.series) == *line
                });
            let curves: Vec<Curve> = runs.map(&of_run).collect::<anyhow::Result<_>>()?;
            let places = curves.iter().max_by_key(|curve| curve.len());
            let mut points = Vec::new();
            for (k, &(x, _)) in places.into_iter().flatten().enumerate() {
                let values: Vec<f64> = curves.iter().filter_map(|c| Some(c.get(k)?.1)).collect();
                let value = Estimate::of(&values);
                drawing.rows.push(Row {
                    panel: group.clone(),
                    metric: what.y.label.clone(),
                    series: line.clone(),
                    x_name: what.x.label.clone(),
                    x: super::drawing::digits(x),
                    value,
                });
                points.extend(value.mean.map(|y| Point {
                    x,
                    y,
                    half: value.half(),
                }));
            }
            panel.series.push(Series {
                name: line.clone(),
                style: style::of(line, i),
                mark: what.mark,
                points,
            });
        }
        drawing.panels.push(panel);
    }
    Ok(drawing)
}

/// Policies as the paper lists them.
pub(super) const ORDER: [&str; 8] = [
    "fcfs",
    "autellix",
    "infercept",
    "continuum",
    "continuum-dy",
    "mars",
    "mars-preview",
    "isolated",
];

/// The value at a share of the sorted numbers: the smallest that at least this share does not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rank below the number of values"
)]
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

fn sorted(values: Vec<Option<f64>>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().flatten().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// TTFT of turns by percentile, as figure 3B.
///
/// # Errors
/// A run's table that cannot be read.
pub(crate) fn ttft(results: &Results) -> anyhow::Result<Drawing> {
    let what = Curves {
        panels: "workload",
        series: "policy",
        order: &ORDER,
        x: Axis::linear("percentile of turns").within(0.0, 100.0),
        y: Axis::log("TTFT, s"),
        mark: Mark::Curve,
    };
    curves(results, &what, |run| {
        let [ttft] = results.columns(run, "turns.parquet", ["ttft_s"])?;
        let ttft = sorted(ttft);
        let at = |percent: u32| {
            Some((
                f64::from(percent),
                quantile(&ttft, f64::from(percent) / 100.0)?,
            ))
        };
        Ok((1..=99).chain([100]).filter_map(at).collect())
    })
}

/// Cumulative shares of sessions by input length and by ideal time, as figure 6.
///
/// # Errors
/// A run's table that cannot be read.
pub(crate) fn workloads(results: &Results) -> anyhow::Result<Drawing> {
    let mut drawing = Drawing::default();
    let panels = [
        (
            "Input length",
            "prompt_tokens",
            "prompt tokens of a session",
            1e-3,
        ),
        ("Ideal time", "t_ideal_s", "T_ideal of a session, s", 1.0),
    ];
    for (title, column, label, scale) in panels {
        let label = if scale < 1.0 {
            label.replacen("prompt tokens", "thousand prompt tokens", 1)
        } else {
            label.to_owned()
        };
        let what = Curves {
            panels: "policy",
            series: "workload",
            order: &[],
            x: Axis::linear(label),
            y: Axis::linear("share of sessions").within(0.0, 1.0),
            mark: Mark::Curve,
        };
        // The shares are fixed and the values differ by seed, so the mean is taken of the values.
        let mut one = curves(results, &what, |run| {
            let [values] = results.columns(run, "sessions.parquet", [column])?;
            let values = sorted(values);
            let at = |percent: u32| {
                let share = f64::from(percent) / 100.0;
                Some((share, quantile(&values, share)? * scale))
            };
            Ok((1..=100).filter_map(at).collect())
        })?;
        for panel in &mut one.panels {
            title.clone_into(&mut panel.title);
            for point in panel.series.iter_mut().flat_map(|s| &mut s.points) {
                *point = Point::new(point.y, point.x);
            }
        }
        for row in &mut one.rows {
            title.clone_into(&mut row.panel);
            std::mem::swap(&mut row.metric, &mut row.x_name);
        }
        drawing.absorb(one);
    }
    Ok(drawing)
}

/// Quarters of the sessions by prompt tokens.
const QUARTERS: [&str; 4] = ["smallest", "small", "large", "largest"];

/// P99 of latency over `T_ideal`, by quarters of session size.
///
/// # Errors
/// A run's table that cannot be read.
#[expect(clippy::cast_precision_loss, reason = "four quarters")]
pub(crate) fn sizes(results: &Results) -> anyhow::Result<Drawing> {
    let what = Curves {
        panels: "workload",
        series: "policy",
        order: &ORDER,
        x: Axis::names(
            "quarter of sessions by prompt tokens",
            QUARTERS.map(str::to_owned).to_vec(),
        ),
        y: Axis::linear("P99 latency, s"),
        mark: Mark::Bars,
    };
    let mut drawing = curves(results, &what, |run| {
        let names = ["prompt_tokens", "latency_s"];
        let [prompt, latency] = results.columns(run, "sessions.parquet", names)?;
        let mut sessions: Vec<(f64, Option<f64>)> = prompt
            .into_iter()
            .zip(latency)
            .filter_map(|(prompt, latency)| Some((prompt?, latency)))
            .collect();
        sessions.sort_by(|a, b| a.0.total_cmp(&b.0));
        let quarter = |i: usize| {
            let n = sessions.len();
            let of = &sessions[i * n / 4..(i + 1) * n / 4];
            let latencies = sorted(of.iter().map(|s| s.1).collect());
            Some((i as f64, quantile(&latencies, 0.99)?))
        };
        Ok((0..4).filter_map(quarter).collect())
    })?;
    for row in &mut drawing.rows {
        let quarter: Option<usize> = row.x.parse().ok();
        if let Some(name) = quarter.and_then(|i| QUARTERS.get(i)) {
            (*name).clone_into(&mut row.x);
        }
    }
    Ok(drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&values, 0.25), Some(1.0));
        assert_eq!(quantile(&values, 0.26), Some(2.0));
        assert_eq!(quantile(&values, 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
