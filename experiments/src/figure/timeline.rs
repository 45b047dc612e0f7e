//! Figures over time: KV churn, and what the admission window saw and did.

use super::drawing::{Drawing, Row, digits};
use super::results::{Results, text};
use super::spread::{Curves, ORDER, curves};
use crate::estimate::Estimate;
use crate::plot::scale::Axis;
use crate::plot::{Mark, Panel, Point, Series, style};

/// Bins of normalised time.
const BINS: u32 = 40;

/// KV blocks evicted per second over normalised time, as figure 3A.
///
/// # Errors
/// A run's table that cannot be read.
pub(crate) fn churn(results: &Results) -> anyhow::Result<Drawing> {
    let what = Curves {
        panels: "workload",
        series: "policy",
        order: &ORDER,
        x: Axis::linear("time, % of the run").within(0.0, 100.0),
        y: Axis::linear("KV blocks evicted per second"),
        mark: Mark::Curve,
    };
    curves(results, &what, |run| {
        let names = ["at_s", "evicted_blocks"];
        let [at, evicted] = results.columns(run, "samples.parquet", names)?;
        let samples: Vec<(f64, f64)> = at
            .into_iter()
            .zip(evicted)
            .filter_map(|(at, evicted)| Some((at?, evicted?)))
            .collect();
        Ok(rates(&samples))
    })
}

/// Of a count that grows, its rate per bin: what it has grown by between the first samples at or after
/// the ends of the bin, over the time between them. A bin shorter than the sampling has none of its own
/// and takes that of the samples around it.
fn rates(samples: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let Some(&(end, _)) = samples.last() else {
        return Vec::new();
    };
    let sample_at = |time: f64| {
        let first = samples.partition_point(|&(at, _)| at < time);
        samples[first.min(samples.len() - 1)]
    };
    let mut rates = Vec::new();
    let mut last = 0.0;
    for bin in 0..BINS {
        let edge = |k: u32| end * f64::from(k) / f64::from(BINS);
        let (from, to) = (sample_at(edge(bin)), sample_at(edge(bin + 1)));
        if to.0 > from.0 {
            last = (to.1 - from.1) / (to.0 - from.0);
        }
        let middle = 100.0 * (f64::from(bin) + 0.5) / f64::from(BINS);
        rates.push((middle, last));
    }
    rates
}

/// A line of the control trace: name, column, number of its looks.
type Line = (&'static str, &'static str, usize);

const CONTROL: [(&str, &str, &[Line]); 4] = [
    (
        "Window",
        "sessions",
        &[
            ("limit: W", "window_sessions", 0),
            ("CPU cap", "window_cpu_cap_sessions", 1),
            ("KV cap", "window_kv_cap_sessions", 2),
            ("in flight", "in_flight_sessions", 5),
        ],
    ),
    ("Backlog", "sessions", &[("backlog", "backlog_sessions", 3)]),
    (
        "KV pressure u",
        "share of usable blocks",
        &[("u", "window_kv_pressure", 4)],
    ),
    (
        "CPU backlog r",
        "tools per core",
        &[("r", "window_cpu_backlog", 6)],
    ),
];

/// The admission window over one run: window and caps, backlog, both pressures.
///
/// # Errors
/// A run's table that cannot be read.
pub(crate) fn control(results: &Results) -> anyhow::Result<Drawing> {
    let mut drawing = Drawing::default();
    let Some(run) = results.runs.rows.first() else {
        return Ok(drawing);
    };
    let run_name = text(run, "policy");
    for (title, unit, lines) in CONTROL {
        let mut panel = Panel {
            title: title.to_owned(),
            x: Axis::linear("time, s"),
            y: Axis::linear(unit),
            series: Vec::new(),
        };
        for &(name, column, number) in lines {
            let [at, values] = results.columns(run, "samples.parquet", ["at_s", column])?;
            let points: Vec<Point> = at
                .into_iter()
                .zip(values)
                .filter_map(|(at, value)| Some(Point::new(at?, value?)))
                .collect();
            // A row per change: between changes the value holds.
            let mut last = None;
            for point in &points {
                if last != Some(point.y) {
                    last = Some(point.y);
                    drawing.rows.push(Row {
                        panel: format!("{title} ({run_name})"),
                        metric: unit.to_owned(),
                        series: name.to_owned(),
                        x_name: "time, s".to_owned(),
                        x: digits(point.x),
                        value: Estimate::of(&[point.y]),
                    });
                }
            }
            panel.series.push(Series {
                name: name.to_owned(),
                style: style::of(name, number),
                mark: Mark::Steps,
                points,
            });
        }
        drawing.panels.push(panel);
    }
    Ok(drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_growth_over_time() {
        // 80 s, one sample a second; 10 blocks a second in the first half, none after.
        let samples: Vec<(f64, f64)> = (0..=80)
            .map(|s| (f64::from(s), 10.0 * f64::from(s.min(40))))
            .collect();
        let rates = rates(&samples);
        assert_eq!(rates.len(), 40);
        assert!(rates[..20].iter().all(|r| (r.1 - 10.0).abs() < 1e-9));
        assert!(rates[20..].iter().all(|r| r.1.abs() < 1e-9));
        assert_eq!(super::rates(&[]), []);
    }

    #[test]
    fn few_samples_still_give_all_bins() {
        let rates = rates(&[(0.0, 0.0), (10.0, 50.0)]);
        assert_eq!(rates.len(), 40);
        assert!(rates.iter().all(|r| (r.1 - 5.0).abs() < 1e-9), "{rates:?}");
    }
}
