//! Calls from events and the metrics that belong to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use units::{Nanos, Tokens};

use super::super::dialogue::{Call, Context, Used, output, turns};
use super::super::{ImportReport, Imported, Skip, clock, json};
use super::event::{Answer, Event, Metrics, Usage, What};
use crate::error::{Place, TraceError, shown};
use crate::model::{Known, Session, SharedPrefix};
use crate::seconds::from_seconds;

/// Token counts and time of one call.
struct Spent {
    model: Option<String>,
    prompt: Tokens,
    cached: Option<Tokens>,
    output: Tokens,
    reasons: bool,
    latency: Option<Nanos>,
}

/// A conversation while its events arrive.
#[derive(Default)]
pub(super) struct Building {
    /// Not yet used, by response id.
    spent: BTreeMap<String, Spent>,
    /// Calls whose event names no response, by the running total of prompt tokens after them.
    unnamed: BTreeMap<u64, Spent>,
    calls: Vec<Call>,
    model: Option<String>,
    /// Every event seen, by id.
    seen: BTreeSet<String>,
    /// (call, tool, start) by the ids of an action; `None` where its call has no counts.
    actions: BTreeMap<String, Option<(usize, usize, Nanos)>>,
    /// The response of the latest answer, and whether there are counts for it.
    latest: Option<(String, bool)>,
    answered: BTreeSet<String>,
    began: Option<Nanos>,
    prompted: bool,
    context: Context,
    /// A time since 1970 that the first call ended near.
    provider_time: Option<f64>,
    cost_time: Option<f64>,
    report: ImportReport,
}

impl Building {
    /// Takes the counts of one use of a model. `named` are the responses that events name, where all
    /// events are known; calls outside it are told by their running total.
    pub(super) fn metrics(
        &mut self,
        place: Place,
        path: &str,
        metrics: Metrics,
        named: &BTreeSet<String>,
    ) -> Result<(), TraceError> {
        let mut latencies = BTreeMap::new();
        for (i, latency) in metrics.response_latencies.iter().flatten().enumerate() {
            let field = || format!("{path}.response_latencies[{i}].latency");
            let (Some(id), Some(value)) = (&latency.response_id, &latency.latency) else {
                continue;
            };
            let time = value.as_f64().and_then(|time| from_seconds(time).ok());
            let time = time.ok_or_else(|| TraceError::Value {
                place,
                field: field(),
                value: shown(value),
                wanted: "seconds, 0 or more".to_owned(),
            })?;
            latencies.entry(id.clone()).or_insert(time);
        }
        let first_cost = metrics.costs.as_ref().and_then(|costs| costs.first());
        self.cost_time = self
            .cost_time
            .or(first_cost.and_then(|cost| cost.timestamp.as_ref()?.as_f64()));
        let mut total = 0_u64;
        for (i, usage) in metrics.token_usages.into_iter().flatten().enumerate() {
            let at = format!("{path}.token_usages[{i}]");
            let id = usage.response_id.clone().unwrap_or_default();
            let spent = Spent::of(place, &at, usage, latencies.get(&id).copied())?;
            // A prompt is below 2^32: no list in memory overflows the sum.
            total += spent.prompt.0;
            if id.is_empty() || !(named.is_empty() || named.contains(&id)) {
                self.unnamed.insert(total, spent);
            } else {
                self.spent.entry(id).or_insert(spent);
            }
        }
        Ok(())
    }

    /// Takes one event; `path` is what comes before its fields' names in an error.
    pub(super) fn event(
        &mut self,
        place: Place,
        path: &dyn Fn() -> String,
        event: &Event,
    ) -> Result<(), TraceError> {
        if let Some(id) = event.id()
            && !self.seen.insert(id)
        {
            self.report.skip(Skip::Repeated);
            return Ok(());
        }
        let what = event.what();
        if let What::Other(kind) = what {
            self.report
                .skip(Skip::LineType(shown(&format!("event {kind}"))));
            return Ok(());
        }
        let wanted = || "a time such as 2026-02-07T09:44:37.731000".to_owned();
        let field = || format!("{}timestamp", path());
        let now = match &event.timestamp {
            None => Err(TraceError::Missing {
                place,
                field: field(),
                wanted: wanted(),
            }),
            Some(text) => clock::local(text).ok_or_else(|| TraceError::Value {
                place,
                field: field(),
                value: shown(text),
                wanted: wanted(),
            }),
        }?;
        match what {
            What::Answer(answer) => self.answer(now, answer),
            What::Result(ids) => self.result(now, &ids),
            What::Prompt => self.prompted = true,
            What::Condensed(response) => self.condensed(now, response),
            What::Other(_) => {}
        }
        Ok(())
    }

    fn answer(&mut self, now: Nanos, answer: Answer) {
        // What tells this call from others: its response, or the total after it.
        let key = match (&answer.response, answer.total) {
            (Some(response), _) => response.clone(),
            (None, Some(total)) => format!("total {total}"),
            (None, None) => String::new(),
        };
        let counts = match &self.latest {
            Some((latest, counts)) if *latest == key => *counts,
            _ if self.answered.contains(&key) => {
                self.report.skip(Skip::Repeated);
                return;
            }
            _ => {
                let spent = match (&answer.response, answer.total) {
                    (Some(response), _) => self.spent.remove(response),
                    (None, Some(total)) => self.unnamed.remove(&total),
                    (None, None) => None,
                };
                let counts = spent.is_some();
                match spent {
                    Some(spent) => self.open(now, spent, self.context),
                    None => self.report.skip(Skip::NoUsage),
                }
                self.answered.insert(key.clone());
                self.latest = Some((key, counts));
                counts
            }
        };
        let at = self.calls.len().wrapping_sub(1);
        let Some(call) = self.calls.get_mut(at).filter(|_| counts) else {
            self.actions
                .extend(answer.ids.into_iter().map(|id| (id, None)));
            return;
        };
        if at == 0 && self.provider_time.is_none() {
            self.provider_time = answer.created;
        }
        call.thinks |= answer.thinks;
        let Some(tool) = answer.tool else { return };
        let mut used = Used::new(Some(tool));
        if answer.finishes {
            used.wall = Some(Known::estimated(Nanos::ZERO));
        }
        call.tools.push(used);
        let slot = Some((at, call.tools.len() - 1, now));
        self.actions
            .extend(answer.ids.into_iter().map(|id| (id, slot)));
    }

    /// Starts a call that ended at `now`.
    fn open(&mut self, now: Nanos, spent: Spent, context: Context) {
        let submitted = spent.latency.map(|latency| now.saturating_sub(latency));
        self.began = self.began.or(Some(submitted.unwrap_or(now)));
        self.model = self.model.take().or(spent.model);
        self.context = Context::Continued;
        self.calls.push(Call {
            submitted,
            ended: now,
            llm: spent.latency,
            prompted: std::mem::take(&mut self.prompted),
            context,
            prompt: spent.prompt,
            cached: spent.cached,
            output: output(spent.output),
            thinks: spent.reasons,
            tools: Vec::new(),
        });
    }

    fn result(&mut self, now: Nanos, ids: &[String]) {
        match ids.iter().find_map(|id| self.actions.get(id)) {
            Some(&Some((call, tool, started))) => self.calls[call].tools[tool].end(started, now),
            Some(None) => {}
            None => self.report.skip(Skip::UnmatchedResult),
        }
    }

    fn condensed(&mut self, now: Nanos, response: Option<String>) {
        let spent = response.as_ref().and_then(|id| self.spent.remove(id));
        match spent {
            Some(spent) => {
                // A prompt of its own before the context that the summary begins.
                self.open(now, spent, Context::Replaced);
                self.context = Context::Replaced;
            }
            None => self.context = Context::Cut,
        }
        self.latest = response.map(|response| (response, false));
    }

    /// The session, or nothing if no model was called.
    pub(super) fn finish(mut self, id: &str) -> Option<(Imported, ImportReport)> {
        let unused = self.spent.len() + self.unnamed.len();
        self.report.skip_many(Skip::UnusedUsage, unused as u64);
        let first = self.calls.first()?;
        let began = self.began?;
        let provider = self.provider_time.or(self.cost_time);
        let zone = provider.map_or(0, |time| zone(first.ended, time));
        let shared = first.cached.filter(|cached| *cached > Tokens::ZERO);
        let model = self.model.as_deref();
        let session = Session {
            id: id.into(),
            model: model.map(Into::into),
            arrival: None,
            shared: shared
                .map(|tokens| SharedPrefix {
                    group: format!("openhands/{}", model.unwrap_or("unknown")).into(),
                    tokens,
                })
                .into_iter()
                .collect(),
            parent: None,
            turns: turns(&self.calls),
        };
        let began = began.as_nanos().saturating_add_signed(-zone);
        let imported = Imported {
            session,
            began: Some(Nanos::new(began)),
        };
        Some((imported, self.report))
    }
}

impl Spent {
    fn of(
        place: Place,
        at: &str,
        usage: Usage,
        latency: Option<Nanos>,
    ) -> Result<Self, TraceError> {
        let count = |value: &Option<Value>, name: &str| {
            let value = value.as_ref().filter(|value| !value.is_null());
            let field = || format!("{at}.{name}");
            value
                .map(|value| json::tokens(place, field, value))
                .transpose()
        };
        let need = |value: &Option<Value>, name: &str| {
            count(value, name)?.ok_or_else(|| TraceError::Missing {
                place,
                field: format!("{at}.{name}"),
                wanted: "a number of tokens".to_owned(),
            })
        };
        let reasoning = count(&usage.reasoning_tokens, "reasoning_tokens")?;
        Ok(Self {
            prompt: need(&usage.prompt_tokens, "prompt_tokens")?,
            output: need(&usage.completion_tokens, "completion_tokens")?,
            cached: count(&usage.cache_read_tokens, "cache_read_tokens")?,
            reasons: reasoning.is_some_and(|tokens| tokens > Tokens::ZERO),
            model: usage.model.filter(|model| !model.is_empty()),
            latency,
        })
    }
}

/// How far the host's clock was ahead of UTC, in nanoseconds, if `ended` by it was near `time` seconds
/// since 1970. Zones are whole quarters of an hour and at most 14 hours.
fn zone(ended: Nanos, time: f64) -> i64 {
    const QUARTER: i64 = 900 * 1_000_000_000;
    let Ok(time) = from_seconds(time) else {
        return 0;
    };
    let (Ok(here), Ok(there)) = (
        i64::try_from(ended.as_nanos()),
        i64::try_from(time.as_nanos()),
    ) else {
        return 0;
    };
    let quarters = (here - there + QUARTER / 2).div_euclid(QUARTER);
    if quarters.abs() > 14 * 4 {
        return 0;
    }
    quarters * QUARTER
}
