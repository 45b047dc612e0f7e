//! A study's report: what was run on what, and how it compares.

use units::Nanos;

use engine::Executor as _;

use super::bench::Bench;
use super::compare::Comparison;
use super::result::{RunResult, World};
use super::write::{Check, Report};
use super::{Study, Twin, files};
use crate::engine::machine::mode_name;

impl Study {
    /// All runs, compared.
    pub(super) fn report(
        &self,
        bench: &Bench,
        twin: &Twin,
        runs: &[RunResult],
        loads: &[(f64, f64)],
    ) -> Report {
        let names: Vec<String> = self.policies.iter().map(|p| p.name.clone()).collect();
        let ideals: Vec<Option<Nanos>> = twin.alone.iter().map(|a| a.latency).collect();
        let comparison = Comparison::new(runs, &ideals, &names, loads);
        let (e, c) = (&self.engine, &twin.calibration);
        let simulated = runs.iter().filter(|r| r.which.world == World::Simulated);
        let of_each = simulated.count() / (names.len() * loads.len()).max(1);
        let micros = |ns: u64| format!("{} us", ns / 1_000);
        let rates: Vec<String> = loads
            .iter()
            .map(|(x, rate)| format!("{x} ({rate}/s)"))
            .collect();
        let fact = |name: &str, value: String| (name.to_owned(), value);
        Report {
            setup: vec![
                fact("model", bench.model.clone()),
                fact(
                    "executor",
                    format!(
                        "{}, threads: {}, cores: {:?}",
                        bench.executor.name(),
                        e.threads,
                        e.cores.engine
                    ),
                ),
                fact(
                    "tool cores",
                    format!("{:?}, {}", e.cores.tools, mode_name(self.tools)),
                ),
                fact("processor", files::processor()),
                fact(
                    "limits",
                    format!(
                        "{} KV blocks of {} tokens, {} tokens a step, {} turns at once",
                        e.blocks,
                        e.block_size.tokens().get(),
                        e.token_budget,
                        e.max_running
                    ),
                ),
                fact("sessions of each run", self.sessions.len().to_string()),
                fact("loads", rates.join(", ")),
                fact("real runs of each", self.load.repeats.to_string()),
                fact("simulated runs of each", of_each.to_string()),
                fact(
                    "step cost",
                    format!(
                        "fitted to {} batches, mean absolute error across folds {}",
                        c.batches,
                        c.error_across
                            .map_or("n/a".to_owned(), |x| format!("{:.1} %", 100.0 * x))
                    ),
                ),
                fact(
                    "beside computing",
                    format!(
                        "{} ns a step and {} ns a turn in it",
                        c.per_step_ns, c.per_running_ns
                    ),
                ),
                fact(
                    "not on a core while steps were timed",
                    c.disturbed
                        .map_or("n/a".to_owned(), |x| format!("{:.1} %", 100.0 * x)),
                ),
                fact(
                    "a tool that computes, beyond its CPU time",
                    micros(c.tool_start_ns),
                ),
                fact("its core, beyond its CPU time", micros(c.tool_core_ns)),
                fact(
                    "a tool that waits, beyond its wait",
                    micros(c.wait_start_ns),
                ),
            ],
            policies: names,
            checks: Check::all(runs),
            passes: comparison.passes(),
            comparison,
        }
    }
}
