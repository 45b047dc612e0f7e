//! The candidates of a search, from the easiest to the hardest, each as a plan.

use std::sync::Arc;

use anyhow::anyhow;

use super::args::{CapacityArgs, Knob};
use crate::cli::RunArgs;
use crate::failure::Failure;
use crate::run::Plan;
use crate::run::plan::FlagError;
use crate::run::workload::Workload;

/// More candidates than this are a mistake.
const LIMIT: u64 = 100_000;

/// Rates are multiples of this many sessions per second: below it nobody asks.
const RATE_UNIT: f64 = 1e-9;

/// The candidates.
#[derive(Clone, Debug)]
pub struct Candidates {
    knob: Knob,
    /// From the easiest to the hardest; rates in [`RATE_UNIT`].
    values: Vec<u64>,
    args: RunArgs,
    workload: Arc<Workload>,
}

impl Knob {
    /// What its values are.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Rate => "sessions/s",
            Self::ToolCores => "tool cores",
            Self::KvBlocks => "KV blocks",
        }
    }

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::ToolCores => "tool-cores",
            Self::KvBlocks => "kv-blocks",
        }
    }
}

impl Candidates {
    /// Those of the arguments, with the plan of the easiest.
    ///
    /// # Errors
    /// Bad input, with the flag, its value and what it may be.
    pub fn new(args: &CapacityArgs) -> Result<(Self, Plan), Failure> {
        let rate = match (args.knob, &args.rate) {
            (Knob::Rate, Some(rate)) => {
                let wanted = "no value where the rate is searched for";
                return Err(wrong("--rate", rate, wanted));
            }
            (_, None) => "0.06".to_owned(),
            (_, Some(rate)) => rate.clone(),
        };
        let of_pool = |pair: &&String| pair.trim_start().starts_with("engine.kv_blocks");
        if args.knob == Knob::KvBlocks
            && let Some(pair) = args.common.set.iter().find(of_pool)
        {
            let wanted = "no size of the pool where it is searched for";
            return Err(wrong("--set", pair, wanted));
        }
        let run = RunArgs {
            policy: args.policy.clone(),
            rate,
            arrivals: args.arrivals,
            sessions: args.sessions.clone(),
            seed: args.seed.clone(),
            common: args.common.clone(),
            ..super::default_run_args()
        };
        // Also finds whatever else is wrong, before the candidates are made.
        let plan = Plan::new(&run)?;
        let mut candidates = Self {
            knob: args.knob,
            values: values(args, &plan)?,
            workload: Arc::clone(&plan.workload),
            args: run,
        };
        if args.knob != Knob::Rate {
            candidates.values.reverse();
        }
        let easiest = candidates.plan(0)?;
        Ok((candidates, easiest))
    }

    /// The unit of the values.
    pub fn unit(&self) -> &'static str {
        self.knob.unit()
    }

    /// How many there are: at least one.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The value of one, in the knob's unit.
    pub fn value(&self, at: usize) -> f64 {
        value(self.knob, self.values[at])
    }

    /// The plan of one.
    ///
    /// # Errors
    /// Bad input: a value that nothing can have.
    pub fn plan(&self, at: usize) -> Result<Plan, Failure> {
        let mut args = self.args.clone();
        let text = self.value(at).to_string();
        match self.knob {
            Knob::Rate => args.rate = text,
            Knob::ToolCores => args.common.tool_cores = text,
            Knob::KvBlocks => args.common.set.push(format!("engine.kv_blocks={text}")),
        }
        let plan = Plan::with(&args, |_, _| Ok(Arc::clone(&self.workload)))?;
        Ok(Plan { out: None, ..plan })
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn value(knob: Knob, units: u64) -> f64 {
    match knob {
        // By division, which rounds to the nearest: 55 / 1000 is 0.055, 55 * 0.001 is not.
        Knob::Rate => units as f64 / (1.0 / RATE_UNIT).round(),
        Knob::ToolCores | Knob::KvBlocks => units as f64,
    }
}

fn values(args: &CapacityArgs, plan: &Plan) -> Result<Vec<u64>, Failure> {
    let pool = plan.machine.setup.engine.usable_blocks.get() + 1;
    let part = (pool / 64).max(1);
    let (least, most, usual) = match args.knob {
        Knob::Rate => (1, 1_000_000_000_000, [5_000_000, 500_000_000, 5_000_000]),
        Knob::ToolCores => (1, 1 << 16, [1, 64, 1]),
        Knob::KvBlocks => (2, 1 << 24, [part.max(2), pool, part]),
    };
    let read = |flag: &str, text: &Option<String>, usual: u64, least: u64| {
        let Some(text) = text else { return Ok(usual) };
        let units = match args.knob {
            Knob::Rate => rate(text.trim()),
            Knob::ToolCores | Knob::KvBlocks => text.trim().parse().ok(),
        };
        let wanted = || {
            format!(
                "{}, {} to {}",
                args.knob.unit(),
                value(args.knob, least),
                value(args.knob, most)
            )
        };
        units
            .filter(|units| (least..=most).contains(units))
            .ok_or_else(|| wrong(flag, text, &wanted()))
    };
    let from = read("--from", &args.from, usual[0], least)?;
    let to = read("--to", &args.to, usual[1].max(from), least)?;
    let step = read("--step", &args.step, usual[2], 1)?;
    if from > to {
        return Err(Failure::bad_input(anyhow!(
            "`--from` is {}, above `--to`, which is {}",
            value(args.knob, from),
            value(args.knob, to)
        )));
    }
    if (to - from) / step >= LIMIT {
        return Err(Failure::bad_input(anyhow!(
            "there are {} candidates (wanted: at most {LIMIT})\nhint: raise `--step`",
            (to - from) / step + 1
        )));
    }
    // Rates are counted up from `from`; cores and blocks down from `to`, which is what there is.
    let steps = (to - from) / step;
    Ok(match args.knob {
        Knob::Rate => (0..=steps).map(|k| from + k * step).collect(),
        Knob::ToolCores | Knob::KvBlocks => (0..=steps).rev().map(|k| to - k * step).collect(),
    })
}

/// Sessions per second in [`RATE_UNIT`], of which it must be a multiple.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked: between 0 and 1e12"
)]
fn rate(text: &str) -> Option<u64> {
    let units: f64 = (text.parse::<f64>().ok()? / RATE_UNIT).round();
    (1.0..=1e12).contains(&units).then_some(units as u64)
}

fn wrong(flag: &str, value: &str, wanted: &str) -> Failure {
    Failure::bad_input(FlagError {
        flag: flag.to_owned(),
        value: value.to_owned(),
        wanted: wanted.to_owned(),
    })
}
