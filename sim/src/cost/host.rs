//! What the CPU side of the engine adds to a step.

use units::Nanos;

/// Runnable threads and the cores that they share evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Threads that want a core, the engine's own among them.
    pub threads: u64,
    /// Cores, at least 1.
    pub cores: u64,
}

impl Crowd {
    /// Everybody has a core.
    pub const NONE: Self = Self {
        threads: 1,
        cores: 1,
    };

    /// How long work of `alone` takes for a thread among these, rounded up to a nanosecond.
    ///
    /// # Panics
    /// If that passes 2^64 ns.
    pub fn stretch(self, alone: Nanos) -> Nanos {
        if self.threads <= self.cores {
            return alone;
        }
        let work = u128::from(alone.as_nanos()) * u128::from(self.threads);
        let ns = work.div_ceil(u128::from(self.cores));
        Nanos::new(u64::try_from(ns).expect("host work passed 2^64 ns"))
    }
}

/// Time per step that the CPU side of the engine takes: scheduling, preparing inputs, handling outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Per step.
    pub per_step: Nanos,
    /// Per turn in the batch.
    pub per_running: Nanos,
    /// Whether it runs beside the GPU's work of the step before, as with vLLM's asynchronous
    /// scheduling: a step then takes the longer of the two, not their sum.
    pub overlapped: bool,
}

impl Host {
    /// No overhead: kernel time alone.
    pub const NONE: Self = Self {
        per_step: Nanos::ZERO,
        per_running: Nanos::ZERO,
        overlapped: false,
    };

    /// 0.8 ms per step and 4 us per running turn: the middle of the 0.5-1.2 ms seen in vLLM.
    pub const TYPICAL: Self = Self {
        per_step: Nanos::new(800_000),
        per_running: Nanos::new(4_000),
        overlapped: false,
    };

    /// The step's time for so much GPU time and so many turns.
    #[inline]
    pub fn with(&self, gpu: Nanos, turns: u64) -> Nanos {
        self.with_in(gpu, turns, Crowd::NONE)
    }

    /// The same where the host's threads share their cores with others: its work takes as much longer as
    /// each thread gets less than a core.
    #[inline]
    pub fn with_in(&self, gpu: Nanos, turns: u64, crowd: Crowd) -> Nanos {
        let host = crowd.stretch(self.per_step + self.per_running * turns);
        if self.overlapped {
            gpu.max(host)
        } else {
            gpu + host
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapped_work_counts_only_where_it_is_the_longer() {
        let beside = Host {
            overlapped: true,
            ..Host::TYPICAL
        };
        // 0.8 ms + 10 * 4 us = 0.84 ms.
        assert_eq!(Host::TYPICAL.with(Nanos::new(100), 10), Nanos::new(840_100));
        assert_eq!(beside.with(Nanos::new(100), 10), Nanos::new(840_000));
        assert_eq!(beside.with(Nanos::new(900_000), 10), Nanos::new(900_000));
    }

    #[test]
    fn host_work_stretches_when_threads_outnumber_cores() {
        let crowd = |threads, cores| Crowd { threads, cores };
        let alone = Nanos::new(840_000);
        assert_eq!(crowd(4, 4).stretch(alone), alone);
        assert_eq!(crowd(1, 8).stretch(alone), alone);
        // 840,000 * 5 / 4.
        assert_eq!(crowd(5, 4).stretch(alone), Nanos::new(1_050_000));
        // 100 * 4 / 3 = 133.3, rounded up.
        assert_eq!(crowd(4, 3).stretch(Nanos::new(100)), Nanos::new(134));
        let step = |host: Host, gpu| host.with_in(Nanos::new(gpu), 10, crowd(5, 4));
        assert_eq!(step(Host::TYPICAL, 100), Nanos::new(1_050_100));
        let beside = Host {
            overlapped: true,
            ..Host::TYPICAL
        };
        assert_eq!(step(beside, 900_000), Nanos::new(1_050_000));
        assert_eq!(step(beside, 2_000_000), Nanos::new(2_000_000));
        assert_eq!(step(Host::NONE, 100), Nanos::new(100));
    }
}
