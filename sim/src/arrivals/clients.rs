//! Arrivals from several clients, each a renewal process whose law changes from window to window.
//!
//! Why: requests of a service are the sum of few large and many small clients, each bursty in its own
//! way (`ServeGen`, arXiv 2505.09999); one Poisson process hides that.
//!
//! The rules:
//! - Within a window a client's gaps follow the window's law, with mean 1 / rate.
//! - A gap that reaches into a window of the same law goes on at that window's rate: what is left of
//!   it counts in mean gaps. In a window of another law it ends at the start, and the time to the
//!   first arrival is drawn anew as the forward recurrence of that law. Both keep the expected number
//!   of arrivals in a window at exactly rate x length, whatever the spread of the gaps.
//! - The mix repeats after its last window.
//!
//! Limits: clients do not depend on each other, and neither do a client's windows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rand_pcg::Pcg64;
use traces::rng::stream;
use units::{Nanos, Time};

use super::gaps::GapLaw;

/// Length of a window: 600 s.
pub(super) const WINDOW: Nanos = Nanos::from_millis(600_000);

/// Names and texts of the mixes that come with the program.
pub const MIXES: &[(&str, &str)] = &[(
    "servegen-m-small",
    include_str!("../../data/servegen-m-small.csv"),
)];

/// The shipped mix called `name`; `None` if there is none.
///
/// # Panics
/// Never: the texts are part of the program, and a test reads them.
pub fn mix(name: &str) -> Option<ClientMix> {
    let (_, text) = MIXES.iter().find(|(known, _)| *known == name)?;
    Some(ClientMix::from_csv(text).expect("a test reads every mix"))
}

/// What a client does in 600 s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// When it begins.
    pub start: Time,
    /// Arrivals per second; above 0.
    pub rate_per_s: f64,
    /// The gaps between them.
    pub law: GapLaw,
}

/// One client: its windows with arrivals, in order of time. At least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Its name.
    pub name: Arc<str>,
    /// Its windows; those without arrivals are left out.
    pub windows: Vec<Window>,
}

/// Several clients. Made by [`ClientMix::new`], [`ClientMix::from_csv`] or [`mix`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClientMix {
    clients: Arc<[Client]>,
    /// From the first window's start to the last one's end.
    length: Nanos,
}

impl ClientMix {
    /// These clients; time begins with their first window. `None` if no client has a window.
    pub fn new(mut clients: Vec<Client>) -> Option<Self> {
        clients.retain(|client| !client.windows.is_empty());
        let starts = || clients.iter().flat_map(|c| &c.windows).map(|w| w.start);
        let (first, last) = (starts().min()?, starts().max()?);
        for window in clients.iter_mut().flat_map(|c| &mut c.windows) {
            window.start = Time::ZERO + window.start.since(first);
        }
        Some(Self {
            length: last.since(first) + WINDOW,
            clients: clients.into(),
        })
    }

    /// The clients, with time from the first window on.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Time after which the mix repeats.
    pub const fn length(&self) -> Nanos {
        self.length
    }

    /// Mean arrivals per second over the mix.
    pub fn rate_per_s(&self) -> f64 {
        let windows = self.clients.iter().flat_map(|client| &client.windows);
        let arrivals: f64 = windows.map(|w| w.rate_per_s * WINDOW.as_secs()).sum();
        arrivals / self.length.as_secs()
    }
}

/// All clients' arrivals in order of time.
#[derive(Clone, Debug)]
pub(super) struct Superposed {
    mix: ClientMix,
    factor: f64,
    clients: Vec<State>,
    /// The next arrival of each client.
    next: BinaryHeap<Reverse<(Time, usize)>>,
}

/// Where a client is.
#[derive(Clone, Debug)]
struct State {
    rng: Pcg64,
    /// Times the mix was gone through.
    cycle: u64,
    /// Index of the window.
    window: usize,
    /// Seconds since the window's start.
    at_s: f64,
    /// The law of the gap under way, and what is left of it in mean gaps.
    left: Option<(GapLaw, f64)>,
}

impl Superposed {
    pub(super) fn new(mix: &ClientMix, rate_per_s: Option<f64>, seed: u64) -> Self {
        let state = |client| State {
            rng: stream(seed, "arrival client", client),
            cycle: 0,
            window: 0,
            at_s: 0.0,
            left: None,
        };
        let count = mix.clients.len() as u64;
        let mut superposed = Self {
            mix: mix.clone(),
            factor: rate_per_s.map_or(1.0, |wanted| wanted / mix.rate_per_s()),
            clients: (0..count).map(state).collect(),
            next: BinaryHeap::new(),
        };
        for client in 0..superposed.clients.len() {
            superposed.advance(client);
        }
        superposed
    }

    pub(super) fn next(&mut self) -> Option<Time> {
        let Reverse((time, client)) = self.next.pop()?;
        self.advance(client);
        Some(time)
    }

    /// Finds the client's next arrival; none once the clock has ended.
    fn advance(&mut self, client: usize) {
        let windows = &self.mix.clients[client].windows;
        let time = self.clients[client].next(windows, self.mix.length, self.factor);
        self.next.extend(time.map(|time| Reverse((time, client))));
    }
}

impl State {
    fn next(&mut self, windows: &[Window], length: Nanos, factor: f64) -> Option<Time> {
        loop {
            let window = windows[self.window];
            let before = self.cycle.checked_mul(length.as_nanos())?;
            let start = before.checked_add(window.start.as_nanos())?;
            let left = match self.left {
                Some((law, left)) if law == window.law => left,
                _ => window.law.recurrence(&mut self.rng),
            };
            let rate = window.rate_per_s * factor;
            let rest_s = WINDOW.as_secs() - self.at_s;
            let wait_s = left / rate;
            if wait_s < rest_s {
                self.at_s += wait_s;
                self.left = Some((window.law, window.law.gap(&mut self.rng)));
                let offset = Nanos::from_secs(self.at_s).ok()?.as_nanos();
                return Some(Time::from_nanos(start.checked_add(offset)?));
            }
            self.left = Some((window.law, (left - rest_s * rate).max(0.0)));
            self.at_s = 0.0;
            self.window += 1;
            if self.window == windows.len() {
                self.window = 0;
                self.cycle += 1;
            }
        }
    }
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
