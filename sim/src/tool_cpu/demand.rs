//! What a tool call asks for.

use units::Nanos;

/// The time a call needs. Valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    wall: Nanos,
    cpu: Nanos,
    parallelism: u32,
}

/// A demand that no machine could show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DemandError {
    /// A call without threads.
    #[error("a tool call has parallelism 0 (wanted: at least 1)")]
    NoThread,
    /// More CPU time than its threads have in its wall time.
    #[error(
        "a tool call has {} ns of CPU in {} ns of wall time on {parallelism} threads \
         (wanted: at most wall * threads)",
        cpu.as_nanos(),
        wall.as_nanos()
    )]
    TooMuchCpu {
        /// Its time alone.
        wall: Nanos,
        /// Its CPU time.
        cpu: Nanos,
        /// Its threads.
        parallelism: u32,
    },
}

impl Demand {
    /// A call that takes `wall` alone and `cpu` of CPU time, summed over `parallelism` threads.
    ///
    /// Both may be zero: a recording with a coarse clock has calls of no duration.
    ///
    /// # Errors
    /// [`DemandError`] without threads, or with more CPU time than `wall * parallelism`.
    pub fn new(wall: Nanos, cpu: Nanos, parallelism: u32) -> Result<Self, DemandError> {
        if parallelism == 0 {
            return Err(DemandError::NoThread);
        }
        if u128::from(cpu.as_nanos()) > u128::from(wall.as_nanos()) * u128::from(parallelism) {
            return Err(DemandError::TooMuchCpu {
                wall,
                cpu,
                parallelism,
            });
        }
        Ok(Self {
            wall,
            cpu,
            parallelism,
        })
    }

    /// Time the call takes alone.
    pub const fn wall(&self) -> Nanos {
        self.wall
    }

    /// CPU time, summed over threads.
    pub const fn cpu(&self) -> Nanos {
        self.cpu
    }

    /// Threads of the CPU phase.
    pub const fn parallelism(&self) -> u32 {
        self.parallelism
    }

    /// Time of the CPU phase alone: `cpu / parallelism`, rounded up to a nanosecond.
    pub const fn compute(&self) -> Nanos {
        Nanos::new(self.cpu.as_nanos().div_ceil(self.parallelism as u64))
    }

    /// What remains of the wall time after the CPU phase alone.
    pub const fn io(&self) -> Nanos {
        self.wall.saturating_sub(self.compute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_is_what_the_cpu_phase_leaves() {
        let io = |wall, cpu, p| {
            let demand = Demand::new(Nanos::new(wall), Nanos::new(cpu), p).expect("possible");
            demand.io()
        };
        assert_eq!(io(1_500, 1_000, 1), Nanos::new(500));
        assert_eq!(io(1_500, 3_000, 2), Nanos::ZERO);
        // 1000 / 3 takes 334 whole nanoseconds.
        assert_eq!(io(400, 1_000, 3), Nanos::new(66));
        assert_eq!(io(0, 0, 1), Nanos::ZERO);
    }

    #[test]
    fn impossible_demands_are_refused_with_their_numbers() {
        let demand = |wall, cpu, p| Demand::new(Nanos::new(wall), Nanos::new(cpu), p);
        assert_eq!(demand(5, 0, 0), Err(DemandError::NoThread));
        let refused = demand(10, 21, 2).expect_err("21 > 20");
        assert_eq!(
            refused.to_string(),
            "a tool call has 21 ns of CPU in 10 ns of wall time on 2 threads (wanted: at most wall \
             * threads)"
        );
        assert!(demand(0, 1, 1).is_err());
        assert!(demand(u64::MAX, u64::MAX, u32::MAX).is_ok());
    }
}
