//! CPU time of a container, from readings that look like a load and are an average.
//!
//! `cpu_percent` comes from `podman stats --no-stream`: it is the average *since the container
//! started*. Percent times elapsed time is therefore the CPU time so far, and the difference of two
//! readings the CPU time between them. The container started about 0.5 s before the first reading.
//! Rounding makes 1 to 1.5 % of the steps negative; CPU time does not run back, so the running
//! maximum is used. Between readings (about one a second) it is interpolated.

use serde::Deserialize;
use units::Nanos;

use super::super::json;
use crate::error::{Place, TraceError, shown};

/// How long before the first reading the container started, in seconds (fitted, see above).
const STARTED_BEFORE: f64 = 0.5;

/// CPU time used so far, over time.
pub(super) struct CpuCurve {
    /// (seconds since 1970, CPU seconds so far), both increasing.
    points: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
struct Resources {
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    epoch: f64,
    cpu_percent: String,
}

impl CpuCurve {
    /// Reads `resources.json`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TraceError> {
        let resources: Resources = json::parse(Place::Document, bytes)?;
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut started = 0.0;
        for (i, sample) in resources.samples.iter().enumerate() {
            let percent = sample
                .cpu_percent
                .strip_suffix('%')
                .and_then(|p| p.parse::<f64>().ok());
            let Some(percent) = percent.filter(|p| p.is_finite() && *p >= 0.0) else {
                return Err(TraceError::Value {
                    place: Place::Document,
                    field: format!("samples[{i}].cpu_percent"),
                    value: shown(&sample.cpu_percent),
                    wanted: "a percentage such as 63.09%".to_owned(),
                });
            };
            match points.last() {
                None => started = sample.epoch - STARTED_BEFORE,
                // A reading that is not later than the one before it says nothing about a span.
                Some((before, _)) if sample.epoch <= *before => continue,
                Some(_) => {}
            }
            let so_far = percent / 100.0 * (sample.epoch - started);
            let before = points.last().map_or(0.0, |(_, so_far)| *so_far);
            points.push((sample.epoch, so_far.max(before)));
        }
        Ok(Self { points })
    }

    /// CPU time between two instants since 1970, in whole microseconds; `None` where no reading
    /// covers any of it.
    pub(super) fn between(&self, start: Nanos, end: Nanos) -> Option<Nanos> {
        let ((first, _), (last, _)) = (self.points.first()?, self.points.last()?);
        let (start, end) = (start.as_secs(), end.as_secs());
        if end < *first || start > *last {
            return None;
        }
        let used = Nanos::from_secs((self.at(end) - self.at(start)).max(0.0)).ok()?;
        Some(Nanos::new(used.as_nanos() / 1000 * 1000))
    }

    /// CPU seconds used until `time`; constant outside the readings.
    fn at(&self, time: f64) -> f64 {
        let after = self.points.partition_point(|(epoch, _)| *epoch <= time);
        let before = after.checked_sub(1).map(|i| self.points[i]);
        match (before, self.points.get(after)) {
            (Some((t0, c0)), Some((t1, c1))) => c0 + (c1 - c0) * (time - t0) / (t1 - t0),
            (Some((_, used)), None) | (None, Some(&(_, used))) => used,
            (None, None) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_becomes_a_difference() {
        // Started at 99.5 s; 1 core from then to 100.5 s, nothing after: the average falls.
        let text = br#"{"samples":[{"epoch":100.0,"cpu_percent":"100.00%"},
            {"epoch":100.5,"cpu_percent":"100.00%"},{"epoch":101.5,"cpu_percent":"50.00%"}]}"#;
        let curve = CpuCurve::parse(text).unwrap();
        let ms = Nanos::from_millis;
        assert_eq!(curve.between(ms(100_100), ms(100_300)), Some(ms(200)));
        assert_eq!(curve.between(ms(100_250), ms(101_500)), Some(ms(250)));
        assert_eq!(curve.between(ms(100_500), ms(101_500)), Some(ms(0)));
        assert_eq!(curve.between(ms(200_000), ms(201_000)), None);
    }

    #[test]
    fn a_bad_percentage_names_its_sample() {
        let text = br#"{"samples":[{"epoch":1,"cpu_percent":"-3%"}]}"#;
        let error = CpuCurve::parse(text).err().unwrap().to_string();
        assert!(
            error.starts_with("document: `samples[0].cpu_percent` is -3%"),
            "{error}"
        );
    }
}
