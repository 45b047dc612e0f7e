//! Tool calls that queue for workers, first come, first served.
//!
//! What: N workers, each with one call at a time; a call that finds none idle waits in line, and no
//! other passes it. A worker keeps a call for its CPU phase, or to its end ([`Hold`]).
//! Why: pools of sandboxes and job slots queue calls instead of slowing all of them, and a short call
//! behind a long one then waits for all of it.
//! Limits: a worker has a core for every thread of its call, so a CPU phase takes its time alone.
//!
//! Nobody passes and nobody is interrupted, so the end of a call is known when it comes: its worker is
//! the one that is idle first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use units::{Nanos, Time};

use super::{CallId, CpuEnd, Demand};

/// How long a worker keeps a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// For its CPU phase: workers are cores. A call without CPU time needs none.
    Cpu,
    /// To the end of its I/O: workers are sandboxes or job slots.
    Call,
}

/// Workers, the calls they have and the calls that wait.
#[derive(Clone, Debug)]
pub struct Workers {
    hold: Hold,
    /// Workers that never had a call.
    fresh: u32,
    /// When each of the others is idle again.
    idle_from: BinaryHeap<Reverse<Time>>,
    /// CPU phases to come, by their end.
    ends: BinaryHeap<Reverse<(Time, CallId, Time, Demand)>>,
}

impl Workers {
    /// So many idle workers.
    pub fn new(workers: NonZeroU32, hold: Hold) -> Self {
        Self {
            hold,
            fresh: workers.get(),
            idle_from: BinaryHeap::new(),
            ends: BinaryHeap::new(),
        }
    }

    /// A call comes. One that needs no worker, or gets one and has no CPU time, goes straight to I/O:
    /// its CPU end is returned at once and is not reported again.
    pub fn start(&mut self, now: Time, id: CallId, demand: Demand) -> Option<CpuEnd> {
        let at_once = CpuEnd {
            id,
            started: now,
            at: now,
            demand,
        };
        if self.hold == Hold::Cpu && demand.cpu() == Nanos::ZERO {
            return Some(at_once);
        }
        let begins = if self.fresh > 0 {
            self.fresh -= 1;
            now
        } else {
            // There is one: every worker that had a call is here.
            let idle = self.idle_from.pop().map_or(now, |Reverse(at)| at);
            idle.max(now)
        };
        let at = begins + demand.compute();
        let until = match self.hold {
            Hold::Cpu => at,
            Hold::Call => at + demand.io(),
        };
        self.idle_from.push(Reverse(until));
        if at == now {
            return Some(at_once);
        }
        self.ends.push(Reverse((at, id, now, demand)));
        None
    }

    /// When the next CPU phase ends; `None` if none is to come.
    pub fn next_change(&self) -> Option<Time> {
        self.ends.peek().map(|Reverse((at, ..))| *at)
    }

    /// Ends every CPU phase that is over by `now`, in order of end, then id.
    pub fn advance(&mut self, now: Time) -> Vec<CpuEnd> {
        let mut ended = Vec::new();
        while self.next_change().is_some_and(|at| at <= now)
            && let Some(Reverse((at, id, started, demand))) = self.ends.pop()
        {
            ended.push(CpuEnd {
                id,
                started,
                at,
                demand,
            });
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn workers(n: u32, hold: Hold) -> Workers {
        Workers::new(NonZeroU32::new(n).expect("not zero"), hold)
    }

    fn at(ms: u64) -> Time {
        Time::ZERO + Nanos::from_millis(ms)
    }

    fn demand(wall: u64, cpu: u64, threads: u32) -> Demand {
        Demand::new(Nanos::from_millis(wall), Nanos::from_millis(cpu), threads).expect("possible")
    }

    /// `(id, end of the whole call, queue delay)` in ms, by end of the CPU phase.
    fn ends(workers: &mut Workers) -> Vec<(u64, u64, u64)> {
        let ms = |ns: u64| ns / 1_000_000;
        let all = workers.advance(Time::NEVER);
        let one = |e: &CpuEnd| {
            let delay = e.queue_delay().as_nanos();
            (e.id.0, ms(e.ends().as_nanos()), ms(delay))
        };
        all.iter().map(one).collect()
    }

    /// Two workers. Calls of 30, 10 and 20 ms at 0: the third waits for the second until 10 and ends at
    /// 30. A fourth of 5 ms at 12 waits behind it until 30, where both are idle, and ends at 35.
    #[test]
    fn nobody_passes() {
        let mut two = workers(2, Hold::Cpu);
        for (id, ms) in [(0, 30), (1, 10), (2, 20)] {
            assert_eq!(two.start(at(0), CallId(id), demand(ms, ms, 1)), None);
        }
        assert_eq!(two.start(at(12), CallId(3), demand(5, 5, 1)), None);
        assert_eq!(two.next_change(), Some(at(10)));
        assert_eq!(
            ends(&mut two),
            [(1, 10, 0), (0, 30, 0), (2, 30, 10), (3, 35, 18)]
        );
        assert_eq!(two.next_change(), None);
    }

    /// One worker, calls of 10 ms CPU and 40 ms of I/O at 0. As a core it has the second at 10: ends 50
    /// and 60. As a sandbox at 50: ends 50 and 100. Four threads take 10 ms for 40 ms of CPU.
    #[test]
    fn a_core_is_free_during_io_and_a_sandbox_is_not() {
        for (hold, want) in [
            (Hold::Cpu, [(0, 50, 0), (1, 60, 10)]),
            (Hold::Call, [(0, 50, 0), (1, 100, 50)]),
        ] {
            let mut one = workers(1, hold);
            one.start(at(0), CallId(0), demand(50, 10, 1));
            one.start(at(0), CallId(1), demand(50, 40, 4));
            assert_eq!(ends(&mut one), want, "{hold:?}");
        }
    }

    /// A call that only waits for the network needs no core, but a sandbox.
    #[test]
    fn a_call_without_cpu_time_needs_a_sandbox_only() {
        let mut core = workers(1, Hold::Cpu);
        core.start(at(0), CallId(0), demand(10, 10, 1));
        let end = core.start(at(1), CallId(1), demand(7, 0, 1));
        assert_eq!(end.expect("at once").ends(), at(8));
        let mut sandbox = workers(1, Hold::Call);
        let end = sandbox.start(at(0), CallId(0), demand(10, 0, 1));
        assert_eq!(end.expect("at once").ends(), at(10));
        assert_eq!(sandbox.start(at(1), CallId(1), demand(7, 0, 1)), None);
        assert_eq!(ends(&mut sandbox), [(1, 17, 9)]);
    }

    proptest! {
        /// Against a walk over time, millisecond by millisecond, with a line of calls and N places.
        #[test]
        fn it_is_a_line_and_places(
            n in 1_u32..4,
            call in any::<bool>(),
            calls in prop::collection::vec((0_u64..6, 0_u64..9, 0_u64..5), 1..12),
        ) {
            let hold = if call { Hold::Call } else { Hold::Cpu };
            let mut real = workers(n, hold);
            let mut got = vec![0; calls.len()];
            let mut line = std::collections::VecDeque::new();
            let mut come = Vec::new();
            let mut now = 0;
            for (id, &(gap, cpu, io)) in calls.iter().enumerate() {
                now += gap;
                come.push(now);
                let one = demand(cpu + io, cpu, 1);
                if let Some(end) = real.start(at(now), CallId(id as u64), one) {
                    got[id] = end.ends().as_nanos() / 1_000_000;
                }
            }
            for (id, end, _) in ends(&mut real) {
                got[usize::try_from(id).expect("few")] = end;
            }
            let mut want = vec![0; calls.len()];
            let mut busy_until = vec![0; n as usize];
            for ms in 0..400 {
                line.extend((0..calls.len()).filter(|&id| come[id] == ms));
                while let Some(&id) = line.front() {
                    let (_, cpu, io) = calls[id];
                    if hold == Hold::Cpu && cpu == 0 {
                        want[id] = ms + io;
                    } else if let Some(place) = busy_until.iter_mut().find(|until| **until <= ms) {
                        *place = ms + cpu + if call { io } else { 0 };
                        want[id] = ms + cpu + io;
                    } else {
                        // Those that need no place go by.
                        let light = |&id: &usize| hold == Hold::Cpu && calls[id].1 == 0;
                        for &id in line.iter().filter(|id| light(id)) {
                            want[id] = ms + calls[id].2;
                        }
                        line.retain(|id| !light(id));
                        break;
                    }
                    line.pop_front();
                }
            }
            prop_assert_eq!(got, want);
        }
    }
}
