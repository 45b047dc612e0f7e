//! Tool calls that share CPU cores.
//!
//! What: a call computes for a while on its threads, then waits (disk, network) until its wall time
//! is over. Computing calls share N cores evenly by thread: each thread runs at min(1, N / threads).
//! Why: an agent's tools slow each other down, and that is the load which tool-aware admission
//! reads. Even sharing is what a time-slicing kernel does over times longer than its slice.
//! Limits: all waiting comes after all computing; threads of a call finish together; cores are equal
//! and do nothing else, unless guests are named ([`ToolCpu::set_guests`]); no cost of switching.
//!
//! Because all threads run at one rate, one number tells what each has got so far: the virtual
//! time. A call ends when virtual time has advanced by its CPU time per thread, so ends are ordered
//! once, at the start, and a change of load moves no entry of the queue: O(log n) per start or end.

mod clock;
mod demand;
mod workers;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use units::{Nanos, Time};

use clock::{FairClock, Fixed};
pub use demand::{Demand, DemandError};
pub use replay::CallId;
pub use workers::{Hold, Workers};

/// The end of a call's CPU phase. The call itself ends after [`CpuEnd::io`] more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuEnd {
    /// Which call.
    pub id: CallId,
    /// When it started.
    pub started: Time,
    /// When its CPU phase ended: the first whole nanosecond at or after the exact end.
    pub at: Time,
    /// What it asked for.
    pub demand: Demand,
}

impl CpuEnd {
    /// Time that the call still waits for I/O.
    pub fn io(&self) -> Nanos {
        self.demand.io()
    }

    /// When the call ends.
    pub fn ends(&self) -> Time {
        self.at + self.io()
    }

    /// The call's whole time, from its start to its end.
    pub fn elapsed(&self) -> Nanos {
        self.at.since(self.started) + self.io()
    }

    /// The call's whole time, had it run alone on as many cores as it has threads.
    pub fn alone(&self) -> Nanos {
        self.demand.wall()
    }

    /// Time lost to other calls: elapsed less alone. Never negative.
    pub fn queue_delay(&self) -> Nanos {
        self.elapsed().saturating_sub(self.alone())
    }

    /// Elapsed over alone, at least 1; `None` for a call that takes no time.
    pub fn stretch(&self) -> Option<f64> {
        (self.alone() > Nanos::ZERO).then(|| self.elapsed().as_secs() / self.alone().as_secs())
    }
}

/// A computing call. Ordered by virtual end, then id: the order in which calls are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Computing {
    virtual_end: Fixed,
    id: CallId,
    started: Time,
    demand: Demand,
}

/// Cores and the calls that compute on them.
///
/// Drive it with [`ToolCpu::start`], and with [`ToolCpu::advance`] at every
/// [`ToolCpu::next_change`]. A start or an end moves the next change, so ask again after either.
///
/// Exactness: ends are exact up to a share of 2^-32 ns per change, always early, before they are
/// rounded up to a whole nanosecond. So an end that falls on a whole nanosecond is reported there,
/// and no error adds up.
#[derive(Clone, Debug)]
pub struct ToolCpu {
    clock: FairClock,
    computing: BinaryHeap<Reverse<Computing>>,
    /// Ended while another call started, not yet handed out.
    ended: Vec<CpuEnd>,
    next_change: Option<Time>,
}

impl ToolCpu {
    /// Calls share `cores` cores.
    pub fn shared(cores: NonZeroU32) -> Self {
        Self::with(u64::from(cores.get()))
    }

    /// Every thread has a core of its own: calls take their time alone.
    pub fn unlimited() -> Self {
        Self::with(u64::MAX)
    }

    fn with(cores: u64) -> Self {
        Self {
            clock: FairClock::new(cores),
            computing: BinaryHeap::new(),
            ended: Vec::new(),
            next_change: None,
        }
    }

    /// Starts a call. A call without CPU time goes straight to I/O: its CPU end is returned at once
    /// and is not reported again.
    ///
    /// # Panics
    /// If `now` is before an earlier start or end, or a sum passes its limit: 2^64 ns of time, 2^64
    /// threads.
    pub fn start(&mut self, now: Time, id: CallId, demand: Demand) -> Option<CpuEnd> {
        if demand.cpu() == Nanos::ZERO {
            return Some(CpuEnd {
                id,
                started: now,
                at: now,
                demand,
            });
        }
        self.retire(now);
        self.clock.move_to(now);
        self.computing.push(Reverse(Computing {
            virtual_end: self.clock.end_of(demand.cpu(), demand.parallelism()),
            id,
            started: now,
            demand,
        }));
        self.clock.add_threads(demand.parallelism());
        self.find_next_change();
        None
    }

    /// When the next CPU phase ends if no call starts before; `None` if none computes.
    pub fn next_change(&self) -> Option<Time> {
        self.next_change
    }

    /// Ends every CPU phase that is over by `now`, in order of virtual end, then id.
    pub fn advance(&mut self, now: Time) -> Vec<CpuEnd> {
        self.retire(now);
        let ended = std::mem::take(&mut self.ended);
        self.find_next_change();
        ended
    }

    /// From `now` on, so many threads beside those of the calls share the cores, each like any other. They
    /// never end by themselves.
    ///
    /// # Panics
    /// As [`ToolCpu::start`].
    pub fn set_guests(&mut self, now: Time, threads: u64) {
        if threads == self.clock.guests() {
            return;
        }
        self.retire(now);
        self.clock.move_to(now);
        self.clock.set_guests(threads);
        self.find_next_change();
    }

    /// Calls in their CPU phase.
    pub fn computing(&self) -> usize {
        self.computing.len()
    }

    /// Threads of the calls in their CPU phase. Above the number of cores, they slow down.
    pub fn threads(&self) -> u64 {
        self.clock.threads() - self.clock.guests()
    }

    /// Cores at work: all of them, or as many as there are threads, guests included.
    pub fn busy_cores(&self) -> u64 {
        self.clock.threads().min(self.clock.cores())
    }

    fn retire(&mut self, now: Time) {
        while let Some(Reverse(first)) = self.computing.peek().copied() {
            let at = self.clock.whole_end(first.virtual_end);
            if at > now {
                break;
            }
            self.computing.pop();
            // The others speed up at the exact end, not at the whole nanosecond after it.
            self.clock.move_to_end(first.virtual_end);
            self.clock.remove_threads(first.demand.parallelism());
            self.ended.push(CpuEnd {
                id: first.id,
                started: first.started,
                at,
                demand: first.demand,
            });
        }
    }

    fn find_next_change(&mut self) {
        let waiting = self.ended.first().map(|end| end.at);
        let first = || {
            let Reverse(first) = self.computing.peek()?;
            Some(self.clock.whole_end(first.virtual_end))
        };
        self.next_change = waiting.or_else(first);
    }
}

#[cfg(test)]
mod tests;
