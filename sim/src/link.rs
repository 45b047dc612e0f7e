//! The link between GPU and host memory: one copy at a time each way, first come, first served.
//!
//! What: when a copy ends, from its size, the link's bandwidth and the copies before it.
//! Why: copies overlap steps but share the link, so a burst of offloads delays the restores behind
//! it only as far as they go the same way.
//! Limits: full duplex, no latency per copy, no contention with anything else on the host.

use scheduler::{Direction, Offload};
use units::{Blocks, Time};

/// The link's two directions.
#[derive(Clone, Copy, Debug)]
pub struct HostLink {
    tier: Offload,
    to_host_free: Time,
    to_gpu_free: Time,
}

impl HostLink {
    /// An idle link.
    pub const fn new(tier: Offload) -> Self {
        Self {
            tier,
            to_host_free: Time::ZERO,
            to_gpu_free: Time::ZERO,
        }
    }

    /// Starts a copy as soon as the ones before it are done; returns when it ends.
    pub fn copy(&mut self, now: Time, direction: Direction, blocks: Blocks) -> Time {
        let time = self.tier.copy_time(direction, blocks);
        let free = match direction {
            Direction::ToHost => &mut self.to_host_free,
            Direction::ToGpu => &mut self.to_gpu_free,
        };
        *free = (*free).max(now) + time;
        *free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;
    use units::{Bytes, Nanos};

    /// Blocks of 1000 bytes at 1 MB/s out and 2 MB/s in: 1 ms and 0.5 ms a block.
    #[test]
    fn copies_of_one_way_queue_and_the_ways_do_not_meet() {
        let rate = |per_s| NonZeroU64::new(per_s).expect("not zero");
        let mut link = HostLink::new(Offload {
            host_blocks: Blocks(100),
            block_bytes: Bytes(1000),
            to_host_per_s: rate(1_000_000),
            to_gpu_per_s: rate(2_000_000),
        });
        let at = |ms| Time::ZERO + Nanos::from_millis(ms);
        assert_eq!(link.copy(at(0), Direction::ToHost, Blocks(4)), at(4));
        assert_eq!(link.copy(at(1), Direction::ToHost, Blocks(2)), at(6));
        assert_eq!(link.copy(at(1), Direction::ToGpu, Blocks(4)), at(3));
        assert_eq!(link.copy(at(10), Direction::ToHost, Blocks(1)), at(11));
    }
}
