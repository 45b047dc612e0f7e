//! Fitted distributions of tool times: lognormals and mixtures of them.
//!
//! Source: fits to 1,201 tool calls of 32 Claude Code sessions with claude-haiku-4-5 (the
//! agentcgroup recordings, <https://github.com/yunwei37/agentcgroup>, commit 5af9e7b; arXiv
//! 2602.09345). Distances (Kolmogorov-Smirnov) are to the sessions fitted and to those held out.
//! Limits: the fits end where the agent's command time limit ends; nothing here knows which command
//! was run. The tail is the least certain part (top 1 % of calls hold 48 % of the tool time).

use units::Nanos;

use crate::validate::SPAN_LIMIT;

/// A distribution of times in seconds: lognormals `(weight, mu, sigma)` with weights that sum to 1
/// and natural logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixture(
    /// The parts.
    pub &'static [(f64, f64, f64)],
);

/// Shell commands. Distance .08 (768 calls), held out .15 (225 calls of 9 sessions).
pub const SHELL: Mixture = Mixture(&[
    (0.477, -2.29, 1.04),
    (0.451, 0.16, 0.63),
    (0.072, 1.95, 1.50),
]);

/// All tools but sub-agents, for a tool without a fit of its own. Distance .03, held out .06.
pub const ANY_TOOL: Mixture = Mixture(&[
    (0.514, -2.98, 0.96),
    (0.211, -1.85, 2.92),
    (0.275, 0.14, 0.64),
]);

/// Reading a file. Distance .22, held out .37: the median is right, the shape is not.
pub const READ: Mixture = Mixture(&[(1.0, -3.86, 1.27)]);

/// Editing a file. Distance .13, held out .42.
pub const EDIT: Mixture = Mixture(&[(1.0, -3.69, 0.91)]);

/// A sub-agent, from call to answer. Distance .16, held out .31 (18 calls).
pub const SUB_AGENT: Mixture = Mixture(&[(1.0, 4.08, 0.70)]);

impl Mixture {
    /// Share of times that are at most `time`.
    pub fn share_below(&self, time: Nanos) -> f64 {
        if time == Nanos::ZERO {
            0.0
        } else {
            self.share_below_ln(time.as_secs().ln())
        }
    }

    fn share_below_ln(&self, ln: f64) -> f64 {
        let parts = self.0.iter();
        parts
            .map(|(weight, mu, sigma)| weight * normal_share_below((ln - mu) / sigma))
            .sum()
    }

    /// The time that a share `u` (from 0 to 1) of the times up to `limit` does not exceed, in whole
    /// microseconds; never above `limit`.
    ///
    /// By bisection: for evenly distributed `u` the results follow the mixture cut off at `limit`.
    pub fn quantile(&self, u: f64, limit: Nanos) -> Nanos {
        let limit = limit.min(SPAN_LIMIT);
        if limit == Nanos::ZERO {
            return limit;
        }
        let target = u.clamp(0.0, 1.0) * self.share_below(limit);
        // From 10^-10 s, far below any fit. 44 halvings leave 2e-12 of the time: nanoseconds of minutes.
        let (mut low, mut high) = (-23.0_f64, limit.as_secs().ln());
        for _ in 0..44 {
            let middle = low.midpoint(high);
            if self.share_below_ln(middle) < target {
                low = middle;
            } else {
                high = middle;
            }
        }
        // Whole microseconds: the last bits of `exp` and `ln` differ between machines.
        let nanos = Nanos::from_secs(high.exp())
            .map_or(limit, |t| t.min(limit))
            .as_nanos();
        Nanos::new(nanos / 1000 * 1000)
    }
}

/// Share of a standard normal distribution that lies below `z`; absolute error about 1e-15.
///
/// Source: the series of Marsaglia, Evaluating the Normal Distribution (J. Stat. Software 11, 2004).
pub fn normal_share_below(z: f64) -> f64 {
    if z.abs() > 8.0 {
        return if z > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term, mut n) = (z, z, 1.0);
    // Terms shrink once n passes z^2 = 64 and are gone long before 400.
    while term.abs() > sum.abs() * f64::EPSILON / 4.0 && n < 400.0 {
        n += 2.0;
        term *= z * z / n;
        sum += term;
    }
    // ln(sqrt(2 pi))
    0.5 + sum * (-0.5 * z * z - 0.918_938_533_204_672_7).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_shares_are_those_of_the_tables() {
        let cases = [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.0, 0.158_655_253_931_457_05),
            (1.959_963_984_540_054, 0.975),
            (-3.0, 0.001_349_898_031_630_094_6),
            (6.0, 0.999_999_999_013_412_3),
        ];
        for (z, share) in cases {
            assert!((normal_share_below(z) - share).abs() < 2e-15, "{z}");
        }
        assert!((normal_share_below(-8.5), normal_share_below(8.5)) == (0.0, 1.0));
    }

    #[test]
    fn weights_sum_to_one() {
        for mixture in [SHELL, ANY_TOOL, READ, EDIT, SUB_AGENT] {
            let sum: f64 = mixture.0.iter().map(|(weight, _, _)| weight).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{mixture:?}");
        }
    }

    #[test]
    fn quantiles_invert_shares() {
        let limit = Nanos::from_millis(120_000);
        for mixture in [SHELL, ANY_TOOL, READ, EDIT, SUB_AGENT] {
            for u in [0.1, 0.5, 0.9, 0.99] {
                let time = mixture.quantile(u, limit);
                let share = |ns| mixture.share_below(Nanos::new(ns)) / mixture.share_below(limit);
                // Rounded to a nanosecond, then cut off to a microsecond: the true quantile is near.
                let ns = time.as_nanos();
                assert!(share(ns - 1) < u && u < share(ns + 1001), "{mixture:?} {u}");
            }
            assert!(mixture.quantile(1.0, limit) <= limit);
            assert_eq!(mixture.quantile(0.5, Nanos::ZERO), Nanos::ZERO);
            assert!(mixture.quantile(f64::NAN, limit) <= limit);
        }
    }
}
