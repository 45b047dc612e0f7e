//! What the CPU side of the engine adds to a step.

use units::Nanos;

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
        let host = self.per_step + self.per_running * turns;
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
}
