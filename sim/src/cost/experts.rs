//! Reading the experts that a decode batch touches.
//!
//! Each of B tokens activates a share s of the experts. If choices are independent, an expert stays
//! untouched with probability (1 - s)^B, so the batch reads 1 - (1 - s)^B of them.
//! Limits: real routers are correlated, so fewer experts are touched than this says.

/// Batch sizes up to this are looked up; larger ones are computed.
const TABULATED: u64 = 4_096;

/// Time to read the touched experts, by batch size, in picoseconds.
#[derive(Clone, Debug)]
pub(super) struct Experts {
    /// Entry B for B decoding turns.
    by_decodes: Vec<u64>,
    all: u64,
    idle_per_token: f64,
    /// Untouched share at the last entry.
    idle_at_end: f64,
}

impl Experts {
    /// For `all` picoseconds to read every expert and a share in 0..=1 active per token.
    pub(super) fn new(all: u64, active_share: f64) -> Self {
        let idle_per_token = 1.0 - active_share;
        let mut by_decodes = Vec::new();
        let mut idle = 1.0;
        if all > 0 {
            by_decodes.push(0);
            for _ in 0..TABULATED {
                // Plain products, not `powi`: its last bit differs between platforms.
                idle *= idle_per_token;
                by_decodes.push(touched(all, idle));
            }
        }
        Self {
            by_decodes,
            all,
            idle_per_token,
            idle_at_end: idle,
        }
    }

    /// For a batch of `decodes` turns.
    #[inline]
    pub(super) fn read(&self, decodes: u64) -> u64 {
        if self.all == 0 {
            return 0;
        }
        let entry = usize::try_from(decodes)
            .ok()
            .and_then(|b| self.by_decodes.get(b));
        match entry {
            Some(&ps) => ps,
            None => touched(self.all, self.idle_beyond(decodes - TABULATED)),
        }
    }

    /// `idle_at_end * idle_per_token^beyond`, by squaring.
    fn idle_beyond(&self, mut beyond: u64) -> f64 {
        let (mut idle, mut square) = (self.idle_at_end, self.idle_per_token);
        while beyond > 0 {
            if beyond & 1 == 1 {
                idle *= square;
            }
            square *= square;
            beyond >>= 1;
        }
        idle
    }
}

/// Share of the experts that so many tokens touch, each activating `active_share` of them.
pub(crate) fn touched_share(mut tokens: u64, active_share: f64) -> f64 {
    let (mut idle, mut square) = (1.0, 1.0 - active_share);
    while tokens > 0 {
        if tokens & 1 == 1 {
            idle *= square;
        }
        square *= square;
        tokens >>= 1;
    }
    1.0 - idle
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "`all` is at most 1e15 (exact in f64) and the share is in 0..=1"
)]
fn touched(all: u64, idle: f64) -> u64 {
    (all as f64 * (1.0 - idle)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_experts_per_token() {
        let experts = Experts::new(4_000, 0.5);
        let read: Vec<u64> = (0..=4).map(|b| experts.read(b)).collect();
        assert_eq!(read, [0, 2_000, 3_000, 3_500, 3_750]);
    }

    #[test]
    fn large_batches_continue_the_table() {
        // 1 in 10,000 active: the table ends long before all are touched.
        // 1 - 0.9999^10000 = 0.632139 (1 - 1/e within 2e-5).
        let experts = Experts::new(1_000_000, 0.000_1);
        assert_eq!(experts.read(10_000), 632_139);
        let around: Vec<u64> = (4_090..4_105).map(|b| experts.read(b)).collect();
        assert!(around.is_sorted(), "{around:?}");
        assert_eq!(experts.read(u64::MAX), 1_000_000);
    }

    #[test]
    fn a_dense_model_reads_none() {
        assert_eq!(Experts::new(0, 1.0).read(5_000), 0);
    }
}
