//! What one run came to, in either world, and the figures that are compared.

use serde::{Deserialize, Serialize};
use units::Nanos;

use crate::metrics::{self, Alpha, Spread, Timed};

/// Which world a run was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// The real engine.
    Real,
    /// The simulator.
    Simulated,
}

/// Which run: its file is named after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Which {
    /// The policy.
    pub policy: String,
    /// The load: 1 is as much as the engine could serve one session at a time, or the tool cores at all.
    pub load: f64,
    /// The same in sessions per second.
    pub rate_per_s: f64,
    /// Real or simulated.
    pub world: World,
    /// Which repeat, from 0. Of a simulation, the seed of what its steps vary by.
    pub repeat: u32,
}

/// What one run came to. Times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Which run.
    pub which: Which,
    /// Latency of each session in order of arrival; `None`: it did not complete.
    pub latency_ns: Vec<Option<u64>>,
    /// Time to first token of each turn that ended, in the order in which they ended.
    pub first_token_ns: Vec<u64>,
    /// From the start to the last completion.
    pub makespan_ns: u64,
    /// Steps taken.
    pub steps: u64,
    /// Their time as they took it.
    pub steps_ns: u64,
    /// Their time by the cost model that the simulator is given.
    pub priced_ns: u64,
    /// Of their time, the executor's; `None` in a simulation.
    pub computing_ns: Option<u64>,
    /// CPU time of this process meanwhile; `None` in a simulation.
    pub cpu_ns: Option<u64>,
    /// Tool calls that ended.
    pub tool_calls: u64,
    /// Their time as they took it.
    pub tools_ns: u64,
    /// Their time alone.
    pub tools_alone_ns: u64,
    /// Runs before this one that were discarded because other programs took the engine's core.
    #[serde(default)]
    pub discarded: u32,
    /// Of a real run: time of each of the grid's batches, timed once right before it; empty if they were not.
    #[serde(default)]
    pub grid_before_ns: Vec<u64>,
    /// The same right after it.
    #[serde(default)]
    pub grid_after_ns: Vec<u64>,
}

impl RunResult {
    /// CPU time of this process over the executor's time; below 1 with one thread, other programs took its
    /// core. `None` in a simulation.
    pub fn on_core(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "spans of a run")]
        let share = |cpu, took| cpu as f64 / took as f64;
        self.cpu_ns
            .zip(self.computing_ns)
            .filter(|&(_, took)| took > 0)
            .map(|(cpu, took)| share(cpu, took))
    }
}

/// One figure that both worlds have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Mean session latency.
    Mean,
    /// Its median.
    Median,
    /// Its 95th percentile.
    Tail,
    /// Mean time to first token.
    FirstToken,
    /// Goodput at alpha 1, 2, 3: by its place in [`ALPHAS`].
    Goodput(usize),
}

/// Goodput factors.
pub const ALPHAS: [(&str, f64); 3] = [("1", 1.0), ("2", 2.0), ("3", 3.0)];

/// How far above `T_ideal` still meets alpha 1.
const TOLERANCE: f64 = 0.01;

/// All figures, in the order of the tables.
pub const FIGURES: [Figure; 7] = [
    Figure::Mean,
    Figure::Median,
    Figure::Tail,
    Figure::FirstToken,
    Figure::Goodput(0),
    Figure::Goodput(1),
    Figure::Goodput(2),
];

impl Figure {
    /// Its name in tables and files, unit included.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "latency_mean_s",
            Self::Median => "latency_p50_s",
            Self::Tail => "latency_p95_s",
            Self::FirstToken => "ttft_mean_s",
            Self::Goodput(0) => "goodput_alpha1_per_s",
            Self::Goodput(1) => "goodput_alpha2_per_s",
            Self::Goodput(_) => "goodput_alpha3_per_s",
        }
    }

    /// Its value in a run; `None` if there is nothing to describe. `ideals` are the sessions' latencies
    /// alone, in order of arrival.
    pub fn of(self, run: &RunResult, ideals: &[Option<Nanos>]) -> Option<f64> {
        let latency = || {
            let mut spans: Vec<Nanos> = run
                .latency_ns
                .iter()
                .flatten()
                .map(|ns| Nanos::new(*ns))
                .collect();
            Spread::of(&mut spans)
        };
        match self {
            Self::Mean => latency().mean,
            Self::Median => latency().p50,
            Self::Tail => latency().p95,
            Self::FirstToken => {
                let mut spans: Vec<Nanos> = run
                    .first_token_ns
                    .iter()
                    .map(|ns| Nanos::new(*ns))
                    .collect();
                Spread::of(&mut spans).mean
            }
            Self::Goodput(at) => {
                let (text, value) = ALPHAS[at];
                let alpha = Alpha {
                    text: text.to_owned(),
                    value,
                };
                let timed: Vec<Timed> = run
                    .latency_ns
                    .iter()
                    .zip(ideals)
                    .filter_map(|(latency, &ideal)| {
                        let latency = Nanos::new((*latency)?);
                        Some(Timed { latency, ideal })
                    })
                    .collect();
                let met = metrics::in_time(&timed, &alpha, TOLERANCE);
                metrics::per_second(met, Nanos::new(run.makespan_ns))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run of sessions with these latencies in seconds.
    pub(in super::super) fn run(
        policy: &str,
        world: World,
        repeat: u32,
        latencies: &[f64],
    ) -> RunResult {
        let ns = |s: &f64| Nanos::from_secs(*s).expect("a span").as_nanos();
        RunResult {
            which: Which {
                policy: policy.to_owned(),
                load: 1.0,
                rate_per_s: 1.0,
                world,
                repeat,
            },
            latency_ns: latencies.iter().map(|s| Some(ns(s))).collect(),
            first_token_ns: vec![ns(&0.5), ns(&1.5)],
            makespan_ns: ns(&10.0),
            steps: 1,
            steps_ns: 1,
            priced_ns: 1,
            computing_ns: None,
            cpu_ns: None,
            tool_calls: 0,
            tools_ns: 0,
            tools_alone_ns: 0,
            discarded: 0,
            grid_before_ns: Vec::new(),
            grid_after_ns: Vec::new(),
        }
    }

    #[test]
    fn figures_are_those_computed_by_hand() {
        let mut run = run("fcfs", World::Real, 0, &[1.0, 2.0, 6.0]);
        run.latency_ns.push(None);
        let ideals = [Some(Nanos::from_millis(1_000)); 4];
        let value = |figure: Figure| figure.of(&run, &ideals).expect("a number");
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
        close(value(Figure::Mean), 3.0);
        close(value(Figure::Median), 2.0);
        close(value(Figure::Tail), 2.0 + 0.9 * 4.0);
        close(value(Figure::FirstToken), 1.0);
        // In time: one at alpha 1, two at 2 and 3; in 10 s.
        close(value(Figure::Goodput(0)), 0.1);
        close(value(Figure::Goodput(1)), 0.2);
        close(value(Figure::Goodput(2)), 0.2);
    }

    #[test]
    fn a_run_survives_its_file() {
        let mut run = run("mars", World::Real, 2, &[0.123_456_789, 5.0]);
        run.latency_ns.push(None);
        let text = serde_json::to_string(&run).expect("writes");
        assert_eq!(
            serde_json::from_str::<RunResult>(&text).expect("reads"),
            run
        );
    }
}
