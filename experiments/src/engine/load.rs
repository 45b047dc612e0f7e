//! `--shrink` and `--time-scale`: the workload made to fit a small model and a short run.

use std::sync::Arc;

use anyhow::anyhow;
use traces::ops::scale::{FACTOR_LIMIT, Factors};

use crate::failure::Failure;
use crate::run::plan::{number, one};
use crate::run::workload::Workload;

/// By how much the recording is divided.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Divisors {
    /// Token counts.
    pub shrink: f64,
    /// Tools' times and pauses.
    pub time_scale: f64,
}

impl Divisors {
    /// From the flags.
    ///
    /// # Errors
    /// Bad input: below 1 or too large.
    pub fn new(shrink: &str, time_scale: &str) -> Result<Self, Failure> {
        let factor = |flag, text, least: f64, wanted| {
            one(flag, text, wanted, |t| {
                number(t).filter(|f| (least..=FACTOR_LIMIT).contains(f))
            })
        };
        Ok(Self {
            shrink: factor("--shrink", shrink, 1.0, "a number, 1 to 1000")?,
            time_scale: factor("--time-scale", time_scale, 1e-3, "a number, 0.001 to 1000")?,
        })
    }

    /// The workload, divided. Its digest is that of the sessions as they are run.
    ///
    /// # Errors
    /// Bad input: a session that breaks a law of the format when it is divided.
    pub fn apply(self, workload: Workload) -> Result<Workload, Failure> {
        let factors = Factors {
            time: 1.0 / self.time_scale,
            length: 1.0 / self.shrink,
            turns: 1.0,
        };
        if factors == Factors::default() {
            return Ok(workload);
        }
        let scaled: Result<Vec<_>, _> = workload
            .sessions
            .iter()
            .map(|session| factors.session(session))
            .collect();
        let sessions = scaled.map_err(|error| Failure::bad_input(anyhow!(error)))?;
        let (made, dropped) = (workload.made, workload.dropped);
        let name = workload.name.clone();
        Ok(Workload {
            made,
            dropped,
            ..Workload::new(&name, workload.header, sessions)?
        })
    }

    /// The workload called `name`, divided.
    ///
    /// # Errors
    /// Bad input: no such workload, or as [`Divisors::apply`].
    pub fn load(
        self,
        name: &str,
        loading: crate::run::workload::Loading,
    ) -> Result<Arc<Workload>, Failure> {
        self.apply(Workload::load(name, loading)?).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::workload::Loading;

    #[test]
    fn every_token_count_and_time_is_divided_and_nothing_vanishes() {
        let load = |shrink: &str, time: &str| {
            let divisors = Divisors::new(shrink, time).unwrap();
            divisors.load("swebench-mini", Loading::default()).unwrap()
        };
        let (whole, small) = (load("1", "1"), load("50", "10"));
        assert_ne!(whole.digest, small.digest);
        for (a, b) in whole.sessions.iter().zip(&small.sessions) {
            assert_eq!(a.turns.len(), b.turns.len());
            for (a, b) in a.turns.iter().zip(&b.turns) {
                let (a_out, b_out) = (a.output.value.get(), b.output.value.get());
                assert!(b_out >= 1 && b_out.abs_diff(a_out / 50) <= 1);
                let wall = |t: &traces::ToolCall| t.wall.unwrap().value.as_nanos();
                for (a, b) in a.tools.iter().zip(&b.tools) {
                    assert!(wall(b).abs_diff(wall(a) / 10) <= 1);
                }
            }
        }
    }

    #[test]
    fn factors_that_cannot_be_are_refused() {
        for (shrink, time) in [
            ("0.5", "1"),
            ("1", "0"),
            ("1001", "1"),
            ("x", "1"),
            ("1", "-2"),
        ] {
            assert!(Divisors::new(shrink, time).is_err(), "{shrink} {time}");
        }
    }
}
