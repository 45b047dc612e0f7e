//! From arguments to a plan: everything read, checked and resolved before anything runs.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use sim::arrivals::{Recorded, Times};
use units::{Nanos, Time};

use super::arrivals::ArrivalKind;
use super::limits;
use super::machine::Machine;
use super::manifest::Case;
use super::policies::{self, Chosen};
use super::settings::Settings;
use super::workload::{Loading, Workload};
use crate::cli::{Format, RunArgs};
use crate::failure::Failure;
use crate::metrics::Alpha;
use crate::perfetto;
use crate::report::{Judge, Which};
use crate::trace::made::Make;

/// More sessions than this in one run would not fit a workstation's memory.
const SESSIONS_LIMIT: u64 = 10_000_000;

/// The latest that a load may end if nobody waited: 2^62 ns (146 years), a quarter of the clock.
const LOAD_LIMIT_NS: u128 = 1 << 62;

/// Most sampling instants of one run: recording halves its resolution instead of growing, but each
/// still takes time.
const SAMPLES_LIMIT: u128 = 100_000_000;

/// All that is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every policy meets the same draws.
    pub policies: Vec<Chosen>,
    /// What the sessions do. Plans of one workload share it.
    pub workload: Arc<Workload>,
    /// Sessions per second.
    pub rates: Vec<f64>,
    /// How they arrive.
    pub arrivals: ArrivalKind,
    /// The workload's own arrivals, if those are wanted.
    pub recorded: Option<Arc<Recorded>>,
    /// How many are offered.
    pub sessions: usize,
    /// Of the order of sessions, and of Poisson arrivals.
    pub seeds: Vec<u64>,
    /// On what they run. Of a real machine only the engine's limits, the horizon and the interval count.
    pub machine: Machine,
    /// The real machine, as its manifests describe it; `None` in a simulation.
    pub real: Option<Arc<serde_json::Value>>,
    /// Goodput factors.
    pub alphas: Vec<Alpha>,
    /// How far above `T_ideal` still meets alpha 1.
    pub tolerance: f64,
    /// Where run directories go; `None` keeps none.
    pub out: Option<PathBuf>,
    /// The timeline to write, if one is.
    pub perfetto: Option<perfetto::Wanted>,
    /// How results are printed.
    pub format: Format,
    /// Threads; `None`: all cores.
    pub threads: Option<usize>,
    /// Nothing on stderr but errors.
    pub quiet: bool,
}

impl Plan {
    /// The plan of these arguments.
    ///
    /// # Errors
    /// Bad input, with the flag, its value and what it may be.
    pub fn new(args: &RunArgs) -> Result<Self, Failure> {
        Self::with(args, |name, loading| {
            Workload::load(name, loading).map(Arc::new)
        })
    }

    /// The plan of these arguments, with the workload from `load`, which is given its name: for many
    /// plans over few workloads.
    ///
    /// # Errors
    /// As [`Plan::new`], and what `load` says.
    pub fn with(
        args: &RunArgs,
        load: impl FnOnce(&str, Loading) -> Result<Arc<Workload>, Failure>,
    ) -> Result<Self, Failure> {
        let common = &args.common;
        let mut settings = Settings::default();
        let mut of_policies = Vec::new();
        common.costs.apply(&mut settings);
        for pair in &common.set {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(wrong("--set", pair, "KEY=VALUE"));
            };
            let (key, value) = (key.trim(), value.trim());
            if !settings.set(key, value).map_err(Failure::bad_input)? {
                of_policies.push((key.to_owned(), value.to_owned()));
            }
        }
        let rates = list("--rate", &args.rate, RATE, |text| {
            number(text).filter(|r| (1e-9..=1e9).contains(r))
        })?;
        let seeds = list("--seed", &args.seed, "whole numbers, 0 to 2^64 - 1", |t| {
            t.parse::<u64>().ok()
        })?;
        let alphas = list("--alpha", &common.alpha, "numbers above 0", |text| {
            let value = number(text).filter(|a| *a > 0.0)?;
            Some(Alpha {
                text: text.to_owned(),
                value,
            })
        })?;
        let sessions = one("--sessions", &args.sessions, "1 to 10000000", |t| {
            let n = t.parse::<u64>().ok()?;
            let n = Some(n).filter(|n| (1..=SESSIONS_LIMIT).contains(n))?;
            usize::try_from(n).ok()
        })?;
        let utilisation = one(
            "--utilisation",
            &common.utilisation,
            "above 0, at most 1",
            |t| number(t).filter(|u| *u > 0.0 && *u <= 1.0),
        )?;
        let tool_cores = one(
            "--tool-cores",
            &common.tool_cores,
            "cores, 1 to 65536",
            |t| {
                let n = t.parse::<NonZeroU32>().ok()?;
                (n.get() <= 1 << 16).then_some(n)
            },
        )?;
        let horizon = optional(
            "--horizon",
            common.horizon.as_deref(),
            "seconds above 0",
            |t| {
                let span = number(t).and_then(|s| Nanos::from_secs(s).ok())?;
                (span > Nanos::ZERO).then_some(Time::ZERO + span)
            },
        )?;
        let policies = policies::choose(&args.policy, &of_policies)?;
        let span = horizon.map(|end| end.since(Time::ZERO));
        limits::check(policies.iter().filter_map(Chosen::limit), span)?;
        let mut machine = Machine::new(
            common.gpu.trim(),
            common.model.trim(),
            utilisation,
            tool_cores,
            horizon,
            &settings,
        )?;
        machine.setup.engine.log_decisions = common.decisions;
        let loading = Loading {
            make: Make {
                sessions: sessions as u64,
                seed: settings.workload_seed,
            },
            on_bad: common.on_bad_session,
        };
        let workload = load(&common.workload, loading)?;
        let recorded = args.arrivals.recorded(&workload, sessions)?;
        let plan = Self {
            policies,
            workload,
            recorded,
            rates,
            arrivals: args.arrivals,
            sessions,
            seeds,
            machine,
            real: None,
            alphas,
            tolerance: settings.alpha1_tolerance,
            out: Some(args.out.clone()),
            perfetto: args.perfetto.wanted()?,
            format: common.shown.format,
            threads: common.work.threads()?,
            quiet: common.work.quiet,
        };
        plan.check_clock()?;
        Ok(plan)
    }

    /// Whether the decision log is written.
    pub fn decisions(&self) -> bool {
        self.machine.setup.engine.log_decisions
    }

    /// What identifies a run of it in a report.
    pub fn which(&self, case: Case) -> Which<'_> {
        Which {
            policy: &self.policies[case.policy].name,
            workload: &self.workload.name,
            rate_per_s: case.rate_per_s,
            seed: case.seed,
        }
    }

    /// By what its sessions are judged.
    pub fn judge(&self) -> Judge<'_> {
        Judge {
            alphas: &self.alphas,
            tolerance: self.tolerance,
        }
    }

    /// Arrival times at this rate.
    ///
    /// # Errors
    /// Bad input: a rate at which nothing sensible arrives.
    pub fn times(&self, rate_per_s: f64, seed: u64) -> Result<Times, Failure> {
        let arrivals = self.arrivals.at(rate_per_s, self.recorded.as_deref());
        arrivals.times(seed).map_err(Failure::bad_input)
    }

    /// The sessions to offer, as indices: drawn from the seed, or as they were recorded.
    pub fn order(&self, seed: u64) -> Vec<u32> {
        match &self.recorded {
            Some(recorded) => recorded
                .order()
                .iter()
                .copied()
                .take(self.sessions)
                .collect(),
            None => self.workload.order(seed, self.sessions),
        }
    }

    /// Refuses a load that no clock of 2^64 ns can hold, or that would be sampled forever.
    fn check_clock(&self) -> Result<(), Failure> {
        let (busy, longest) = self.idle_bounds();
        for &seed in &self.seeds {
            for &rate in &self.rates {
                let last = self.times(rate, seed)?.nth(self.sessions - 1);
                let last = last.map(|t| u128::from(t.as_nanos()));
                let end = last.map(|last| last + busy + longest);
                let Some(end) = end.filter(|end| *end < LOAD_LIMIT_NS) else {
                    return Err(Failure::bad_input(anyhow!(
                        "{} sessions at {rate} sessions/s with their tools and pauses do not end \
                         within 146 years (wanted: a load that the clock can hold)\nhint: offer \
                         fewer sessions or raise `--rate`",
                        self.sessions
                    )));
                };
                let end = match self.machine.setup.horizon {
                    Some(horizon) => end.min(u128::from(horizon.as_nanos())),
                    None => end,
                };
                let every = self.machine.setup.sample_every;
                let every = every.map_or(u128::MAX, |e| u128::from(e.as_nanos()));
                if end / every > SAMPLES_LIMIT {
                    return Err(Failure::bad_input(anyhow!(
                        "the load lasts up to {} s, more than {SAMPLES_LIMIT} samples\nhint: raise \
                         the interval with `--set run.sample_every_s=...`, or set `--horizon`",
                        end / 1_000_000_000
                    )));
                }
            }
        }
        Ok(())
    }

    /// In nanoseconds: CPU time of all tools offered at most, and the longest session without a GPU.
    fn idle_bounds(&self) -> (u128, u128) {
        let mut busy = 0;
        let mut longest = 0;
        for session in &self.workload.sessions {
            let mut idle = 0;
            for turn in &session.turns {
                idle += turn.think.map_or(0, |t| u128::from(t.as_nanos()));
                for tool in &turn.tools {
                    idle += tool.wall.map_or(0, |w| u128::from(w.value.as_nanos()));
                    busy += tool.cpu.map_or(0, |c| u128::from(c.value.as_nanos()));
                }
            }
            longest = longest.max(idle);
        }
        let cycles = self.sessions.div_ceil(self.workload.sessions.len().max(1));
        (busy * cycles as u128, longest)
    }
}

const RATE: &str = "sessions per second, 1e-9 to 1e9";

/// The value of `--threads`.
///
/// # Errors
/// Bad input: not a number of threads.
pub fn threads(text: Option<&str>) -> Result<Option<usize>, Failure> {
    optional("--threads", text, "1 to 1024", |t| {
        t.parse::<usize>().ok().filter(|n| (1..=1024).contains(n))
    })
}

pub(crate) fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|x| x.is_finite())
}

/// A flag's value that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{flag}` is `{value}` (wanted: {wanted})")]
pub struct FlagError {
    /// The flag, with its dashes.
    pub flag: String,
    /// As the user typed it.
    pub value: String,
    /// What it may be.
    pub wanted: String,
}

fn wrong(flag: &str, value: &str, wanted: impl Display) -> Failure {
    Failure::bad_input(FlagError {
        flag: flag.to_owned(),
        value: value.to_owned(),
        wanted: wanted.to_string(),
    })
}

pub(crate) fn one<T>(
    flag: &str,
    text: &str,
    wanted: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, Failure> {
    parse(text.trim()).ok_or_else(|| wrong(flag, text, wanted))
}

pub(crate) fn optional<T>(
    flag: &str,
    text: Option<&str>,
    wanted: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Failure> {
    text.map(|text| one(flag, text, wanted, parse)).transpose()
}

/// Values separated by commas: at least one, none twice.
fn list<T: PartialEq>(
    flag: &str,
    text: &str,
    wanted: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let mut values = Vec::new();
    for part in text.split(',').map(str::trim) {
        let value = parse(part).ok_or_else(|| wrong(flag, part, wanted))?;
        if values.contains(&value) {
            return Err(Failure::bad_input(anyhow!("`{flag}` has `{part}` twice")));
        }
        values.push(value);
    }
    Ok(values)
}
