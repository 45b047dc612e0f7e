//! Recorded requests through the simulator.

use std::sync::Arc;

use scheduler::policy::Policy;
use traces::model::{Known, Session, Turn};
use units::{Time, Tokens};

use super::{Request, Timing};
use crate::world::{Observer, Offered, Sample, Setup, SimError, Summary, TurnRecord, simulate};

/// What a replay gives.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Simulated times in the order of the requests; `None` for one that did not finish.
    pub timings: Vec<Option<Timing>>,
    /// Totals.
    pub summary: Summary,
    /// The machine over time, if the setup samples it.
    pub samples: Vec<Sample>,
}

/// Replays the requests: each arrives when the engine had it, with its lengths forced.
///
/// # Errors
/// As [`simulate`].
///
/// # Panics
/// If there are 2^32 requests.
pub fn replay(setup: &Setup, policy: Policy, requests: &[Request]) -> Result<Replay, SimError> {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    // Stable: equal instants keep the recording's order.
    order.sort_by_key(|&at| requests[at].queued);
    let offered = order.iter().map(|&at| Offered {
        session: Arc::new(session(&requests[at])),
        arrival: Time::ZERO + requests[at].queued,
    });
    let mut keep = Keep {
        order: &order,
        requests,
        timings: vec![None; requests.len()],
        samples: Vec::new(),
    };
    let summary = simulate(setup, policy, offered, &mut keep)?;
    let Keep {
        timings, samples, ..
    } = keep;
    Ok(Replay {
        timings,
        summary,
        samples,
    })
}

fn session(request: &Request) -> Session {
    Session {
        id: request.id.as_str().into(),
        model: None,
        arrival: Some(request.queued),
        shared: request.shared.clone(),
        parent: None,
        turns: vec![Turn {
            prompt: request.input,
            reused: Tokens::ZERO,
            output: Known::recorded(request.output),
            cached: None,
            llm: None,
            tools: Vec::new(),
            think: None,
        }],
    }
}

struct Keep<'a> {
    /// Index of the request by session number.
    order: &'a [usize],
    requests: &'a [Request],
    timings: Vec<Option<Timing>>,
    samples: Vec<Sample>,
}

impl Observer for Keep<'_> {
    fn turn(&mut self, record: &TurnRecord) {
        let number = usize::try_from(record.session.0).expect("32 bits");
        let at = self.order[number];
        let request = &self.requests[at];
        let since = |end: Time| end.since(Time::ZERO);
        self.timings[at] = Some(Timing::of(
            request.queued,
            since(record.first_token),
            since(record.ended),
            request.output,
        ));
    }

    fn sample(&mut self, sample: &Sample) {
        self.samples.push(*sample);
    }
}
