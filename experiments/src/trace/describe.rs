//! From [`Stats`] to the numbers that tables, JSON and CSV share.

use serde::Serialize;
use traces::Header;
use traces::stats::{Evidences, SHARE_UNIT, Sample, Stats, Tool};

use super::input::Dropped;
use crate::metrics::share;

/// One trace in numbers; the keys are a stable interface.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Described {
    /// As the user named it.
    pub(super) trace: String,
    pub(super) source: Option<String>,
    pub(super) license: Option<String>,
    pub(super) sessions: usize,
    /// Sessions that another one started.
    pub(super) sub_agents: u64,
    pub(super) with_arrival: usize,
    /// Gaps over the time from the first to the last arrival.
    pub(super) recorded_rate_per_s: Option<f64>,
    pub(super) with_shared_opening: u64,
    pub(super) dropped_sessions: u64,
    pub(super) turns: usize,
    /// Sessions by recorded model; `n/a` for those that do not say.
    pub(super) models: Vec<Count>,
    /// Distributions, each over what its name says.
    pub(super) quantities: Vec<Quantity>,
    pub(super) prefix_reuse: Option<f64>,
    /// Prompt tokens that the recorded server took from its cache, over the prompts of those calls.
    pub(super) recorded_cache_hits: Option<f64>,
    /// Turns whose context is shorter than what came before.
    pub(super) shrunk_contexts: u64,
    /// Tool time over tool plus model time, all sessions that have both.
    pub(super) pooled_idle_share: Option<f64>,
    /// By number of calls, then name.
    pub(super) tools: Vec<ToolRow>,
    pub(super) all_tools: ToolRow,
    pub(super) outputs_from: From,
    /// Tool calls that carry a command.
    pub(super) commands: u64,
}

/// A name and how often it is there.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Count {
    pub(super) name: String,
    pub(super) count: u64,
}

/// A quantity with its unit.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Quantity {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    #[serde(flatten)]
    pub(super) spread: Spread,
}

/// One distribution. `None`: there is nothing to describe.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spread {
    pub(super) n: usize,
    pub(super) mean: Option<f64>,
    pub(super) sd: Option<f64>,
    pub(super) min: Option<f64>,
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) sum: Option<f64>,
}

/// The calls of one tool.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ToolRow {
    pub(super) name: String,
    pub(super) calls: u64,
    pub(super) wall_s: Spread,
    pub(super) cpu_s: Spread,
    /// CPU time over tool time, of calls that know both.
    pub(super) cores: Option<f64>,
    pub(super) wall_from: From,
    pub(super) cpu_from: From,
}

/// Where numbers come from.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct From {
    pub(super) recorded: u64,
    pub(super) estimated: u64,
    pub(super) drawn: u64,
    pub(super) unknown: u64,
}

impl From {
    const fn of(from: Evidences) -> Self {
        Self {
            recorded: from.recorded,
            estimated: from.estimated,
            drawn: from.drawn,
            unknown: from.unknown,
        }
    }

    /// `recorded 3, drawn 1`, without what there is none of.
    pub(super) fn words(self) -> String {
        let parts = [
            ("recorded", self.recorded),
            ("estimated", self.estimated),
            ("drawn", self.drawn),
            ("unknown", self.unknown),
        ];
        let there = parts.iter().filter(|(_, count)| *count > 0);
        let words: Vec<String> = there
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        if words.is_empty() {
            "none".to_owned()
        } else {
            words.join(", ")
        }
    }
}

/// Of tokens and counts.
const WHOLE: f64 = 1.0;

/// Of nanoseconds, in seconds.
const NANOS: f64 = 1e9;

impl Spread {
    /// Describes the numbers, each divided by `unit`.
    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    pub(super) fn of(sample: &Sample, unit: f64) -> Self {
        let sorted = sample.sorted();
        let quantile = |share| sorted.quantile(share).map(|value| value / unit);
        let sum = (!sample.is_empty()).then(|| sorted.sum() as f64 / unit);
        Self {
            n: sample.len(),
            mean: sorted.mean().map(|mean| mean / unit),
            sd: sorted.deviation().map(|sd| sd / unit),
            min: quantile(0.0),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: quantile(1.0),
            sum,
        }
    }

    /// Of nothing.
    pub(super) const NONE: Self = Self {
        n: 0,
        mean: None,
        sd: None,
        min: None,
        p50: None,
        p90: None,
        p99: None,
        max: None,
        sum: None,
    };

    /// Names and values, in the order of the columns.
    pub(super) const fn parts(&self) -> [(&'static str, Option<f64>); 8] {
        [
            ("mean", self.mean),
            ("sd", self.sd),
            ("min", self.min),
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("max", self.max),
            ("sum", self.sum),
        ]
    }
}

impl ToolRow {
    fn of(name: &str, tool: &Tool) -> Self {
        Self {
            name: name.to_owned(),
            calls: tool.calls(),
            wall_s: Spread::of(&tool.wall, NANOS),
            cpu_s: Spread::of(&tool.cpu, NANOS),
            cores: tool.cores(),
            wall_from: From::of(tool.wall_from),
            cpu_from: From::of(tool.cpu_from),
        }
    }

    /// Share of the calls whose time is known.
    pub(super) fn known(&self) -> Option<f64> {
        share(self.calls - self.wall_from.unknown, self.calls)
    }
}

#[expect(clippy::cast_precision_loss, reason = "10^9 is exact")]
fn quantities(stats: &Stats) -> Vec<Quantity> {
    let quantity = |name, unit, sample, scale| Quantity {
        name,
        unit,
        spread: Spread::of(sample, scale),
    };
    vec![
        quantity("turns per session", "turns", &stats.turns, WHOLE),
        quantity("prompt volume per session", "tokens", &stats.volume, WHOLE),
        quantity("first prompt", "tokens", &stats.first_prompt, WHOLE),
        quantity("largest context", "tokens", &stats.peak, WHOLE),
        quantity("output per session", "tokens", &stats.generated, WHOLE),
        quantity("prompt per turn", "tokens", &stats.prompt, WHOLE),
        quantity("new per turn", "tokens", &stats.new, WHOLE),
        quantity("output per turn", "tokens", &stats.output, WHOLE),
        quantity("observation", "tokens", &stats.observation, WHOLE),
        quantity("model call", "s", &stats.llm, NANOS),
        quantity("human pause", "s", &stats.think, NANOS),
        quantity("idle share", "", &stats.idle_share, SHARE_UNIT as f64),
    ]
}

impl Described {
    pub(super) fn of(trace: &str, header: &Header, stats: &Stats, dropped: &Dropped) -> Self {
        let models = stats.models.iter().map(|(name, &count)| Count {
            name: if name.is_empty() {
                "n/a".to_owned()
            } else {
                name.to_string()
            },
            count,
        });
        let mut tools: Vec<ToolRow> = stats
            .tools
            .iter()
            .map(|(name, tool)| ToolRow::of(name, tool))
            .collect();
        // The names rise already, and the sort is stable.
        tools.sort_by_key(|row| std::cmp::Reverse(row.calls));
        Self {
            trace: trace.to_owned(),
            source: header.source.clone(),
            license: header.license.clone(),
            sessions: stats.sessions(),
            sub_agents: stats.children,
            with_arrival: stats.arrival.len(),
            recorded_rate_per_s: stats.arrival_rate_per_s(),
            with_shared_opening: stats.with_shared,
            dropped_sessions: dropped.count,
            turns: stats.prompt.len(),
            models: models.collect(),
            quantities: quantities(stats),
            prefix_reuse: stats.prefix_reuse(),
            recorded_cache_hits: stats.cached.share(),
            shrunk_contexts: stats.shrunk,
            pooled_idle_share: stats.pooled_idle(),
            tools,
            all_tools: ToolRow::of("all tools", &stats.all_tools()),
            outputs_from: From::of(stats.output_from),
            commands: stats.commands,
        }
    }
}
